"""`init` of attention that makes its own projections: of what it gives, or of all four."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import nestdsl
from nestdsl.explain.page import as_text

PROGRAM = """
block layer(heads = 2, gain = 1.0) {{
  level attend = attention(heads, persistent = 2, bias = true) {{ {clauses} }}
  flow out = in + (in -> attend)
}}

model m(depth = 2) {{
  input vectors(64)
  level stack = layer(gain = (2 * depth) ** -0.5) repeat depth
  flow out = in -> stack -> linear
}}
"""
PROJECTIONS = ("query", "key", "value", "output")


def weights(clauses: str, **parameters: int) -> dict[str, Tensor]:
    """The weights of the model, float64; those of projections as `attend_query.weight`."""
    nest = nestdsl.parse(PROGRAM.format(clauses=clauses), **parameters)
    model = nest.compile(compile=False, seed=3).double()
    return {name: weight.detach() for name, weight in model.named_parameters()}


def test_scaled_by_depth_is_the_output_projection_alone() -> None:
    for depth in (2, 8):
        plain, scaled = weights("", depth=depth), weights("init scaled(gain)", depth=depth)
        assert plain.keys() == scaled.keys()
        for name, weight in plain.items():
            factor = (2 * depth) ** -0.5 if name.endswith("output.weight") else 1.0
            torch.testing.assert_close(scaled[name], factor * weight, rtol=1e-6, atol=0)


@pytest.mark.parametrize("init", ["scaled(0.25)", "learned(scaled(0.25))"])
def test_a_scaled_start_gives_so_many_times_as_much(init: str) -> None:
    text = """
    model m {{ input vectors(8)
      level a = attention(2) {{ {clauses} }}
      flow out = in -> a }}
    """
    x = torch.randn(2, 5, 8)
    own, scaled = (
        nestdsl.parse(text.format(clauses=clauses)).compile(compile=False)(x)[0]
        for clauses in ("", f"init {init}")
    )
    torch.testing.assert_close(scaled, 0.25 * own)


def test_zeros_give_nothing_and_still_learn() -> None:
    nest = nestdsl.parse(PROGRAM.format(clauses="init zeros"))
    model = nest.compile(compile=False)
    x = torch.randn(2, 5, 64)
    out, _ = model(x)
    torch.testing.assert_close(out, x @ model.get_parameter("out_linear.weight").T)
    out.square().sum().backward()
    for name, weight in model.named_parameters():
        if name.endswith("output.weight"):
            assert not weight.any()
            assert weight.grad is not None
            assert weight.grad.any()
        elif any(f"attend_{one}.weight" in name for one in PROJECTIONS):
            assert weight.any()


@pytest.mark.parametrize(("init", "deviation"), [("normal(0.5)", 0.5), ("uniform(0.3)", 0.3 / 3**0.5)])
def test_a_distribution_is_that_of_all_four(init: str, deviation: float) -> None:
    plain, found = weights(""), weights(f"init {init}")
    for one in PROJECTIONS:
        weight = found[f"stack.0.attend_{one}.weight"]
        assert float(weight.std()) == pytest.approx(deviation, rel=0.05)
        assert not found[f"stack.0.attend_{one}.bias"].any()
    for name in plain:
        if "persistent" in name or name.startswith("out"):
            assert torch.equal(plain[name], found[name]), name


def test_orthogonal_is_each_of_them() -> None:
    found = weights("init orthogonal(2)")
    for one in PROJECTIONS:
        weight = found[f"stack.0.attend_{one}.weight"]
        torch.testing.assert_close(weight @ weight.T, 4 * torch.eye(64).double(), rtol=1e-4, atol=1e-4)


def test_a_start_that_is_learned_is_what_it_has_anyway() -> None:
    plain, found = weights(""), weights("init learned")
    assert all(torch.equal(plain[name], found[name]) for name in plain)


def test_explain_shows_both_distributions() -> None:
    nest = nestdsl.parse(PROGRAM.format(clauses="init scaled(gain)"))
    found = as_text(nest.nest_graph, nest.plan)
    assert "W ∼ 0.5 N(0, 1 / inputs)" in found
    assert "W ∼ N(0, 1 / inputs)" in found


def test_a_wrong_start_is_told_once() -> None:
    for clauses, code in (("init scald(0.5)", "N0101"), ("init normal(-1)", "N0203")):
        with pytest.raises(nestdsl.NestError) as error:
            nestdsl.parse(PROGRAM.format(clauses=clauses))
        assert [found.code for found in error.value.diagnostics] == [code]


@pytest.mark.parametrize("clauses", ["init identity", "init learned(identity)"])
def test_it_is_never_the_identity(clauses: str) -> None:
    with pytest.raises(nestdsl.NestError) as error:
        nestdsl.parse(PROGRAM.format(clauses=clauses))
    (found,) = error.value.diagnostics
    assert found.code == "N0405"
    assert "never the identity" in found.message
