"""The plan: there and back as YAML, stable, honest about costs, and refused where it is not one."""

from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import nestdsl
from nestdsl.compiler import analyse
from nestdsl.diagnostics import NestError
from nestdsl.graph.optimizer import chain as programs_of
from nestdsl.plan.lower import lower
from nestdsl.plan.names import TAKEN, Names, identifier
from nestdsl.plan.optimizer_state import state_numbers
from nestdsl.plan.plan import Plan
from nestdsl.plan.yaml import from_yaml, to_yaml
from nestdsl.runtime.build import build
from nestdsl.runtime.module import NestModule
from nestdsl.runtime.optimizer.memories import initial_state
from nestdsl.runtime.step_levels import StepLevels
from nestdsl.semantics.modules import library_module
from nestdsl.source import Source
from nestdsl.syntax.files import read_source
from tests.semantics.programs import model

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted([*(ROOT / "examples").rglob("*.nest"), *(ROOT / "tests/golden/good").glob("*.nest")])
SMALL = {"dim": 8, "vocab": 16}


def plan_of(text: str, **parameters) -> Plan:
    return lower(analyse(Source(text), parameters).graph(), "<text>")


def plan_of_file(path: Path) -> Plan:
    source = read_source(path)
    declared = {name: value for name, value in SMALL.items() if f"{name} =" in source.text}
    return lower(analyse(source, declared).graph(), source.name)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_there_and_back(path):
    plan = plan_of_file(path)
    text = to_yaml(plan)
    assert from_yaml(text) == plan
    assert to_yaml(from_yaml(text)) == text
    assert to_yaml(plan_of_file(path)) == text
    yaml.safe_load(text)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_costs_are_those_of_the_built_model(path):
    plan = plan_of_file(path)
    built = build(plan, compile=False)
    assert plan.costs.parameters == sum(weight.numel() for weight in built.parameters())
    assert plan.costs.parameter_bytes == 4 * plan.costs.parameters
    trained = sum(weight.numel() for weight in built.parameters() if weight.requires_grad)
    assert plan.costs.trained_parameters == trained
    for level in plan.levels:
        weights = built.level_parameters(level)
        assert sum(weight.numel() for weight in weights.values()) == level.parameters * level.copies
    assert sum(level.state_bytes_per_sequence * level.copies for level in plan.levels) == (
        plan.costs.state_bytes_per_sequence
    )


def state_bytes(model_: NestModule) -> int:
    """Bytes of one sequence's state after 16 tokens; positions and numbers for a whole head are left out."""
    _, state = model_(torch.randn(3, 16, 8))
    return sum(leaf.numel() * leaf.element_size() // 3 for leaf in kept(state))


def kept(state: object) -> list[torch.Tensor]:
    leaves = torch.utils._pytree.tree_leaves(state)
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.ndim > 2]


