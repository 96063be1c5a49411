"""A trained transformer whose MLPs become levels that learn in context (Sec. 7.3)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import nestdsl
from nestdsl.cli.main import main
from nestdsl.diagnostics import NestError
from nestdsl.runtime.module import NestModule
from nestdsl.training import checkpoint
from nestdsl.training.donor import take_weights
from nestdsl.training.restore import restored

EXAMPLES = Path(__file__).parents[2] / "examples"
SIZES = ["--set", "dim=16", "--set", "heads=2"]
RUN = ["--batch", "2", "--tokens", "32", "--eager", "--quiet"]


@pytest.fixture(scope="module")
def donor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the ordinary transformer."""
    folder = tmp_path_factory.mktemp("donor")
    (folder / "text.txt").write_text("the quick brown fox jumps over the lazy dog\n" * 30)
    data = ["--data", str(folder / "text.txt"), "--out", str(folder / "run"), "--steps", "20"]
    assert main(["train", str(EXAMPLES / "transformer.nest"), *SIZES, *RUN, *data]) == 0
    return folder / "run"


def stacked(**parameters: float) -> NestModule:
    nest = nestdsl.load(EXAMPLES / "stacked.nest", dim=16, heads=2, segment=8, **parameters)
    return nest.compile(compile=False, seed=7)


def codes(model: NestModule, run: checkpoint.Checkpoint) -> list[str]:
    with pytest.raises(NestError) as caught:
        take_weights(model, run)
    return [f"{one.code}: {one.message}" for one in caught.value.diagnostics]


def test_with_step_zero_the_logits_are_those_of_the_donor_bit_by_bit(donor: Path) -> None:
    before, run = restored(donor)
    after = stacked(step=0)
    take_weights(after, run)
    ids = torch.randint(256, (3, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted, _ = before.eval()(ids)
        assert torch.equal(after.eval()(ids)[0], wanted)
        # With weights for each row the products are others, and equal but for their rounding.
        torch.testing.assert_close(after(ids, learn=True)[0], wanted)
        torch.testing.assert_close(after.loss(ids[:, :-1], ids[:, 1:]), before.loss(ids[:, :-1], ids[:, 1:]))
        learning = stacked(step=0.1)
        take_weights(learning, run)
        assert torch.equal(learning(ids)[0], wanted)
        assert (learning(ids, learn=True)[0] - wanted)[:, 9:].abs().max() > 1e-4


def test_training_and_evaluation_go_on_from_there(donor: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, out = str(donor.parent / "text.txt"), str(donor.parent / "stacked")
    program = [str(EXAMPLES / "stacked.nest"), *SIZES, "--set", "segment=8", *RUN]
    assert main(["train", *program, "--data", text, "--out", out, "--steps", "2", "--from", str(donor)]) == 0
    lines = (Path(out) / "metrics.jsonl").read_text().splitlines()
    trained = json.loads((donor / "metrics.jsonl").read_text().splitlines()[-1])
    first = json.loads(lines[0])["held_out_bits_per_byte"]
    assert first == pytest.approx(trained["held_out_bits_per_byte"], abs=0.3)
    fresh = nestdsl.measure(stacked(), text, batch=2, tokens=32)["held_out_bits_per_byte"]
    assert first < fresh - 1
    assert main(["train", *program, "--out", out, "--steps", "4", "--resume"]) != 2
    assert main(["eval", out]) == 0
    assert "after" in capsys.readouterr().out


def test_what_does_not_match_is_said_level_by_level(donor: Path) -> None:
    run = checkpoint.load(donor)
    deep = nestdsl.load(EXAMPLES / "stacked.nest", dim=16, heads=2, depth=3).compile(compile=False)
    found = codes(deep, run)
    assert found[0].startswith("N0502: the donor has no `stack[2].think`")
    wide = nestdsl.load(EXAMPLES / "stacked.nest", dim=32, heads=2).compile(compile=False)
    wanted = "`embed` is 256 × 16 in the donor, and 256 × 32 in this program"
    assert any(wanted in one for one in codes(wide, run))
    other = nestdsl.parse((EXAMPLES / "stacked.nest").read_text().replace("think", "ponder"), dim=16, heads=2)
    messages = codes(other.compile(compile=False), run)
    assert any(
        "the donor has `stack[0].think`, and this program has no such level" in one for one in messages
    )


def test_a_new_level_that_says_how_it_starts_may_be_added(donor: Path) -> None:
    text = (EXAMPLES / "stacked.nest").read_text()
    text = text.replace("  level head", "  level more = linear { init zeros }\n  level head")
    text = text.replace("-> head", "-> more -> head")
    model = nestdsl.parse(text, dim=16, heads=2).compile(compile=False)
    take_weights(model, checkpoint.load(donor))
    assert not model.get_parameter("more.weight").any()


def test_resume_and_from_exclude_one_another(donor: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = str(EXAMPLES / "stacked.nest")
    assert main(["train", program, "--resume", "--from", str(donor), "--out", str(donor)]) == 1
    assert "N0103" in capsys.readouterr().err
