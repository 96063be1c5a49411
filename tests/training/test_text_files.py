"""What stands in the place of text: never a wait, never a traceback, and memory for one copy."""

import os
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nestdsl.diagnostics import NestError
from nestdsl.files import NotAFileError, open_file
from nestdsl.training.data import text_files
from nestdsl.training.data.text import read_text
from nestdsl.training.data.text_files import read_texts

posix = pytest.mark.skipif(os.name != "posix", reason="pipes, sockets and devices have no names there")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))


def linked(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


IN_PLACE_OF_A_FILE = {
    "pipe": pipe,
    "socket": listening,
    "zeros": linked("/dev/zero"),
    "nothing": linked("/dev/null"),
    "terminal": linked("/dev/tty"),
    "broken link": linked("gone"),
    "link to itself": linked("link to itself"),
    "link to a pipe": lambda path: (pipe(path.with_name("its pipe")), linked("its pipe")(path)),
    "long link": linked("x" * 300),
}


@posix
@pytest.mark.parametrize("name", IN_PLACE_OF_A_FILE)
def test_what_is_no_file_is_refused_at_once(tmp_path, monkeypatch, name) -> None:
    monkeypatch.chdir(tmp_path)
    IN_PLACE_OF_A_FILE[name](tmp_path / name)
    begun = time.monotonic()
    with pytest.raises(NestError) as raised:
        read_texts(name)
    (found,) = raised.value.diagnostics
    assert found.code == "N0003"
    assert name in found.message
    assert time.monotonic() - begun < 5


@posix
def test_a_folder_leaves_out_what_is_no_file(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("text")
    for name, make in IN_PLACE_OF_A_FILE.items():
        if name != "long link":  # a name too long for the system is no text that could be left out
            make(tmp_path / name)
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside/up").symlink_to("..")  # folders are read once, not through links
    texts = read_texts(".")
    assert bytes(texts.whole) == b"text"
    assert texts.skipped == len(IN_PLACE_OF_A_FILE)  # and the pipe that a link leads to


@posix
def test_what_becomes_a_pipe_after_it_was_looked_at_is_not_waited_for(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("text")
    looked, whole = os.stat(tmp_path / "file"), os.stat
    os.remove(tmp_path / "file")
    pipe(tmp_path / "file")
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", lambda path: looked)
        with pytest.raises(NotAFileError, match="is a pipe"):
            open_file(tmp_path / "file")
    assert os.stat is whole


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="only root can become somebody else")
def test_files_and_folders_without_rights(tmp_path) -> None:
    """As somebody else in a process of its own: root may read everything."""
    for path in (tmp_path, *tmp_path.parents[:-1]):
        path.chmod(path.stat().st_mode | 0o555)
    (tmp_path / "text").mkdir()
    (tmp_path / "text/secret.txt").write_text("secret")
    (tmp_path / "text/secret.txt").chmod(0)
    (tmp_path / "locked").mkdir(mode=0o700)
    (tmp_path / "locked/text.txt").write_text("text")
    script = """
        import os, sys
        from nestdsl.diagnostics import NestError
        from nestdsl.training.data.text_files import read_texts
        import nestdsl.diagnostics.render
        os.setuid(65534)
        for name in ("text/secret.txt", "text", "locked", "locked/text.txt", "."):
            try:
                print("read", read_texts(name))
            except NestError as error:
                (found,) = error.diagnostics
                print(found.code, found.message)
    """
    done = _python(script, cwd=tmp_path)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "N0003 cannot read `text/secret.txt`: Permission denied",
        "N0003 cannot read `text/secret.txt`: Permission denied",
        "N0003 cannot read `locked`: Permission denied",
        "N0003 data source not found: `locked/text.txt`",
        "N0003 cannot read `./locked`: Permission denied",
    ]


@pytest.mark.parametrize("change", ["grows", "shrinks", "is written again"])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch, change) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"x" * 100)
    os.utime(path, ns=(0, 0))
    monkeypatch.setattr(text_files, "_PIECE", 10)
    whole, pieces = text_files._not_text, []

    def meanwhile(decoder, piece, offset, *, may_hold_nul):
        pieces.append(piece)
        if len(pieces) == 3:
            content = b"y" * {"grows": 200, "shrinks": 40}.get(change, 100)
            path.write_bytes(content)
        return whole(decoder, piece, offset, may_hold_nul=may_hold_nul)

    monkeypatch.setattr(text_files, "_not_text", meanwhile)
    for source in (path, tmp_path):
        os.utime(path, ns=(0, 0))
        pieces.clear()
        with pytest.raises(NestError) as raised:
            read_texts(str(source))
        (found,) = raised.value.diagnostics
        assert (found.code, found.message) == ("N0003", f"`{path}` changed while it was read")
        assert found.hint


