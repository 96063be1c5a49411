"""Where compiled code is kept: nobody else can put code there, and no place that fails is a traceback."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nestdsl import processor
from nestdsl.diagnostics import NestError
from nestdsl.runtime import compile_cache
from nestdsl.runtime.compile_cache import (
    VARIABLE,
    UnsafeFolder,
    cache_is_written,
    private_folder,
    use_compile_cache,
    user_cache,
)
from tests.docs.test_docs import ROOT

STEP = """
import os, sys, torch, nestdsl
layer = torch.nn.Linear(8, 8)
optimizer = nestdsl.optimizer("std.optim:sgd", layer.parameters(), lr=1e-2)
layer(torch.randn(2, 8)).sum().backward()
optimizer.step()
print(os.environ.get("TORCHINDUCTOR_CACHE_DIR"))
"""


_REMEMBERED = (compile_cache._folder, compile_cache._private_temporary, compile_cache._warn)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A user's cache of its own, and what torch has of it as it was before."""
    from torch._inductor import codecache

    for name in ("_HEADER_DIR", "_HEADER_LOCK_DIR"):
        monkeypatch.setattr(codecache, name, getattr(codecache, name))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr(compile_cache, "_instead", {})
    for function in _REMEMBERED:
        function.cache_clear()
    yield tmp_path / "cache"
    for function in _REMEMBERED:
        function.cache_clear()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_in_the_users_cache_and_theirs_alone(place: Path) -> None:
    from torch._inductor import codecache
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    folder = use_compile_cache()
    assert folder.parent == place / "nestdsl" and cache_dir() == str(folder)
    assert {mode(place), mode(folder.parent), mode(folder)} == {0o700}
    assert codecache._HEADER_DIR.startswith(f"{folder}{os.sep}")
    assert torch.__version__ in folder.name and folder.name.endswith(f"-{torch.get_num_threads()}-threads")


def test_threads_and_processors_have_folders_of_their_own(place: Path, monkeypatch) -> None:
    found = [use_compile_cache()]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    found.append(use_compile_cache())
    monkeypatch.setattr(processor, "description", lambda: "another one")
    compile_cache._folder.cache_clear()
    found.append(use_compile_cache())
    assert len(set(found)) == 3 and {folder.parent for folder in found} == {place / "nestdsl"}
    assert os.environ[VARIABLE] == str(found[-1])


def test_the_defaults_are_no_wish_of_the_user(place: Path, monkeypatch) -> None:
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    of_another_process = str(Path(tempfile.gettempdir(), "nestdsl-compiled-gone"))
    for named in (default_cache_dir(), of_another_process, str(place / "nestdsl" / "torch-of-a-parent")):
        monkeypatch.setenv(VARIABLE, named)
        assert use_compile_cache() == place / "nestdsl" / compile_cache._key(torch.get_num_threads())
    assert not Path(of_another_process).exists()


def test_a_folder_that_the_user_names_stays(place: Path, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "mine" / "own"))
    assert use_compile_cache() == tmp_path / "mine" / "own" and (tmp_path / "mine" / "own").is_dir()
    assert os.environ[VARIABLE] == str(tmp_path / "mine" / "own") and not place.exists()


@pytest.mark.parametrize("bad", ["file", "under a file", "proc"])
def test_one_that_cannot_be_written_is_set_aside_in_words(
    place, monkeypatch, tmp_path: Path, bad: str
) -> None:
    (tmp_path / "file").write_text("")
    wrong = {"file": tmp_path / "file", "under a file": tmp_path / "file" / "x", "proc": "/proc/none"}[bad]
    monkeypatch.setenv(VARIABLE, str(wrong))
    assert use_compile_cache(compiles=False).is_dir()  # and says nothing yet
    with pytest.warns(RuntimeWarning, match=rf"for this process only, in `.*`: `{wrong}`: ") as warned:
        folder = use_compile_cache()
    assert len(warned) == 1 and os.environ[VARIABLE] == str(folder) and mode(folder) == 0o700


