"""The tables of `docs/language.md` that list words of the language are made from their declarations.

`UPDATE_GOLDEN=1 pytest tests/docs/test_tables.py` writes them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

import nestdsl
from nestdsl.diagnostics.quantities import as_written
from nestdsl.syntax.lines import CLAUSE_WORDS
from nestdsl.syntax.prefixes import _NAMES
from nestdsl.vocabulary.arguments import REQUIRED, ArgumentSpec
from nestdsl.vocabulary.clauses import CHUNK, CLAUSES
from nestdsl.vocabulary.functions import FUNCTIONS
from nestdsl.vocabulary.gradient_memories import GRADIENT_MEMORIES, MemoryKind
from nestdsl.vocabulary.kinds import KINDS
from nestdsl.vocabulary.signatures import LIBRARY, Function, Kind, Place

PAGE = Path(nestdsl.__file__).parents[1] / "docs/language.md"


def argument(spec: ArgumentSpec) -> str:
    """`heads = 1`, or the name alone where there is no default to write."""
    if spec.default is REQUIRED or spec.default is None:
        return spec.name
    value = f'"{spec.default}"' if isinstance(spec.default, str) else as_written(spec.default)
    return f"{spec.name} = {value}"


def of_kind(kind: Kind) -> tuple[str, str, str]:
    given = [f"`{argument(spec)}`" for spec in kind.arguments if spec.name != "causal"]
    if kind.alternatives:
        first, second = kind.alternatives
        given = [one for one in given if one != f"`{second}`"]
        given = [f"{one} or `{second}`" if one == f"`{first}`" else one for one in given]
    return f"`{kind.name}`", ", ".join(given), kind.summary


def of_function(function: Function) -> tuple[str, str]:
    flows = ["a", "b", "..."] if function.flows is None else ["a", "b"][: function.flows]
    given = [argument(spec) for spec in function.arguments if spec.name != "eps"]
    if function.flows == 1 and not given:
        return f"`{function.name}`", function.summary
    if function.name == "outer":
        flows = flows[:2]
    return f"`{function.name}({', '.join((*flows, *given))})`", function.summary


def of_memory(kind: MemoryKind) -> tuple[str, str]:
    rates = (f"{rate.name} = {rate.default:g}" if rate.default else rate.name for rate in kind.rates)
    return f"`{kind.name}({', '.join((*map(argument, kind.options), *rates))})`", kind.summary


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = tuple(head)
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join((*lines, *(f"| {' | '.join(row)} |" for row in rows)))


TABLES = {
    "kinds": table(("kind", "arguments", "what it is"), map(of_kind, KINDS)),
    "clauses": table(
        ("clause", "meaning", "if left out"),
        ((f"`{form}`", meaning, default) for clause in CLAUSES for form, meaning, default in clause.forms),
    ),
    "functions of models": table(
        ("function", "what it gives"),
        (of_function(one) for one in FUNCTIONS if one.place is not Place.OPTIMIZER),
    ),
    "functions of optimizers alone": table(
        ("function", "what it gives"),
        (of_function(one) for one in FUNCTIONS if one.place is Place.OPTIMIZER),
    ),
    "memories of gradients": table(("memory", "what it does"), map(of_memory, GRADIENT_MEMORIES)),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_what_the_declarations_say(name: str) -> None:
    text = PAGE.read_text("utf-8")
    place = re.compile(rf"(<!-- table: {name} -->\n).*?(\n<!-- end of table -->)", re.S)
    assert place.search(text), f"docs/language.md has no place for the table of {name}"
    made = place.sub(lambda found: f"{found[1]}{TABLES[name]}{found[2]}", text)
    if os.environ.get("UPDATE_GOLDEN"):
        PAGE.write_text(made, "utf-8")
    assert PAGE.read_text("utf-8") == made, "run UPDATE_GOLDEN=1 pytest tests/docs/test_tables.py"


def test_the_words_that_the_syntax_knows_are_those_that_are_declared() -> None:
    """The syntax reads programs before anything is known: it has lists of its own."""
    assert set(CLAUSE_WORDS) == {clause.name for clause in CLAUSES} - {CHUNK.name}
    for name, here in _NAMES.items():
        kinds = [kind.name for kind in KINDS if name in kind.also_called]
        assert kinds == [here] if here in LIBRARY.kinds else not kinds, name
