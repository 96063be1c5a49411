"""What `gradient` may say, and where."""

from __future__ import annotations

import pytest

import nestdsl
from nestdsl.compiler import analyse
from nestdsl.source import Source
from nestdsl.vocabulary.timing import Truncated

PROGRAM = """
model m(dim = 8, back = 3) {{
  input ids(11)
  flow x = in -> embedding(dim)
  level memory = {kind} {{ learn x -> x  {when}  gradient {memory} }}
  level chain = mlp {{ {every}  optimizer {optimizer}  gradient {chain} }}
  flow out = x -> memory -> chain -> linear(11)
}}
"""
TOKENS = "every 4 tokens"


def codes(
    memory: str = "through",
    chain: str = "stop",
    every: str = TOKENS,
    kind: str = "matrix",
    optimizer: str = "gd(step = 0.1)",
) -> list[str]:
    when = "" if kind == "attention" else "every 1 token"  # which is recomputed at every token
    text = PROGRAM.format(memory=memory, chain=chain, every=every, kind=kind, optimizer=optimizer, when=when)
    return [diagnostic.code for diagnostic in analyse(Source(text)).diagnostics]


@pytest.mark.parametrize("kind", ["matrix", "associative", "attention"])
@pytest.mark.parametrize("gradient", ["through", "stop", "truncated(1)", "truncated(n = back + 1)"])
def test_any_bound_on_any_memory_and_level_beside_segments(kind: str, gradient: str) -> None:
    is_nothing = kind == "attention" and gradient == "stop"  # it writes nothing that could be held constant
    assert codes(memory=gradient, kind=kind) == ["N0405"] * is_nothing
    assert codes(chain=gradient, kind=kind) == []


def test_a_bound_counts_segments_or_updates() -> None:
    assert codes(memory="truncated(0)") == ["N0202"]
    assert codes(memory="truncated(1.5)") == ["N0202"]
    assert codes(memory="truncated") == ["N0103"]


def test_without_a_level_that_makes_segments_there_is_nothing_to_bound() -> None:
    assert codes("truncated(2)", every="every 1 step", optimizer="sgd", chain="through") == ["N0405"] * 2


def test_the_plan_says_how_far_back() -> None:
    text = PROGRAM.format(
        memory="truncated(2)",
        chain="truncated(3)",
        every=TOKENS,
        kind="matrix",
        optimizer="gd",
        when="every 1 token",
    )
    levels = {level.name: level for level in nestdsl.parse(text).plan.root.levels}
    assert levels["memory"].gradient == Truncated(2)
    surprise = levels["chain"].surprise
    assert surprise is not None and surprise.gradient == Truncated(3)
