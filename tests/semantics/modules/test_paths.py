"""Whatever a path leads to, a program, a `use` and an `init from` say at once what it is."""

import os
import signal
import socket

import pytest

from nestdsl.compiler import analyse
from nestdsl.diagnostics import NestError
from nestdsl.files import NotAFileError, open_file
from nestdsl.limits import MAX_PATH_LENGTH
from nestdsl.syntax.files import read_source

SECONDS = 20
NAMES = [
    "missing",
    "folder",
    "pipe",
    "socket",
    "own_link",
    "circle_of_links",
    "broken_link",
    "link_to_folder",
    "link_to_pipe",
    "link_to_device",
    "in_a_file/name",
    "in_a_pipe/name",
    "in_own_link/name",
    "unreadable",
    "n" * 255,
    "n" * 256,
    "n" * 300,
    "n/" * 300,
    "n" * 5000,
    "n/" * (MAX_PATH_LENGTH - 10),
    "../" * 300,
    "./" * 300 + "missing",
    ".",
    "..",
    " ",
    "a\tb",
    "\u202e",
    "\ud7ff",
]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """One of everything that a path can lead to; a wait ends in an error."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    os.mkfifo("pipe")
    os.symlink("own_link", "own_link")
    os.symlink("circle_of_links_2", "circle_of_links")
    os.symlink("circle_of_links", "circle_of_links_2")
    os.symlink("missing", "broken_link")
    os.symlink("folder", "link_to_folder")
    os.symlink("pipe", "link_to_pipe")
    os.symlink("/dev/zero", "link_to_device")
    (tmp_path / "in_a_file").write_text("")
    os.mkfifo("in_a_pipe")
    os.symlink("in_own_link", "in_own_link")
    (tmp_path / "unreadable").write_text("block unreadable { flow out = in }")
    (tmp_path / "unreadable").chmod(0)
    bound = socket.socket(socket.AF_UNIX)
    bound.bind("socket")

    def late(number, frame):
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    yield tmp_path
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    bound.close()


def can_be_read(name: str) -> bool:
    return name == "unreadable" and os.access(name, os.R_OK)


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:20].encode("unicode_escape").decode())
def test_every_path_at_every_door(name, folder):
    if not can_be_read(name):
        with pytest.raises(NestError) as raised:
            read_source(name)
        (diagnostic,) = raised.value.diagnostics
        assert diagnostic.code == "N0003"
        assert diagnostic.hint

    (folder / "using.nest").write_text(f'use "{name}"\nblock b {{ flow out = in -> linear }}\n', "utf-8")
    found = analyse(read_source("using.nest")).diagnostics
    assert [one.code for one in found] == (
        [] if can_be_read(name) else ["N0004" if len(name) > MAX_PATH_LENGTH else "N0105"]
    )

    (folder / "starting.nest").write_text(
        f'model m {{\n input vectors(8)\n level l = linear {{ init from "{name}:key" }}\n'
        " flow out = in -> l\n}\n",
        "utf-8",
    )
    (only,) = analyse(read_source("starting.nest")).diagnostics
    assert only.code in ("N0003", "N0004", "N0502")
    assert (only.code == "N0502") == can_be_read(name)
    assert only.hint and only.span.line == 3


@pytest.mark.parametrize(
    "name", ["/dev/zero", "/dev/null", "/dev/stdin", "/dev/tty", "/proc/self/mem", "/proc"]
)
def test_files_of_the_system(name):
    if os.path.exists(name):
        with pytest.raises(NestError) as raised:
            read_source(name)
        assert raised.value.diagnostics[0].code in ("N0003", "N0004")


def test_a_pipe_that_takes_the_place_of_a_file(folder, monkeypatch):
    """What is opened is looked at as well: it may have changed since."""
    status = os.stat(folder / "in_a_file")
    monkeypatch.setattr(os, "stat", lambda path, **options: status)
    with pytest.raises(NotAFileError, match="a pipe"):
        open_file("pipe")
    with pytest.raises(NotAFileError, match="a device"):
        open_file("/dev/zero")
    with pytest.raises(IsADirectoryError):
        open_file("folder")


def test_nobody_is_left_open(folder):
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for name in NAMES * 3:
        with pytest.raises((OSError, ValueError)) if not can_be_read(name) else open_file(name):
            open_file(name).close()
    if before:
        assert len(os.listdir("/proc/self/fd")) == before
