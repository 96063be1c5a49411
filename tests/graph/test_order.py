"""The order of levels (Definition 2): the decompositions that the paper names, and what they leave open."""

import pytest

from nestdsl.api import parse
from nestdsl.explain import as_text
from nestdsl.vocabulary.timing import Every, Unit
from tests.semantics.programs import model, ranks

LAYER = "level w = linear\nflow out = in -> w\ntrain {{ objective mse  {} }}"


def test_one_layer_with_gradient_descent_is_one_level():
    assert ranks(model(LAYER.format("optimizer sgd"))) == [{"w"}]


def test_momentum_is_faster_than_the_weights():
    assert ranks(model(LAYER.format("optimizer sgd(momentum = 0.9)"))) == [{"@train.sgd.m"}, {"w"}]


def test_the_moments_of_adam_are_one_level():
    assert ranks(model(LAYER.format("optimizer adamw"))) == [{"@train.adamw.m", "@train.adamw.v"}, {"w"}]


def test_muon_iterates_faster_than_its_momentum_which_is_faster_than_the_weights():
    text = model("level w = linear(8)\nflow out = in -> w -> linear\ntrain { objective mse  optimizer muon }")
    found = ranks(text)
    assert found[0] == {"@train.muon.update.newton_schulz"}
    assert {"@train.muon.m", "@train.adamw.m", "@train.adamw.v"} == found[1]
    assert "w" in found[2]


LINEAR_ATTENTION = """
flow k = in -> linear
flow v = in -> linear
flow q = in -> linear
level memory = matrix { learn k -> v  objective dot  every 1 token }
flow out = q -> memory
"""
PROJECTIONS = {"k.linear", "v.linear", "q.linear"}


def test_linear_attention():
    assert ranks(model(LINEAR_ATTENTION + "train { optimizer sgd }")) == [{"memory"}, PROJECTIONS]


def test_linear_attention_with_momentum():
    text = model(LINEAR_ATTENTION + "train { optimizer sgd(momentum = 0.9) }")
    assert ranks(text) == [{"memory"}, {"@train.sgd.m"}, PROJECTIONS]


def test_linear_attention_with_momentum_and_a_decay_of_its_own_optimizer():
    """An optimizer of the program's own is like one of the library."""
    own = "optimizer heavy(a = 0.9) { level m = sum_of(a) { learn grad }\n flow update = -0.1 * m }"
    text = model(LINEAR_ATTENTION + "train { optimizer heavy }", own)
    assert ranks(text) == [{"memory"}, {"@train.heavy.m"}, PROJECTIONS]


M3 = """
optimizer m3(lr = 3e-4, fast = 0.95, slow = 0.9, second = 0.999, mix = 0.5, period = 16) {
  level near = ema(fast)   { learn grad }
  level far  = ema(slow)   { learn grad  every period steps }
  level var  = ema(second) { learn grad * grad }
  flow update = -lr * (near + mix * far) / sqrt(debias(var))
}
"""


def test_a_slow_memory_of_an_optimizer_is_outside_of_its_fast_ones_and_of_the_weights():
    text = model(LAYER.format("optimizer m3"), M3)
    assert ranks(text) == [{"@train.m3.near", "@train.m3.var"}, {"w"}, {"@train.m3.far"}]


def test_the_period_of_a_memory_counts_updates_of_what_it_drives():
    body = "level w = linear {{ every 4 steps }}\nflow out = in -> w\ntrain {{ objective mse  {} }}"
    text = model(body.format("optimizer m3"), M3)
    assert ranks(text) == [{"@train.m3[4].near", "@train.m3[4].var"}, {"w"}, {"@train.m3[4].far"}]
    (far,) = (level for level in parse(text).levels if level.name.endswith("far"))
    assert (far.kind, far.period, far.unit, far.owner, far.frequency) == (
        "ema", 64, Unit.STEP, "@train", Every(1, 64, Unit.STEP),
    )  # fmt: skip


