"""From the tree to the graph: arrays, repeats, blocks, clauses and names."""

import networkx
import pytest

from nestdsl.graph.nodes import EdgeType, Learning, Level, Operation, Unit
from tests.semantics.programs import codes, graph, messages, model


def levels(text: str) -> dict[str, Level]:
    return {level.id: level for level in graph(text).levels() if not level.owner}


def spine(text: str) -> list[str]:
    """The levels between input and output, in the order in which a chain reads them."""
    found = graph(text)
    return [
        found.level(id).name
        for id in networkx.topological_sort(found.part((EdgeType.READ, EdgeType.KEY)))
        if isinstance(found[id], Level) and not found.level(id).owner
    ]


def test_an_array_runs_in_order_and_its_elements_know_their_index():
    text = model("level a[3] = linear(8 * (index + 1)) { every 2 ** index steps }\nflow out = in -> a")
    found = graph(text)
    assert [found.level_sizes[f"a[{n}]"] for n in range(3)] == [(8, 8), (8, 16), (16, 24)]
    assert [found.level(f"a[{n}]").period for n in range(3)] == [1, 2, 4]


def test_the_elements_of_an_array():
    text = model("level a[3] = linear(8)\nflow out = (in -> a[2] -> a[3 - 3]) + (in -> a[1])")
    assert len(levels(text)) == 3
    assert codes(model("level a[3] = linear\nflow out = in -> a[3]")) == ["N0203"]
    assert codes(model("level a[3] = linear\nflow out = in -> a[0.5]")) == ["N0203"]
    assert codes(model("level a[1] = linear\nflow out = in -> a[0]")) == []


def test_index_is_known_only_in_an_array():
    assert codes(model("level a = linear(index)\nflow out = in -> a")) == ["N0101"]
    assert codes(model("level a[2] = linear\nflow out = (in -> a) * index")) == ["N0101"]


def test_an_array_of_repeated_blocks():
    block = "block b(n) { level w = linear(n)\n flow out = in + (in -> w -> linear(8)) }"
    text = model("level a[2] = b(index + 1) repeat 3\nflow out = in -> a", block)
    found = levels(text)
    assert [id for id in found if id.endswith(".w")] == [f"a[{n}][{m}].w" for n in range(2) for m in range(3)]
    assert {level.declared for level in found.values()} == {
        f"a[{n}][*].{name}" for n in range(2) for name in ("w", "out.linear")
    }
    scopes = graph(text).scopes
    assert (scopes["a[1][2]"].copy, scopes["a[1][2]"].copies) == (2, 3)


def test_parallel_adds_what_the_elements_make():
    found = graph(model("level a[3] = linear\nflow out = in -> parallel(a)"))
    assert sum(node.function == "add" for node in found.nodes(Operation)) == 2
    assert all(read.operand == "in" for level in found.levels() for read in found.reads_of(level.id))
    assert codes(model("level a = linear\nflow out = in -> parallel(a)")) == ["N0104"]
    assert codes(model("flow out = in -> parallel(nothing)")) == ["N0104"]
    assert codes(model("level a[2] = linear\nflow out = in -> parallel")) == ["N0104"]


def test_one_level_may_be_read_in_many_places_a_block_in_one():
    found = graph(model("level a = linear\nflow out = a(in) + (in -> a) + a(a(in))"))
    assert len(found.reads_of("a")) == 4
    block = "block b { flow out = in -> linear }"
    assert codes(model("level a = b\nflow out = a(in) + a(in)", block)) == ["N0104"]
    assert codes(model("flow out = (in -> b) + (in -> b)", block)) == []


def test_anonymous_levels_are_named_after_their_place():
    text = model("flow h = in -> linear -> silu -> linear\nflow out = h + (in -> linear(8)) -> attention(2)")
    names = {level.name for level in levels(text).values()}
    assert names == {
        "h.linear", "h.linear_2", "out.linear",
        "out.attention", "out.attention.query", "out.attention.key", "out.attention.value",
        "out.attention.output",
    }  # fmt: skip


