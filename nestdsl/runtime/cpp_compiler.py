"""Whether C++ can be compiled here, as it must for a CPU: found out by doing it once."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import lru_cache

from nestdsl.runtime.compile_cache import use_compile_cache

_TRIAL = '#include <Python.h>\n#include <cmath>\n#include <cstdint>\nextern "C" int works() { return 1; }\n'
"""Needs all that torch's own code does: a compiler, its library, OpenMP by the flags, Python's headers."""
_NEEDED = (
    "which compiling needs on a CPU: models and optimizers run uncompiled and slower; {help}, or ask for "
)
_NEEDED += "`compile=False` (`--eager`)"


def compiler_fault() -> str:
    """Why nothing can be compiled, and what to do; empty if it can. Raises NestError N0504 of the cache."""
    cache = use_compile_cache()
    from torch._inductor import cpp_builder
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        compiler = cpp_builder.get_cpp_compiler()
    except (InvalidCxxCompiler, OSError):
        return _why_none()
    return _trial(compiler, str(cache))


def _why_none() -> str:
    """Torch says the same of a compiler that is missing and of one that fails."""
    from torch._inductor import config

    asked = config.cpp.cxx if isinstance(config.cpp.cxx, list | tuple) else (config.cpp.cxx,)
    for name in (name for name in asked if name and shutil.which(name)):
        if (said := _fault([name, "--version"])) is not None:
            return _broken(name, said)
    named = f" (CXX names `{os.environ['CXX']}`)" if os.environ.get("CXX") else ""
    return f"no C++ compiler is installed{named}, {_NEEDED.format(help='install g++ or clang')}"


@lru_cache(maxsize=8)
def _trial(compiler: str, cache: str) -> str:
    from torch._inductor.codecache import CppCodeCache
    from torch._inductor.exc import CppCompileError

    try:
        works = CppCodeCache.load(_TRIAL, needs_vec_isa=False, kernel_needs_vec_isa=False).works()
    except CppCompileError as error:
        return _broken(compiler, error.output)
    except (OSError, UnicodeDecodeError) as error:
        return _broken(compiler, str(error))
    return "" if works == 1 else _broken(compiler, "what it makes does not run")


def _fault(command: list[str]) -> str | None:
    """What a command prints that fails; None if it does not."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    if done.returncode == 0:
        return None
    return done.stderr.strip() or done.stdout.strip() or f"it ends with status {done.returncode}"


def _broken(compiler: str, output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    # The first one is often only where an error was found.
    line = next(
        (line for line in lines if "error" in line.lower()), lines[0] if lines else "it prints nothing"
    )
    return f"the C++ compiler `{compiler}` does not work ({line}), {_NEEDED.format(help='repair it')}"
