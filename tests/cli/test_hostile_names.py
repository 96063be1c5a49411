"""Control characters in names, programs and words never reach the terminal, whatever prints them."""

import json
import logging
import re
import sys
import unicodedata
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from nestdsl.cli.main import main
from tests.cli.commands import PROGRAM, QUICK, TEXT, parsers

NAMES = [
    "\x1b[2J\x1b[31m\x1b]0;title\x07",
    "\x9b31m\x90q\x9c",
    "\x08\x08\x7f\x0c\x0b\rtwo",
    "[bold]\x1b[1m[red]",
]
"""CSI and OSC sequences, their C1 forms, what moves the cursor back, and rich's own markup."""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys, tmp_path, monkeypatch) -> Run:
    """Runs a command; nothing that it prints may hold a control character."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            status = main(arguments)
        except SystemExit as exit:
            status = int(exit.code or 0)
        out, err = capsys.readouterr()
        found = {c for c in out + err if unicodedata.category(c) == "Cc"} - {"\n", "\t"}
        assert not found, (arguments, out, err)
        assert "fault of nestdsl" not in err
        return status, out, err

    return run


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_that_every_command_prints(run, name) -> None:
    program, broken, missing = f"{name}m.nest", f"{name}wrong.nest", f"{name}none.nest"
    Path(program).write_text(PROGRAM)
    Path(broken).write_text(PROGRAM.replace("matrix(2)", "matrxi(2)"))

    def check(status: int, *arguments: str) -> tuple[str, str]:
        found, out, err = run(*arguments)
        assert found == status, (arguments, out, err)
        return out, err

    check(0, "fmt", program, "--diff")
    check(1, "fmt", program, "--check")
    assert "formatted" in check(0, "fmt", program)[0]
    check(0, "check", program)
    check(1, "check", broken, missing)
    for line in check(1, "check", broken, missing, "--format", "json")[0].splitlines():
        assert json.loads(line)["file"] in (broken, None)
    for line in check(1, "check", broken, missing, "--format", "github")[0].splitlines():
        assert re.match(r"::error (file=[^,]*,line=\d+,col=\d+,.*)?title=N\d+::", line)
    for command in ("compile", "render", "explain", "bench", "train"):
        check(1, command, missing)
        check(1, command, broken)
        check(1, command, f"{missing}:{name}")
        check(1, command, program, "--set", f"{name}=3")
        check(1, command, program, "--set", f"dim={name}")
        check(1, command, program, "--model", name)
    check(1, "explain", name)
    for command in parsers():
        required = ("--prompt", "x") if command == "generate" else ()
        check(2, command, "x", *required, f"--{name}")
        check(2, command, "x", *required, f"--zzz={name}")
    check(2, name)
    for emit in ("ast", "graph", "plan"):
        check(0, "compile", program, "--emit", emit)
    check(2, "compile", program, "--emit", name)
    check(0, "compile", program, "-o", f"{name}.yaml")
    check(1, "compile", program, "-o", f"{name}/none.yaml")
    check(0, "render", program, "-o", f"{name}.dot")
    check(1, "render", program, "-o", f"{name}.dot{name}")


@pytest.mark.parametrize("name", NAMES[:2], ids=ascii)
def test_names_that_a_run_prints(run, name) -> None:
    Path(f"{name}.nest").write_text(PROGRAM)
    Path(f"{name}.txt").write_text(TEXT)
    train = ("train", f"{name}.nest", *QUICK, "--out", f"{name}run")
    assert run(*train, "--data", f"{name}none")[0] == 1
    assert run(*train, "--data", f"task:{name}")[0] == 1
    assert run(*train, "--device", name)[0] == 1
    status, out, err = run(*train, "--data", f"{name}.txt")
    assert status == 0, err
    escaped = name.encode("unicode_escape").decode()
    assert f"run in {escaped}run" in out and f"{escaped}.txt: " in err
    assert run(*train, "--data", f"{name}.txt")[0] == 1  # there is a run already
    assert run(*train, "--resume", "--steps", "2")[0] == 0
    assert f" on {escaped}.txt, the data of the run" in run("eval", f"{name}run")[1]
    assert run("eval", f"{name}none")[0] == 1
    assert run("eval", f"{name}run", "--data", f"{name}none")[0] == 1
    assert run("generate", f"{name}none", "--prompt", name)[0] == 1
    assert run("generate", f"{name}run", "--prompt", name, "--tokens", "8")[0] == 0
    Path(f"{name}.txt").unlink()
    assert run("eval", f"{name}run")[0] == 1  # the name comes from the checkpoint
    assert run(*train, "--resume", "--steps", "3")[0] == 1


@pytest.mark.parametrize("text", NAMES, ids=ascii)
def test_programs_that_every_command_shows(run, text) -> None:
    line = text.replace("\r", "\x1b")  # which would end the line
    for number, place in enumerate((f"# {line}\n", f'use "{line}"\n', f"{line}\n", f"param a = {line}\n")):
        Path("m.nest").write_text(place + PROGRAM, newline="")
        for command in (("check",), ("fmt", "--check"), ("fmt", "--diff"), ("compile",), ("explain",)):
            status = run(*command, "m.nest")[0]
            assert status in (0, 1)
            assert number == 0 or command[0] == "fmt" or status == 1
        for emit in ("ast", "graph", "plan"):
            run("compile", "m.nest", "--emit", emit)


def test_what_libraries_say(capsys, tmp_path, monkeypatch) -> None:
    """A warning and a traceback: nothing of ours writes them."""

    def warn(arguments: object) -> int:
        sys.stderr.write(warnings.formatwarning("of \x1b[2J", UserWarning, "\x9b31m", 1))
        assert logging.lastResort is not None
        logging.lastResort.handle(logging.makeLogRecord({"msg": "logged \x1b[2J"}))
        raise NotImplementedError("raised \x1b[2J")

    monkeypatch.setattr("nestdsl.cli.check.run", warn)
    assert main(["check", str(tmp_path)]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "\x1b" not in err and "\x9b" not in err
    assert r"\x9b31m:1: UserWarning: of \x1b[2J" in err
    assert r"logged \x1b[2J" in err
    assert r"NotImplementedError: raised \x1b[2J" in err
    assert "This is a fault of nestdsl" in err
