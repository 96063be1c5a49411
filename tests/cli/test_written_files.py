"""What commands write stands in its file whole, or the file is what it was."""

import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from nestdsl import files
from nestdsl.cli.main import main
from nestdsl.diagnostics import NestError
from nestdsl.files import write_whole
from tests.cli.commands import PROGRAM

posix = pytest.mark.skipif(os.name != "posix", reason="modes, links and limits of POSIX")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.nest").write_text(PROGRAM)
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- fmt -----------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("mode", [0o644, 0o600, 0o664, 0o755, 0o400 | 0o200])
def test_fmt_keeps_the_mode(folder, mode) -> None:
    (folder / "m.nest").chmod(mode)
    assert main(["fmt", "m.nest"]) == 0
    assert (folder / "m.nest").read_text() != PROGRAM
    assert stat.S_IMODE((folder / "m.nest").stat().st_mode) == mode
    assert names(folder) == ["m.nest"]


@posix
def test_fmt_writes_the_file_behind_a_link(folder) -> None:
    (folder / "there").mkdir()
    (folder / "m.nest").rename(folder / "there" / "real.nest")
    (folder / "there" / "real.nest").chmod(0o640)
    (folder / "there" / "relative.nest").symlink_to("real.nest")
    (folder / "link.nest").symlink_to(folder / "there" / "relative.nest")
    assert main(["fmt", "link.nest"]) == 0
    assert (folder / "link.nest").is_symlink() and (folder / "there" / "relative.nest").is_symlink()
    real = folder / "there" / "real.nest"
    assert not real.is_symlink() and stat.S_IMODE(real.stat().st_mode) == 0o640
    assert "level embed = embedding" in real.read_text()
    assert names(folder) == ["link.nest", "there"]
    assert names(folder / "there") == ["real.nest", "relative.nest"]
    assert main(["fmt", "link.nest", "--check"]) == 0


@posix
@pytest.mark.parametrize("is_link", [False, True])
def test_fmt_on_a_full_disk_loses_nothing(folder, is_link) -> None:
    """A limit of file sizes fails as a full disk does: in the middle of writing."""
    program = PROGRAM + "# long\n" * 2000
    target = folder / "m.nest"
    if is_link:
        (folder / "there").mkdir()
        target.unlink()
        target.symlink_to("there/m.nest")
        target = folder / "there" / "m.nest"
    target.write_text(program)
    done = subprocess.run(
        [sys.executable, "-m", "nestdsl", "fmt", "m.nest"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error[N0504]: m.nest cannot be written: File too large\n")
    assert target.read_text() == program
    assert names(target.parent) == ["m.nest"]


def test_fmt_goes_on_after_a_file_that_cannot_be_written(folder, capsys, monkeypatch) -> None:
    for name in ("a", "b"):
        (folder / f"{name}.nest").write_text(PROGRAM)
    whole = files._replace

    def replace(path: str, data: bytes, before: os.stat_result | None) -> None:
        if path == "a.nest":
            raise OSError(28, "No space left on device")
        whole(path, data, before)

    monkeypatch.setattr(files, "_replace", replace)
    assert main(["fmt", "a.nest", "b.nest"]) == 1
    out, err = capsys.readouterr()
    assert out == "b.nest formatted\n"
    assert "a.nest cannot be written: No space left on device" in err
    assert (folder / "a.nest").read_text() == PROGRAM != (folder / "b.nest").read_text()


# --- write_whole ---------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "full"), OSError(5, "broken"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("is_new", [False, True])
def test_whatever_fails_leaves_everything_as_it_was(folder, monkeypatch, step, error, is_new) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise error

    if is_new and step == "chmod":
        return  # a new file takes its mode from the process
    before = names(folder)
    monkeypatch.setattr(files.os, step, broken)
    path = "new.nest" if is_new else "m.nest"
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else NestError):
        write_whole(path, b"other", "")
    assert names(folder) == before
    assert (folder / "m.nest").read_text() == PROGRAM


@posix
def test_a_new_file_has_the_mode_of_any_other(folder) -> None:
    before = os.umask(0o027)
    try:
        write_whole("new", b"data", "")
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "new").stat().st_mode) == 0o640


@posix
def test_a_file_behind_a_link_that_is_not_there_yet_is_made(folder) -> None:
    (folder / "there").mkdir()
    (folder / "link").symlink_to("there/new")
    write_whole("link", b"data", "")
    assert (folder / "there" / "new").read_bytes() == b"data" and (folder / "link").is_symlink()


@posix
def test_what_is_no_file_is_written_to(folder, capsys) -> None:
    assert main(["compile", "m.nest", "-o", os.devnull]) == 0
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    os.mkfifo("pipe")
    reader = subprocess.Popen(["cat", "pipe"], stdout=subprocess.PIPE, text=True)
    assert main(["render", "m.nest", "-o", "pipe"]) == 1  # no suffix of a picture
    assert main(["compile", "m.nest", "-o", "pipe"]) == 0
    assert reader.communicate(timeout=60)[0].startswith("format:")
    assert stat.S_ISFIFO(os.stat("pipe").st_mode)
    if os.path.exists("/dev/full"):
        capsys.readouterr()
        assert main(["compile", "m.nest", "-o", "/dev/full"]) == 1
        assert "N0504" in capsys.readouterr().err


@posix
@pytest.mark.parametrize("command", ["fmt", "compile", "render"])
def test_a_file_without_the_right_to_write_is_left_alone(folder, capsys, monkeypatch, command) -> None:
    target = folder / ("m.nest" if command == "fmt" else "out.dot")
    if command != "fmt":
        target.write_text("before")
    content = target.read_text()
    target.chmod(0o444)
    monkeypatch.setattr(files.os, "access", lambda path, mode: False)  # who is root may do all
    assert main([command, "m.nest", *(() if command == "fmt" else ("-o", "out.dot"))]) == 1
    assert "cannot be written: it is read-only" in capsys.readouterr().err
    assert target.read_text() == content


@pytest.mark.parametrize("path", ["", "\0", "none/x", "m.nest/x", ".", "x" * 300, "none/"])
def test_paths_that_cannot_be_written(folder, path) -> None:
    before = names(folder)
    with pytest.raises(NestError) as raised:
        write_whole(path, b"data", "choose another")
    assert [one.code for one in raised.value.diagnostics] == ["N0504"]
    assert names(folder) == before
