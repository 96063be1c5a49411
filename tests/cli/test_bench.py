"""`bench`: what it prints, and mistakes as diagnostics. No test looks at a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nestdsl.cli.main import main

IDS = """
model m(dim = 8) {
  input ids(11)
  flow out = in -> embedding(dim) -> conv(2) -> linear(11)
}
"""
VECTORS = """
block layer {
  level w = linear { every 4 tokens  optimizer gd(step = 0.1) }
  flow out = in + w(in)
}
model v {
  input vectors(6)
  level l = layer
  flow out = in -> l -> linear(3)
  train { objective mse  optimizer adamw(lr = 1e-3) }
}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("ids.nest").write_text(IDS, encoding="utf-8")
    Path("vectors.nest").write_text(VECTORS, encoding="utf-8")
    return tmp_path


def bench(*arguments: str) -> int:
    return main(["bench", *arguments, "--batch", "2", "--tokens", "9", "--steps", "1", "--eager"])


def test_a_table_of_what_was_measured(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("ids.nest", "--set", "dim=4") == 0
    printed = capsys.readouterr().out
    for words in ("m: ", "eager, cpu", "training step", "forward pass", "one token", "2 × 9 tokens", "MiB"):
        assert words in printed
    assert len(list(folder.iterdir())) == 2  # it leaves nothing behind


def test_figures_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Vectors, mean squares, and a level that learns in context."""
    assert bench("vectors.nest", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["model"], found["batch"], found["tokens"], found["compiled"]) == ("v", 2, 9, False)
    assert found["step"]["seconds"] > 0 and found["tokens_per_second"] > 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ids.nest", "--batch", "0"], "error[N0202]: `batch` is 0"),
        (["ids.nest", "--steps", "-1"], "error[N0202]: `steps` is -1"),
        (
            ["ids.nest", "--device", "nowhere"],
            "error[N0203]: device `nowhere` cannot be used",
        ),
        (["absent.nest"], "error[N0003]"),
        (["ids.nest", "--batch", "1000000000"], "error[N0503]"),
        (["ids.nest", "--set", "size=2"], "error["),
    ],
)
def test_mistakes_are_diagnostics(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert main(["bench", *arguments, "--eager"]) == 1
    assert says in capsys.readouterr().err


def test_what_diverges_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = IDS.replace("linear(11)", "linear(11)\n  flow out = 1e30 * 1e30 * logits").replace(
        "out = in", "logits = in"
    )
    Path("bad.nest").write_text(text, encoding="utf-8")
    assert bench("bad.nest") == 1
    assert "error[N0505]" in capsys.readouterr().err
