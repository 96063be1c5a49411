"""One run reports every mistake, each once, and nothing that only follows from another."""

import itertools

import pytest

from nestdsl.checks.clocks import check_run
from tests.semantics.programs import codes, graph, messages, model

# Each line is one mistake by itself; `{n}` keeps their names apart.
MISTAKES = {
    "N0001": "flow bad{n} = in + * 2",
    "N0002": "flow bad{n} = silu(in",
    "N0101": "flow bad{n} = in -> nowhere{n}",
    "N0102": "flow twice{n} = in\nflow twice{n} = in",
    "N0103": "flow bad{n} = in -> linear(sizes = {n})",
    "N0104": "flow bad{n} = linear({n})",
    "N0201": "flow bad{n} = (in -> linear(2)) + in",
    "N0202": "flow bad{n} = in -> linear(0.{n}5)",
    "N0203": "flow bad{n} = in -> dropout(1.{n}5)",
    "N0204": "flow bad{n} = in -> softmax(heads = 3)",
    "N0301": "flow bad{n} = bad{n} + 1",
    "N0302": "flow bad{n} = in -> attention(causal = false)",
    "N0401": "level bad{n} = mlp {{ every {n} }}",
    "N0402": "level one{n} = mlp {{ every 5{n}0 steps }}\nlevel two{n} = mlp {{ every 5{n}1 steps }}",
    "N0403": "level bad{n} = matrix {{ learn in -> in  every 4 tokens, chunk 7 }}",
    "N0404": "level bad{n} = mlp {{ optimizer gd(step = 0.{n}) }}",
    "N0405": "level bad{n} = mlp {{ read after }}",
    "N0407": "level bad{n} = matrix {{ learn in -> in  every {n} steps }}",
}


def program(names) -> str:
    lines = [MISTAKES[name].format(n=n) for n, name in enumerate(names, 1)]
    return model("\n".join([*lines, "level fine = linear", "flow out = in -> fine"]))


@pytest.mark.parametrize("name", MISTAKES)
def test_each_alone(name):
    assert codes(program([name])) == [name]


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(MISTAKES, 2)))
def test_every_two_together(first, second):
    if {first, second} == {"N0402", "N0407"}:
        return  # the periods of these two do not divide one another either
    assert sorted(codes(program([first, second]))) == [first, second]


def test_all_together():
    names = [name for name in MISTAKES if name not in ("N0402", "N0407")]
    assert sorted(codes(program(names))) == names


def test_the_same_in_every_copy_is_one_mistake():
    for name, line in MISTAKES.items():
        body = "\n".join([line.format(n=1), "flow out = in -> linear"])
        block = f"block b {{\n{body}\n}}"
        assert codes(model("level a = b repeat 5\nlevel c[2] = b\nflow out = in -> a -> c", block)) == [name]


def test_a_block_that_nothing_uses_is_read_too():
    for name in ("N0101", "N0102", "N0103", "N0104", "N0202", "N0203", "N0401"):
        body = MISTAKES[name].format(n=1)
        block = f"block unused(size) {{\n{body}\nflow out = in -> linear(size)\n}}"
        assert codes(model("flow out = in", block)) == [name]


# --- nothing that follows ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("flow a = nowhere\nflow b = a + 1\nflow c = b -> linear(3)\nflow out = c + in", "N0101"),
        ("level a = nothing(3)\nflow out = (in -> a) + a(in)", "N0101"),
        ("level a[3] = nothing(3)\nflow out = (in -> a[7]) + (in -> parallel(a))", "N0101"),
        ("level a = linear(1 / 0)\nflow out = (in -> a) + in", "N0203"),
        ("level a = linear repeat 1 / 0\nflow out = in -> a", "N0203"),
        ("level a[1 / 0] = linear\nflow out = in -> a[2]", "N0203"),
        ("flow s = in -> nowhere\nlevel m = matrix { learn in -> s  every 1 token  optimizer gd(step = s) }\n"
         "flow out = in -> m", "N0101"),
        ("flow a = in -> linear(3)\nflow b = a + in\nflow out = b + in -> linear -> rms_norm(7)", "N0201"),
        ("level a = attention(3)\nflow out = in + (in -> a -> linear(5) -> attention(4))", "N0204"),
        ("flow a = b\nflow b = a\nflow out = in + a -> linear(3) -> attention(2)", "N0301"),
        ("level m = matrix { learn in -> in  every }\nflow out = in -> m", "N0001"),
        ("level m = matrix { learn in -> in  every 1.5 tokens }\nflow out = in -> m", "N0202"),
        ("level m = matrix { learn in -> in  every 1 tokn }\nflow out = in -> m", "N0401"),
        ("flow out = x", "N0101"),
        ("flow out = in\ntrain { optimizer adamv }", "N0101"),
        ("level a = b(1 / 0)\nflow out = in -> a", "N0203"),
        ("level m = matrix { learn in -> in  every 1 token  frozen }\nflow out = in -> m", "N0407"),
        ("level m = matrix(3) { learn in -> (in -> linear(7))  every 1 token }\nflow out = in -> m", "N0204"),
        ("flow a = nowhere\n  -> linear\nflow out = a[0] + a", "N0001"),
        ("level m = matrix { learn in\n  -> in  every 1 token }\nflow out = in -> m", "N0001"),
        ("level a = mlp { every step }\nflow out = in -> a", "N0401"),
        ("level m = matrix { learn in -> in  every token, chunk 4 }\nflow out = in -> m", "N0401"),
        ("flow out = in\ntrain { objective mse  every tokens  optimizer adamw }", "N0401"),
        ("level a = mlp(3, 4) repeat 2\nflow out = in -> a", "N0103"),
    ],
)  # fmt: skip
def test_what_follows_is_not_reported(body, code):
    assert codes(model(body, "block b(n) { flow out = in -> linear(n) -> linear(n * 2) }")) == [code]


