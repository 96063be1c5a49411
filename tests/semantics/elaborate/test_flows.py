"""From the tree to the graph: arrays, repeats, blocks, flows and their names."""

from nestdsl.graph.nodes import Operation
from tests.semantics.programs import codes, graph, levels, model


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