def test_a_file_that_grows_without_end_is_read_no_further_than_the_limit(tmp_path, monkeypatch) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(b"x" * 100)
    monkeypatch.setattr(text_files, "_PIECE", 10)
    monkeypatch.setattr(text_files, "MOST_BYTES", 500)
    whole = text_files._not_text

    def growing(decoder, piece, offset, *, may_hold_nul):
        with open(path, "ab") as file:
            file.write(b"y" * 20)
        return whole(decoder, piece, offset, may_hold_nul=may_hold_nul)

    monkeypatch.setattr(text_files, "_not_text", growing)
    with pytest.raises(NestError) as raised:
        read_texts(str(path))
    assert raised.value.diagnostics[0].code == "N0004"


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 2**20])
def test_the_place_that_is_not_text_is_where_it_is_in_pieces_of_any_length(
    tmp_path, monkeypatch, piece
) -> None:
    monkeypatch.setattr(text_files, "_PIECE", piece)
    path = tmp_path / "text.txt"
    path.write_text("zwölf – 漢字\n" * 3)
    assert bytes(read_texts(str(path)).whole) == path.read_bytes()
    for content, place in (
        (b"ab\xff", "byte 0xff at offset 2"),
        ("zwölf – 漢".encode()[:-1], "byte 0xe6 at offset 11"),
        ("–".encode() + b"\xe6\xbc", "byte 0xe6 at offset 3"),
        (b"\xc3(", "byte 0xc3 at offset 0"),
    ):
        path.write_bytes(content)
        with pytest.raises(NestError) as raised:
            read_texts(str(path))
        assert place in raised.value.diagnostics[0].message
        (tmp_path / "z.txt").write_text("z")
        texts = read_texts(str(tmp_path))  # beside others it is left out, with all of its bytes
        assert (bytes(texts.whole), texts.skipped) == (b"z", 1)


@pytest.mark.parametrize("source", ["", "\0", "a\0b", "x" * 5000, "\ud800", "task:", "task:\0", "\x1b[31m"])
def test_names_that_can_be_no_source(source) -> None:
    from nestdsl.training.data.sources import read_data

    with pytest.raises(NestError) as raised:
        read_data(source)
    assert raised.value.diagnostics[0].code in ("N0003", "N0501")


def test_a_source_may_be_a_path(tmp_path) -> None:
    from nestdsl.training.data.sources import read_data

    (tmp_path / "text.txt").write_text("text" * 10)
    assert read_data(tmp_path / "text.txt").source == str(tmp_path / "text.txt")
    with pytest.raises(NestError, match=r"(?s)`data` is the int 5.*give the name of a text file") as raised:
        read_data(5)  # type: ignore[arg-type]
    assert raised.value.diagnostics[0].code == "N0104"


@pytest.mark.skipif(sys.platform != "linux", reason="measures with /proc")
def test_text_takes_its_own_size_of_memory(tmp_path) -> None:
    """Of 128 MiB, in one file and in many; characters of several bytes took four times as much."""
    line = "das schöne Wetter – und mehr 漢字\n".encode()
    size = 2**27
    (tmp_path / "one.txt").write_bytes(line * (size // len(line)))
    (tmp_path / "many").mkdir()
    for number in range(40):
        (tmp_path / f"many/{number}.txt").write_bytes(line * (size // 40 // len(line)))
    script = """
        import resource, sys
        from nestdsl.training.data.text import read_text
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        data = read_text(sys.argv[1])
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    for name in ("one.txt", "many"):
        done = _python(script, name, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) * 1024 <= 1.2 * size


def test_a_hash_is_of_both_parts_and_their_border(tmp_path) -> None:
    """The fingerprint by which runs of before know their data again."""
    (tmp_path / "text.txt").write_text("das schöne Wetter\n" * 10)
    assert read_text(str(tmp_path / "text.txt")).fingerprint == "6f934434db081196d55a7a79a5e7acf8"


def _python(script: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(script), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
