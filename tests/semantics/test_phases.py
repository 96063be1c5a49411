"""Each phase has one entry and knows the phases before it, none after it."""

from __future__ import annotations

import ast

from nestdsl.semantics.phases import run_phases
from nestdsl.source import Source
from tests.package.imports import PACKAGE, imported, modules

PHASES = ("modules", "names", "values", "elaborate", "complete")
ROOM = "nestdsl.semantics"
ENTRIES = {
    "modules": "read_modules",
    "names": "declare_program",
    "values": "evaluate_parameters",
    "elaborate": "elaborate_models",
    "complete": "complete_model",
}


def phase_of(module: str) -> str:
    """The phase, or the file that all phases share, to which a module of the room belongs."""
    return module.removeprefix(f"{ROOM}.").split(".")[0]


def test_a_phase_imports_those_before_it() -> None:
    texts = modules(PACKAGE)
    later = [
        f"{name} imports {other}"
        for name, text in texts.items()
        if name.startswith(f"{ROOM}.") and phase_of(name) in PHASES
        for other in imported(text, texts)
        if other.startswith(f"{ROOM}.")
        and phase_of(other) in (*PHASES[PHASES.index(phase_of(name)) + 1 :], "phases")
    ]
    assert later == []


def test_what_all_phases_share_knows_none_of_them() -> None:
    texts = modules(PACKAGE)
    shared = {name for name in texts if name.startswith(f"{ROOM}.") and phase_of(name) not in PHASES}
    assert shared > {f"{ROOM}.phases", f"{ROOM}.constants"}
    for name in shared - {f"{ROOM}.phases"}:
        assert {other for other in imported(texts[name], texts) if phase_of(other) in PHASES} == set(), name


def test_the_phases_run_in_their_order_each_by_its_one_entry() -> None:
    tree = ast.parse(modules(PACKAGE)[f"{ROOM}.phases"])
    entries = {
        alias.name: phase_of(node.module)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and phase_of(node.module) in PHASES
        for alias in node.names
    }
    calls = sorted(
        (node.lineno, node.func.id)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in entries
    )
    assert [(entries[name], name) for _, name in calls] == list(ENTRIES.items())


def test_every_phase_has_a_folder_of_tests() -> None:
    here = PACKAGE.parent / "tests" / "semantics"
    assert [phase for phase in PHASES if not list((here / phase).glob("test_*.py"))] == []


def test_what_a_phase_could_not_read_the_next_ones_go_on_without() -> None:
    text = (
        "use std.nothing\nparam p = 1 / 0\n"
        "model m {\n input vectors(8)\n level a = linear { every 0 steps }\n"
        " flow out = in * p -> a -> nowhere\n}\n"
    )
    result = run_phases(Source(text))
    assert [one.code for one in result.diagnostics.in_order()] == ["N0105", "N0203", "N0202", "N0101"]
    assert list(result.graphs) == ["m"]
    assert [level.id for level in result.graphs["m"].levels()][:1] == ["a"]


def test_nothing_follows_a_limit() -> None:
    model = (
        "model {} {{\n input vectors(8)\n level a = linear repeat {}\n flow out = in -> a -> nowhere\n}}\n"
    )
    result = run_phases(Source(model.format("m", 9_999_999) + model.format("n", 2)))
    assert [one.code for one in result.diagnostics] == ["N0004"]
    assert result.graphs == {}