MEMORY = "level m = matrix(2) {{ learn in -> (in -> linear(6))  every {}  read {} }}\nflow out = in -> m"
KINDS = {
    "linear": "flow out = in -> linear(5, false) -> linear",
    "mlp": "flow out = in -> mlp(expand = 1.3) -> mlp(hidden = 5, bias = false) -> mlp",
    "conv": "flow out = in -> conv(4) -> conv(1, bias = false) -> conv(width = 7)",
    "norms": "flow out = in -> rms_norm(2) -> layer_norm(4)",
    "attention": "flow out = in -> attention(2) -> attention(4, bias = true, rotary = false)",
    "windowed attention": "flow out = in -> attention(2, window = 5) -> attention(2, window = 1)",
    "given attention": "level a = attention(2) { learn (in -> linear(4)) -> in }\n"
    "flow out = in -> linear(4) -> a",
    "matrix": "level m = matrix(2)\nflow out = in -> m",
    "memory": MEMORY.format("1 token", "after"),
    "memory read before": MEMORY.format("1 token, chunk 4", "before"),
    "memory read at its anchor": MEMORY.format("1 token, chunk 4", "anchor"),
    "memory with a period": MEMORY.format("4 tokens", "after"),
    "memory that starts at zero": MEMORY.format("1 token  init zeros", "after"),
    "memory that is the identity": "level m = matrix(2) { learn in -> in  every 1 token  init identity }\n"
    "flow out = in -> m",
    "trained starts": "level m = matrix(2) { learn in -> in  every 1 token  init learned(zeros) }\n"
    "level n = associative(2) { learn in -> in  every 1 token  init scaled(2) }\nflow out = in -> m -> n",
    "fixed starts": "level m = matrix(2) { learn in -> in  every 1 token  init orthogonal }\n"
    "level n = associative(2) { learn in -> in  every 1 token  init uniform(1) }\nflow out = in -> m -> n",
    "repeats": "level a = linear repeat 3\nlevel b[2] = mlp\nflow out = in -> a -> b -> linear(3)",
    "frozen": "level a = linear { frozen  init normal(1) }\nflow out = in -> a -> linear",
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_costs_what_it_says(name):
    plan = plan_of(model(KINDS[name]))
    built = build(plan, compile=False)
    assert plan.costs.parameters == sum(weight.numel() for weight in built.parameters())
    assert plan.costs.trained_parameters == sum(w.numel() for w in built.parameters() if w.requires_grad)
    if not plan.costs.state_bytes_per_token:
        assert plan.costs.state_bytes_per_sequence == state_bytes(built)


def test_attention_grows_with_every_token():
    plan = plan_of(model(KINDS["attention"]))
    built = build(plan, compile=False)
    sizes = []
    for tokens in (4, 5):
        _, state = built(torch.randn(1, tokens, 8))
        sizes.append(sum(leaf.numel() * 4 for leaf in kept(state)))
    assert sizes[1] - sizes[0] == plan.costs.state_bytes_per_token


@pytest.mark.parametrize(
    ("clauses", "memories"),
    [("optimizer adamw", 2), ("optimizer sgd", 0), ("optimizer sgd(momentum = 0.9)", 1), ("", 2)],
)
def test_optimizer_memories(clauses, memories):
    plan = plan_of(model(f"flow out = in -> linear\ntrain {{ objective mse  {clauses} }}"))
    assert plan.costs.optimizer_bytes == 4 * 72 * memories


def test_what_each_level_of_an_optimizer_keeps():
    """A slow memory keeps what gathers, and its orthogonal form until it moves again; one of each weight."""
    body = (
        "level w = linear(8)\nlevel m = matrix(2) { learn in -> in  every 1 token }\n"
        "level slow = linear(8, bias = false) { every 4 steps  optimizer dmgd(hidden = 3) }\n"
        "flow out = in -> w -> slow -> m -> linear(8, bias = false)\n"
        "train { objective mse  optimizer m3(period = 16) }"
    )
    costs = plan_of(model(body)).costs
    matrix, rest = 64, 8 + 64 + 2 * 16  # one matrix of a hidden level; a bias, the output, two heads of 4 × 4
    assert dict(costs.optimizer_memories) == {
        "@train.m3.v": 4 * matrix,
        "@train.m3.near": 4 * matrix,
        "@train.m3.far": 2 * 4 * matrix,
        "@train.m3.direction.newton_schulz_2": 4 * matrix,
        "@train.adamw.m": 4 * rest,
        "@train.adamw.v": 4 * rest,
        "slow.dmgd.v": 4 * 64,
        "slow.dmgd.m": 4 * 2 * 3 * 8,
    }
    assert costs.optimizer_bytes == sum(bytes for _, bytes in costs.optimizer_memories)


def test_the_optimizer_of_a_level_that_starts_from_another_is_part_of_its_state():
    body = (
        "level slow = linear { every 8 tokens  optimizer gd }\n"
        "level fast = linear { every 4 tokens  optimizer m3(period = 2)  init from slow }\n"
        "flow out = in -> slow -> fast -> linear\ntrain { objective mse }"
    )
    (fast,) = (level for level in plan_of(model(body)).levels if level.name == "fast")
    # Weights and what gathers; near, far, v, far's own gathering and its orthogonal form; m and v of a bias.
    assert fast.state_bytes_per_sequence == 4 * (2 * 72 + 5 * 64 + 2 * 8)


EVERYTHING = """
optimizer own(lr = 0.1) {
  level slow[2] = ema(0.9) { learn grad  every 4 * (index + 1) steps  read before }
  level pairs = matrix { learn grad -> outer(grad)  every 4 steps }
  level ones = matrix { learn grad -> 1  every 4 steps }
  level scaled = matrix { learn normalize(grad) -> norm(grad)  every 2 steps }
  level keys = associative(hidden = 3) { learn grad -> 2 * grad  every 2 steps }
  flow far = normalize(pairs) * rms(slow[1]) + slow[0]
  flow update = lr * (far + ones + norm(scaled) * grad + keys(grad))
}
"""


@pytest.mark.parametrize("name", ["own", *library_module("optim").names])
@pytest.mark.parametrize("shape", [(5,), (4, 6), (6, 4), (2, 4, 6)])
def test_optimizers_keep_what_the_plan_says(name, shape):
    """The numbers of each level, against what the runtime keeps for one weight."""
    body = f"flow out = in -> linear\ntrain {{ objective mse  optimizer {name} }}"
    program = (
        analyse(Source(model(body, EVERYTHING if name == "own" else ""))).graph().train.optimizer.program
    )
    is_matrix = len(shape) == 2
    kept = initial_state(programs_of(program, is_matrix=is_matrix)[-1], torch.zeros(shape))
    assert state_numbers(program, (("weight", shape),), True) == sum(one.numel() for one in kept.values())


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_model_s_optimizers_keep_what_its_plan_says(path):
    plan = plan_of_file(path)
    levels = StepLevels(build(plan, compile=False), run_steps=10)
    kept = [tensor for _, driven in levels._driven() for tensor in driven.state.values()]
    assert plan.costs.optimizer_bytes == sum(one.numel() * one.element_size() for one in kept)


def test_what_gathers_has_the_shape_of_what_is_learned():
    own = """
    optimizer own() {
      level pairs = matrix { learn grad -> outer(grad)  every 4 steps }
      level ones = matrix { learn grad -> 1  every 4 steps }
      level scaled = matrix { learn grad -> norm(grad)  every 4 steps }
      flow update = grad + pairs + ones + scaled
    }
    """
    body = "level w = linear(2, bias = false)\nflow out = in -> w\ntrain { objective mse  optimizer own }"
    kept = dict(plan_of(model(body, own)).costs.optimizer_memories)
    assert kept == {
        "@train.own.pairs": 4 * (2 * 8 + 2 * 8 + 2 * 2),
        "@train.own.ones": 4 * (2 * 8 + 2 * 8 + 1),
        "@train.own.scaled": 4 * (2 * 8 + 2 * 8 + 1),
    }


def test_the_clock():
    clock = plan_of(
        model(
            "level a = matrix { learn in -> in  every 1 token }\n"
            "level b = matrix { learn in -> in  every 16 tokens }\n"
            "level c = mlp { every 4 steps }\nlevel d = mlp { frozen init zeros }\n"
            "flow out = in -> a -> b -> c -> d\ntrain { every 2 steps  optimizer sgd }"
        )
    ).clock
    assert clock.cycle_steps == 4
    assert clock.tokens == ((1, ("a",)), (16, ("b",)))
    assert clock.steps == ((4, ("c",)),)


# --- stability -----------------------------------------------------------------------------

BEFORE = """
use std.transformer
block side(n) { flow out = in -> linear(n) -> silu }
model m(dim = 8) {
  input vectors(dim)
  level stack = transformer_layer(2) repeat 2
  flow h = in -> linear -> silu -> linear(4) -> side(3) -> linear(dim)
  flow out = h -> stack -> rms_norm
}
"""
EDITS = {
    "another flow": ("flow out =", "flow extra = in -> mlp -> linear\n  flow out = extra +"),
    "another level": ("flow out =", "level more = mlp\n  flow out = more(in) +"),
    "another block": ("block side", "block other(n) { flow out = in -> mlp }\nblock side"),
    "another parameter": ("model m(", "param width = 3\nmodel m(wide = width, "),
    "more copies": ("repeat 2", "repeat 3"),
    "another end": ("-> stack -> rms_norm", "-> stack -> layer_norm"),
    "comments and blanks": ("  flow h", "\n\n  # here\n  flow h"),
}


def attributes(plan: Plan) -> set[tuple[str, str]]:
    return {(body.name, level.attribute) for body in plan.bodies for level in body.levels} | {
        (body.name, block.attribute) for body in plan.bodies for block in body.blocks
    }


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_elsewhere_renames_nothing(name):
    old, new = EDITS[name]
    assert old in BEFORE
    before, after = attributes(plan_of(BEFORE)), attributes(plan_of(BEFORE.replace(old, new, 1)))
    changed = {("m", "out_rms_norm")} if name == "another end" else set()
    assert before - changed <= after


def test_layout_and_comments_change_nothing():
    text = BEFORE.replace("  flow h = in ->", "\n  # a comment\n  flow h = in   ->\n    ")
    assert plan_of(text) == plan_of(BEFORE)


# --- names ---------------------------------------------------------------------------------


def test_every_attribute_of_a_module_is_taken():
    assert {name for name in dir(NestModule) if not name.startswith("_")} <= TAKEN
    built = nestdsl.parse(model("flow out = in -> linear -> silu")).compile(compile=False)
    own = {name for name in vars(built) if not name.startswith("_")}
    assert own <= TAKEN


@pytest.mark.parametrize("name", sorted(TAKEN | {"in", "class", "None", "is", "functions", "__init__", "_x"}))
def test_a_program_may_use_any_name(name):
    identifier_ = identifier(name)
    assert identifier_.isidentifier()
    assert identifier_ not in TAKEN
    if name in ("in", "__init__"):
        return
    text = model(f"level {name} = linear\nflow {name}_ = in -> {name}\nflow out = {name}_ + 1")
    analysis = analyse(Source(text))
    if not analysis.has_errors:
        built = build(lower(analysis.graph(), "x"), compile=False)
        assert built(torch.randn(1, 2, 8))[0].shape == (1, 2, 8)


def test_names_are_given_once():
    names = Names(["taken"])
    wanted = ["h", "h", "h_2", "a.b", "a_b", "a[0]", "a_0", "taken", "1", "é", "-"]
    given_ = [names.new(name) for name in wanted]
    assert len(set(given_)) == len(wanted)
    assert all(name.isidentifier() for name in given_)
    assert given_[:3] == ["h", "h_2", "h_2_2"]


def test_only_gd_on_l2_at_every_token_forgets_first():
    text = to_yaml(plan_of_file(ROOT / "tests/golden/good/forget_first.nest"))
    assert "forget_first: true" in text and to_yaml(from_yaml(text)) == text
    for old, new in (("optimizer: gd\n", "optimizer: dgd\n"), ("objective: l2", "objective: dot")):
        assert old in text
        with pytest.raises(NestError) as raised:
            from_yaml(text.replace(old, new))
        assert "forget first" in raised.value.diagnostics[0].message


# --- what is no plan -----------------------------------------------------------------------

TEXT = to_yaml(plan_of_file(ROOT / "tests/golden/good/fast_weight.nest"))
DEEP = "x: " + "[" * 200_000


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "[]", "1", "format: 2", "format: 3", "format: 4", "format: true",
        "{", "\0", "\ud800", "- " * 50_000, DEEP,
        "format: 0b_", "format: 2020-13-45", "format: !!int x", "format: !!python/name:os.system x",
        "&a [*a]", "format: 4\nformat: 4", TEXT.replace("format: 4", "format: 3"),
        TEXT.replace("output_size: 8", "output_size: eight", 1), TEXT.replace("model: ", "modle: ", 1),
        TEXT.replace("model: fast_weight", "", 1), TEXT.replace("copies: 1", "copies: 1.0", 1),
        TEXT.replace("copies: 1", "copies: true", 1), TEXT + "more: 1\n",
        TEXT[: TEXT.index("bodies:")] + "bodies: []\n",
        TEXT.replace("modules: [memory]", "modules: memory", 1),
        TEXT.replace("modules: [memory]", "modules: [1]", 1),
        TEXT.replace("{heads: 2, dim: 8}", "[heads, dim]", 1), TEXT + "---\n" + TEXT,
    ],
)  # fmt: skip
def test_no_plan(text):
    with pytest.raises(NestError) as raised:
        from_yaml(text)
    (only,) = raised.value.diagnostics
    assert (only.code, bool(only.hint)) == ("N0502", True)
    assert "\n" not in only.message


PIECES = ["", "\n", "  ", "- ", ": ", "{", "}", "[", "]", "&a ", "*a", "!!int ", "'", '"', "null", "1e3",
          "0x", "~",
          "2020-13-45", "<<: ", "? ", "| ", "%", "@", "\0", "\x85", "format: 1\n", "9" * 50]  # fmt: skip


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9), st.sampled_from(PIECES)), min_size=1, max_size=3)
)
def test_a_changed_plan_is_a_plan_or_refused(changes):
    text = TEXT
    for where, removed, put in changes:
        start = int(where * len(text))
        text = text[:start] + put + text[start + removed :]
    try:
        plan = from_yaml(text)
    except NestError as error:
        refusal = error
    else:
        assert from_yaml(to_yaml(plan)) == plan
        return
    assert [diagnostic.code for diagnostic in refusal.diagnostics] == ["N0502"]


@settings(max_examples=50)
@given(st.text(max_size=60))
def test_any_text_is_a_plan_or_refused(text):
    with pytest.raises(NestError, match="N0502"):
        from_yaml(text)
