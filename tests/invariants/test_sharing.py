"""Memories that work as one are the memories by themselves: in value, in every gradient, however split."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import nestdsl
from nestdsl.runtime.module import NestModule

PROGRAM = """
block layer(heads = 2) {{
  default {{ every 1 token, chunk 8  optimizer {rule}  {default} }}
  flow x = in -> conv(3) -> silu
  flow k = x -> key -> l2_normalize(heads)
  flow v = x -> value -> l2_normalize(heads)
  flow step = 0.5 * sigmoid(x -> rate -> linear(heads))
  flow retain = sigmoid((x -> keep -> linear(heads)) + 3)
  flow q = x -> linear -> l2_normalize(heads)
  level key = matrix(heads) {{ learn k -> key({target} }}
  level value = matrix(heads) {{ learn k -> value({target} }}
  level rate = matrix(heads) {{ learn k -> rate({target} }}
  level keep = matrix(heads) {{ learn k -> keep({target} }}
  level memory = matrix(heads) {{ learn k -> {memory} }}
  flow out = (memory(q) -> rms_norm) * silu(in -> linear) -> linear
}}
model m {{
  input vectors(16)
  level stack = layer repeat 2
  flow out = in -> stack
  train {{ objective mse }}
}}
"""
PLAIN = """
model m {{
  input vectors(16)
  default {{ every {every}  optimizer {rule} }}
  flow k = in -> linear -> l2_normalize(2)
  level a = matrix(2) {{ learn k -> (in -> linear(8))  init zeros }}
  level b = matrix(2) {{ learn k -> in }}
  flow out = concat((k -> a), (in -> linear -> b)) -> linear(16)
  train {{ objective mse }}
}}
"""
DGD = "dgd(step = step, retain = retain, toward = init)"
FORMS = {
    "product": (DGD, "", "v)", "memory(v)"),
    "toward_zero": ("dgd(step = step, retain = retain)", "", "v)", "memory(v)"),
    "before": (DGD, "read before", "v)", "memory(v)"),
    "anchor": (DGD, "read anchor", "v)", "memory(v)"),
    "dot": (DGD, "objective dot", "v)", "memory(v)"),
    "gd": ("gd(step = step, retain = retain, toward = init)", "", "v)", "memory(v)"),
    "first": ("gd(step = step, retain = retain, toward = init, forget_first = true)", "", "v)", "memory(v)"),
    "exact": (DGD, "every 1 token", "v)", "memory(v)"),
    "period": (DGD, "every 4 tokens", "v)", "memory(v)"),
    "momentum": ("momentum(step = step, retain = retain, momentum = 0.2)", "", "v)", "memory(v)"),
    "dgd_momentum": ("dgd(step = step, retain = retain, momentum = 0.2)", "", "v)", "memory(v)"),
    "source": (DGD, "", "v) + (v - k)", "memory(v) + (v - k)"),
    "source_zero": ("dgd(step = step, retain = retain)", "", "v) + v", "memory(v) + v"),
    "one_apart": (DGD, "", "v)", "v"),
    "crossed": (DGD, "", "v)", "key(v)"),
    "identity": (DGD, "init identity", "v)", "memory(v)"),
    "trained_identity": (DGD, "init learned(identity)", "v)", "memory(v)"),
    "uniform": (DGD, "init uniform(0.5)", "v) + v", "memory(v) + v"),
    "orthogonal": (DGD, "init learned(orthogonal)", "v)", "memory(v)  init identity"),
    "trained_zeros": (DGD, "init learned(zeros)", "v) + v", "memory(v) + v"),
    "two_chunks": (DGD, "", "v)", "memory(v)  every 1 token, chunk 16"),
    "lp": (DGD, "objective lp(3)", "v)", "memory(v)"),
    "stop": (DGD, "gradient stop", "v)", "memory(v)"),
}


def text(name: str) -> str:
    if name == "plain":
        return PLAIN.format(every="1 token, chunk 8", rule="dgd(step = 0.3, retain = 0.9)")
    if name == "plain_period":
        return PLAIN.format(every="4 tokens", rule="gd(step = 0.3, retain = 0.9)")
    rule, default, target, memory = FORMS[name]
    if "every" in default:
        return PROGRAM.replace("every 1 token, chunk 8", default).format(
            rule=rule, default="", target=target, memory=memory
        )
    return PROGRAM.format(rule=rule, default=default, target=target, memory=memory)


NAMES = [*FORMS, "plain", "plain_period"]


def both(name: str) -> tuple[NestModule, NestModule]:
    """The program with and without sharing, with the same weights."""
    nest = nestdsl.parse(text(name))
    models = nest.compile(compile=False).double(), nest.compile(compile=False, sharing=False).double()
    assert [bool(body.shared) for body in models[0].plan.bodies].count(True) == 1
    with torch.no_grad():
        for weight_name, weight in models[0].named_parameters():
            if weight_name.endswith((".weight", "m.a", "b")) and weight.ndim == 3:
                weight += torch.eye(*weight.shape[1:])
    models[1].load_state_dict(models[0].state_dict())
    return models


def sample(tokens: int = 37) -> Tensor:
    return torch.randn(2, tokens, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients_are_those_of_each_by_itself(name: str) -> None:
    outputs, gradients = [], []
    for model in both(name):
        x = sample().requires_grad_()
        y, _ = model(x)
        outputs.append(y)
        weights = [x, *model.parameters()]
        found = torch.autograd.grad(y.square().sum(), weights, allow_unused=True)
        gradients.append(
            [torch.zeros_like(of) if part is None else part for of, part in zip(weights, found, strict=True)]
        )
    close(*outputs)
    assert outputs[0].isfinite().all()
    for found, wanted in zip(*gradients, strict=True):
        close(found, wanted)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("lengths", [(5, 3, 21, 8), (16, 1, 20), (1,) * 37], ids=str)
def test_split_anywhere_they_are_the_whole(name: str, lengths: tuple[int, ...]) -> None:
    together, apart = both(name)
    x = sample()
    with torch.no_grad():
        wanted, _ = apart(x)
        state, parts = together.init_state(2), []
        for part in x.split(lengths, 1):
            y, state = together(part, state)
            parts.append(y)
    close(torch.cat(parts, 1), wanted)


@pytest.mark.parametrize("more", ["", " -> whole"])
@pytest.mark.parametrize("gradient", ["through", "truncated(1)", "truncated(2)"])
def test_beside_levels_that_learn_from_surprise_loss_and_gradients_are_the_same(
    gradient: str, more: str
) -> None:
    program = text("product").replace("chunk 8", f"chunk 8  gradient {gradient}")
    slow = "level slow = linear { every 8 tokens  optimizer gd(step = 0.1) }"
    if more:
        slow += "\n  level whole = matrix(2) { learn in -> in  every 1 token  optimizer gd(step = 0.1) }"
    out = "flow out = in -> stack"
    nest = nestdsl.parse(program.replace(out, f"{slow}\n  {out} -> slow{more}"))
    models = nest.compile(compile=False).double(), nest.compile(compile=False, sharing=False).double()
    x = sample()
    losses = [model.loss(x[:, :-1], x[:, 1:]) for model in models]
    close(losses[0], losses[1])
    for loss in losses:
        loss.backward()
    for found, wanted in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert found.grad is not None and wanted.grad is not None
        close(found.grad, wanted.grad)
