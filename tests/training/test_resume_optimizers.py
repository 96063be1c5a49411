"""A run that goes on is the run that never stopped, with what every optimizer remembers in its checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

import nestdsl

PROGRAM = """
optimizer slow_and_fast(lr = 1e-2) {
  only matrices else adamw(lr = lr)
  level near = ema(0.9) { learn grad }
  level far = ema(0.9) { learn grad  every 3 steps  read before }
  level pairs = matrix(step = 0.1, retain = 0.9) { learn normalize(grad) -> 1  every 2 steps }
  flow kept = normalize(far) * rms(near)
  flow update = -lr * (normalize(near) + newton_schulz(far) + kept + 0.01 * pairs)
}
model small {
  input ids(256)
  level slow[2] = mlp(expand = 2) { every 2 ** (index + 1) steps }
  level own = linear { every 4 steps  optimizer slow_and_fast(lr = cosine(0.02, warmup = 2)) }
  level deep = linear { optimizer dmgd(lr = 0.01) }
  level context = linear { every 8 tokens  optimizer m3(lr = 0.01, period = 2)  RESET }
  flow out = in -> embedding(8) -> slow -> own -> deep -> dropout(0.1) -> context -> linear(256)
  train { objective cross_entropy  optimizer m3(lr = 0.01, period = 4) }
}
"""
STEPS = 14


def tensors(run: Path) -> dict[str, Tensor]:
    with safe_open(run / "checkpoint.safetensors", "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict


@pytest.mark.parametrize("reset", ["", "reset never"])
def test_every_memory_goes_on_bit_by_bit(tmp_path: Path, reset: str) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 20)

    def begin(name: str, until: int | None = None) -> None:
        model = nestdsl.parse(PROGRAM.replace("RESET", reset)).compile(compile=False)
        nestdsl.train(model, str(text), STEPS, tmp_path / name, batch=2, tokens=16, until=until, quiet=True)

    begin("whole")
    begin("parts", until=5)
    for until in (6, 9, 11, None):
        nestdsl.resume(out=tmp_path / "parts", until=until, quiet=True)
    whole, parts = tensors(tmp_path / "whole"), tensors(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    assert [name for name, tensor in whole.items() if not torch.equal(tensor, parts[name])] == []
    assert (tmp_path / "whole/metrics.jsonl").read_text() == (tmp_path / "parts/metrics.jsonl").read_text()


def test_a_checkpoint_names_what_each_memory_of_a_weight_has_learned(tmp_path: Path) -> None:
    """B15: memories of gradients are kept by name, with what gathers and what is kept until they move."""
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 20)
    model = nestdsl.parse(PROGRAM.replace("RESET", "")).compile(compile=False)
    nestdsl.train(model, str(text), 5, tmp_path / "run", batch=2, tokens=16, quiet=True)
    found = tensors(tmp_path / "run")
    names = {name.removeprefix("optimizer.") for name in found if name.startswith("optimizer.")}
    own = {name.removeprefix("own.weight.") for name in names if name.startswith("own.weight.")}
    memories = {"near", "far", "far.gathered", "pairs", "pairs.gathered", "pairs.gathered_value"}
    assert own == memories | {
        "newton_schulz(far)",
        "normalize(far)",
        "0.01 * pairs",
        "step_count",
        "gathered_gradient",
    }
    assert {"deep.weight.v", "deep.weight.m.inner", "deep.weight.m.outer"} <= names
    counts = {name: int(found[f"optimizer.{name}.weight.step_count"]) for name in ("own", "deep")}
    assert counts == {"own": 1, "deep": 5}
