"""Every command as a process of its own, where streams are full, closed, or know few characters."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nestdsl.characters import in_ascii
from tests.cli.commands import PROGRAM, QUICK, TEXT, WITH_TORCH, WITHOUT_TORCH

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the environments are those of POSIX")

NESTDSL = (sys.executable, "-m", "nestdsl")
TRAIN = ("train", "m.nest", "--data", "text.txt", *QUICK)

# Commands one after another, each with what it wrote and its status; the streams stay those of the process.
EACH = """
import sys
from nestdsl.cli.main import main
for arguments in eval(sys.argv[1]):
    for stream in (sys.stdout, sys.stderr):
        print("$", *map(ascii, arguments), file=stream, flush=True)
    try:
        status = main(arguments)
    except SystemExit as exit:
        status = exit.code
    print("status", status, flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "m.nest").write_text(PROGRAM)
    (tmp_path / "wrong.nest").write_text(PROGRAM.replace("matrix(2)", "matrxi(2)  # → é 日本"))
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path


def environment(**changes: str) -> dict[str, str]:
    """That of the tests, without what decides how Python reads and writes."""
    decides = ("PYTHONIOENCODING", "PYTHONUNBUFFERED", "PYTHONUTF8", "PYTHONCOERCECLOCALE", "LANG", "LC_ALL",
               "LC_CTYPE", "TERM", "NO_COLOR", "FORCE_COLOR", "COLUMNS")  # fmt: skip
    return {name: value for name, value in os.environ.items() if name not in decides} | changes


