"""The checkpoints before the last: how many are kept, and when one of them serves."""

import dataclasses
import warnings
from pathlib import Path

import pytest

import nestdsl
from nestdsl.runtime.step_levels import StepLevels
from nestdsl.training import checkpoint
from nestdsl.training.checkpoint import Progress
from nestdsl.training.data.text import read_text
from nestdsl.training.loop import proceed, start
from nestdsl.training.progress import Reporter
from nestdsl.training.settings import Settings
from tests.training.models import tiny_model
from tests.training.test_data import errors

SETTINGS = Settings(
    steps=12, batch=2, tokens=16, evaluate_every=100, checkpoint_every=2, held_out_sequences=2, keep=3
)


@pytest.fixture
def text(tmp_path: Path) -> str:
    path = tmp_path / "text.txt"
    path.write_text("the quick brown fox jumps over the lazy dog. " * 40)
    return str(path)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if "checkpoint" in path.name}


def trained(text: str, out: Path, settings: Settings = SETTINGS, until: int = 10) -> None:
    start(tiny_model(), read_text(text), out, settings, Reporter(), until)


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(("keep", "before"), [(1, []), (2, [8]), (3, [6, 8]), (100, [0, 2, 4, 6, 8])])
def test_so_many_are_kept(text: str, tmp_path: Path, keep: int, before: list[int]) -> None:
    trained(text, tmp_path / "run", dataclasses.replace(SETTINGS, keep=keep))
    named = {f"checkpoint-{step}.safetensors" for step in before}
    assert files(tmp_path / "run") == {"checkpoint.safetensors", *named}
    assert checkpoint.load(tmp_path / "run").progress.step == 10
    for step in before:
        (tmp_path / "run" / checkpoint.FILE).unlink()
        (tmp_path / "run" / f"checkpoint-{step}.safetensors").rename(tmp_path / "run" / checkpoint.FILE)
        assert checkpoint.load(tmp_path / "run").progress.step == step


def test_how_many_may_change(text: str, tmp_path: Path) -> None:
    trained(text, tmp_path / "run")
    nestdsl.resume(out=tmp_path / "run", keep=1, quiet=True)
    assert files(tmp_path / "run") == {"checkpoint.safetensors"}
    assert checkpoint.load(tmp_path / "run").settings.keep == 1


