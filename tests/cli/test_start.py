"""What a command imports before it does anything: only what it needs, so that it starts at once."""

import json
import subprocess
import sys
from pathlib import Path

import lark
import pytest

from nestdsl.cli.commands import COMMANDS
from nestdsl.syntax.grammar import tables_path

ROOT = Path(__file__).resolve().parents[2]
TRANSFORMER = str(ROOT / "examples/transformer.nest")

IMPORTED = """
import sys
from nestdsl.cli.main import main
try:
    status = main(sys.argv[1:])
except SystemExit as exit:
    status = exit.code
assert status == 0, status
print("\\n" + " ".join(sys.modules))
"""


def imported(*arguments: str) -> set[str]:
    """The modules that a command has imported at its end, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def of_commands(modules: set[str]) -> set[str]:
    return {name for name in COMMANDS if f"nestdsl.cli.{name}" in modules}


@pytest.mark.parametrize("arguments", [("--help",), ("--version",)])
def test_help_imports_no_command_and_nothing_large(arguments: tuple[str, ...]) -> None:
    modules = imported(*arguments)
    assert not of_commands(modules)
    assert not {"networkx", "lark", "torch", "numpy", "rich", "yaml"} & modules
    rooms = {"cli", "characters", "diagnostics", "interrupts", "limits", "memory", "source", "terminal"}
    assert {name.split(".")[1] for name in modules if name.startswith("nestdsl.")} <= rooms


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_imports_no_other_one(name: str) -> None:
    modules = imported(name, "--help")
    assert of_commands(modules) == {name}
    assert "torch" not in modules


def test_check_imports_nothing_that_a_right_program_does_not_need() -> None:
    modules = imported("check", TRANSFORMER)
    assert of_commands(modules) == {"check"}
    assert {"networkx", "lark"} < modules
    assert not {"torch", "numpy", "rich", "yaml", "graphviz"} & modules
    rooms = {name.split(".")[1] for name in modules if name.startswith("nestdsl.")}
    assert not {"api", "plan", "render", "explain", "runtime", "training"} & rooms
    assert not {"nestdsl.diagnostics.render", "nestdsl.syntax.recovery", "nestdsl.syntax.messages"} & modules


def test_check_makes_no_parser_of_the_grammar() -> None:
    """Its tables are kept beside it; making it takes longer than a whole check."""
    if json.loads(tables_path().read_text("utf-8"))["lark"] != lark.__version__:
        pytest.skip("the tables are of another release of lark")
    script = (
        "import lark.lark, sys\n"
        "lark.lark.load_grammar = None\n"
        "from nestdsl.cli.main import main; sys.exit(main(['check', sys.argv[1]]))"
    )
    done = subprocess.run([sys.executable, "-c", script, TRANSFORMER], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
