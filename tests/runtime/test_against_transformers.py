"""The published gated delta rule, and the whole layer around it, as transformers computes them (Qwen3-Next).

Theirs casts to float32 inside, whatever comes in: as it is, both agree to 1e-6; with its casts replaced by
ones to float64, to 1e-10. Skipped where transformers is not installed (`pip install 'nestdsl[peers]'`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

import nestdsl
from nestdsl.runtime.ops.linear_memory import LinearRule, initial_state, learn, read

RULE = LinearRule(forget_first=True)
LAYER = """
model layer(dim = 12, heads = 2, size = 8, conv_width = 4) {
  input vectors(dim)
  level to_query = linear(heads * size, bias = false)
  level to_key = linear(heads * size, bias = false)
  level to_value = linear(heads * 2 * size, bias = false)
  level to_gate = linear(heads * 2 * size, bias = false)
  level to_step = linear(heads, bias = false)
  level to_rate = linear(heads)                # its bias is their dt_bias
  level log_rate = conv(1)                     # of zeros: its bias is a learned vector, their A_log
  level norm = rms_norm(heads)
  level to_out = linear(dim, bias = false)

  flow query = in -> to_query -> conv(conv_width, bias = false) -> silu -> l2_normalize(heads)
  flow key = in -> to_key -> conv(conv_width, bias = false) -> silu -> l2_normalize(heads)
  flow value = in -> to_value -> conv(conv_width, bias = false) -> silu
  flow step = in -> to_step -> sigmoid
  flow rate = in -> to_rate -> softplus
  flow retain = exp(-exp(0 * rate -> log_rate) * rate)

  level memory = matrix(heads) {
    learn key -> value   every 1 token, chunk 32
    optimizer gd(step = step, retain = retain, forget_first = true)   init zeros
  }
  flow out = norm(memory(query / size ** 0.5)) * silu(in -> to_gate) -> to_out
  train { objective mse }
}
"""
HEADS, SIZE = 2, 8


@pytest.fixture(scope="module")
def theirs() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, on import
        pytest.importorskip("transformers")
        return pytest.importorskip("transformers.models.qwen3_next.modeling_qwen3_next")


class _Wide:
    """torch, but for what it calls float32."""

    float32 = torch.float64

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


@pytest.fixture(params=["as it is", "in float64"])
def tolerance(request: pytest.FixtureRequest, theirs: ModuleType, monkeypatch: pytest.MonkeyPatch) -> float:
    """How near both are, relative to the size of each result; sets their casts."""
    if request.param == "as it is":
        return 1e-6
    monkeypatch.setattr(theirs, "torch", _Wide())
    monkeypatch.setattr(Tensor, "float", Tensor.double)
    return 1e-10


def assert_near(found: Tensor, wanted: Tensor, tolerance: float) -> None:
    assert found.shape == wanted.shape
    assert (found - wanted).norm() <= tolerance * wanted.norm()


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def results(run: Callable[..., tuple[Tensor, Tensor]], flows: list[Tensor]) -> list[Tensor]:
    """Answers, last state, and the gradients of a random weighing of both."""
    flows = [flow.clone().requires_grad_() for flow in flows]
    y, state = (part.double() for part in run(*flows))
    loss = (y * drawn(*y.shape, seed=8)).sum() + (state * drawn(*state.shape, seed=9)).sum()
    return [y, state, *torch.autograd.grad(loss, flows)]


@pytest.mark.parametrize("tokens", [1, 37, 130])
@pytest.mark.parametrize("form", ["torch_recurrent_gated_delta_rule", "torch_chunk_gated_delta_rule"])
def test_the_rule_is_theirs(theirs: ModuleType, tolerance: float, form: str, tokens: int) -> None:
    """Values, states carried in and out, and every gradient, in their words: g = ln α, β = η, q scaled."""
    flows = [drawn(2, tokens, 3, size, seed=number) for number, size in enumerate((8, 8, 5))]
    flows += [
        drawn(2, tokens, 3, seed=3).sigmoid(),
        torch.nn.functional.logsigmoid(drawn(2, tokens, 3, seed=4) + 2),
    ]
    flows += [drawn(2, 3, 8, 5, seed=5)]
    flows[1] = torch.nn.functional.normalize(flows[1], dim=-1)

    def ours(query: Tensor, key: Tensor, value: Tensor, beta: Tensor, g: Tensor, start: Tensor):
        trajectory, state = learn(key, value, beta, g.exp(), initial_state(start, RULE), RULE)
        return read(trajectory, query / key.shape[-1] ** 0.5, "after", RULE), state["matrix"]

    def other(query: Tensor, key: Tensor, value: Tensor, beta: Tensor, g: Tensor, start: Tensor):
        told = {"g": g, "beta": beta, "initial_state": start, "output_final_state": True}
        return getattr(theirs, form)(query, key, value, **told)

    for found, wanted in zip(results(ours, flows), results(other, flows), strict=True):
        assert_near(found, wanted, tolerance)


def by_our_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Their weights, or the gradients of these, by the names of the program above."""
    found: dict[str, Tensor] = {}
    mixed = (
        weights["in_proj_qkvz.weight"].unflatten(0, (HEADS, -1)).split((SIZE, SIZE, 2 * SIZE, 2 * SIZE), 1)
    )
    for name, part in zip(("query", "key", "value", "gate"), mixed, strict=True):
        found[f"to_{name}.weight"] = part.flatten(0, 1)
    step, rate = weights["in_proj_ba.weight"].unflatten(0, (HEADS, 2)).unbind(1)
    found |= {"to_step.weight": step, "to_rate.weight": rate, "to_rate.bias": weights["dt_bias"]}
    found["log_rate.bias"] = weights["A_log"]
    convs = weights["conv1d.weight"].squeeze(1).split((HEADS * SIZE, HEADS * SIZE, 2 * HEADS * SIZE))
    found |= {
        f"{name}_conv.weight": part for name, part in zip(("query", "key", "value"), convs, strict=True)
    }
    return found | {"norm.weight": weights["norm.weight"], "to_out.weight": weights["out_proj.weight"]}


