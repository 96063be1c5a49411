"""The phase of elaboration: bodies become a graph of flows, and their levels wait to be completed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nestdsl.diagnostics import Diagnostics
from nestdsl.graph.nodes import TRAIN, EdgeType, Flow, Operation, Read
from nestdsl.semantics.complete.models import complete_model
from nestdsl.semantics.elaborate.models import Elaborated, elaborate_models
from nestdsl.semantics.modules import read_modules
from nestdsl.semantics.names.program import declare_program
from nestdsl.semantics.values.parameters import evaluate_parameters
from nestdsl.source import Source
from nestdsl.vocabulary.signatures import Takes
from tests.semantics import programs


def elaborated(text: str) -> tuple[Iterator[Elaborated], Diagnostics]:
    found = Diagnostics()
    program = declare_program(read_modules(Source(text), found), None, found)
    return elaborate_models(program, evaluate_parameters(program, {}, found)), found


def test_all_flows_are_in_the_graph_and_no_clause_is_read() -> None:
    text = (
        "model m {\n input vectors(8)\n level a = linear { optimizer nonsense  every 0 steps }\n"
        " flow h = in -> a\n flow out = h * 2 -> silu -> linear\n}\n"
    )
    models, found = elaborated(text)
    model = next(models)
    assert list(found) == [], "what `a` says is not read yet"
    assert [node.id for node in model.graph.nodes(Flow)] == ["h", "out"]
    assert [node.function for node in model.graph.nodes(Operation)] == ["multiply", "silu"]
    assert [read.level for read in model.graph.nodes(Read)] == ["a", "out.linear"]
    assert model.model is not None and model.takes is Takes.VECTORS
    assert TRAIN not in model.graph
    assert [waiting.level.id for waiting in model.waiting] == ["a", "out.linear"]
    assert list(model.waiting[0].clauses) == ["optimizer", "every"]
    assert "a" not in model.graph and model.graph.targets("a", EdgeType.READ)


def test_copies_and_elements_wait_each_for_itself() -> None:
    text = (
        "block b { level w = linear\n flow out = in -> w }\n"
        "model m {\n input ids(8)\n level a[2] = b repeat 2 { every 2 steps }\n"
        " flow out = in -> embedding(4) -> a\n}\n"
    )
    models, found = elaborated(text)
    model = next(models)
    assert list(found) == [] and model.takes is Takes.IDS
    of_arrays = [waiting for waiting in model.waiting if waiting.level.name == "w"]
    assert [one.level.id for one in of_arrays] == [f"a[{n}][{m}].w" for n in range(2) for m in range(2)]
    assert {one.scope.inherited.period for one in of_arrays} != {None}, "the block's clauses hold inside"


def test_blocks_and_optimizers_that_no_model_uses_are_tried_the_used_ones_are_not() -> None:
    text = (
        "block used { flow out = in -> linear }\nblock tried { flow out = in -> nowhere }\n"
        "optimizer idle { flow update = -grd }\n"
        "model m {\n input vectors(8)\n flow out = in -> used\n}\n"
    )
    models, found = elaborated(text)
    names = []
    for model in models:
        names.append((model.graph.name, model.model is None))
        complete_model(model)
    assert names == [("m", False), ("tried", True)]
    assert [(one.code, one.span and one.span.text) for one in found.in_order()] == [
        ("N0101", "nowhere"),
        ("N0101", "grd"),
    ]


def test_what_only_a_clause_uses_is_not_tried() -> None:
    text = (
        "block b { flow out = in -> linear }\n"
        "model m {\n input vectors(8)\n level a = matrix { learn (in -> b) -> in  every 1 token }\n"
        " flow out = in -> a\n}\n"
    )
    models, found = elaborated(text)
    names = []
    for one in models:
        names.append(one.graph.name)
        complete_model(one)
    assert names == ["m"] and list(found) == []


@pytest.mark.parametrize("through", ["", "block c { flow out = in -> b }\n"])
def test_a_block_that_contains_itself_by_a_clause(through: str) -> None:
    inner = "c" if through else "b"
    text = (
        f"block b {{\n level a = matrix {{ learn (in -> {inner}) -> in  every 1 token }}\n"
        " flow out = in -> a\n}\n"
        "model m {\n input vectors(8)\n flow out = in -> b\n}\n"
    )
    assert "the block `b` contains itself" in programs.messages(through + text)


def test_of_a_call_with_several_mistakes_all_are_told() -> None:
    assert sorted(programs.codes(programs.model('flow out = sqrt("s", in)'))) == ["N0103", "N0104"]
    assert programs.codes(programs.model("flow out = concat(nothing, nothing_more, in)")) == [
        "N0101",
        "N0101",
    ]