def test_a_memory_that_learns_from_another_waits_for_it():
    chain = """
    optimizer chain() {
      level first = ema(0.9) { learn grad }
      level second = ema(0.9) { learn first - grad%s }
      flow update = -0.1 * second
    }
    """
    body = LAYER.format("optimizer chain")
    assert ranks(model(body, chain % "")) == [{"@train.chain.first"}, {"@train.chain.second"}, {"w"}]
    earlier = chain.replace("{ learn grad }", "{ learn grad  read before }")
    assert ranks(model(body, earlier % "")) == [{"@train.chain.first", "@train.chain.second"}, {"w"}]


def test_deep_momentum_is_one_level_faster_than_the_weights():
    """A network as momentum (B7): its keys are gradients, so nothing stands between it and them."""
    deep = """
    optimizer deep(lr = 0.1) {
      level m = associative(step = 0.1, retain = 0.9) { learn normalize(grad) -> -grad }
      flow update = lr * m(normalize(grad))
    }
    """
    assert ranks(model(LAYER.format("optimizer deep"), deep)) == [{"@train.deep.m"}, {"w"}]
    found = ranks(model(LAYER.format("optimizer dmgd")))
    assert found == [{"@train.dmgd.v"}, {"@train.dmgd.m"}, {"w"}]


def test_the_levels_of_m3():
    """Its slow memory, and what it iterates of it, are outside of the weights that they drive."""
    text = model("level w = linear(8)\nflow out = in -> w -> linear\ntrain { optimizer m3(period = 16) }")
    place = "@train.m3"
    assert ranks(text) == [
        {f"{place}.direction.newton_schulz"},
        {f"{place}.v", "@train.adamw.m", "@train.adamw.v"},
        {f"{place}.near", "out.linear"},
        {"w"},
        {f"{place}.direction.newton_schulz_2"},
        {f"{place}.far"},
    ]  # fmt: skip


def test_optimizers_of_one_name_have_levels_of_their_own():
    """The program's `adamw` leaves its rest to `muon`, and that leaves its own to the library's `adamw`."""
    own = (
        "optimizer adamw() {\n only matrices else muon\n level m = ema(0.9) { learn grad }\n"
        " flow update = -0.1 * m\n}"
    )
    body = "level w = linear(8)\nflow out = in -> w -> linear\ntrain { optimizer adamw }"
    assert ranks(model(body, own))[0] == {"@train.adamw.m", "@train.adamw_2.m", "@train.adamw_2.v"}
    nest = parse(model(body, own))
    assert "train.adamw_2.v" in as_text(nest.nest_graph, nest.plan)
    assert [name for name, _ in nest.plan.costs.optimizer_memories] == [
        "@train.adamw.m", "@train.adamw_2.m", "@train.adamw_2.v",
    ]  # fmt: skip


def test_a_level_with_its_own_optimizer_has_memories_of_its_own():
    text = model(
        "level w = linear\nlevel h = linear { optimizer adamw }\nflow out = in -> w -> h\n"
        "train { optimizer sgd(momentum = 0.9) }"
    )
    assert ranks(text) == [{"@train.sgd.m", "h.adamw.m", "h.adamw.v"}, {"w", "h"}]


def test_transformer_block():
    block = "flow h = in + (in -> rms_norm -> attend)\nflow out = h + (h -> rms_norm -> think)"
    text = model(f"level attend = attention(2)\nlevel think = mlp\n{block}\ntrain {{ optimizer sgd }}")
    attention, *rest = ranks(text)
    assert attention == {"attend"}
    assert rest == [
        {f"attend.{part}" for part in ("query", "key", "value", "output")}
        | {"think", "h.rms_norm", "out.rms_norm"}
    ]


def test_a_transformer_whose_mlp_has_become_a_memory():
    """[Nested Learning, Eq. 21, 69]: attention, then a linear memory whose start the outer level learns, then
    projections."""
    text = model(
        "level attend = attention(2)\n"
        "level memory = matrix { learn k -> v  objective dot  every 1 token  init learned }\n"
        "flow k = in -> linear\nflow v = in -> linear\n"
        "flow out = (in -> attend) + (in -> linear -> memory)\ntrain { optimizer sgd }"
    )
    attention, memory, rest = ranks(text)
    assert (attention, memory) == ({"attend"}, {"memory"})
    assert {"k.linear", "v.linear", "out.linear", "attend.query"} < rest


