"""The step from block to block of a memory whose gradients are taken at the running state.

`scan.delta_scan` wants each block's system solved beforehand, for what is known and for each key. Here it is
solved on the way, which is one product less for each block; and the backward of solving, multiplying and
carrying on is written out as one: two products where the pieces by themselves would take six.
Shapes as in `scan`, with J = 1.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nestdsl.runtime.ops.linear_memory.inverse import inverse as inverse_of
from nestdsl.runtime.ops.linear_memory.scan import grad_ends
from nestdsl.runtime.ops.operator import differentiable, gives_like


@torch.library.custom_op("nestdsl::gram", mutates_args=())
def _gram(keys: Tensor) -> Tensor:
    """K Kᵀ [M, C, C] of keys K [M, C, K]; an operator of our own for its backward, one product for two."""
    return keys @ keys.transpose(-1, -2)


@_gram.register_fake
def _(keys: Tensor) -> Tensor:
    return keys.new_empty(*keys.shape[:-1], keys.shape[-2])


def _save_keys(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gram_backward(ctx: Any, given: Tensor) -> Tensor:
    (keys,) = ctx.saved_tensors
    return (given + given.transpose(-1, -2)) @ keys


gram = differentiable(_gram, _gram_backward, _save_keys)


@torch.library.custom_op("nestdsl::solved_scan", mutates_args=())
def _solved_scan(
    system: Tensor, known: Tensor, asked: Tensor, carried: Tensor, ends: Tensor, start: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """S_{n+1} = c_n S_n + D_nᵀ E_n with (I + L_n) E_n = W_n - A_n S_n.

    system L [N, P, C, C], zero on and above the diagonal; known W [N, P, C, V]; asked A and carried D
    [N, P, C, K]; ends c [N, P, 1, 1] or [N, P, K, 1]; start [P, K, V]. Returns the errors E [N, P, C, V], the
    states S_n that the blocks begin with [N, P, K, V], the last state [P, K, V] and (I + L)⁻¹ [N, P, C, C].
    """
    inverse = inverse_of(system.flatten(0, 1)).view(system.shape)
    errors = torch.empty_like(known, memory_format=torch.contiguous_format)
    states = start.new_empty(ends.shape[0], *start.shape)
    end, wanted = start.new_empty(start.shape), known.new_empty(known.shape[1:])
    states[0].copy_(start)
    for n, state in enumerate(states.unbind()):
        torch.baddbmm(known[n], asked[n], state, alpha=-1, out=wanted)
        error = torch.bmm(inverse[n], wanted, out=errors[n])
        following = torch.mul(state, ends[n], out=states[n + 1] if n + 1 < len(states) else end)
        following.baddbmm_(carried[n].transpose(1, 2), error)
    return errors, states, end, inverse


@_solved_scan.register_fake
def _(
    system: Tensor, known: Tensor, asked: Tensor, carried: Tensor, ends: Tensor, start: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    errors, states = known.new_empty(known.shape), start.new_empty(ends.shape[0], *start.shape)
    return errors, states, start.new_empty(start.shape), system.new_empty(system.shape)


@torch.library.custom_op("nestdsl::solved_scan_backward", mutates_args=())
def _scan_solved_back(
    of_errors: Tensor,
    of_states: Tensor,
    of_end: Tensor,
    inverse: Tensor,
    asked: Tensor,
    carried: Tensor,
    ends: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """The scan from its end: with Ẋ_n = Ė_n + D_n Ṡ_{n+1},

        Ẇ_n = (I + L_n)⁻ᵀ Ẋ_n,   Ṡ_n ← Ṡ_n + c_n Ṡ_{n+1} - A_nᵀ Ẇ_n

    Returns Ẇ [N, P, C, V], the gradients Ṡ_{n+1} of the states that the blocks end with [N, P, K, V], and
    that of the first one [P, K, V], all later uses counted.
    """
    of_known = torch.empty_like(of_errors, memory_format=torch.contiguous_format)
    after = torch.empty_like(of_states, memory_format=torch.contiguous_format)
    start, total = of_end.new_empty(of_end.shape), of_errors.new_empty(of_errors.shape[1:])
    after[-1].copy_(of_end)
    for n in range(ends.shape[0] - 1, -1, -1):
        torch.baddbmm(of_errors[n], carried[n], after[n], out=total)
        torch.bmm(inverse[n].transpose(1, 2), total, out=of_known[n])
        before = torch.addcmul(of_states[n], after[n], ends[n], out=after[n - 1] if n else start)
        before.baddbmm_(asked[n].transpose(1, 2), of_known[n], alpha=-1)
    return of_known, after, start


gives_like(_scan_solved_back, "of_errors", "of_states", "of_end")


def _save_backward(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    of_errors, _, _, inverse, asked, carried, ends = inputs
    of_known, after, _ = output
    ctx.save_for_backward(of_errors, inverse, asked, carried, ends, of_known, after)


def _backward_twice(ctx: Any, of_known: Tensor, of_after: Tensor, of_start: Tensor) -> tuple[Tensor, ...]:
    """The second derivative, for what differentiates through gradients: once more from the start."""
    errors, inverse, asked, carried, ends, known, after = ctx.saved_tensors
    states, residues, totals = [of_start], [], []
    for n in range(ends.shape[0]):
        residues.append(of_known[n] - asked[n] @ states[n])
        totals.append(inverse[n] @ residues[n])
        states.append(of_after[n] + ends[n] * states[n] + carried[n].transpose(-1, -2) @ totals[n])
    of_states, of_residues, of_errors = (torch.stack(parts) for parts in (states[:-1], residues, totals))
    return (
        of_errors,
        of_states,
        states[-1],
        (errors + carried @ after) @ of_residues.transpose(-1, -2),
        -(known @ of_states.transpose(-1, -2)),
        of_errors @ after.transpose(-1, -2),
        grad_ends(of_states, after, ends),
    )


_solved_scan_backward = differentiable(_scan_solved_back, _backward_twice, _save_backward)


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    _, _, asked, carried, ends, _ = inputs
    errors, states, _, inverse = output
    ctx.save_for_backward(asked, carried, ends, errors, states, inverse)
    ctx.set_materialize_grads(False)


def _backward(
    ctx: Any,
    of_errors: Tensor | None,
    of_states: Tensor | None,
    of_end: Tensor | None,
    of_inverse: Tensor | None,
) -> tuple[Tensor, ...]:
    asked, carried, ends, errors, states, inverse = ctx.saved_tensors
    of_known, after, start = _solved_scan_backward(
        torch.zeros_like(errors) if of_errors is None else of_errors,
        torch.zeros_like(states) if of_states is None else of_states,
        torch.zeros_like(states[0]) if of_end is None else of_end,
        inverse,
        asked,
        carried,
        ends,
    )
    system = of_known @ errors.transpose(-1, -2)
    if of_inverse is not None:  # only where a gradient is differentiated, which looks at the inverse
        transposed = inverse.transpose(-1, -2)
        system = system + transposed @ of_inverse @ transposed
    return (
        -system.tril(-1),
        of_known,
        -(of_known @ states.transpose(-1, -2)),
        errors @ after.transpose(-1, -2),
        grad_ends(states, after, ends),
        start,
    )


solved_scan = differentiable(_solved_scan, _backward, _save)