# --- whose folder it is -----------------------------------------------------------------------


def by_others(place: Path) -> None:
    (place / "nestdsl").mkdir(parents=True)
    (place / "nestdsl").chmod(0o777)


def by_a_group(place: Path) -> None:
    (place / "nestdsl").mkdir(parents=True)
    os.chown(place / "nestdsl", -1, 4242)
    (place / "nestdsl").chmod(0o770)


def in_an_open_folder(place: Path) -> None:
    place.mkdir()
    place.chmod(0o777)


def of_another(place: Path) -> None:
    (place / "nestdsl").mkdir(parents=True)
    os.chown(place / "nestdsl", 4242, -1)


def in_a_folder_of_another(place: Path) -> None:
    place.mkdir()
    os.chown(place, 4242, -1)


def a_link_to_an_open_folder(place: Path) -> None:
    place.mkdir()
    target = place.parent / "target"
    target.mkdir()
    target.chmod(0o777)
    (place / "nestdsl").symlink_to(target)


def a_file(place: Path) -> None:
    place.mkdir()
    (place / "nestdsl").write_text("")


def below_a_file(place: Path) -> None:
    place.write_text("")


def a_link_to_nothing(place: Path) -> None:
    place.mkdir()
    (place / "nestdsl").symlink_to(place / "nothing" / "there")


NEEDS_ROOT = {by_a_group, of_another, in_a_folder_of_another}
PREPARED = {
    by_others: "other users may write to",
    by_a_group: "other users may write to",
    in_an_open_folder: "other users may write to",
    of_another: "belongs to another user",
    in_a_folder_of_another: "belongs to another user",
    a_link_to_an_open_folder: "other users may write to",
    a_file: "Not a directory",
    below_a_file: "Not a directory",
    a_link_to_nothing: "File exists",
}


@pytest.mark.skipif(os.name != "posix", reason="modes of folders say nothing")
@pytest.mark.parametrize("prepare", PREPARED, ids=lambda prepare: prepare.__name__)
def test_a_folder_that_others_could_prepare_is_never_used(place: Path, prepare) -> None:
    if prepare in NEEDS_ROOT and os.geteuid() != 0:
        pytest.skip("only root can give folders to others")
    prepare(place)
    if place.is_dir():
        (place / "nestdsl-was-here").touch()
    with pytest.warns(RuntimeWarning, match=f"for this process only, in .*{PREPARED[prepare]}"):
        folder = use_compile_cache()
    assert use_compile_cache() == folder  # the same one for the whole process, and said once
    assert place not in folder.parents and folder.parent == Path(tempfile.gettempdir())
    assert mode(folder) == 0o700 and folder.stat().st_uid == os.geteuid()


@pytest.mark.skipif(os.name != "posix", reason="modes of folders say nothing")
def test_a_folder_that_the_user_names_is_used_and_warned_of(place: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "named").mkdir()
    (tmp_path / "named").chmod(0o777)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "named"))
    with pytest.warns(RuntimeWarning, match="loaded from .* but other users may write to"):
        assert use_compile_cache() == tmp_path / "named"
    assert not place.exists()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give folders to others")
def test_nothing_is_made_in_a_folder_of_another(tmp_path: Path) -> None:
    home = tmp_path / "other"
    home.mkdir()
    os.chown(home, 65534, 65534)
    with pytest.raises(UnsafeFolder, match="belongs to another user"):
        private_folder(home / ".cache" / "nestdsl")
    assert not any(home.iterdir())


def test_folders_that_only_this_user_can_change_are_taken(tmp_path: Path) -> None:
    real = tmp_path / "elsewhere"
    real.mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(real)
    assert private_folder(tmp_path / "link" / "nestdsl") == real / "nestdsl"
    (tmp_path / "readable").mkdir()
    (tmp_path / "readable").chmod(0o755)
    private_folder(tmp_path / "readable")
    assert mode(tmp_path / "readable") == 0o700  # what is in it may have been made open to others