def test_hope():
    """Memories, then levels by frequency, then what never moves; optimizer states beside what they drive."""
    text = model(
        LINEAR_ATTENTION.replace("flow out = q -> memory", "flow h = q -> memory")
        + "level cms[3] = mlp { every 4 ** index steps }\nlevel fixed = linear { frozen init normal(1) }\n"
        "flow out = h -> cms -> fixed\ntrain { optimizer sgd(momentum = 0.9) }"
    )
    assert ranks(text) == [
        {"memory"},
        {"@train.sgd.m"}, {"cms[0]", *PROJECTIONS},
        {"@train.sgd[4].m"}, {"cms[1]"},
        {"@train.sgd[16].m"}, {"cms[2]"},
        {"fixed"},
    ]  # fmt: skip


MEMORY = "level {} = matrix {{ learn {} -> in  every {}  read {} }}\n"


def test_stacked_memories_wait_for_what_they_read():
    first, second = (
        MEMORY.format("a", "in", "1 token", "after"),
        MEMORY.format("b", "(in -> a)", "1 token", "after"),
    )
    assert ranks(model(f"{first}{second}flow out = in -> b\ntrain {{ optimizer sgd }}")) == [{"a"}, {"b"}]
    beside = MEMORY.format("b", "in", "1 token", "after")
    assert ranks(model(f"{first}{beside}flow out = (in -> a) + (in -> b)\ntrain {{ optimizer sgd }}")) == [
        {"a", "b"}
    ]


@pytest.mark.parametrize("read", ["before", "anchor"])
def test_a_read_of_an_earlier_state_does_not_wait(read):
    first, second = (
        MEMORY.format("a", "in", "1 token", read),
        MEMORY.format("b", "(in -> a)", "1 token", read),
    )
    assert ranks(model(f"{first}{second}flow out = in -> b\ntrain {{ optimizer sgd }}")) == [{"a", "b"}]


def test_frequency_comes_before_need():
    first, second = (
        MEMORY.format("a", "in", "4 tokens", "after"),
        MEMORY.format("b", "(in -> a)", "1 token", "after"),
    )
    assert ranks(model(f"{first}{second}flow out = in -> b\ntrain {{ optimizer sgd }}")) == [{"b"}, {"a"}]


def test_a_generated_step_is_a_need():
    text = model(
        MEMORY.format("a", "in", "1 token", "after")
        + "level b = matrix { learn in -> in  every 1 token  optimizer gd(step = gate) }\n"
        "flow gate = in -> a -> linear(1) -> sigmoid\nflow out = in -> b\ntrain { optimizer sgd }"
    )
    assert ranks(text) == [{"a"}, {"b"}, {"gate.linear"}]


def test_copies_share_a_rank_though_each_reads_the_one_before():
    block = (
        "block layer { level m = matrix { learn in -> in  every 1 token }\n flow out = in -> m -> linear }"
    )
    for count in (1, 2, 5):
        text = model(f"level s = layer repeat {count}\nflow out = in -> s\ntrain {{ optimizer sgd }}", block)
        assert ranks(text) == [{"s[*].m"}, {"s[*].out.linear"}]


def test_the_elements_of_an_array_wait_for_one_another():
    block = "block layer { level m = matrix { learn in -> in  every 1 token }\n flow out = in -> m }"
    text = model("level s[3] = layer\nflow out = in -> s\ntrain { optimizer sgd }", block)
    assert ranks(text) == [{"s[0].m"}, {"s[1].m"}, {"s[2].m"}]


def test_attention_on_attention():
    text = model("flow out = in -> attention(2) -> attention(2)\ntrain { optimizer sgd }")
    first, second, projections = ranks(text)
    assert (first, second) == ({"out.attention"}, {"out.attention_2"})
    assert len(projections) == 8


def test_what_is_frozen_comes_last_whatever_it_reads():
    text = model(
        "level f = linear { frozen init normal(1) }\nlevel w = linear\n"
        "flow out = in -> f -> w\ntrain { optimizer sgd }"
    )
    assert ranks(text) == [{"w"}, {"f"}]