def test_names_do_not_depend_on_what_else_there_is():
    before = levels(model("flow h = in -> linear -> linear\nflow out = h -> mlp"))
    after = levels(
        model("flow x = in -> mlp -> linear\nflow h = in -> linear -> linear\nflow out = h + x -> mlp")
    )
    assert before.keys() < after.keys()


def test_flows_may_be_used_before_they_are_written():
    assert codes(model("flow out = late -> a\nflow late = in\nlevel a = linear")) == []


def test_calls_take_pipes_and_pipes_take_calls():
    text = "flow out = concat(in -> linear(3), in, 2 * in -> linear(1)) -> l2_normalize(heads = 4)"
    found = graph(model(text))
    assert found.sizes["out"] == 12


def test_numbers_in_flows():
    found = graph(model("flow out = in * sqrt(16) + 2 ** 3 / 4 - -in + (1 -> linear(8))"))
    operands = [node.operands for node in found.nodes(Operation)]
    assert ("in", 4) in operands
    assert any(2 in values for values in operands)


# --- clauses -------------------------------------------------------------------------------

MEMORY = "level m = matrix(2) { learn in -> in   %s }\nflow out = in -> m"


def test_what_a_level_means_that_says_nothing():
    (level,) = levels(model("level a = linear\nflow out = in -> a")).values()
    assert (level.learning, level.period, level.unit) == (Learning.SURPRISE, 1, Unit.STEP)
    assert level.optimizer is None
    assert not level.frozen


def test_learn_surprise_is_what_a_level_does_anyway():
    for kind in ("linear", "attention(2)", "mlp", "matrix(2)"):
        said = levels(model(f"level a = {kind} {{ learn surprise }}\nflow out = in -> a"))
        unsaid = levels(model(f"level a = {kind}\nflow out = in -> a"))
        assert said.keys() == unsaid.keys()
        assert [level.learning for level in said.values()] == [level.learning for level in unsaid.values()]


def test_the_clauses_of_a_memory():
    (level,) = levels(
        model(
            MEMORY % "every 4 tokens, chunk 8  objective dot  optimizer gd(step = 0.5)  init normal(0.1) "
            " read before  gradient stop  reset context"
        )
    ).values()
    assert (level.learning, level.period, level.unit, level.chunk) == (
        Learning.ASSOCIATION, 4, Unit.TOKEN, 8
    )  # fmt: skip
    assert (level.objective, level.read, level.gradient, level.reset) == ("dot", "before", "stop", "context")
    assert (level.init.kind, level.init.number, level.init.trained) == ("normal", 0.1, False)
    assert level.optimizer and dict(level.optimizer.arguments).items() >= {"step": 0.5, "retain": 1.0}.items()


def test_steps_that_are_numbers_parameters_and_flows():
    head = "param rate = 0.25"
    body = "flow gate = in -> linear(2) -> sigmoid\n" + MEMORY
    text = model(body % "every 1 token  optimizer gd(step = rate * 2, retain = gate)", head)
    level = levels(text)["m"]
    assert level.optimizer
    assert dict(level.optimizer.arguments)["step"] == 0.5
    assert "retain" not in dict(level.optimizer.arguments)
    assert level.optimizer.flows == (("retain", "gate"),)
    assert graph(text).sources("m", EdgeType.GENERATE) == ("gate",)
    assert codes(model(body % "every 1 token  optimizer gd(step = gatee)")) == ["N0101"]


def test_default_speaks_of_the_levels_that_say_learn():
    text = model(
        "default { every 1 token, chunk 4  objective dot  init zeros }\n"
        "level a = matrix { learn in -> in }\n"
        "level b = matrix { learn in -> in  objective l2  every 1 token }\n"
        "level c = linear\n"
        "flow out = in -> a -> b -> c"
    )
    found = levels(text)
    assert [(found[name].objective, found[name].chunk, found[name].init.kind) for name in "ab"] == [
        ("dot", 4, "zeros"),
        ("l2", 1, "zeros"),
    ]
    assert found["c"].unit is Unit.STEP


