"""Ctrl-C, whenever it comes: a word, status 130, and no traceback."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nestdsl.interrupts import interrupts_held

ROOT = Path(__file__).parents[2]
HOPE = str(ROOT / "examples/hope.nest")

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="sends a signal"),
    pytest.mark.usefixtures("interrupts_arrive"),
]


def interrupted(arguments: tuple[str, ...], imported: str, delay: float, folder: Path) -> tuple[int, str]:
    """Interrupts a command `delay` seconds after it has imported a module; its status and errors."""
    # `-X importtime` writes each module's name on standard error once it is imported.
    command = [sys.executable, "-X", "importtime", "-m", "nestdsl", *arguments]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if line.rsplit("|", 1)[-1].strip() == imported:
                break
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    return process.returncode, "".join(
        line for line in err.splitlines(True) if not line.startswith("import time:")
    )


@pytest.mark.parametrize(
    ("imported", "delay"),
    [("argparse", 0.0), ("networkx.convert", 0.0), ("torch._C", 0.0),
     ("torch.nn", 0.1), ("torch._dynamo", 0.0)],
)  # fmt: skip
def test_an_interrupt_while_modules_are_imported(tmp_path, imported, delay) -> None:
    status, err = interrupted(("train", HOPE, "--data", HOPE, "--out", "run"), imported, delay, tmp_path)
    assert (status, err) == (130, "stopped\n")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("arguments", [("eval", "run"), ("generate", "run", "--prompt", "x")])
def test_an_interrupt_of_other_commands_that_import_torch(tmp_path, arguments) -> None:
    assert interrupted(arguments, "torch.nn", 0.0, tmp_path) == (130, "stopped\n")


def test_an_interrupt_that_is_held_back_comes_at_the_end() -> None:
    passed = []

    def interrupted_twice() -> None:
        with interrupts_held() as held:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            passed.append(held.interrupted)

    with pytest.raises(KeyboardInterrupt):
        interrupted_twice()
    assert passed == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_comes_before_the_interrupt() -> None:
    def wrong() -> None:
        with interrupts_held():
            signal.raise_signal(signal.SIGINT)
            raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        wrong()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ignored_interrupts_stay_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts_held() as held:
            signal.raise_signal(signal.SIGINT)
        assert not held.interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_run_that_was_started_to_ignore_interrupts_goes_on_to_its_end(tmp_path) -> None:
    """As `nohup` and `&` in a script do it: what such a shell starts is not for its Ctrl-C to end."""
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over the lazy dog\n" * 400)
    small = ("--set", "dim=16", "--set", "depth=1", "--eager", "--batch", "1", "--tokens", "256")
    run = ("train", HOPE, "--data", "text.txt", "--out", "run", "--steps", "3", "--quiet", *small)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    process = subprocess.Popen(
        [sys.executable, "-m", "nestdsl", *run],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    signal.signal(signal.SIGINT, before)
    try:
        sent = 0
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            sent += 1
            time.sleep(0.2)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, err) == (0, "")
    assert "after 3 steps" in out
    assert sent > 3
