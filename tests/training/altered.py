"""Runs in which something has been altered, by somebody who writes the checksums again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from nestdsl.diagnostics import NestError
from nestdsl.training import checkpoint
from nestdsl.training.checkpoint_file import Content, read_file, write_file
from nestdsl.training.data.text import ByteData
from nestdsl.training.loop import proceed
from nestdsl.training.progress import Reporter
from nestdsl.training.settings import Settings
from tests.training.models import tiny_model

SETTINGS = Settings(
    steps=8, batch=2, tokens=16, evaluate_every=100, checkpoint_every=3, held_out_sequences=2, keep=1
)
Tensors = dict[str, torch.Tensor]
Description = dict[str, Any]
Alter = Callable[[Tensors, Description], object]


def alter(path: Path, change: Alter) -> None:
    """Changes the tensors and the description of a checkpoint in place; both are the change's to alter."""
    content = read_file(path)
    tensors = {name: tensor.clone() for name, tensor in content.tensors.items()}
    description = dict(content.description)
    change(tensors, description)
    write_file(path, Content(tensors, description))


def goes_on(run: Path, data: ByteData) -> str:
    """The code of what keeps a run from going on; empty if it does, to finite weights and whole metrics."""
    try:
        model = tiny_model()
        proceed(model, data, checkpoint.load(run), {"steps": 8}, Reporter())
    except NestError as error:
        (found,) = error.diagnostics
        assert found.message and found.code != "N0505"
        return found.code
    assert all(bool(weight.isfinite().all()) for weight in model.parameters())
    for line in (run / "metrics.jsonl").read_text().splitlines():
        assert type(json.loads(line)["step"]) is int
    return ""
