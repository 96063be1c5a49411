"""`train`, `eval` and `generate` as a user meets them: results, and no traceback for any mistake."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from nestdsl.api import Nest
from nestdsl.cli.main import main
from nestdsl.runtime.compilation import CompiledRun
from nestdsl.runtime.module import NestModule
from nestdsl.training import checkpoint
from tests.training.models import ADAMW, PROGRAM

QUICK = ("--eager", "--batch", "2", "--tokens", "16", "--device", "cpu")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    arguments = ", ".join(f"{name} = {value}" for name, value in ADAMW.arguments if name != "reduce")
    text = PROGRAM.format(
        size=256, output=256, slow_period=4, slow_optimizer="", period_steps=1, train=f"adamw({arguments})"
    )
    Path("tiny.nest").write_text(text)
    Path("text.txt").write_text("the quick brown fox jumps over the lazy dog\n" * 80)
    return tmp_path


def call(capsys, *arguments: str) -> tuple[int, str, str]:
    status = main(arguments)
    return status, *capsys.readouterr()


def train(capsys, *arguments: str) -> tuple[int, str, str]:
    return call(capsys, "train", "tiny.nest", "--data", "text.txt", *QUICK, *arguments)


def test_train_eval_and_generate(capsys) -> None:
    status, out, err = train(capsys, "--steps", "20", "--out", "run")
    assert status == 0
    found = re.fullmatch(
        r"held-out bits per byte: (\S+) before, (\S+) after 20 steps \(\d+ s\); run in run\n", out
    )
    assert found
    assert float(found[2]) < float(found[1])
    assert "step 20/20" in err
    status, out, _ = call(capsys, "eval", "run", "--data", "text.txt")
    assert (status, out) == (
        0,
        f"held-out bits per byte: {found[2]} on text.txt, after 20 steps of training\n",
    )
    status, out, _ = call(capsys, "eval", "run", "--data", "text.txt", "--tokens", "8", "--sequences", "1")
    assert status == 0
    assert f" {found[2]} " not in out
    made = [
        call(capsys, "generate", "run", "--prompt", "the é", "--tokens", "30", "--seed", "3") for _ in "ab"
    ]
    assert made[0] == made[1]
    assert made[0][0] == 0
    assert made[0][1].startswith("the é")
    assert all(character.isprintable() or character in "\n\t" for character in made[0][1])


def test_eval_and_resume_take_the_data_of_the_run(capsys) -> None:
    assert "after 1 step (" in train(capsys, "--steps", "1", "--out", "run", "--quiet")[1]
    status, out, _ = call(capsys, "eval", "run")
    assert status == 0
    assert out.endswith(" on text.txt, the data of the run, after 1 step of training\n")
    status, out, err = call(capsys, "train", "tiny.nest", "--resume", "--steps", "3", "--out", "run")
    assert (status, "after 3 steps" in out) == (0, True)
    assert "text.txt: 3,520 bytes in 1 file, 352 of them held out" in err
    assert "compiling" not in err  # the run is eager
    assert not checkpoint.load(Path("run")).progress.compiled
    status, out, err = call(capsys, "train", "tiny.nest", "--resume", "--steps", "2", "--out", "run")
    assert (status, "after 3 steps" in out) == (0, True)
    assert "nothing is left to do: the run in run is at step 3 already, and --steps is 2" in err
    Path("text.txt").unlink()
    status, _, err = call(capsys, "eval", "run")
    assert status == 1
    assert "say with --data where it is now" in err


def test_held_out_sequences_are_a_setting_of_the_run(capsys) -> None:
    """So many are measured; `eval` measures as many; all figures of a run are of the same."""
    two = ("--held-out-sequences", "2", "--quiet")
    shown = {}
    for out, more in (("two", two), ("all", ("--held-out-sequences", "1000", "--quiet")), ("plain", ())):
        status, printed, _ = train(capsys, "--steps", "2", "--until", "1", "--out", out, *more)
        assert status == 0
        shown[out] = printed.partition(" after 1 step")[0]
    assert shown["all"] == shown["plain"] != shown["two"]  # the text holds out 21 sequences of 16 tokens
    assert call(capsys, "eval", "two")[1].startswith(f"held-out bits per byte: {shown['two'].split()[-1]} on")
    again = ("train", "tiny.nest", "--resume", "--out", "two", "--quiet")
    status, _, err = call(capsys, *again, "--held-out-sequences", "3")
    assert status == 1
    assert "error[N0502]: the run in `two` was started with held_out_sequences 2, not 3" in err
    assert "leave `held_out_sequences` out" in err
    assert call(capsys, *again, "--held-out-sequences", "2")[0] == 0
    assert checkpoint.load(Path("two")).settings.held_out_sequences == 2
    status, _, err = train(capsys, "--held-out-sequences", "0", "--out", "none")
    assert (status, Path("none").exists()) == (1, False)
    assert "error[N0202]: `held_out_sequences` is 0" in err


def test_a_compiled_run_goes_on_compiled_unless_eager_is_asked_for(capsys, monkeypatch) -> None:
    asked = []
    whole = Nest.compile

    def compile(nest, device, *, compile, seed):
        asked.append(compile)
        model = whole(nest, device, compile=False, seed=seed)
        model.run = CompiledRun({}) if compile else model.run  # compiling takes long
        return model

    monkeypatch.setattr(Nest, "compile", compile)
    begin = ("train", "tiny.nest", "--data", "text.txt", "--out", "run", "--batch", "2", "--tokens", "16")
    again = ("train", "tiny.nest", "--resume", "--out", "run", "--quiet")
    assert call(capsys, *begin, "--steps", "1", "--quiet")[0] == 0
    for more in (("--steps", "2"), ("--steps", "3", "--eager"), ("--steps", "4")):
        assert call(capsys, *again, *more)[0] == 0
    assert asked == [True, True, False, False]


def test_the_hint_says_how_a_program_for_bytes_ends(capsys) -> None:
    Path("tiny.nest").write_text(Path("tiny.nest").read_text().replace("linear(256)", "linear(100)"))
    status, _, err = train(capsys)
    assert status == 1
    assert "error[N0501]: the next byte is one of 256; `out` of model `tiny` has only size 100" in err
    assert "let the last level before `out` be `linear(256)`, where it now gives 100" in err
    text = Path("tiny.nest").read_text().replace("linear(100)", "linear(256)")
    Path("tiny.nest").write_text(text.replace("train {", "train { objective mse "))
    status, _, err = train(capsys)
    assert status == 1
    assert "is trained with `objective mse`" in err
    assert "be `linear(" not in err


def test_a_run_that_was_cut_in_two_is_the_same_run(capsys) -> None:
    train(capsys, "--steps", "9", "--out", "whole", "--quiet")
    assert train(capsys, "--steps", "9", "--out", "cut", "--until", "5", "--quiet")[0] == 0
    status, out, err = train(capsys, "--out", "cut", "--resume", "--quiet")
    assert status == 0
    assert "step" not in err
    assert "after 9 steps" in out
    assert Path("whole/metrics.jsonl").read_text() == Path("cut/metrics.jsonl").read_text()
    assert (
        Path("whole/checkpoint.safetensors").read_bytes() == Path("cut/checkpoint.safetensors").read_bytes()
    )


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("train", "none.nest"), "N0003"),
        (("train", "."), "N0003"),
        (("train", "tiny.nest", "--set", "dimm=4"), "N0106"),
        (("train", "tiny.nest", "--data", "none.txt"), "N0003"),
        (("train", "tiny.nest", "--data", "empty"), "N0501"),
        (("train", "tiny.nest", "--data", "task:recall"), "N0501"),
        (("train", "tiny.nest", "--data", "binary"), "N0003"),
        (("train", "tiny.nest", "--data", "short.txt"), "N0501"),
        (("train", "tiny.nest", "--data", "text.txt", "--out", "text.txt"), "N0504"),
        (("train", "tiny.nest", "--data", "text.txt", "--out", "text.txt/run"), "N0504"),
        (("train", "tiny.nest", "--data", "text.txt", "--out", "none", "--resume"), "N0003"),
        (("train", "tiny.nest", "--data", "text.txt", "--out", "damaged"), "N0504"),
        (("train", "tiny.nest", "--data", "text.txt", "--out", "damaged", "--resume"), "N0502"),
        (("train", "tiny.nest", "--data", "text.txt", "--device", "abacus"), "N0203"),
        (("train", "tiny.nest", "--data", "text.txt", "--batch", "0"), "N0202"),
        (("train", "tiny.nest", "--data", "text.txt", "--batch", "1000000000000"), "N0503"),
        (("train", "tiny.nest", "--data", "a" * 300), "N0003"),
        (("train", "tiny.nest", "--data", "text.txt", "--out", "a" * 300), "N0504"),
        (("eval", "none"), "N0003"),
        (("eval", "a" * 300), "N0003"),
        (("eval", "damaged"), "N0502"),
        (("generate", "none", "--prompt", "x"), "N0003"),
    ],
)
def test_a_mistake_is_a_diagnostic(capsys, arguments, code) -> None:
    Path("empty").mkdir()
    Path("binary").write_bytes(b"\x89\x00\xff")
    Path("short.txt").write_text("short")
    Path("damaged").mkdir()
    Path("damaged/checkpoint.safetensors").write_bytes(b"half a file")
    status, out, err = call(capsys, *arguments, *(("--eager",) if arguments[0] == "train" else ()))
    assert status == 1
    assert out == ""
    assert f"error[{code}]" in err
    assert err.count("error[") == 1
    assert "Traceback" not in err


def test_a_checkpoint_of_another_program(capsys) -> None:
    train(capsys, "--steps", "2", "--out", "run", "--quiet")
    status, _, err = train(capsys, "--steps", "2", "--out", "run", "--resume", "--set", "dim=16")
    assert status == 1
    assert "error[N0502]: the checkpoint in `run` is of another program: `dim` is 8 there and 16 here" in err


def test_warnings_of_the_program_are_shown_and_harmless(capsys) -> None:
    Path("tiny.nest").write_text(
        Path("tiny.nest").read_text().replace("flow h ", "flow unused = in\n  flow h ")
    )
    status, _, err = train(capsys, "--steps", "1", "--out", "run", "--quiet")
    assert status == 0
    assert "warning[N0304]" in err


def test_a_program_without_bytes(capsys) -> None:
    body = "input vectors(4)\n flow out = in -> linear(4)\n train { objective mse optimizer sgd }"
    Path("vectors.nest").write_text(f"model v {{\n {body}\n}}\n")
    status, _, err = call(capsys, "train", "vectors.nest", "--data", "text.txt", "--eager")
    assert status == 1
    assert "error[N0501]" in err
    assert "`input vectors(4)`" in err


@pytest.mark.usefixtures("interrupts_arrive")
@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_an_interrupt_ends_with_a_message_and_its_status(tmp_path) -> None:
    command = [sys.executable, "-m", "nestdsl", "train", "tiny.nest", "--data", "text.txt", "--out", "run"]
    options = [*QUICK, "--steps", "100000", "--checkpoint-every", "5000"]
    process = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    try:
        while not (_metrics().count("\n") > 3 or time.monotonic() > deadline or process.poll() is not None):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    step = checkpoint.load(Path("run")).progress.step
    assert step >= 1
    assert f"interrupted at step {step}; add --resume to continue the run in run" in err
    assert "Traceback" not in err
    assert all(json.loads(line) for line in _metrics().splitlines())


def _metrics() -> str:
    path = Path("run/metrics.jsonl")
    return path.read_text() if path.exists() else ""


def test_a_level_that_turns_out_to_be_untrained_is_shown_in_the_program(capsys, monkeypatch) -> None:
    monkeypatch.setattr(NestModule, "loss", lambda model, inputs, targets: model.head.bias.square().sum())
    status, _, err = train(capsys, "--steps", "1", "--out", "run", "--quiet")
    assert status == 1
    found = re.search(
        r"error\[N0305\]: no gradient reaches `(\w+)` of tiny.nest .*\n *--> tiny.nest:(\d+):3\n", err
    )
    assert found
    lines = Path("tiny.nest").read_text().splitlines()
    assert f"level {found[1]} " in lines[int(found[2]) - 1]


def test_a_run_goes_on_without_the_file_from_which_it_started(capsys) -> None:
    first = Path("tiny.nest").read_text()
    assert train(capsys, "--steps", "1", "--out", "donor", "--quiet")[0] == 0
    shutil.copy("donor/checkpoint.safetensors", "start.safetensors")
    level = re.search(r"level head += linear\(\d+\)", first)
    assert level
    text = first.replace(level[0], level[0] + ' { init from "start.safetensors:head" }')
    Path("tiny.nest").write_text(text)
    status, _, err = train(capsys, "--steps", "1", "--out", "run", "--quiet")
    assert status == 0, err
    whole = train(capsys, "--steps", "3", "--out", "whole", "--quiet")
    stopped = train(capsys, "--steps", "3", "--until", "1", "--out", "part", "--quiet")
    assert whole[0] == stopped[0] == 0
    Path("start.safetensors").unlink()
    status, _, err = call(capsys, "train", "tiny.nest", "--resume", "--out", "part", "--quiet")
    assert status == 0, err
    one, other = (checkpoint.load(Path(name)) for name in ("part", "whole"))
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in other.weights)
    assert one.plan == other.plan  # which still says where the run started
    status, _, err = train(capsys, "--steps", "1", "--out", "new")  # a new run does need it
    assert status == 1
    assert "N0003" in err


def test_eval_of_a_task_shows_how_far_it_is_and_what_is_spare(capsys) -> None:
    task = ("--data", "task:parity", *QUICK[:-4], "--eager", "--batch", "8", "--steps", "1", "--quiet")
    status, _, err = call(capsys, "train", "tiny.nest", *task, "--out", "run")
    assert status == 0, err
    status, _, err = call(capsys, "eval", "run", "--sequences", "160")
    assert status == 0
    lines = err.splitlines()
    assert lines[0].startswith("task:parity: ")
    model = re.search(r"model (\w+)", Path("tiny.nest").read_text())
    assert model
    assert lines[1] == (
        f"task:parity uses 2 of the 256 ids that model `{model[1]}` reads and 2 of the 256 outputs that it "
        "gives; the others never come up"
    )
    assert lines[2] == "measuring the loss on bin0: 2/20 batches"
    assert lines[-1] == "measuring exact matches on bin1: 18/20 batches"
    assert call(capsys, "eval", "run", "--sequences", "8", "--quiet")[2] == ""
