"""Which memories of a body work as one, and as what."""

from __future__ import annotations

import pytest
import torch
from torch.utils._pytree import tree_leaves

import nestdsl
from nestdsl.plan.plan import Plan, Sharing
from nestdsl.plan.yaml import from_yaml, to_yaml
from tests.plan.test_plan import plan_of
from tests.semantics.programs import model


def shared(plan: Plan) -> list[tuple[str, tuple[str, ...]]]:
    return [(shared.form, shared.members) for body in plan.bodies for shared in body.shared]


SELF = """
default {{ every 1 token, chunk 4  optimizer dgd(step = 0.1, toward = init)  {default} }}
level a = matrix(2) {{ learn k -> {a}  {clauses} }}
level b = matrix(2) {{ learn k -> {b} }}
flow k = in -> a -> l2_normalize(2)
flow v = in -> b
flow out = (v -> a) + (v -> b)
"""


def program(a: str = "a(v)", b: str = "b(v)", default: str = "", clauses: str = "") -> str:
    return model(SELF.format(a=a, b=b, default=default, clauses=clauses))


@pytest.mark.parametrize(
    "text",
    [
        program(),
        program(default="objective dot"),
        program(default="read anchor"),
        program(default="init normal(0.1)"),
        program(default="init identity"),
        program(default="init learned(zeros)"),
        program(default="init uniform(0.1)", clauses="init learned(orthogonal)"),
        program("v + a(v)", "b(v) + v"),
        program("a(v) + (v - k)", "b(v) + (v - k)"),
    ],
)
def test_memories_that_make_their_own_targets_are_one_product(text: str) -> None:
    assert shared(plan_of(text))[0] == (Sharing.ONE_PRODUCT, ("a", "b"))


@pytest.mark.parametrize(
    "text",
    [
        program("b(v)", "a(v)"),
        program("a(v)", "v"),
        program("a(v) + v", "b(v) + k"),
        program("silu(a(v))", "silu(b(v))"),
        program(default="objective lp(3)"),
        program(default="gradient stop"),
        program(default="gradient truncated(1)")
        .replace("level a", "level c = linear { every 8 tokens }\nlevel a")
        .replace("(v -> a) +", "(v -> c -> a) +"),
        program(default="init zeros"),
    ],
)
def test_memories_that_do_not_stand_side_by_side(text: str) -> None:
    assert shared(plan_of(text)) == [(Sharing.SIDE_BY_SIDE, ("a", "b"))]


@pytest.mark.parametrize(
    "clauses",
    [
        "every 1 token, chunk 2",
        "objective dot",
        "optimizer dgd(step = 0.2, toward = init)",
        "optimizer dgd(step = 0.1)",
        "optimizer gd(step = 0.1, toward = init)",
        "read before",
    ],
)
def test_memories_that_differ_are_apart(clauses: str) -> None:
    assert shared(plan_of(program(clauses=clauses))) == []


def test_memories_with_other_keys_or_a_need_of_one_another_are_apart() -> None:
    text = """
    level a = matrix(2) { learn in -> in  every 1 token }
    level b = matrix(2) { learn in -> in -> a  every 1 token }
    level c = matrix(2) { learn in -> in  every 1 token }
    level d = matrix(2) { learn other -> in  every 1 token }
    flow other = in -> silu
    flow out = (in -> b) + (in -> c) + (in -> d)
    """
    assert shared(plan_of(model(text.replace("in -> in -> a", "in -> (in -> a)")))) == [
        (Sharing.SIDE_BY_SIDE, ("a", "c"))
    ]


def test_the_switch_turns_sharing_off_and_the_plan_says_what_is_shared() -> None:
    nest = nestdsl.parse(program())
    assert shared(nest.plan) and from_yaml(to_yaml(nest.plan)) == nest.plan
    apart = nest.compile(compile=False, sharing=False)
    assert shared(apart.plan) == []
    together = nest.compile(compile=False)
    assert list(apart.state_dict()) == list(together.state_dict())
    assert apart.plan.costs.parameters == together.plan.costs.parameters
    assert apart.plan.costs.state_bytes_per_sequence > together.plan.costs.state_bytes_per_sequence


@pytest.mark.parametrize(
    "text", [program(), program("a(v)", "v"), program("a(v) + v", "b(v) + v"), program(default="read before")]
)
def test_costs_count_the_state_that_is_kept(text: str) -> None:
    built = nestdsl.parse(text).compile(compile=False)
    state = built(torch.randn(3, 16, 8))[1]
    leaves = [leaf for leaf in tree_leaves(state) if isinstance(leaf, torch.Tensor) and leaf.ndim > 2]
    kept = sum(leaf.numel() * leaf.element_size() // 3 for leaf in leaves)
    assert kept == built.plan.costs.state_bytes_per_sequence
