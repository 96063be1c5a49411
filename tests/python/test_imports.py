"""`--import`: kinds and functions of one's own Python in every command, and in runs by name alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import nestdsl
from nestdsl.cli.main import main
from nestdsl.training.checkpoint_file import read_file
from nestdsl.vocabulary.extension import PYTHON_FUNCTIONS, PYTHON_KINDS
from nestdsl.vocabulary.signatures import LIBRARY

KINDS = '''
import torch
import nestdsl
from mine.helpers import SCALE

@nestdsl.function(causal=True)
def half(x):
    """Half of it."""
    return SCALE * x

@nestdsl.kind(causal=True, state=lambda arguments, size, out: (("total", (size,)),))
class RunningSum(torch.nn.Module):
    """The sum of all tokens so far."""

    def __init__(self, input_size, output_size):
        super().__init__()
        self.size = input_size

    def init_state(self, batch, device, dtype):
        return {"total": torch.zeros(batch, self.size, device=device, dtype=dtype)}

    def forward(self, x, state):
        sums = state["total"][:, None] + x.cumsum(1)
        return sums, {"total": sums[:, -1]}
'''
PROGRAM = """
model m {
  input ids(256)
  flow out = in -> embedding(8) -> half -> running_sum -> rms_norm -> linear(256)
}
"""
QUICK = ("--eager", "--batch", "2", "--tokens", "8", "--steps", "2", "--held-out-sequences", "2")
IMPORT = ("--import", "mine.kinds")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/helpers.py").write_text("SCALE = 0.5\n")
    (tmp_path / "mine/kinds.py").write_text(KINDS)
    (tmp_path / "m.nest").write_text(PROGRAM)
    (tmp_path / "text.txt").write_text("hello world " * 200)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(folder: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., tuple[int, str]]]:
    """Runs a command as a process of its own would: with nothing declared, and no module of the folder."""
    tables: tuple[dict[str, Any], ...] = (LIBRARY.kinds, LIBRARY.functions, PYTHON_KINDS, PYTHON_FUNCTIONS)
    before, path, modules = [dict(table) for table in tables], list(sys.path), set(sys.modules)

    def forget() -> None:
        for table, old in zip(tables, before, strict=True):
            table.clear()
            table.update(old)
        sys.path[:] = path
        for name in set(sys.modules) - modules:
            if name.partition(".")[0] in ("mine", "broken"):
                del sys.modules[name]

    def run(*arguments: str) -> tuple[int, str]:
        forget()
        status = main(arguments)
        out, err = capsys.readouterr()
        return status, out + err

    yield run
    forget()


def test_every_command_that_reads_a_program_takes_it(command: Callable[..., tuple[int, str]]) -> None:
    for arguments in (
        ("check", "m.nest"),
        ("compile", "m.nest"),
        ("compile", "m.nest", "--emit", "plan"),
        ("render", "m.nest", "-o", "m.dot"),
        ("explain", "m.nest"),
        ("bench", "m.nest", "--eager", "--batch", "2", "--tokens", "8", "--steps", "1"),
        ("train", "m.nest", "--data", "text.txt", "--out", "run", *QUICK, "--until", "1", "--quiet"),
        ("train", "m.nest", "--out", "run", "--resume", "--quiet"),
        ("eval", "run", "--quiet"),
        ("generate", "run", "--prompt", "he", "--tokens", "3"),
        ("train", "m.nest", "--data", "text.txt", "--out", "other", "--from", "run", *QUICK, "--quiet"),
    ):
        status, text = command(*arguments)
        assert status == 1, (arguments, text)
        assert "half" in text
        if arguments[0] in ("eval", "generate") or "--resume" in arguments:
            assert "error[N0105]" in text
            assert "--import mine.kinds" in text, text
        status, text = command(*arguments, *IMPORT)
        assert status == 0, (arguments, text)


def test_a_run_has_the_name_of_the_module_and_imports_nothing(
    folder: Path, command: Callable[..., tuple[int, str]]
) -> None:
    command("train", "m.nest", "--data", "text.txt", "--out", "run", *QUICK, "--quiet", *IMPORT)
    described = read_file(folder / "run/checkpoint.safetensors").description
    assert described["progress"]["imports"] == {"half": "mine.kinds", "running_sum": "mine.kinds"}
    assert "SCALE" not in str(described)
    status, _ = command("eval", "run", "--quiet")
    assert status == 1 and "mine.kinds" not in sys.modules


@pytest.mark.parametrize("name", ["größe", "__main__", "no-module", "", 5, None])
def test_wherever_a_kind_was_declared_its_run_can_be_read(
    folder: Path, command: Callable[..., tuple[int, str]], name: Any
) -> None:
    """In text that was run, too, in which a module has no name or one that nobody can import."""
    command("check", "m.nest")  # which forgets
    exec(KINDS.replace("from mine.helpers import SCALE", "SCALE = 1"), {"__name__": name})
    model = nestdsl.load("m.nest").compile(compile=False)
    nestdsl.train(
        model, "text.txt", 1, "run", batch=2, tokens=8, quiet=True, held_out_sequences=2, evaluate_every=1
    )
    assert nestdsl.restore("run", compile=False).plan == model.plan
    status, text = command("eval", "run")
    assert status == 1
    is_module = name == "größe"
    assert ("declared in the Python module `größe`" in text) is is_module
    assert ("declared in a script or notebook" in text) is not is_module


def test_weights_of_a_run_are_taken_without_its_python(command: Callable[..., tuple[int, str]]) -> None:
    """A program that has no such kind itself builds none."""
    command("train", "m.nest", "--data", "text.txt", "--out", "run", *QUICK, "--quiet", *IMPORT)
    Path("n.nest").write_text(PROGRAM.replace("-> half -> running_sum", ""))
    train = ("train", "n.nest", "--data", "text.txt", "--out", "other", "--from", "run", *QUICK, "--quiet")
    status, text = command(*train)
    assert status == 0, text


def test_modules_are_looked_for_here_first_while_they_are_imported_only(
    folder: Path, command: Callable[..., tuple[int, str]]
) -> None:
    (folder / "networkx.py").write_text("raise SystemExit('a stranger')\n")
    status, text = command("check", "m.nest", *IMPORT)
    assert status == 0, text
    assert sys.path[-1] == str(folder) and sys.path[0] != str(folder)


@pytest.mark.parametrize(
    ("name", "content", "message", "hint"),
    [
        ("nowhere", None, "there is no Python module `nowhere`", "look for nowhere.py"),
        ("mine.nowhere", None, "there is no Python module `mine.nowhere`", "look for mine/nowhere.py"),
        ("mine/kinds.py", None, "'mine/kinds.py' is no name of a Python module", "`--import mine.kinds`"),
        ("broken.py", "", "'broken.py' is no name of a Python module", "`--import broken`"),
        ("", None, "'' is no name of a Python module", "`--import my.module`"),
        ("../x", None, "'../x' is no name of a Python module", "`--import my.module`"),
        ("broken", "x = 1\n1 / 0\n", "cannot be imported: ZeroDivisionError", "correct line 2 of "),
        ("broken", "import not_there_at_all\n", "ModuleNotFoundError", "correct line 1 of "),
        ("broken", "def f(:\n", "SyntaxError", "correct it"),
        ("broken", "raise SystemExit(0)\n", "SystemExit: 0", "correct line 1 of "),
    ],
)
def test_a_module_that_cannot_be_imported(
    folder: Path,
    command: Callable[..., tuple[int, str]],
    name: str,
    content: str | None,
    message: str,
    hint: str,
) -> None:
    if content is not None:
        (folder / "broken.py").write_text(content)
    status, text = command("check", "m.nest", "--import", name)
    assert status == 1
    assert text.startswith("error[N0105]: ")
    assert message in text and hint in text
    assert "Traceback" not in text


def test_a_declaration_that_is_wrong_keeps_its_code(
    folder: Path, command: Callable[..., tuple[int, str]]
) -> None:
    (folder / "broken.py").write_text("import nestdsl\nnestdsl.kind(causal=True)(5)\n")
    status, text = command("check", "m.nest", "--import", "broken")
    assert status == 1 and text.startswith("error[N0104]: what nestdsl.kind decorates is the int 5")


def test_a_kind_that_looks_at_later_tokens_is_named_by_compile_verify(
    folder: Path, command: Callable[..., tuple[int, str]]
) -> None:
    """Nothing but its own word says that a kind is causal: what is wrong then is no fault of the compiler."""
    later = KINDS.replace("x.cumsum(1)", "x.sum(1, keepdim=True).expand_as(x)")
    (folder / "mine/kinds.py").write_text(later)
    status, text = command("compile", "m.nest", "--verify", *IMPORT)
    assert status == 1
    assert "N0506" in text and "`running_sum`" in text
    assert "fault of nestdsl" not in text
