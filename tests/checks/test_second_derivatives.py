"""Levels that are differentiated through their updates stand beside memories that allow it."""

import pytest

from nestdsl.compiler import analyse
from nestdsl.source import Source

PROGRAM = """
model m(dim = 8) {{
  input ids(11)
  flow x = in -> embedding(dim)
  level memory = {kind} {{ learn x -> x  every 1 token, chunk 4 }}
  level chain = mlp {{ every 4 tokens  optimizer gd(step = 0.1)  gradient {gradient} }}
  flow out = x -> memory -> chain -> linear(11)
}}
"""


@pytest.mark.parametrize(
    ("kind", "gradient", "codes"),
    [("associative", "through", ["N0407"]), ("associative", "stop", []), ("matrix", "through", [])],
)
def test_a_two_layer_memory_has_no_second_derivative(kind, gradient, codes):
    found = analyse(Source(PROGRAM.format(kind=kind, gradient=gradient))).diagnostics
    assert [diagnostic.code for diagnostic in found] == codes