BLOCK = "block b { level w = linear { %s }\n level v = linear\n flow out = in -> w -> v -> rms_norm }"


def test_a_block_passes_on_what_its_level_says():
    found = levels(
        model("level a = b { every 4 steps  optimizer sgd(lr = 1) }\nflow out = in -> a", BLOCK % "")
    )
    assert {level.period for level in found.values()} == {4}
    assert {level.optimizer.name for level in found.values() if level.optimizer} == {"sgd"}


def test_a_level_inside_has_the_last_word():
    inside = BLOCK % "every 2 steps  optimizer muon"
    found = levels(model("level a = b { every 4 steps  optimizer sgd }\nflow out = in -> a", inside))
    assert (found["a.w"].period, found["a.v"].period) == (2, 4)
    assert [found[id].optimizer.name for id in ("a.w", "a.v")] == ["muon", "sgd"]  # type: ignore[union-attr]


def test_the_inner_block_inherits_through_the_outer():
    outer = (
        BLOCK % ""
    ) + "\nblock c { level x = b repeat 2\n level y = b { every 8 steps }\n flow out = in -> x -> y }"
    found = levels(model("level a = c { every 4 steps  frozen }\nflow out = in -> a", outer))
    assert all(level.frozen for level in found.values())
    assert found["a.y.w"].period == 8
    assert found["a.x[1].out.rms_norm"].period == 4


def test_attention_passes_its_clauses_to_its_projections():
    found = levels(model("level a = attention(2) { every 4 steps }\nflow out = in -> a"))
    assert found["a.query"].period == 4
    assert found["a"].unit is Unit.TOKEN


def test_the_memories_of_optimizers_are_levels():
    text = model(
        "level a = linear\nlevel b = linear { optimizer sgd(momentum = 0.9) }\n"
        "level c = linear { every 2 steps }\n"
        "flow out = in -> a -> b -> c\ntrain { optimizer adamw }"
    )
    memories = {level.id: level.period for level in graph(text).levels() if level.owner}
    assert memories == {
        "@train.adamw.m": 1, "@train.adamw.v": 1, "b.sgd.m": 1,
        "@train.adamw[2].m": 2, "@train.adamw[2].v": 2,
    }  # fmt: skip


# --- names ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["train", "step", "state", "forward", "in_", "index", "self", "none", "default"]
)
def test_any_name_may_be_given(name):
    assert codes(model(f"level {name} = linear\nflow out = in -> {name}")) == []
    assert codes(model(f"flow {name} = in\nflow out = {name} + 1")) == []
    assert codes(model(f"flow out = in * {name}", parameters=f"{name} = 2")) == []


def test_names_that_are_taken():
    assert codes(model("level in = linear\nflow out = in")) == ["N0102"]
    assert codes(model("level out = linear\nflow x = in -> out")) == ["N0104"]
    assert codes(model("flow x = in", parameters="out = 2")) == ["N0303", "N0102"]
    assert codes(model("flow out = in", parameters="in = 2")) == ["N0102"]


def test_a_level_is_no_kind():
    for text in (
        "level a = b\nlevel b = linear",
        "level b = linear\nlevel a = b",
        "level a = a\nlevel b = linear",
    ):
        assert messages(model(text + "\nflow out = in -> b"))[0].endswith(
            "is a level, not a kind of level or a block"
        )


def test_what_could_not_be_read_is_not_reported_again():
    text = """
level a = linear(
level b = nothing(3)
flow c = in + + 2
flow d = in -> a -> b -> c
flow out = d + c + (in -> b -> linear(8))
"""
    assert sorted(codes(model(text))) == ["N0001", "N0002", "N0101"]
