"""Runs of programs with levels that are never reset: rows walk through text, and resuming is exact."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import nestdsl
from nestdsl.diagnostics import NestError
from nestdsl.runtime.module import NestModule
from nestdsl.training import checkpoint
from nestdsl.training.data.sources import read_data
from nestdsl.training.data.text import ByteData, read_text
from nestdsl.training.evaluate import held_out_figures
from nestdsl.training.loop import proceed, start
from nestdsl.training.progress import Reporter
from nestdsl.training.settings import Settings
from tests.training.altered import alter

PROGRAM = """
model stream(dim = 8) {
  input ids(256)
  level memory = matrix { learn k -> x  every 1 token  optimizer gd(step = 0.1, retain = 0.9)  reset never }
  level slow = mlp(expand = 1) { every 24 tokens  optimizer adamw(lr = 0.01)  reset never }
  level fast = mlp(expand = 1) { every 8 tokens  optimizer gd(step = 0.1)  init from slow  reset parent }
  flow x = in -> embedding(dim) -> conv(2)
  flow k = x -> linear -> l2_normalize
  flow out = x + memory(k) + (x -> fast -> slow) -> linear(256)
}
"""


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(NestError) as caught:
        call()
    (found,) = caught.value.diagnostics
    return found.code


SETTINGS = Settings(steps=7, batch=2, tokens=16, evaluate_every=4, checkpoint_every=3, held_out_sequences=4)


def model_of(seed: int = 0) -> NestModule:
    return nestdsl.parse(PROGRAM).compile(compile=False, seed=seed)


@pytest.fixture
def data(tmp_path: Path) -> ByteData:
    path = tmp_path / "text.txt"
    path.write_text("the quick brown fox jumps over the lazy dog\n" * 20)
    return read_text(str(path))


def test_each_row_walks_through_its_own_part(data: ByteData) -> None:
    (first, labels), (second, _) = data.following(1, 3, 16), data.following(2, 3, 16)
    assert torch.equal(labels[:, -1], second[:, 0])
    part = (len(data.train) - 1) // 3
    assert torch.equal(first[1], data.train[part : part + 16].long())
    assert torch.equal(data.following(1 + part // 16, 3, 16)[0], first)
    assert code_of(lambda: data.following(1, 100, 16)) == "N0501"


def test_a_run_is_the_same_interrupted_or_not(data: ByteData, tmp_path: Path) -> None:
    whole, broken = model_of(), model_of()
    start(whole, data, tmp_path / "whole", SETTINGS, Reporter())
    start(broken, data, tmp_path / "broken", SETTINGS, Reporter(), until=4)
    again = model_of(seed=3)
    proceed(again, data, checkpoint.load(tmp_path / "broken"), {}, Reporter())
    for name in ("metrics.jsonl", "checkpoint.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "broken" / name).read_bytes()
    pairs = zip(whole.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_what_is_carried_is_in_the_checkpoint_by_name(data: ByteData, tmp_path: Path) -> None:
    start(model_of(), data, tmp_path / "run", SETTINGS, Reporter())
    saved = checkpoint.load(tmp_path / "run")
    assert saved.stream["memory/matrix"].shape == (2, 1, 8, 8)
    assert saved.stream["slow/read"].tolist() == [7 * 16 % 24] * 2
    assert "fast/weights/up.weight" in saved.stream
    state = saved.stream_of(model_of())
    assert state is not None and state["slow"]["read"].tolist() == [7 * 16 % 24] * len(state["slow"]["read"])


@pytest.mark.parametrize("change", ["missing", "other shape", "other type", "unknown", "no number"])
def test_a_stream_that_is_not_whole_is_refused(data: ByteData, tmp_path: Path, change: str) -> None:
    start(model_of(), data, tmp_path / "run", SETTINGS, Reporter(), until=3)
    path = tmp_path / "run" / checkpoint.FILE

    def altered(tensors: dict[str, torch.Tensor], description: dict[str, Any]) -> None:
        name = "stream.memory/matrix"
        match change:
            case "missing":
                del tensors[name]
            case "other shape":
                tensors[name] = tensors[name][:1].clone()
            case "other type":
                tensors[name] = tensors[name].double()
            case "unknown":
                tensors["stream.more"] = torch.zeros(1)
            case "no number":
                tensors["stream.slow/read"] = tensors["stream.slow/read"].float()

    alter(path, altered)
    saved = checkpoint.load(tmp_path / "run")
    assert code_of(lambda: proceed(model_of(), data, saved, {}, Reporter())) == "N0502"


def test_held_out_text_is_read_as_a_stream(data: ByteData) -> None:
    model = model_of()
    figures = held_out_figures(model, data, 4, 2, 16)
    (part,) = data.held_out(2, 32)
    state, losses = None, []
    for inputs, targets in zip(part.inputs.split(16, 1), part.targets.split(16, 1), strict=True):
        loss, state = model.stream_loss(inputs, targets, state)
        losses.append(float(loss.detach()))
    assert figures["held_out_bits_per_byte"] == pytest.approx(sum(losses) / 2 * data.unit.scale)
    few = dataclasses.replace(data, held_out_text=data.held_out_text[:40])
    assert held_out_figures(model, few, 4, 2, 16)["held_out_bits_per_byte"] > 0


def test_a_task_has_no_stream(tmp_path: Path) -> None:
    text = PROGRAM.replace("ids(256)", "ids(2)").replace("linear(256)", "linear(2)")
    model = nestdsl.parse(text).compile(compile=False)
    data = read_data("task:parity")
    settings = dataclasses.replace(SETTINGS, tokens=data.tokens or 16)
    assert code_of(lambda: start(model, data, tmp_path / "run", settings, Reporter())) == "N0501"


def test_text_is_made_and_long_periods_are_no_warning(data: ByteData) -> None:
    model = model_of()
    assert len(b"".join(nestdsl.generate(model, "the", 3))) == 3
    nest = nestdsl.parse(PROGRAM)
    from nestdsl.checks.clocks import check_run

    assert not check_run(nest.nest_graph, 16, 1000)