def shell(folder: Path, streams: str, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """A command with its streams redirected as a shell does it."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {streams}', "sh", *NESTDSL, *arguments],
        cwd=folder, env=environment(LC_ALL="C.UTF-8", **changes), capture_output=True, text=True, check=False,
    )  # fmt: skip


# --- encodings -----------------------------------------------------------------------------


def written(
    folder: Path, commands: tuple[tuple[str, ...], ...], encoding: str, **changes: str
) -> tuple[str, str]:
    """What some commands write to standard output and to standard error, in a process of their own."""
    done = subprocess.run(
        [sys.executable, "-c", EACH, ascii(commands)],
        cwd=folder, env=environment(**changes), capture_output=True, check=True,
    )  # fmt: skip
    return done.stdout.decode(encoding), done.stderr.decode(encoding)


OF_STREAMS = [
    ("ascii", {"PYTHONIOENCODING": "ascii", "LC_ALL": "C.UTF-8"}),
    ("latin-1", {"PYTHONIOENCODING": "latin-1", "PYTHONUNBUFFERED": "1", "LC_ALL": "C.UTF-8"}),
    ("ascii", {"PYTHONIOENCODING": "ascii:strict", "PYTHONUNBUFFERED": "1", "LC_ALL": "C.UTF-8"}),
    ("cp1252", {"PYTHONIOENCODING": "cp1252", "LC_ALL": "C.UTF-8"}),
]
OF_PLACES = [
    ("ascii", {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}),
    ("utf-8", {"LC_ALL": "C"}),
    ("utf-8", {"LC_ALL": "POSIX"}),
]
"""Where names of files, too, have another encoding."""


def check_encodings(folder: Path, commands: tuple[tuple[str, ...], ...], encodings) -> None:
    """Statuses are those of UTF-8, and so is the text but for what the encoding does not have."""
    expected = written(folder, commands, "utf-8", LC_ALL="C.UTF-8")
    assert expected[0].count("\nstatus ") == len(commands)
    assert any(not text.isascii() for text in expected)
    for encoding, changes in encodings:
        for found, whole in zip(written(folder, commands, encoding, **changes), expected, strict=True):
            assert "Traceback" not in found
            if encoding in ("ascii", "utf-8"):
                assert found == (in_ascii(whole) if encoding == "ascii" else whole)
            assert in_ascii(found) == in_ascii(whole)


HELPS = tuple((name, "--help") for name in ("check", "compile", "train", "generate", "render"))
WRONG = (("check", "nichts→.nest"), ("compile", "é.nest"), ("explain", "日本"))


def test_poor_encodings_show_what_they_can(folder) -> None:
    check_encodings(folder, (*WITHOUT_TORCH, *HELPS, *WRONG), OF_STREAMS[:2])


@pytest.mark.slow
def test_every_encoding_shows_what_it_can(folder) -> None:
    check_encodings(folder, (*WITHOUT_TORCH, *HELPS, *WRONG), OF_STREAMS)
    check_encodings(folder, WITHOUT_TORCH, OF_PLACES)


@pytest.mark.slow
def test_every_encoding_shows_what_it_can_of_commands_with_torch(folder) -> None:
    assert shell(folder, "", *TRAIN, "--out", "run", "--quiet").returncode == 0
    commands = (*(one for one in WITH_TORCH if one[0] in ("compile", "eval", "generate")), ("eval", "é→"))
    check_encodings(folder, commands, OF_STREAMS)


# --- full and closed -----------------------------------------------------------------------

FULL = "standard output cannot be written: No space left on device"
CLOSED = "standard output cannot be written: it is closed"

PRINTED = (("--help",), ("--version",), ("train", "--help"), *WITHOUT_TORCH)


# As EACH, but standard output is opened again before each command; what comes of it goes to standard error.
EACH_FULL = """
import os, sys
from nestdsl.cli.main import main
for arguments in eval(sys.argv[1]):
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
    try:
        status = main(arguments)
    except SystemExit as exit:
        status = exit.code
    print("status", status, *arguments, file=sys.stderr, flush=True)
"""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["fails at the end", "fails in print"])
def test_a_full_standard_output_is_a_diagnostic(folder, unbuffered) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EACH_FULL, repr(PRINTED)],
        cwd=folder, env=environment(PYTHONUNBUFFERED=unbuffered), capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = re.findall(r"(.*?)^status (\S+) (.*?)\n", done.stderr, re.DOTALL | re.MULTILINE)
    assert [words for _, _, words in found] == [" ".join(arguments) for arguments in PRINTED]
    for said, status, words in found:
        assert status == "1", words
        assert "N0504" in said and FULL in said, words
        assert said.count("\n") in (1, 4), words  # as JSON, for GitHub or for people: just this


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_full_and_closed_streams_of_all_sorts(folder) -> None:
    check, wrong = ("check", "m.nest"), ("compile", "wrong.nest")
    for streams, said in ((">&- 2>&- <&-", ""), (">&-", CLOSED), ("> /dev/full", FULL)):
        done = shell(folder, streams, *check)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"error[N0504]: {said}\n") if said else done.stderr == ""
    for streams in ("2>&- <&-", "2> /dev/full"):
        done = shell(folder, streams, *check)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "1 program checked: no problems found\n"
        done = shell(folder, streams, *wrong)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    assert shell(folder, "2>&-", "check", "--zzz").returncode == 2


def test_a_file_is_written_though_standard_output_is_closed(folder) -> None:
    done = shell(folder, ">&-", "compile", "m.nest", "-o", "plan.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "plan.yaml").read_text().startswith("format:")


def test_a_closed_stream_is_not_taken_by_a_file(folder) -> None:
    """Else what a library writes to standard error would stand in the first file that is opened."""
    numbers = "import os; from nestdsl.terminal import standard_streams\nwith standard_streams(): "
    code = f"{numbers}file = open('new', 'w'); os.write(2, b'lost'); print(file.fileno(), file=file)"
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code]
    assert subprocess.run(command, cwd=folder, check=False).returncode == 0
    assert int((folder / "new").read_text()) > 2


def test_a_run_whose_standard_error_is_closed_is_trained_and_its_result_printed(folder) -> None:
    done = shell(folder, "2>&-", *TRAIN, "--out", "run")
    assert (done.returncode, done.stderr) == (0, "")
    assert "after 1 step (" in done.stdout
    assert (folder / "run" / "checkpoint.safetensors").exists()


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_full_and_closed_streams_of_commands_with_torch(folder) -> None:
    for number, streams in enumerate(("2> /dev/full", "2>&1 <&-", "2> /dev/full <&-")):
        done = shell(folder, streams, *TRAIN, "--out", f"run{number}")
        assert done.returncode == 0, done.stderr
        assert "after 1 step (" in done.stdout
    done = shell(folder, "> /dev/full", *TRAIN, "--out", "run")
    assert done.returncode == 1
    assert f"error[N0504]: {FULL}\n" in done.stderr
    assert (folder / "run" / "checkpoint.safetensors").exists()  # only the last line is lost
    assert shell(folder, "", *TRAIN, "--out", "new", "--quiet").returncode == 0
    for arguments in WITH_TORCH:
        if arguments[0] == "train":
            continue
        for streams, said in (("> /dev/full", FULL), (">&-", CLOSED)):
            done = shell(folder, streams, *arguments)
            assert done.returncode == 1
            assert f"error[N0504]: {said}\n" in done.stderr
        done = shell(folder, "2>&-", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout


# --- a reader that goes --------------------------------------------------------------------


@pytest.mark.parametrize("unbuffered", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"])
def test_a_reader_that_goes_is_no_fault(folder, unbuffered) -> None:
    (folder / "long.nest").write_text("".join(f"param p{number} = \n" for number in range(2000)))
    for arguments, reader in ((("explain", "m.nest"), "head -c 10"), (("check", "long.nest"), "true")):
        command = ["sh", "-c", f'{{ "$@"; echo "status $?" >&2; }} | {reader}', "sh", *NESTDSL, *arguments]
        done = subprocess.run(
            command, cwd=folder, env=environment(**unbuffered), capture_output=True, text=True, check=False
        )
        assert done.stderr in ("status 0\n", "status 1\n")


@pytest.mark.slow
def test_a_run_goes_on_though_nobody_reads_its_progress(folder) -> None:
    script = '{ "$@" 2>&1 >out.txt; echo "status $?" > status.txt; } | true'
    command = ["sh", "-c", script, "sh", *NESTDSL, *TRAIN, "--out", "run"]
    subprocess.run(command, cwd=folder, env=environment(), check=True)
    assert (folder / "status.txt").read_text() == "status 0\n"
    assert "after 1 step (" in (folder / "out.txt").read_text()
