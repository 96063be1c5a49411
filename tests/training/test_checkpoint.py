"""The checkpoint: whole whatever happens, and refused when it is not one of ours."""

import dataclasses
import random
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import save_file

from nestdsl.runtime import tensors_file
from nestdsl.runtime.step_levels import StepLevels
from nestdsl.training import checkpoint
from nestdsl.training.checkpoint import Progress
from nestdsl.training.checkpoint_file import Content, read_file, write_file
from nestdsl.training.settings import Settings
from tests.training.models import tiny_model
from tests.training.test_data import errors

PROGRESS = Progress(0, "stdlib", "abc", {"held_out_bits_per_byte": 8.000000000000002})


def saved(tmp_path):
    model = tiny_model()
    checkpoint.save(tmp_path, model, StepLevels(model), Settings(seed=3, warmup=0.1), PROGRESS)
    return model


def test_what_is_saved_is_read_again(tmp_path) -> None:
    model = saved(tmp_path)
    loaded = checkpoint.load(tmp_path)
    assert loaded.progress == PROGRESS
    assert loaded.settings == Settings(seed=3, warmup=0.1)
    assert loaded.plan == model.plan
    other = tiny_model(seed=9)
    loaded.apply(other, StepLevels(other))
    assert all(torch.equal(weight, model.state_dict()[name]) for name, weight in other.state_dict().items())


def test_who_may_read_one_file_of_a_run_may_read_all(tmp_path) -> None:
    saved(tmp_path)
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1


def test_a_damaged_checkpoint_is_a_diagnostic(tmp_path) -> None:
    saved(tmp_path)
    path = tmp_path / checkpoint.FILE
    whole = path.read_bytes()
    for content in (
        b"",
        whole[:5],
        whole[:200],
        whole[:-1],
        b"\xff" * 100,
        whole[:8] + b"x" * 50 + whole[58:],
    ):
        path.write_bytes(content)
        assert "not a whole checkpoint" in errors("N0502", lambda: checkpoint.load(tmp_path))


def test_tensors_of_another_program_are_no_checkpoint(tmp_path) -> None:
    for metadata in ({}, {"format": "pt"}, {"nestdsl checkpoint 1": "{}"}, {"nestdsl checkpoint 2": "{}"}):
        save_file({"weight": torch.zeros(2)}, tmp_path / checkpoint.FILE, metadata)
        assert "not a whole checkpoint" in errors("N0502", lambda: checkpoint.load(tmp_path))


def test_what_has_checksums_alone_is_no_checkpoint(tmp_path) -> None:
    for description in ({}, {"plan": "", "settings": {}, "progress": {}}, {"settings": 1}):
        write_file(tmp_path / checkpoint.FILE, Content({"weight": torch.zeros(2)}, description))
        assert "not a checkpoint of" in errors("N0502", lambda: checkpoint.load(tmp_path))


def test_no_checkpoint(tmp_path) -> None:
    assert "there is no checkpoint" in errors("N0003", lambda: checkpoint.load(tmp_path / "none"))
    (tmp_path / checkpoint.FILE).mkdir()
    assert "there is no checkpoint" in errors("N0003", lambda: checkpoint.load(tmp_path))


def test_settings_of_another_version_are_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(Settings, "as_dict", lambda settings: {"steps": 1})
    saved(tmp_path)
    text = errors("N0502", lambda: checkpoint.load(tmp_path))
    assert "not a checkpoint of this version of nestdsl: it lacks `batch`" in text


SAVE_FOREVER = """
import sys
from pathlib import Path
import torch
from nestdsl.runtime.step_levels import StepLevels
from nestdsl.training import checkpoint
from nestdsl.training.settings import Settings
from tests.training.models import tiny_model

model = tiny_model()
levels = StepLevels(model)
step = 0
while True:
    step += 1
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(step)
    progress = checkpoint.Progress(step, "stdlib", "abc", {})
    checkpoint.save(Path(sys.argv[1]), model, levels, Settings(steps=10**9, keep=1), progress)
    if step == 1:
        print("saving", flush=True)
"""


@pytest.mark.parametrize("stage", ["write_file", "fsync", "replace"])
def test_an_end_at_any_stage_leaves_the_last_checkpoint(tmp_path, monkeypatch, stage) -> None:
    model = saved(tmp_path)

    def end(*arguments):
        if stage == "write_file":
            arguments[0].write_bytes(b"half")
        raise KeyboardInterrupt

    place = checkpoint if stage == "write_file" else checkpoint.os
    later = dataclasses.replace(PROGRESS, step=1)
    with monkeypatch.context() as patch:
        patch.setattr(place, stage, end)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(tmp_path, tiny_model(seed=1), StepLevels(model), Settings(), later)
    loaded = checkpoint.load(tmp_path)
    assert loaded.progress == PROGRESS
    assert torch.equal(loaded.weights["head.weight"], model.head.weight)
    saved(tmp_path)  # what was left behind is no hindrance
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint.safetensors", "plan.yaml"}


@pytest.mark.parametrize("by", ["its file", "its path"])
def test_what_is_read_while_it_is_written_is_of_one_moment(tmp_path, monkeypatch, by) -> None:
    """By the path alone, where systems have no names of open files, it is read again after a change."""
    if by == "its path":
        monkeypatch.setattr(tensors_file, "_path_of", lambda held, path: str(path))
    process = subprocess.Popen(
        [sys.executable, "-c", SAVE_FOREVER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    seen = set()
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "saving\n"
        reads, deadline = 0, time.monotonic() + 100
        while (reads < 150 or len(seen) < 20) and time.monotonic() < deadline:
            reads += 1
            content = read_file(tmp_path / checkpoint.FILE)
            step = content.description["progress"]["step"]
            seen.add(step)
            for name, weight in content.tensors.items():
                assert torch.equal(weight, torch.full_like(weight, step)), name
    finally:
        process.kill()
        process.communicate()
    assert len(seen) >= 20


def test_a_kill_at_any_moment_leaves_a_whole_checkpoint(tmp_path) -> None:
    draws = random.Random(0)
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVE_FOREVER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "saving\n"
            deadline = time.monotonic() + draws.uniform(0.0, 0.2)
            while time.monotonic() < deadline:  # readers in between find a whole one, too
                assert checkpoint.load(tmp_path).progress.step >= 1
        finally:
            process.kill()
            process.communicate()
        loaded = checkpoint.load(tmp_path)
        for name, weight in loaded.weights.items():
            assert torch.equal(weight, torch.full_like(weight, loaded.progress.step)), name