@pytest.mark.parametrize(
    "broken", ["use std.nowhere", 'use "nothing.nest"', "use std.", "use", "block nowhere {{"]
)
def test_a_missing_import_silences_unknown_names(broken):
    body = "level a = nowhere\nflow h = in -> nowhere\nflow out = in -> a + nowhere(h)"
    found = codes(model(body.replace("a + nowhere(h)", "a"), broken.replace("{{", "{ flow ) }")))
    assert len(found) == 1
    assert found[0] in ("N0105", "N0001")


def test_ids_that_the_next_line_was_to_make_vectors_of():
    text = "model m {\n  input ids(256)\n  flow out = in\n    -> embedding(8) -> linear(256)\n}"
    assert codes(text) == ["N0001"]


@pytest.mark.parametrize(
    "text", ["model m {", "model m {\n", "model m(dim = 8) {\n  input vectors(dim)\n  train {"]
)
def test_a_model_that_is_not_closed_is_not_said_to_be_empty(text):
    assert codes(text) == ["N0002"]


@pytest.mark.parametrize("unused", ["in -> linear(3)", "in -> attention(2)", "in + (in -> b -> b)"])
def test_what_an_unused_flow_makes_is_unused_with_it(unused):
    block = "block b {\nlevel a = mlp\nflow h = in -> a\nflow out = h -> linear\n}"
    assert codes(model(f"flow u = {unused}\nflow out = in", block)) == ["N0304"]


def test_warnings_wait_until_the_errors_are_gone():
    unused = "level unused = linear\nflow out = in"
    assert codes(model(unused)) == ["N0304"]
    assert codes(model(unused + "\nflow x = y")) == ["N0101"]


# --- sequences -----------------------------------------------------------------------------


def test_a_period_longer_than_the_sequence():
    found = graph(
        model(
            "level a = matrix { learn in -> in  every 16 tokens }\n"
            "level b = matrix { learn in -> in  every 4 tokens }\n"
            "level c = mlp { every 64 steps }\nflow out = in -> a -> b -> c"
        )
    )
    assert check_run(found, 16, 1000) == ()
    (only,) = check_run(found, 15, 1000)
    assert (only.code, only.is_error) == ("N0406", False)
    assert "`a`" in only.message and "16" in only.message and "15" in only.message
    assert len(check_run(found, 3, 1000)) == 2


def test_a_memory_of_an_optimizer_that_a_run_never_moves():
    found = graph("""
model m {
  input vectors(8)
  level a = linear(8) { every 16 tokens  optimizer m3(period = 4) }
  level b = linear(8) { every 2 steps  optimizer m3(period = 4) }
  flow out = in -> a -> b -> linear(8)
}
""")
    assert check_run(found, 64, 8) == ()
    (near,) = check_run(found, 32, 8)
    assert "`a.m3.far` updates once in 64 tokens, but a sequence has 32" in near.message
    (far,) = check_run(found, 64, 7)
    assert "`b.m3.far` updates once in 8 steps, but the run has 7" in far.message
    assert {one.message.split("`")[1] for one in check_run(found, 8, 1)} == {"a", "b"}


def test_periods_are_compared_by_pairs_and_units():
    text = "level a = mlp {{ every {} steps }}\nlevel b = mlp {{ every {} steps }}\nflow out = in -> a -> b"
    for first, second in ((1, 7), (3, 9), (4, 4), (16, 4)):
        assert codes(model(text.format(first, second))) == []
    (message,) = messages(model(text.format(6, 4)))
    assert "4 and 6 steps" in message
    mixed = "level a = mlp { every 3 steps }\nlevel m = matrix { learn in -> in  every 4 tokens }\n"
    mixed += "flow out = in -> a -> m"
    assert codes(model(mixed)) == []


def test_a_missing_module_of_the_library_hides_only_what_may_come_from_it():
    body = "level a = titans\nflow out = in -> a -> nothing(3) -> other"
    assert codes(model(body, "use std.nothing")) == ["N0105", "N0101"]  # `other` is in no file of the library
