"""The graph: its promises hold for every program, break where it is broken, and survive JSON."""

import json
from dataclasses import replace
from pathlib import Path

import networkx
import pytest

from nestdsl.compiler import analyse
from nestdsl.graph.json import to_json
from nestdsl.graph.nodes import EdgeType, Flow, Level, Operation, Read
from nestdsl.graph.verify import InvariantError, verify
from nestdsl.syntax.files import read_source
from tests.semantics.programs import graph, model

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted([*(ROOT / "examples").glob("*.nest"), *(ROOT / "tests/golden/good").glob("*.nest")])


def load(path: Path):
    return analyse(read_source(path)).graph()


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_json_is_networkx_node_link_data(path):
    found = load(path)
    data = json.loads(to_json(found))
    back = networkx.node_link_graph(data, edges="edges")
    assert set(back) == set(found.networkx)
    assert set(back.edges(keys=True)) == set(found.networkx.edges(keys=True))
    for id, attributes in back.nodes(data=True):
        assert attributes["class"] == type(found[id]).__name__
        assert attributes["size"] == found.sizes.get(id)
    assert to_json(load(path)) == to_json(found)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_every_node_says_where_it_was_written(path):
    found = load(path)
    for id, node in found.networkx.nodes(data="node"):
        assert node.id == id
        assert 0 <= node.span.start <= node.span.end <= len(node.span.source.text)


def test_typed_access():
    found = graph(
        model("level m = matrix { learn in -> in  every 1 token }\nflow h = m(in) + m(in)\nflow out = h - 1")
    )
    assert [read.level for read in found.reads_of("m")] == ["m", "m"]
    assert found.sources("m", EdgeType.KEY) == found.sources("m", EdgeType.VALUE) == ("in",)
    assert [flow.name for flow in found.nodes(Flow)] == ["h", "out"]
    subtract = next(node for node in found.nodes(Operation) if node.function == "subtract")
    assert subtract.operands == ("h", 1)
    assert found.source("out", EdgeType.READ) == subtract.id
    assert found.source("in", EdgeType.READ) is None


def test_pruning_keeps_what_out_needs():
    found = analyse_unused()
    assert [level.id for level in found.levels() if not level.owner] == ["used", "inside.out.linear"]
    assert "inside.in" in found
    assert not any(read.level == "unused" for read in found.nodes(Read))


def analyse_unused():
    return graph(
        model(
            "level used = linear\nlevel unused = linear\nflow h = in -> unused\nflow x = in -> used\n"
            "level inside = b\nflow out = x -> inside",
            "block b { flow h = in -> mlp\n flow out = 1 -> linear(8) }",
        )
    )


# --- verify --------------------------------------------------------------------------------

WHOLE = model(
    "level m = matrix { learn in -> in  every 1 token }\nflow h = in -> m -> linear\nflow out = h + in"
)


def remove_flow_source(found):
    found.networkx.remove_edges_from(list(found.networkx.in_edges("out")))


def forget_a_size(found):
    del found.sizes["h"]


def forget_level_sizes(found):
    found.level_sizes.clear()


def lose_a_key(found):
    source = found.source("m", EdgeType.KEY)
    found.networkx.remove_edge(source, "m", "key0")


def learn_two_values(found):
    found.connect("in", "m", EdgeType.VALUE, 1)


def stand_nowhere(found):
    found.networkx.nodes["h"]["node"] = replace(found["h"], scope="nowhere")


def change_an_id(found):
    found.networkx.nodes["h"]["node"] = replace(found["h"], id="g")


def never_update(found):
    level = found.level("m")
    assert isinstance(level, Level)
    found.networkx.nodes["m"]["node"] = replace(level, period=0)


def lose_a_node(found):
    found.reserve("ghost")


def close_a_circle(found):
    read = next(node for node in found.nodes(Read) if node.level == "m")
    found.networkx.add_edge("out", read.operand, key="read9", type=EdgeType.READ, position=9)


def lose_out(found):
    found.networkx.remove_node("out")


@pytest.mark.parametrize(
    "damage",
    [
        remove_flow_source,
        forget_a_size,
        forget_level_sizes,
        lose_a_key,
        learn_two_values,
        stand_nowhere,
        change_an_id,
        never_update,
        lose_a_node,
        close_a_circle,
        lose_out,
    ],
)
def test_a_broken_promise_is_found(damage):
    found = graph(WHOLE)
    verify(found)
    damage(found)
    with pytest.raises(InvariantError, match="does not hold"):
        verify(found)