def test_a_file_system_without_links(text: str, tmp_path: Path, monkeypatch) -> None:
    def none(*arguments: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(checkpoint.os, "link", none)
    trained(text, tmp_path / "run")
    assert files(tmp_path / "run") == {
        "checkpoint.safetensors", "checkpoint-6.safetensors", "checkpoint-8.safetensors"
    }  # fmt: skip


def test_a_damaged_last_one_falls_back_and_says_what_is_lost(text: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    trained(text, run)
    damage(run / checkpoint.FILE)
    loaded = checkpoint.load(run)
    assert loaded.progress.step == 8
    (warning,) = loaded.warnings
    assert warning.code == "N0502" and not warning.is_error
    assert "checkpoint.safetensors` is not a whole checkpoint" in warning.message
    assert "`checkpoint-8.safetensors` is used instead, of step 8" in warning.message
    damage(run / "checkpoint-8.safetensors")
    loaded = checkpoint.load(run)
    assert loaded.progress.step == 6 and len(loaded.warnings) == 2
    damage(run / "checkpoint-6.safetensors")
    assert "not a whole checkpoint" in errors("N0502", lambda: checkpoint.load(run))


def test_a_run_goes_on_exactly_from_the_one_before(text: str, tmp_path: Path) -> None:
    trained(text, tmp_path / "whole", until=12)
    run = tmp_path / "run"
    trained(text, run)
    damage(run / checkpoint.FILE)
    damaged = (run / checkpoint.FILE).read_bytes()
    with pytest.warns(RuntimeWarning, match="step 8"):
        nestdsl.resume(tiny_model(), out=run, quiet=True)
    assert (run / "checkpoint.safetensors.damaged").read_bytes() == damaged
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = nestdsl.restore(run, compile=False)
    whole = nestdsl.restore(tmp_path / "whole", compile=False)
    assert all(weight.equal(model.state_dict()[name]) for name, weight in whole.state_dict().items())
    assert (run / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()


def test_restoring_warns(text: str, tmp_path: Path) -> None:
    trained(text, tmp_path / "run")
    damage(tmp_path / "run" / checkpoint.FILE)
    with pytest.warns(RuntimeWarning, match="what was learned after that step is lost"):
        nestdsl.restore(tmp_path / "run", compile=False)
    assert (tmp_path / "run" / checkpoint.FILE).exists(), "reading changes nothing"


def test_a_last_one_that_is_gone(text: str, tmp_path: Path) -> None:
    trained(text, tmp_path / "run")
    (tmp_path / "run" / checkpoint.FILE).unlink()
    loaded = checkpoint.load(tmp_path / "run")
    assert loaded.progress.step == 8 and len(loaded.warnings) == 1
    proceed(tiny_model(), read_text(text), loaded, {}, Reporter())
    assert checkpoint.load(tmp_path / "run").progress.step == 12


@pytest.mark.parametrize("instead", ["a folder", "a broken link"])
def test_something_else_in_place_of_the_last_one(text: str, tmp_path: Path, instead: str) -> None:
    last = tmp_path / "run" / checkpoint.FILE
    trained(text, tmp_path / "run")
    last.unlink()
    if instead == "a folder":
        last.mkdir()
    else:
        last.symlink_to("nowhere")
    loaded = checkpoint.load(tmp_path / "run")
    assert loaded.progress.step == 8 and len(loaded.warnings) == 1
    proceed(tiny_model(), read_text(text), loaded, {}, Reporter())
    assert checkpoint.load(tmp_path / "run").progress.step == 12


def test_names_that_are_not_true_push_nothing_out(text: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    trained(text, run)
    (run / "checkpoint-9999.safetensors").write_bytes(b"junk")
    (run / "checkpoint-77.safetensors").write_bytes((run / "checkpoint-6.safetensors").read_bytes())
    nestdsl.resume(out=run, quiet=True)
    damage(run / checkpoint.FILE)
    assert checkpoint.load(run).progress.step == 10
    assert (run / "checkpoint-9999.safetensors").read_bytes() == b"junk"


def test_going_back_takes_none_of_those_before_away(text: str, tmp_path: Path) -> None:
    """The checkpoint that serves may be of a time when fewer were kept."""
    run = tmp_path / "run"
    trained(text, run, dataclasses.replace(SETTINGS, keep=2), until=4)
    nestdsl.resume(out=run, keep=4, until=10, quiet=True)
    before = files(run) - {checkpoint.FILE}
    damage(run / checkpoint.FILE)
    (run / checkpoint.FILE).rename(run / "kept")
    for path in run.glob("checkpoint-[5-9].safetensors"):
        path.unlink()
    loaded = checkpoint.load(run)
    assert loaded.settings.keep == 2
    proceed(tiny_model(), read_text(text), loaded, {}, Reporter(), until=loaded.progress.step + 2)
    assert {name for name in before if not int("".join(filter(str.isdigit, name))) > 4} <= files(run)


def test_a_folder_with_any_of_them_holds_a_run(text: str, tmp_path: Path) -> None:
    trained(text, tmp_path / "run")
    for name in ("checkpoint.safetensors", "metrics.jsonl", "plan.yaml"):
        (tmp_path / "run" / name).unlink()
    assert "holds a run already" in errors("N0504", lambda: trained(text, tmp_path / "run"))


def test_nothing_is_kept_of_what_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / checkpoint.FILE).write_bytes(b"other")
    model = tiny_model()
    checkpoint.save(tmp_path, model, StepLevels(model), Settings(), Progress(0, "stdlib", "abc", {}))
    assert files(tmp_path) == {"checkpoint.safetensors"}
