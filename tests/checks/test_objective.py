"""N0405: a softmax before cross_entropy."""

import pytest

from nestdsl.compiler import analyse
from nestdsl.source import Source

PROGRAM = """
block probabilities {{
  flow out = in -> softmax
}}
model m {{
  input {input}
  flow h = in -> {first}
  flow p = h -> softmax
  flow out = {out}
  train {{ objective {objective} }}
}}
"""


def messages(out: str, objective: str = "cross_entropy") -> list[str]:
    ids = objective == "cross_entropy"
    text = PROGRAM.format(
        input="ids(8)" if ids else "vectors(8)",
        first="embedding(8)" if ids else "linear",
        out=out,
        objective=objective,
    )
    found = [one for one in analyse(Source(text)).diagnostics if one.code != "N0304"]
    assert not any(one.is_error for one in found)
    return [one.message for one in found]


@pytest.mark.parametrize("out", ["p", "h -> linear -> softmax", "h -> probabilities", "softmax(h)"])
def test_a_softmax_before_cross_entropy_is_warned_of(out: str) -> None:
    (message,) = messages(out)
    assert "this makes probabilities" in message


@pytest.mark.parametrize("out", ["h", "p -> linear", "softmax(h) * 3", "h * p -> linear"])
def test_a_softmax_elsewhere_is_not(out: str) -> None:
    assert messages(out) == []


def test_nor_where_vectors_are_compared() -> None:
    assert messages("p", "mse") == []


def test_nor_where_what_makes_out_could_not_be_read() -> None:
    text = "block b {\n  flow out = in -> linear(8\n\nmodel m {\n  > (8)\n  flow out = in -> b\n"
    assert [one.code for one in analyse(Source(text)).diagnostics] == ["N0002", "N0002", "N0002", "N0001"]
