"""The gated delta rule by the Triton kernels of flash-linear-attention, on a GPU.

That package computes S_t = a_t S_{t-1} + b_t k_t (u_t - a_t S_{t-1}ᵀ k_t)ᵀ and reads S_tᵀ q_t. With a = α,
b = η and u = v this is `gd` with `l2` of this package that forgets first, and with b = η / α and u = α v that
which does not: read after the token, its start included and differentiable. Its wrapper is kept out of
torch.compile, so an operator of our own stands around it.

Never timed here: no GPU was at hand. The mapping is tested with a stand-in that follows its signature.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

import torch
from torch import Tensor

from nestdsl.runtime.ops.linear_memory.rule import LinearRule
from nestdsl.runtime.ops.memory_rule import Read, State
from nestdsl.runtime.ops.operator import differentiable, gives_like

MODULE = "fla.ops.gated_delta_rule"

FEWEST_TOKENS = 16
"""Shorter calls are not worth the kernels' chunks."""

LARGEST_KEY = 256
"""The largest key of one head that the kernels hold."""

# ln α and η / α stay numbers; what is decayed by less than this is gone in the kernels' precision anyway.
FLOOR = 1e-6


class Written(NamedTuple):
    """What was written during one call, to be read by `read`: key [B, T, H, K]; value u [B, T, H, V];
    log_decay ln a and beta b [B, T, H]; start [B, H, K, V]."""

    key: Tensor
    value: Tensor
    log_decay: Tensor
    beta: Tensor
    start: Tensor


def is_installed() -> bool:
    """Whether the package and Triton can be imported."""
    return find_spec("triton") is not None and find_spec("fla") is not None


def applies(rule: LinearRule, read: Read, key_size: int) -> bool:
    """Whether a memory under this rule, read so, is what the kernels compute."""
    return (
        (rule.objective, rule.optimizer, rule.period, rule.toward) == ("l2", "gd", 1, "zero")
        and rule.gradient == "through"
        and not rule.keeps_anchor
        and read == "after"
        and key_size <= LARGEST_KEY
    )


def learn(
    key: Tensor, value: Tensor, step: Tensor, retain: Tensor, state: State, rule: LinearRule
) -> tuple[Written, State]:
    """Write T tokens under a rule that `applies`: key [B, T, H, K], value [B, T, H, V], step and retain
    [B, T, H].

    Keys and values stay in the key's type, with products of that precision; decays and the state are float32
    at least.
    Returns what `read` needs, and the next state.
    """
    start = state["matrix"]
    kind = torch.promote_types(start.dtype, torch.float32)
    floored, beta = retain.to(kind).clamp_min(FLOOR), step.to(kind)
    if not rule.forget_first:
        value, beta = floored.unsqueeze(-1) * value, beta / floored
    written = Written(key, value.to(key.dtype), floored.log(), beta, start.to(kind))
    _, end = gated_delta(key, *written)
    return written, {"matrix": end.to(start.dtype)}


def read(written: Written, query: Tensor) -> Tensor:
    """What the memory answers to query [B, T, H, K] after each token: [B, T, H, V], in the query's type."""
    return gated_delta(query.to(written.key.dtype), *written)[0].to(query.dtype)


@torch.library.custom_op("nestdsl::fla_gated_delta", mutates_args=())
def _gated_delta(
    query: Tensor, key: Tensor, value: Tensor, log_decay: Tensor, beta: Tensor, start: Tensor
) -> tuple[Tensor, Tensor]:
    """The answers [B, T, H, V] and the state at the end [B, H, K, V]; arguments as in `Written`."""
    y, end = _kernel(query, key, value, log_decay, beta, start)
    return y.contiguous(), end.contiguous()


@_gated_delta.register_fake
def _(
    query: Tensor, key: Tensor, value: Tensor, log_decay: Tensor, beta: Tensor, start: Tensor
) -> tuple[Tensor, Tensor]:
    return query.new_empty(value.shape), start.new_empty(start.shape)


@torch.library.custom_op("nestdsl::fla_gated_delta_backward", mutates_args=())
def _gated_delta_backward(
    grad_y: Tensor,
    grad_end: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_decay: Tensor,
    beta: Tensor,
    start: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """All gradients, by the package's own backward pass, for which its forward runs once more."""
    inputs = [part.detach().requires_grad_() for part in (query, key, value, log_decay, beta, start)]
    # An operator runs below autograd, which is what is wanted here.
    below = torch._C._SetExcludeDispatchKeyGuard(torch._C.DispatchKey.AutogradFunctionality, False)
    with below, torch.enable_grad():
        results = _kernel(*inputs)
        gradients = torch.autograd.grad(results, inputs, (grad_y, grad_end))
    first, second, third, fourth, fifth, sixth = (part.contiguous() for part in gradients)
    return first, second, third, fourth, fifth, sixth


gives_like(_gated_delta_backward, "query", "key", "value", "log_decay", "beta", "start")


def _kernel(
    query: Tensor, key: Tensor, value: Tensor, log_decay: Tensor, beta: Tensor, start: Tensor
) -> tuple[Tensor, Tensor]:
    """The package's function, looked up when it is needed: it is no dependency."""
    chunk_gated_delta_rule = import_module(MODULE).chunk_gated_delta_rule
    return chunk_gated_delta_rule(
        query, key, value, log_decay, beta, scale=1.0, initial_state=start, output_final_state=True
    )


def _save(ctx, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx, grad_y: Tensor, grad_end: Tensor) -> tuple[Tensor, ...]:
    return _gated_delta_backward(grad_y.contiguous(), grad_end.contiguous(), *ctx.saved_tensors)


gated_delta = differentiable(_gated_delta, _backward, _save)
