"""Memory that is refused, wherever that happens: N0503, with what to do, and no traceback."""

import errno
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import nestdsl
from nestdsl.memory import fits_memory, was_refused
from nestdsl.runtime.memory import training_bytes
from nestdsl.training import checkpoint, restore
from nestdsl.training.bench import measure_speed
from nestdsl.training.settings import Settings

PROGRAM = """model small(dim = 8) {
  input ids(256)
  level near = linear(dim)
  flow out = in -> embedding(dim) -> near -> silu -> linear(256)
  train { objective cross_entropy  optimizer adamw }
}
"""
TORCH = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096000 bytes. Error code 12 (Cannot allocate memory)"  # noqa: E501
CUDA = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 1.00 GiB"
ONLY_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="limits on addresses hold there")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("small.nest").write_text(PROGRAM)
    Path("text.txt").write_text("the quick brown fox jumps over the lazy dog\n" * 80)
    return tmp_path


# --- what a refusal is ---------------------------------------------------------------------


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


REFUSALS = (
    MemoryError(),
    RuntimeError(TORCH),
    torch.OutOfMemoryError(CUDA),
    RuntimeError("std::bad_alloc"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    ImportError("libx.so: cannot allocate memory in static TLS block"),
    RuntimeError("cc1plus: virtual memory exhausted: Cannot allocate memory"),
    RuntimeError("memory allocation of 67108864 bytes failed"),
    caused(RuntimeError("the compiler failed"), MemoryError()),
    caused(SystemError("error return without exception set"), caused(ValueError(), MemoryError())),
)
OTHERS = (
    RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
    RuntimeError("a memory of this level is not there"),
    OSError(errno.ENOENT, "No such file", "out of memory.txt"),
    ImportError("libx.so: failed to map segment from shared object: Operation not permitted"),
    ImportError("No module named 'memory'"),
    caused(RuntimeError("outer"), ValueError("inner")),
)


@pytest.mark.parametrize("error", REFUSALS, ids=str)
def test_a_refusal_of_memory_is_known(error) -> None:
    assert was_refused(error)
    with pytest.raises(nestdsl.NestError) as raised, fits_memory("this", "do that"):
        raise error
    (found,) = raised.value.diagnostics
    assert (found.code, found.hint) == ("N0503", "do that")
    assert found.message.startswith("this does not fit into memory")


@pytest.mark.parametrize("error", OTHERS, ids=str)
def test_other_errors_pass(error) -> None:
    with pytest.raises(type(error)) as raised, fits_memory("this"):
        raise error
    assert raised.value is error


def test_what_was_asked_for_is_said() -> None:
    for error, asked in ((RuntimeError(TORCH), "3.906 MiB"), (torch.OutOfMemoryError(CUDA), "2.00 GiB")):
        with pytest.raises(nestdsl.NestError, match=f"it asks for {asked} more"), fits_memory("this"):
            raise error


def test_errors_that_lead_to_themselves_end() -> None:
    first, second = RuntimeError("one"), RuntimeError("two")
    first.__cause__, second.__cause__ = second, first
    assert not was_refused(first)


def test_an_error_without_memory_to_draw_it_is_shown_plainly(monkeypatch) -> None:
    def none(*arguments: object) -> str:
        raise MemoryError

    with pytest.raises(nestdsl.NestError) as raised:
        nestdsl.parse("model")
    monkeypatch.setattr("nestdsl.diagnostics.render.render_text", none)
    assert str(raised.value).startswith("N0001: ")


# --- refusals at every operation ----------------------------------------------------------


class Refusing(TorchDispatchMode):
    """Refuses memory to one operation of torch, by its number, as torch or as Python does."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.left = number
        self.is_python = number % 2 == 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        is_counted = func.namespace == "aten"  # the others, of the profiler, take no memory
        self.left -= is_counted
        if self.left == 0 and is_counted:
            # Of what fails while weights are copied, torch keeps the text alone.
            raise MemoryError if self.is_python and "copy" not in func.name() else RuntimeError(TORCH)
        return func(*args, **(kwargs or {}))


def _train(model: Any) -> None:
    number = len(list(Path.cwd().iterdir()))
    nestdsl.train(model, "text.txt", 2, f"run{number}", batch=2, tokens=8, quiet=True)


def _resume(model: Any) -> None:
    shutil.rmtree("again", ignore_errors=True)
    shutil.copytree("before", "again")
    nestdsl.resume(out="again", steps=3, quiet=True)


WORK: dict[str, Callable[[Any], object]] = {
    "build": lambda model: nestdsl.load("small.nest").compile(compile=False),
    "train": _train,
    "resume": _resume,
    "measure": lambda model: nestdsl.measure(model, "text.txt", tokens=8),
    "measure a task": lambda model: nestdsl.measure(model, "task:parity", sequences=4),
    "generate": lambda model: list(nestdsl.generate(model, "the", 3)),
    "restore": lambda model: nestdsl.restore("before", compile=False),
    "bench": lambda model: measure_speed(model, Settings(steps=1, batch=2, tokens=8)),
}


@pytest.mark.parametrize("name", WORK)
def test_memory_refused_to_any_operation_is_a_diagnostic(monkeypatch, name) -> None:
    """Every operation of torch in its turn, or some forty of many; not those by which safetensors reads,
    which tell of no error from inside (limits on addresses, below, do reach them)."""
    model = nestdsl.load("small.nest").compile(compile=False)
    nestdsl.train(model, "text.txt", 2, "before", batch=2, tokens=8, quiet=True)
    saved = checkpoint.load(Path("before"))
    monkeypatch.setattr(checkpoint, "load", lambda folder: replace(saved, path=folder / checkpoint.FILE))
    monkeypatch.setattr(restore, "load", lambda folder: saved)
    counting = Refusing(0)
    with counting:
        WORK[name](model)
    operations = -counting.left
    assert operations > 0
    for number in range(1, operations + 1, max(1, operations // 40)):
        with pytest.raises(nestdsl.NestError) as raised, Refusing(number):
            WORK[name](model)
        assert [found.code for found in raised.value.diagnostics] == ["N0503"], number
        assert all(found.hint for found in raised.value.diagnostics)
        assert "does not fit into memory" in raised.value.diagnostics[0].message


@pytest.mark.parametrize("name", ["adamw", "muon", "m3", "lion"])
def test_memory_refused_to_an_optimizer_in_python_is_a_diagnostic(name) -> None:
    layer = torch.nn.Linear(4, 4)
    layer(torch.ones(1, 4)).sum().backward()

    def use() -> None:
        made = nestdsl.optimizer(f"std.optim:{name}", layer.parameters(), compile=False)
        made.step()
        made.load_state_dict(made.state_dict())

    counting = Refusing(0)
    with counting:
        use()
    for number in range(1, 1 - counting.left, max(1, -counting.left // 40)):
        with pytest.raises(nestdsl.NestError) as raised, Refusing(number):
            use()
        assert [found.code for found in raised.value.diagnostics] == ["N0503"], number


# --- estimates come first ------------------------------------------------------------------


def test_a_step_beyond_memory_is_refused_before_anything_of_its_size_is_there() -> None:
    """Batches of 300,000 sequences reached 9 GB: of training, of a stream, of bench and of held-out data."""
    stream = (
        "model stream { input ids(256)\n"
        " level m = matrix(2) { learn k -> x  every 1 token, chunk 4  reset never }\n"
        " flow x = in -> embedding(8)\n flow k = x -> linear(8) -> l2_normalize(2)\n"
        " flow out = x + m(k) -> linear(256)\n train { objective cross_entropy  optimizer adamw } }"
    )
    Path("stream.nest").write_text(stream)
    Path("long.txt").write_bytes(b"text " * 2**20)
    script = """
        import resource, nestdsl
        from nestdsl.training.bench import measure_speed
        from nestdsl.training.settings import Settings
        models = [nestdsl.load(f"{name}.nest").compile(compile=False) for name in ("small", "stream")]
        nestdsl.train(models[0], "text.txt", 1, "warm", batch=1, tokens=8, quiet=True)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        work = [
            lambda: nestdsl.train(models[0], "long.txt", 1, "a", batch=300_000, quiet=True),
            lambda: nestdsl.train(models[1], "long.txt", 1, "b", batch=300_000, quiet=True),
            lambda: measure_speed(models[0], Settings(batch=300_000)),
            lambda: nestdsl.measure(models[0], "long.txt", batch=300_000),
            lambda: nestdsl.train(models[0], "task:parity", 1, "c", batch=30_000_000, quiet=True),
        ]
        for one in work:
            try:
                one()
                print("done")
            except nestdsl.NestError as error:
                print(error.diagnostics[0].code)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    done = _python(script)
    assert done.stderr == ""
    *codes, kib = done.stdout.split()
    assert codes == ["N0503"] * 5
    assert int(kib) < 200 * 1024  # of which the text of 5 MiB, and what it is cut into, is a part


def test_sequences_that_are_cut_into_segments_need_the_memory_of_a_segment() -> None:
    plan = nestdsl.load(Path(__file__).parents[2] / "examples/hope.nest").plan
    segment = plan.clock.segment_tokens
    assert segment
    token = plan.costs.state_bytes_per_sequence, training_bytes(plan, 1, segment)
    longer = training_bytes(plan, 1, 100 * segment) - training_bytes(plan, 1, segment)
    assert longer == 99 * segment * 16, token  # ids alone


# --- limits on addresses, as real processes ------------------------------------------------


def limited(mib: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command with so many MiB of addresses."""
    command = 'ulimit -v "$0" && exec "$@"'
    return subprocess.run(
        ["bash", "-c", command, str(mib * 1024), sys.executable, "-m", "nestdsl", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )


def _is_said_or_done(done: subprocess.CompletedProcess[str]) -> None:
    assert "Traceback" not in done.stderr
    assert done.returncode == 0 or (done.returncode == 1 and "error[N0503]" in done.stderr), done.stderr


@ONLY_LINUX
@pytest.mark.parametrize("mib", [45, 100, 400, 700])
def test_torch_that_cannot_be_loaded_is_said(mib) -> None:
    done = limited(mib, "train", "small.nest", "--data", "text.txt", "--eager")
    assert done.returncode == 1
    assert "error[N0503]" in done.stderr
    assert "Traceback" not in done.stderr


LARGE = ("--set", "dim=1500")
COMMANDS = {
    "bench": ("bench", "small.nest", *LARGE, "--eager", "--steps", "1"),
    "train": ("train", "small.nest", *LARGE, "--eager", "--data", "text.txt", "--steps", "1", "--out", "run"),
    "compiled": ("bench", "small.nest", "--steps", "1"),
    "eval": ("eval", "before"),
    "generate": ("generate", "before", "--prompt", "x", "--tokens", "3"),
    "verify": ("compile", "small.nest", "--verify"),
}


@ONLY_LINUX
@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_limits_from_too_little_for_torch_to_enough(name) -> None:
    """In steps, so that each phase of a command is refused its memory once."""
    if name in ("eval", "generate"):
        arguments = (*COMMANDS["train"][:-1], "before", "--quiet")
        assert limited(4000, *arguments).returncode == 0
    statuses = []
    for mib in range(720, 1240, 40):
        shutil.rmtree("run", ignore_errors=True)
        done = limited(mib, *COMMANDS[name])
        _is_said_or_done(done)
        statuses.append(done.returncode)
    assert 1 in statuses and statuses[-1] == 0


def _python(script: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(script)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
