"""Starts in plans: written and read back, one for what means the same, refused where they are odd."""

from __future__ import annotations

import pytest

import nestdsl
from nestdsl.diagnostics import NestError
from nestdsl.plan.plan import Pairs
from nestdsl.plan.yaml import from_yaml, to_yaml

MEMORY = "learn in -> in  every 1 token"
FIRST = """
model m(depth = 8) {{
  input vectors(8)
  level a = {kind} {{ {clauses} }}
  flow out = in -> a
}}
"""


def plan_of(kind: str, clauses: str) -> nestdsl.plan.plan.Plan:
    return nestdsl.parse(FIRST.format(kind=kind, clauses=clauses)).plan


def start_of(kind: str, clauses: str) -> Pairs:
    plan = plan_of(kind, clauses)
    assert from_yaml(to_yaml(plan)) == plan
    return tuple(pair for pair in plan.root.levels[0].options if pair[0].startswith("init"))


@pytest.mark.parametrize(
    ("said", "options"),
    [
        ("learned", ()),
        ("zeros", (("init", "zeros"),)),
        ("normal", (("init", "normal"), ("init_std", 0.02))),
        ("uniform(1)", (("init", "uniform"), ("init_bound", 1.0))),
        ("uniform(bound = 0.5)", (("init", "uniform"), ("init_bound", 0.5))),
        ("identity", (("init", "identity"),)),
        ("orthogonal", (("init", "orthogonal"), ("init_gain", 1.0))),
        ("scaled((2 * depth) ** -0.5)", (("init", "scaled"), ("init_factor", 0.25))),
        ("scaled(0)", (("init", "scaled"), ("init_factor", 0.0))),
    ],
)
def test_what_a_level_says_is_in_the_plan(said: str, options: Pairs) -> None:
    assert start_of("linear", f"init {said}") == options
    # Ordinary levels are trained in any case.
    if said != "learned":
        assert start_of("linear", f"init learned({said})") == options
    assert start_of("matrix(2)", f"{MEMORY}  init {said}") == options


@pytest.mark.parametrize("said", ["zeros", "normal(0.5)", "uniform(1)", "identity", "orthogonal(2)"])
@pytest.mark.parametrize("kind", ["matrix(2)", "associative(2)"])
def test_a_memory_says_whether_its_start_is_trained(kind: str, said: str) -> None:
    fixed = start_of(kind, f"{MEMORY}  init {said}")
    assert start_of(kind, f"{MEMORY}  init learned({said})") == (*fixed, ("init_trained", True))


def test_a_scaled_start_is_trained_by_its_meaning() -> None:
    assert plan_of("matrix", f"{MEMORY}  init scaled(2)") == plan_of(
        "matrix", f"{MEMORY}  init learned(scaled(2))"
    )


ODD = [
    ("linear", "init uniform(0.5)", "init_bound: 0.5", "init_bound: -0.5", "init_bound|bound"),
    ("linear", "init uniform(0.5)", "init_bound: 0.5", "init_bound: .inf", "number|bound|finite|value"),
    ("linear", "init uniform(0.5)", ", init_bound: 0.5", "", "does not say `init_bound`"),
    ("linear", "init uniform(0.5)", "init_bound", "init_gain", "does not say `init_bound`"),
    ("linear", "init zeros", "init: zeros", "init: ones", "is 'ones', which is not known"),
    ("linear", "init zeros", "init: zeros", "init: zeros, init_std: 0.5", "in two ways"),
    ("linear", "init zeros", "init: zeros", "init: zeros, init_trained: true", "could be fixed"),
    ("linear", "init zeros", "init: zeros", "init: [zeros]", "plan.bodies"),
    ("mlp", "init zeros", "init: zeros", "init: identity", "no meaning for its kind"),
    ("conv(2)", "init zeros", "init: zeros", "init: {init: zeros}", "plan.bodies"),
    ("matrix(2)", f"{MEMORY} init learned(zeros)", "init_trained: true", "init_trained: false", "is odd"),
    ("matrix(2)", f"{MEMORY} init scaled(2)", "init_factor: 2.0", "init_factor: true", "init_factor|factor"),
    ("linear(4)", "init zeros", "init: zeros", "init: identity", "its sizes differ"),
]


@pytest.mark.parametrize(("kind", "clauses", "old", "new", "message"), ODD)
def test_a_start_that_no_program_gives_is_refused(
    kind: str, clauses: str, old: str, new: str, message: str
) -> None:
    text = to_yaml(plan_of(kind, clauses))
    assert old in text
    with pytest.raises(NestError, match=message) as error:
        from_yaml(text.replace(old, new))
    assert [one.code for one in error.value.diagnostics] == ["N0502"]
