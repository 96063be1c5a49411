"""A compiler that is missing, and one that does not work, are told apart; both leave a model that runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nestdsl.runtime import cpp_compiler
from nestdsl.runtime.compile_cache import VARIABLE
from tests.docs.test_docs import ROOT

PROGRAM = "model m {\n  input vectors(4)\n  flow out = in -> linear(4)\n}\n"
WORKS = 'case "$*" in *--version*|*-v) echo "g++ 13"; exit 0;; esac\n'
FAULTY = {
    "fails": (
        'echo "g++: internal trouble" >&2; exit 1',
        "the C++ compiler `g++` does not work (g++: internal trouble)",
    ),
    "says nothing": ("exit 7", "the C++ compiler `g++` does not work (it ends with status 7)"),
    "has no cc1plus": (
        f"{WORKS}echo 'In file included from a' >&2; echo 'g++: fatal error: cc1plus: not there' >&2; exit 1",
        "does not work (g++: fatal error: cc1plus: not there)",
    ),
    "makes nothing": (f"{WORKS}exit 0", "the C++ compiler `g++` does not work ("),
    "makes nonsense": (
        WORKS + 'while [ $# -gt 0 ]; do [ "$1" = -o ] && echo nonsense > "$2"; shift; done; exit 0',
        "the C++ compiler `g++` does not work (",
    ),
    "is of another machine": (None, "the C++ compiler `g++` does not work ("),
}


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], str]:
    """What is said of a compiler, by the PATH to look for it; nothing of it is remembered."""
    from torch._inductor import codecache, cpp_builder

    for name in ("_HEADER_DIR", "_HEADER_LOCK_DIR"):
        monkeypatch.setattr(codecache, name, getattr(codecache, name))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))

    def forget() -> None:
        cpp_builder.cpp_compiler_search.cache_clear()
        cpp_compiler._trial.cache_clear()
        # What this process has loaded, perhaps long before this test, would be used again.
        monkeypatch.setattr(codecache.CppCodeCache, "cache", {})

    def fault(path: str) -> str:
        monkeypatch.setenv("PATH", path)
        forget()
        try:
            return cpp_compiler.compiler_fault()
        finally:
            forget()

    return fault


def put(folder: Path, text: str | None) -> str:
    """A compiler, and a PATH on which it comes first."""
    folder.mkdir()
    (folder / "g++").write_bytes(b"\x7fELF nonsense" if text is None else f"#!/bin/sh\n{text}\n".encode())
    (folder / "g++").chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.parametrize("fault", FAULTY)
def test_a_compiler_that_does_not_work(found, tmp_path: Path, fault: str) -> None:
    text, says = FAULTY[fault]
    said = found(put(tmp_path / "bin", text))
    assert says in said and "repair it" in said and "is installed" not in said and "\n" not in said


def test_no_compiler(found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(str(tmp_path)).startswith("no C++ compiler is installed, which compiling needs")
    monkeypatch.setenv("CXX", "no-such-g++")
    assert "is installed (CXX names `no-such-g++`), which" in found(str(tmp_path))


def test_one_that_works(found) -> None:
    assert found(os.environ["PATH"]) == ""


# --- `compile --verify`, as a real process -----------------------------------------------------


def verified(tmp_path: Path, path: str, layer: str = "linear(4)") -> subprocess.CompletedProcess[str]:
    (tmp_path / "m.nest").write_text(PROGRAM.replace("linear(4)", layer))
    own = {"PYTHONPATH": str(ROOT), "PATH": path, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    clean = {name: value for name, value in os.environ.items() if name not in ("CXX", VARIABLE)}
    command = [sys.executable, "-m", "nestdsl", "compile", "--verify", str(tmp_path / "m.nest")]
    return subprocess.run(command, env=clean | own, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("fault", ["fails", pytest.param("", marks=pytest.mark.slow)])
def test_verify_claims_nothing_where_nothing_is_compiled(tmp_path: Path, fault: str) -> None:
    path = put(tmp_path / "bin", FAULTY[fault][0]) if fault else str(tmp_path)
    done = verified(tmp_path, path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "there was no compiled model to compare with" in done.stdout
    assert "equals" not in done.stdout + done.stderr
    assert (FAULTY[fault][1] if fault else "no C++ compiler is installed, which") in done.stderr


@pytest.mark.slow
def test_verify_compares_what_is_compiled(tmp_path: Path) -> None:
    done = verified(tmp_path, os.environ["PATH"], "mlp -> rms_norm -> linear(4)")
    assert done.returncode == 0 and "compiled equals eager in value and gradient" in done.stdout
    assert "compiling 1 of 1: model" in done.stderr.splitlines()
    done = verified(tmp_path, os.environ["PATH"])
    assert done.returncode == 0 and "no part of it is worth compiling" in done.stdout