def test_no_place_at_all_is_an_error_in_words(place: Path, monkeypatch) -> None:
    place.write_text("")

    def nowhere(prefix: str) -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "mkdtemp", nowhere)
    with pytest.raises(NestError, match=r"N0504.*no place for what is compiled.*Not a directory"):
        use_compile_cache()


def test_the_habits_of_platforms(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    for platform, wanted in (("linux", ".cache"), ("darwin", "Library/Caches"), ("win32", "AppData/Local")):
        monkeypatch.setattr(sys, "platform", platform)
        assert user_cache() == tmp_path / wanted

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(UnsafeFolder, match="no home"):
        user_cache()


# --- what goes wrong later --------------------------------------------------------------------


class Wrapped(RuntimeError):
    def __init__(self, inner: Exception) -> None:
        super().__init__(str(inner))
        self.inner_exception = inner


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (Wrapped(OSError(28, "No space left on device")), "No space left on device"),
        (Wrapped(OSError(30, "Read-only file system", "/anywhere")), "Read-only file system"),
        (OSError(13, "Permission denied", "CACHE/ab/x.py"), "Permission denied"),
        (RuntimeError("C++ compile error: No space left on device"), "No space left on device"),
        (OSError(13, "Permission denied", "/elsewhere/x.py"), None),
        (Wrapped(ValueError("a fault of torch")), None),
        (RuntimeError("tried to allocate 3 GiB"), None),
    ],
)
def test_a_folder_that_can_no_longer_be_written(monkeypatch, tmp_path: Path, error, says: str | None) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    if isinstance(error, OSError) and error.filename:
        error.filename = error.filename.replace("CACHE", str(tmp_path))
    with pytest.raises(type(error) if says is None else NestError) as raised, cache_is_written():
        raise error
    assert says is None or f"cannot be written to `{tmp_path}`: {says}" in str(raised.value)


# --- as real processes ------------------------------------------------------------------------


def process(tmp_path: Path, code: str = STEP, **environment: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "tmp").mkdir(exist_ok=True)
    clean = {name: value for name, value in os.environ.items() if name not in (VARIABLE, "XDG_CACHE_HOME")}
    own = {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "tmp"), **environment}
    return subprocess.run([sys.executable, "-c", code], env=clean | own, capture_output=True, text=True)


def slow(*values: object):
    return pytest.param(*values, marks=pytest.mark.slow)


def test_a_process_leaves_nothing_where_others_could_put_code(tmp_path: Path) -> None:
    done = process(tmp_path, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert (done.returncode, done.stderr) == (0, "")
    folder = Path(done.stdout.strip())
    assert folder.parent == tmp_path / "cache" / "nestdsl" and list(folder.rglob("*.so"))
    assert not list((tmp_path / "tmp").rglob("*.so")) and not list((tmp_path / "tmp").rglob("*.gch"))


@pytest.mark.parametrize(
    ("environment", "status", "says"),
    [
        ({"XDG_CACHE_HOME": "/proc/none"}, 0, "kept for this process only, in `TMP/nestdsl-compiled-"),
        ({VARIABLE: "/proc/none"}, 0, "kept for this process only, in `TMP/nestdsl-compiled-"),
        slow({"HOME": "/dev/null"}, 0, "kept for this process only, in `TMP/nestdsl-compiled-"),
        slow({VARIABLE: "/dev/null"}, 0, "kept for this process only, in `TMP/nestdsl-compiled-"),
    ],
)
def test_places_that_cannot_be_written(tmp_path: Path, environment, status: int, says: str) -> None:
    done = process(tmp_path, **environment)
    assert done.returncode == status
    assert says.replace("TMP", str(tmp_path / "tmp")) in done.stderr
    assert not list((tmp_path / "tmp").glob("nestdsl-*"))  # it is removed at the end
