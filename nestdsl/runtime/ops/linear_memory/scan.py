"""The step from block to block, the only sequential part of a linear memory.

Operators of our own with their backward written out: unrolled, the loop would take minutes to compile, and
differentiated step by step it would keep and add up one gradient for each block.

What is carried may have J parts of equal size, one below the other [P, J·K, V], each of which goes on as a
sum of all of them (ends c [N, P, J, J]). One part may fade by rows instead (c [N, P, K, 1]).
Shapes: N blocks, P = B·H batch rows and heads, C tokens of a block, K key size, V value size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nestdsl.runtime.ops.operator import differentiable, gives_like


def _fade(ends: Tensor, state: Tensor, out: Tensor) -> Tensor:
    """out = c S, for one block."""
    if ends.shape[-1] == 1:
        return torch.mul(state, ends, out=out)
    parts = (ends.shape[0], ends.shape[-1], -1)
    torch.bmm(ends, state.view(parts), out=out.view(parts))
    return out


def _add_faded(other: Tensor, ends: Tensor, state: Tensor, out: Tensor) -> Tensor:
    """out = other + c S, for one block."""
    if ends.shape[-1] == 1:
        return torch.addcmul(other, state, ends, out=out)
    return _fade(ends, state, out).add_(other)


def _transposed(ends: Tensor) -> Tensor:
    """What fades by rows fades so backwards as well."""
    return ends if ends.shape[-1] == 1 else ends.transpose(-1, -2)


def grad_ends(before: Tensor, after: Tensor, ends: Tensor) -> Tensor:
    """Of c, from the states before each block and the gradients of those after it [N, P, J·K, V]."""
    if ends.shape[-1] > 1:
        parts = (*ends.shape[:-1], -1)
        return after.reshape(parts) @ before.reshape(parts).transpose(-1, -2)
    products = (before * after).sum(-1, keepdim=True)
    return products if ends.shape[-2] > 1 else products.sum(-2, keepdim=True)


@torch.library.custom_op("nestdsl::delta_scan", mutates_args=())
def _delta_scan(
    carried: Tensor, ends: Tensor, sources: Tensor, answers: Tensor, start: Tensor
) -> tuple[Tensor, Tensor]:
    """S_{n+1} = c_n S_n + D_nᵀ E_n with E_n = U_n - W_n S_n.

    carried D [N, P, C, J·K], ends c [N, P, J, J] or [N, P, K, 1], sources U [N, P, C, V], answers W
    [N, P, C, J·K], start [P, J·K, V]. Returns the errors E [N, P, C, V] and the states [N + 1, P, J·K, V],
    first and last included.
    """
    count = ends.shape[0]
    errors = torch.empty_like(sources, memory_format=torch.contiguous_format)
    states = start.new_empty(count + 1, *start.shape)
    states[0].copy_(start)
    for n in range(count):
        state = states[n]
        torch.baddbmm(sources[n], answers[n], state, alpha=-1, out=errors[n])
        following = _fade(ends[n], state, states[n + 1])
        following.baddbmm_(carried[n].transpose(1, 2), errors[n])
    return errors, states


@_delta_scan.register_fake
def _(
    carried: Tensor, ends: Tensor, sources: Tensor, answers: Tensor, start: Tensor
) -> tuple[Tensor, Tensor]:
    errors = torch.empty_like(sources, memory_format=torch.contiguous_format)
    return errors, start.new_empty(ends.shape[0] + 1, *start.shape)


@torch.library.custom_op("nestdsl::delta_scan_backward", mutates_args=())
def _scan_delta_back(
    grad_errors: Tensor, grad_states: Tensor, carried: Tensor, ends: Tensor, answers: Tensor
) -> tuple[Tensor, Tensor]:
    """The scan of `delta_scan` from its end: the gradients of errors and states, all later uses counted."""
    errors = torch.empty_like(grad_errors, memory_format=torch.contiguous_format)
    states = torch.empty_like(grad_states, memory_format=torch.contiguous_format)
    states[-1].copy_(grad_states[-1])
    for n in range(ends.shape[0] - 1, -1, -1):
        later = states[n + 1]
        torch.baddbmm(grad_errors[n], carried[n], later, out=errors[n])
        earlier = _add_faded(grad_states[n], _transposed(ends[n]), later, states[n])
        earlier.baddbmm_(answers[n].transpose(1, 2), errors[n], alpha=-1)
    return errors, states


gives_like(_scan_delta_back, "grad_errors", "grad_states")


def _save_delta_backward(ctx, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    _, _, carried, ends, answers = inputs
    ctx.save_for_backward(carried, ends, answers, *output)


def _delta_backward_twice(ctx, grad_errors: Tensor, grad_states: Tensor) -> tuple[Tensor, ...]:
    """The second derivative, for what differentiates through gradients: once more from the start."""
    carried, ends, answers, errors, states = ctx.saved_tensors
    total_states, total_errors = [grad_states[0]], []
    for n in range(ends.shape[0]):
        total_errors.append(grad_errors[n] - answers[n] @ total_states[n])
        faded = _faded(ends[n], total_states[n])
        total_states.append(grad_states[n + 1] + faded + carried[n].transpose(-1, -2) @ total_errors[n])
    of_errors, of_states = torch.stack(total_errors), torch.stack(total_states)
    before, later = of_states[:-1], states[1:]
    return (
        of_errors,
        of_states,
        of_errors @ later.transpose(-1, -2),
        grad_ends(before, later, ends),
        -(errors @ before.transpose(-1, -2)),
    )


def _faded(ends: Tensor, state: Tensor) -> Tensor:
    """c S, for one block, as a new tensor."""
    if ends.shape[-1] == 1:
        return state * ends
    return (ends @ state.reshape(ends.shape[0], ends.shape[-1], -1)).reshape(state.shape)


_delta_scan_backward = differentiable(_scan_delta_back, _delta_backward_twice, _save_delta_backward)


def _save_delta(ctx, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    carried, ends, _, answers, _ = inputs
    ctx.save_for_backward(carried, ends, answers, *output)


def _delta_backward(ctx, grad_errors: Tensor, grad_states: Tensor) -> tuple[Tensor, ...]:
    carried, ends, answers, errors, states = ctx.saved_tensors
    errors_total, states_total = _delta_scan_backward(grad_errors, grad_states, carried, ends, answers)
    before, (start, after) = states[:-1], (states_total[0], states_total[1:])
    return (
        errors @ after.transpose(-1, -2),
        grad_ends(before, after, ends),
        errors_total,
        -(errors_total @ before.transpose(-1, -2)),
        start.clone(),
    )


delta_scan = differentiable(_delta_scan, _delta_backward, _save_delta)


@torch.library.custom_op("nestdsl::decay_scan", mutates_args=())
def _decay_scan(writes: Tensor, ends: Tensor, start: Tensor) -> Tensor:
    """S_{n+1} = c_n S_n + X_n. writes X [N, P, J·K, V], ends c [N, P, J, J] or [N, P, K, 1].

    start [P, J·K, V]. Returns the states [N + 1, P, J·K, V], first and last included.
    """
    states = start.new_empty(ends.shape[0] + 1, *start.shape)
    states[0].copy_(start)
    for n in range(ends.shape[0]):
        _add_faded(writes[n], ends[n], states[n], states[n + 1])
    return states


@_decay_scan.register_fake
def _(writes: Tensor, ends: Tensor, start: Tensor) -> Tensor:
    return start.new_empty(ends.shape[0] + 1, *start.shape)


def _save_decay(ctx, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1], output)


def _decay_backward(ctx, grad_states: Tensor) -> tuple[Tensor, ...]:
    """The same scan, run from the end."""
    ends, states = ctx.saved_tensors
    backwards = grad_states.flip(0)
    reversed_ends = _transposed(ends).flip(0)
    total = decay_scan(backwards[1:], reversed_ends, backwards[0]).flip(0)
    after = total[1:]
    return after, grad_ends(states[:-1], after, ends), total[0].clone()


decay_scan = differentiable(_decay_scan, _decay_backward, _save_decay)
