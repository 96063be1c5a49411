"""No files of the package import each other in a circle, be it for types alone or inside of a function."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import networkx
import pytest

from tests.package.imports import PACKAGE, imported, modules


def circles(imports: Mapping[str, Iterable[str]]) -> list[frozenset[str]]:
    """The groups of modules, or of rooms, that import each other, in one step or in several."""
    graph: networkx.DiGraph = networkx.DiGraph()
    graph.add_nodes_from(imports)
    for name, others in imports.items():
        graph.add_edges_from((name, other) for other in others if other != name)
    found = (frozenset(group) for group in networkx.strongly_connected_components(graph))
    return sorted((group for group in found if len(group) > 1), key=sorted)


def imports_of(texts: Mapping[str, str]) -> dict[str, set[str]]:
    return {name: imported(text, texts) for name, text in texts.items()}


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circles(imports_of(modules(PACKAGE))) == []


def test_no_rooms_import_each_other_in_a_circle() -> None:
    """A room is a folder of the package, or a file beside those; the package itself is the door to all."""
    rooms: dict[str, set[str]] = {}
    for name, others in imports_of(modules(PACKAGE)).items():
        package, _, rest = name.partition(".")
        of_it = {".".join(other.split(".")[:2]) for other in others} - {package}
        rooms.setdefault(f"{package}.{rest.split('.')[0]}" if rest else package, set()).update(of_it)
    assert rooms["nestdsl.checks"] >= {"nestdsl.graph", "nestdsl.diagnostics"}
    assert circles(rooms) == []


@pytest.mark.parametrize(
    "one",
    [
        "from p.two import f",
        "import p.two",
        "from p import two",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.two import F",
        "def g():\n    from p.two import f\n    return f()",
        "try:\n    import p.two as other\nexcept ImportError:\n    pass",
    ],
)
def test_each_way_to_import_is_seen(one: str) -> None:
    texts = {"p": "", "p.one": one, "p.two": "from p.three import x", "p.three": "from p.one import g"}
    assert circles(imports_of(texts)) == [frozenset({"p.one", "p.two", "p.three"})]
    assert circles(imports_of(texts | {"p.three": "x = 1"})) == []


def test_a_package_is_imported_for_what_it_defines_itself() -> None:
    assert imported("from p import one, f", ["p", "p.one"]) == {"p", "p.one"}
    assert imported("from p import one", ["p", "p.one"]) == {"p.one"}
