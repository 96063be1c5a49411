"""What the tests of this room share: programs from a few lines, and what is found in them."""

from __future__ import annotations

from nestdsl.compiler import Analysis, analyse
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import Level
from nestdsl.graph.order import order
from nestdsl.source import Source


def model(body: str, head: str = "", parameters: str = "dim = 8") -> str:
    """A program with one model, which reads vectors of 8."""
    return f"{head}\nmodel m({parameters}) {{\n  input vectors(8)\n{body}\n}}\n"


def analysis(text: str, **overrides: object) -> Analysis:
    return analyse(Source(text), overrides)  # type: ignore[arg-type]


def graph(text: str, **overrides: object) -> NestGraph:
    """The graph of a program in which no problems found."""
    found = analysis(text, **overrides)
    assert [str(diagnostic) for diagnostic in found.diagnostics if diagnostic.is_error] == []
    return found.graph()


def codes(text: str, **overrides: object) -> list[str]:
    return [diagnostic.code for diagnostic in analysis(text, **overrides).diagnostics]


def messages(text: str, **overrides: object) -> list[str]:
    return [diagnostic.message for diagnostic in analysis(text, **overrides).diagnostics]


def levels(text: str) -> dict[str, Level]:
    """The levels of a program by id, without those of optimizers."""
    return {level.id: level for level in graph(text).levels() if not level.owner}


def ranks(text: str) -> list[set[str]]:
    """The levels of a program by rank, the fastest first."""
    return [set(rank.levels) for rank in order(graph(text))]
