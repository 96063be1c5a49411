"""A run keeps the precision of its products that the machine chose on which it began."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

import nestdsl
from nestdsl.runtime.optimizer import precision as precisions
from nestdsl.training import checkpoint
from nestdsl.training.restore import restored

PROGRAM = """
model small {
  input ids(256)
  level own = linear { every 2 steps  optimizer muon(lr = 0.02) }
  level context = linear { every 8 tokens  optimizer m3(lr = 0.05, period = 2) }
  flow out = in -> embedding(8) -> own -> context -> linear(256)
  train { objective cross_entropy  optimizer OPTIMIZER }
}
"""
LEFT, SAID = "m3(lr = 0.01, period = 2)", "adamw(lr = 0.01)"
STEPS = 8
OTHER = {"bfloat16": "float32", "float32": "bfloat16"}


def program(optimizer: str = LEFT) -> str:
    return PROGRAM.replace("OPTIMIZER", optimizer)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    def set_to(precision: str) -> None:
        monkeypatch.setattr(precisions, "has_fast_bfloat16", lambda device: precision == "bfloat16")

    return set_to


@pytest.fixture
def text(tmp_path: Path) -> str:
    file = tmp_path / "text.txt"
    file.write_text("the quick brown fox jumps over the lazy dog\n" * 20)
    return str(file)


def train(text: str, out: Path, until: int | None = None, optimizer: str = LEFT, quiet: bool = True) -> None:
    model = nestdsl.parse(program(optimizer)).compile(compile=False)
    nestdsl.train(model, text, STEPS, out, batch=2, tokens=16, until=until, quiet=quiet)


def tensors(run: Path) -> dict[str, Tensor]:
    with safe_open(run / checkpoint.FILE, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict


def differing(one: Path, other: Path) -> list[str]:
    mine, theirs = tensors(one), tensors(other)
    assert mine.keys() == theirs.keys()
    return [name for name, tensor in mine.items() if not torch.equal(tensor, theirs[name])]


@pytest.mark.parametrize("began", OTHER)
@pytest.mark.parametrize("how", ["from its folder", "with a model", "with one that has trained here"])
def test_a_run_that_goes_on_elsewhere_keeps_it(
    machine, text: str, tmp_path: Path, capsys, began: str, how: str
) -> None:
    machine(began)
    train(text, tmp_path / "whole")
    train(text, tmp_path / "parts", until=3, quiet=False)
    assert f"newton_schulz multiplies in {began}, chosen for this machine" in capsys.readouterr().err
    assert checkpoint.load(tmp_path / "parts").progress.precision == began
    machine(OTHER[began])
    train(text, tmp_path / "elsewhere")
    assert checkpoint.load(tmp_path / "elsewhere").progress.precision == OTHER[began]
    model = None if how == "from its folder" else nestdsl.parse(program()).compile(compile=False)
    if how == "with one that has trained here":
        assert model is not None
        nestdsl.train(model, text, 2, tmp_path / "before", batch=2, tokens=16, quiet=True)
        assert model.product_precision == OTHER[began]
    nestdsl.resume(model, out=tmp_path / "parts", until=5)
    assert f"newton_schulz multiplies in {began}, as the run has it from its start" in capsys.readouterr().err
    nestdsl.resume(out=tmp_path / "parts", quiet=True)
    assert checkpoint.load(tmp_path / "parts").progress.precision == began
    assert differing(tmp_path / "whole", tmp_path / "parts") == []
    assert (tmp_path / "whole/metrics.jsonl").read_text() == (tmp_path / "parts/metrics.jsonl").read_text()
    assert "model.own.weight" in differing(tmp_path / "whole", tmp_path / "elsewhere")


@pytest.mark.parametrize("began", OTHER)
def test_a_trained_model_reads_elsewhere_as_it_did(machine, text: str, tmp_path: Path, began: str) -> None:
    """What learns in context goes on learning in the precision of the run."""
    machine(began)
    train(text, tmp_path / "run")
    ids = torch.tensor([list(b"the quick brown fox jumps over the lazy")])
    wanted, _ = nestdsl.restore(tmp_path / "run", compile=False)(ids, learn=True)
    machine(OTHER[began])
    found, _ = nestdsl.restore(tmp_path / "run", compile=False)(ids, learn=True)
    assert torch.equal(found, wanted)
    model, _ = restored(tmp_path / "run")
    model.fix_precision()
    assert not torch.equal(model(ids, learn=True)[0], wanted)


def test_a_run_that_leaves_nothing_to_the_machine_records_nothing(text: str, tmp_path: Path, capsys) -> None:
    plain = "model m {\n  input ids(256)\n  flow out = in -> embedding(8) -> linear(256)\n}\n"
    model = nestdsl.parse(plain).compile(compile=False)
    nestdsl.train(model, text, 1, tmp_path / "run", batch=2, tokens=16)
    assert checkpoint.load(tmp_path / "run").progress.precision == ""
    assert "newton_schulz" not in capsys.readouterr().err


def test_what_is_no_precision_is_refused() -> None:
    model = nestdsl.parse(program(SAID)).compile(compile=False)
    for wrong in ("auto", "float16", "BFLOAT16"):
        with pytest.raises(
            nestdsl.NestError, match=r"N0203.*is not a precision of products: there are bfloat16 and float32"
        ):
            model.fix_precision(wrong)
