"""Compiling HOPE from nothing, and that a new length needs no new compilation."""

from __future__ import annotations

import os
import tempfile

import torch

from benchmarks.model import Claim, Contender, Row, Work
from benchmarks.programs import program
from benchmarks.training import random_ids

_COLD = "nestdsl, HOPE, cold"


def contenders(quick: bool) -> tuple[Contender, ...]:
    """Building HOPE (4 layers, d 256, levels at 256 to 2048 tokens, batch 4) and its first loss and backward
    over two segments, with an empty compiler cache on disk. The timed run is then one segment longer, and
    anything that torch would compile again for it is an error."""
    size, depth, period = (32, 1, 16) if quick else (256, 4, 256)

    def prepare() -> Work:
        folder = tempfile.mkdtemp(prefix="cold-")
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        torch._inductor.config.fx_graph_cache = False
        chunk = 16 if quick else 64
        model = program("hope", dim=size, depth=depth, chunk=chunk, period=period, ratio=2).compile()
        segments = iter((2, 3))

        def run() -> None:
            count = next(segments)
            inputs, targets = random_ids(1 if quick else 4, count * period)
            with torch.compiler.set_stance("default" if count == 2 else "fail_on_recompile"):
                model.loss(inputs, targets).backward()

        return run

    return (Contender(_COLD, prepare),)


ROW = Row(
    "compile_time",
    "HOPE, 4 layers, d 256: compiled cold and run once",
    (Claim(_COLD, at_most=60, measured="compile"),),
    contenders,
    {},
    repeats=1,
)