def layers(theirs: ModuleType) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Their layer, with random weights, and ours with the same."""
    config = theirs.Qwen3NextConfig(
        hidden_size=12,
        num_hidden_layers=1,
        layer_types=["linear_attention"],
        linear_num_value_heads=HEADS,
        linear_num_key_heads=HEADS,
        linear_key_head_dim=SIZE,
        linear_value_head_dim=2 * SIZE,
        linear_conv_kernel_dim=4,
    )
    torch.manual_seed(0)
    other = theirs.Qwen3NextGatedDeltaNet(config, 0).double()
    ours = nestdsl.parse(LAYER).compile(compile=False).double()
    with torch.no_grad():
        other.norm.weight.uniform_(0.5, 1.5)
        # Not as they start, up to exp(-16) a token: their running sums of ln α then cost them digits.
        other.A_log.uniform_(-4.0, -1.0)
        other.dt_bias.uniform_(-2.0, 1.0)
        taken = by_our_names(dict(other.named_parameters()))
        assert {*taken, "log_rate.weight"} == {name for name, _ in ours.named_parameters()}
        for name, weight in taken.items():
            own = ours.get_parameter(name)
            own.copy_(weight.repeat(HEADS) if name == "norm.weight" else weight)
    return ours, other


@pytest.mark.parametrize("pieces", [(70,), (33, 1, 36), (1,) * 70])
def test_the_whole_layer_is_theirs(theirs: ModuleType, tolerance: float, pieces: tuple[int, ...]) -> None:
    """Answers, and the gradients of the input and of every weight, however ours is split."""
    ours, other = layers(theirs)
    x, found = (2 * drawn(2, 70, 12, seed=1)).requires_grad_(), drawn(2, 70, 12, seed=2)
    wanted = other(x)
    expected = torch.autograd.grad((wanted.double() * found).sum(), [x, *other.parameters()])
    parts, state = [], None
    for part in x.split(pieces, 1):
        y, state = ours(part, state)
        parts.append(y)
    y = torch.cat(parts, 1)
    names = [name for name, _ in ours.named_parameters()]
    gradients = torch.autograd.grad((y * found).sum(), [x, *ours.parameters()])
    got = dict(zip(names, gradients[1:], strict=True))
    got["norm.weight"] = got["norm.weight"].unflatten(0, (HEADS, -1)).sum(0)
    assert not got.pop("log_rate.weight").any()
    assert_near(y, wanted, tolerance)
    assert_near(gradients[0], expected[0], tolerance)
    theirs_by_name = dict(zip((name for name, _ in other.named_parameters()), expected[1:], strict=True))
    for name, gradient in by_our_names(theirs_by_name).items():
        assert_near(got[name], gradient, tolerance)


def test_the_other_rule_is_not_theirs(theirs: ModuleType) -> None:
    """So that the tests above can fail."""
    _, other = layers(theirs)
    ours, _ = layers(theirs)
    plain = nestdsl.parse(LAYER.replace(", forget_first = true", "")).compile(compile=False).double()
    plain.load_state_dict(ours.state_dict())
    x = drawn(2, 70, 12, seed=1)
    with torch.no_grad():
        assert ((plain(x)[0] - other(x)).norm() / other(x).norm()) > 0.01
