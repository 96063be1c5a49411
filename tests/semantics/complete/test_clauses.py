"""What the clauses of a level say, and what a block passes on to the levels inside."""

from nestdsl.graph.nodes import EdgeType, Learning
from nestdsl.vocabulary.timing import STOP, ReadTime, Reset, Unit
from tests.semantics.programs import codes, graph, levels, model

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
    assert (level.objective, level.read, level.gradient) == ("dot", ReadTime.BEFORE, STOP)
    assert level.reset is Reset.CONTEXT
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
