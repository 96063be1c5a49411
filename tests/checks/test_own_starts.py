"""Starts of kinds from Python, and of a `default`; `golden/bad/N0405_own_starts.nest` has all else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

import nestdsl
from nestdsl.diagnostics import NestError
from nestdsl.vocabulary.extension import PYTHON_KINDS
from nestdsl.vocabulary.signatures import LIBRARY

GAIN = """
model m {{
  input vectors(4)
  level g = doubling {{ {clauses} }}
  flow out = in -> g
}}
"""


@pytest.fixture(autouse=True)
def doubling() -> Iterator[None]:
    @nestdsl.kind(causal=True, name="doubling", parameters=lambda a, size, out: (("weight", (out,)),))
    class Doubling(torch.nn.Module):
        """Each feature times a weight."""

        def __init__(self, input_size: int, output_size: int) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.full((output_size,), 2.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.weight * x

    yield
    del LIBRARY.kinds["doubling"], PYTHON_KINDS["doubling"]


@pytest.mark.parametrize("clauses", ["init zeros", "init scaled(2)", "init learned(identity)"])
def test_a_kind_from_python_makes_its_own_start(clauses: str) -> None:
    with pytest.raises(NestError) as error:
        nestdsl.parse(GAIN.format(clauses=clauses)).compile(compile=False)
    [found] = error.value.diagnostics
    assert found.code == "N0405"
    assert "comes from Python, and its class makes its start" in found.message
    assert found.hint == "leave it out"


def test_it_may_say_that_its_start_is_learned() -> None:
    model = nestdsl.parse(GAIN.format(clauses="init learned")).compile(compile=False)
    out, _ = model(torch.ones(1, 3, 4))
    assert (out == 2).all()


def test_a_default_says_the_start_of_each_memory_and_each_checks_it() -> None:
    with pytest.raises(NestError) as error:
        nestdsl.parse("""
        model m {
          input vectors(4)
          default { every 1 token  init learned(identity) }
          level a = matrix { learn in -> in }
          level b = matrix { learn in -> (in -> linear(2)) }
          level c = linear
          flow out = concat(a(in), b(in), c(in))
        }
        """).compile(compile=False)
    [found] = error.value.diagnostics
    assert (found.code, found.message) == (
        "N0201",
        "`b` cannot start as the identity: it reads 4 features and makes 2",
    )
