"""Every function is two rows, one here and one of torch; each room knows it where it may stand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

import nestdsl
from nestdsl.plan.yaml import from_yaml, to_yaml
from nestdsl.render.flow import flow as flow_picture
from nestdsl.vocabulary.functions import FUNCTIONS
from nestdsl.vocabulary.signatures import REQUIRED, Function, Place
from tests.runtime.optimizer.programs import program, run_fast, run_naive

DOCS = Path(nestdsl.__file__).parent.parent / "docs/language.md"
VALUES = {"limit": 2.0, "first": 0.5, "last": 1.0, "size": 4}
"""Values for arguments that have no default."""
MODEL = """
model m() {{
  input vectors(4)
  flow out = ({}) -> linear(4) -> linear(4)
  train {{ objective mse  optimizer o(lr = 0.1) }}
}}
optimizer o(lr = 0.1) {{
  only matrices else sgd(lr = lr)
  level m = ema(0.5) {{ learn grad * grad }}
  flow made = {}
  flow update = -lr * (grad + 0.1 * made)
}}
"""


def call(function: Function, flow: str, other: str) -> str:
    """A call with as many flows as it takes; two where it takes any number."""
    flows = 2 if function.flows is None else function.flows
    given = [flow, other][:flows]
    given += [f"{one.name} = {VALUES[one.name]}" for one in function.arguments if one.default is REQUIRED]
    return f"{function.name}({', '.join(given)})"


def in_a_model(function: Function | None) -> nestdsl.Nest:
    """A model that reads what the function makes of its input; without one, the input."""
    made = "in" if function is None else call(function, "in", "in * in")
    if function is not None and function.flows == 0:
        made = f"in + {made}"  # of numbers alone
    return nestdsl.parse(MODEL.format(made, "m"))


def in_an_optimizer(function: Function | None) -> str:
    """A program whose optimizer moves by what the function makes of its memory, or by the memory."""
    if function is None:
        return MODEL.format("in", "m")
    other = {"matmul": "transpose(grad)", "outer": "grad"}.get(function.name, "0.5")
    made = call(function, "m", other)
    if function.name in ("matmul", "outer"):
        made = f"matmul({made}, m)"  # [out, out] acts on rows
    if function.name == "transpose":
        made = f"transpose({made})"
    return MODEL.format("in", made)


def stands(*places: Place) -> pytest.MarkDecorator:
    """For each function that may stand there."""
    found = [function for function in FUNCTIONS if function.place in places]
    return pytest.mark.parametrize("function", found, ids=lambda function: function.name)


@stands(Place.MODEL, Place.BOTH)
def test_a_model_runs_explains_and_draws_it(function: Function) -> None:
    nest = in_a_model(function)
    assert from_yaml(to_yaml(nest.plan)) == nest.plan
    model = nest.compile(compile=False).double()
    assert torch.isfinite(model(torch.rand(2, 3, 4, dtype=torch.float64))[0]).all()
    assert function.name in flow_picture(nest.nest_graph).source
    assert str(nest.explain()) != str(in_a_model(None).explain())


@stands(Place.OPTIMIZER, Place.BOTH)
def test_an_optimizer_runs_it_both_ways_and_explains_it(function: Function) -> None:
    text = in_an_optimizer(function)
    nest = nestdsl.parse(text)
    assert from_yaml(to_yaml(nest.plan)) == nest.plan
    assert str(nest.explain()) != str(nestdsl.parse(in_an_optimizer(None)).explain())
    made = program("o", text.partition("optimizer")[1] + text.partition("\noptimizer")[2])
    torch.manual_seed(0)
    weights = [torch.randn(3, 3, dtype=torch.float64), torch.randn(3, 3, dtype=torch.float64)]
    gradients = [[torch.randn_like(weight) for weight in weights] for _ in range(3)]
    for fast, naive in zip(
        run_fast(made, weights, gradients), run_naive(made, weights, gradients), strict=True
    ):
        assert torch.isfinite(fast).all()
        assert_close(fast, naive)


@stands(*Place)
def test_the_docs_say_it(function: Function) -> None:
    text = DOCS.read_text("utf-8")
    assert f"`{function.name}`" in text or f"`{function.name}(" in text
