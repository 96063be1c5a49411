"""A memory whose gradients are taken at the running state, from keys to states in one operator.

`solved.solved_scan` computes the same from scaled keys and systems made beforehand, and has derivatives of
every order. Here each block is worked on from its keys while it is in the cache, forward and backward: to go
to memory and back is most of what such a memory costs.
Shapes as in `scan`, with J = 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nestdsl.runtime.ops.linear_memory.inverse import inverse as inverse_of
from nestdsl.runtime.ops.linear_memory.solved import gram, solved_scan
from nestdsl.runtime.ops.operator import differentiable, gives_like, is_transformed


@torch.library.custom_op("nestdsl::delta_blocks", mutates_args=())
def _delta_blocks(
    keys: Tensor, writes: Tensor, mask: Tensor, asked: Tensor, kept: Tensor, ends: Tensor, start: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """S_{n+1} = c_n S_n + K_nᵀ diag(d_n) E_n with (I + B_n ∘ K_n K_nᵀ) E_n = W_n - diag(a_n) K_n S_n.

    keys K [N, P, C, K]; writes W [N, P, C, V]; mask B [N, P, C, C], zero on and above the diagonal; asked a
    and kept d [N, P, C, 1]; ends c [N, P, 1, 1]; start [P, K, V]. Returns the errors E [N, P, C, V], the
    states S_n that the blocks begin with [N, P, K, V], the last state [P, K, V] and, for the backward alone,
    (I + B ∘ K Kᵀ)⁻¹ [N, P, C, C].
    """
    inverse = _inverse(keys, mask)
    errors = _empty(writes)
    states, end = start.new_empty(ends.shape[0], *start.shape), start.new_empty(start.shape)
    states[0].copy_(start)
    work = _empty(errors[0])
    followings = (*states.unbind()[1:], end)
    for n, (key, state, following) in enumerate(zip(keys.unbind(), states.unbind(), followings, strict=True)):
        torch.bmm(key, state, out=work)
        torch.addcmul(writes[n], asked[n], work, value=-1, out=work)
        error = torch.bmm(inverse[n], work, out=errors[n])
        torch.mul(state, ends[n], out=following)
        following.baddbmm_(key.transpose(1, 2), torch.mul(error, kept[n], out=work))
    return errors, states, end, inverse


def _empty(like: Tensor) -> Tensor:
    return torch.empty_like(like, memory_format=torch.contiguous_format)


def _inverse(keys: Tensor, mask: Tensor) -> Tensor:
    rows = keys.flatten(0, 1)
    system = torch.bmm(rows, rows.transpose(1, 2)).mul_(mask.flatten(0, 1))
    return inverse_of(system).view(mask.shape)


@_delta_blocks.register_fake
def _(
    keys: Tensor, writes: Tensor, mask: Tensor, asked: Tensor, kept: Tensor, ends: Tensor, start: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    states = start.new_empty(ends.shape[0], *start.shape)
    return writes.new_empty(writes.shape), states, start.new_empty(start.shape), mask.new_empty(mask.shape)


@torch.library.custom_op("nestdsl::delta_blocks_backward", mutates_args=())
def _delta_blocks_backward(
    of_errors: Tensor,
    of_states: Tensor,
    of_end: Tensor,
    keys: Tensor,
    mask: Tensor,
    asked: Tensor,
    kept: Tensor,
    ends: Tensor,
    errors: Tensor,
    states: Tensor,
    inverse: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The gradients of all seven inputs, block by block from the end, so that a block stays in the cache.

    With Ṡ' of the state after a block, all later uses counted, and R the solved right-hand side:

        Ẇ = (I + B ∘ K Kᵀ)⁻ᵀ (Ė + diag(d) K Ṡ'),   Ṙ = -Ẇ Eᵀ (of the system),   Ġ = B ∘ Ṙ
        K̇ = diag(d) E Ṡ'ᵀ - diag(a) Ẇ Sᵀ + (Ġ + Ġᵀ) K,   Ḃ = Ṙ ∘ K Kᵀ
        ȧ = -rows(K ∘ Ẇ Sᵀ),   ḋ = rows(E ∘ K Ṡ'),   ċ = ⟨S, Ṡ'⟩,   Ṡ ← Ṡ + c Ṡ' - Kᵀ diag(a) Ẇ
    """
    of_keys, of_mask, of_asked, of_kept = (_empty(part) for part in (keys, mask, asked, kept))
    of_writes, of_ends, count = _empty(errors), _empty(ends), ends.shape[0]
    total, answer, product = (_empty(errors[0]) for _ in range(3))
    back, weighed, solved, square = _empty(keys[0]), _empty(keys[0]), _empty(mask[0]), _empty(mask[0])
    after, before = of_end.clone(memory_format=torch.contiguous_format), _empty(states[0])
    for n in range(count - 1, -1, -1):
        key, error, state, a, d, of_key = keys[n], errors[n], states[n], asked[n], kept[n], of_keys[n]
        turned = key.transpose(1, 2)
        torch.bmm(key, after, out=answer)
        torch.addcmul(of_errors[n], answer, d, out=total)
        write = torch.bmm(inverse[n].transpose(1, 2), total, out=of_writes[n])
        torch.sum(torch.mul(error, answer, out=product), -1, keepdim=True, out=of_kept[n])
        torch.bmm(error, after.transpose(1, 2), out=of_key).mul_(d)
        torch.bmm(write, state.transpose(1, 2), out=back)
        of_key.addcmul_(back, a, value=-1)
        torch.sum(torch.mul(back, key, out=weighed), -1, keepdim=True, out=of_asked[n])
        torch.bmm(write, error.transpose(1, 2), out=solved)
        torch.mul(torch.bmm(key, turned, out=square), solved, out=of_mask[n])
        solved.mul_(mask[n])
        of_key.baddbmm_(torch.add(solved, solved.transpose(1, 2), out=square), key, alpha=-1)
        torch.sum(torch.mul(state, after, out=before), (-1, -2), keepdim=True, out=of_ends[n])
        torch.addcmul(of_states[n], after, ends[n], out=before)
        before.baddbmm_(turned, torch.mul(write, a, out=product), alpha=-1)
        after, before = before, after
    return of_keys, of_writes, of_mask.neg_(), of_asked.neg_(), of_kept, of_ends, after


gives_like(_delta_blocks_backward, "keys", "errors", "mask", "asked", "kept", "ends", "of_end")


def _save_blocks(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    errors, states, _, inverse = output
    ctx.save_for_backward(*inputs, errors, states, inverse)
    ctx.set_materialize_grads(False)


def _blocks_backward(
    ctx: Any, of_errors: Tensor | None, of_states: Tensor | None, of_end: Tensor | None, _: Tensor | None
) -> tuple[Tensor | None, ...]:
    *inputs, errors, states, inverse = ctx.saved_tensors
    keys, _, mask, asked, kept, ends, start = inputs
    given = (
        torch.zeros_like(errors) if of_errors is None else of_errors,
        torch.zeros_like(states) if of_states is None else of_states,
        torch.zeros_like(start) if of_end is None else of_end,
    )
    if torch.is_grad_enabled():
        # Somebody differentiates this gradient in turn: then through what has every derivative.
        return _differentiable(inputs, given, ctx.needs_input_grad)
    return _delta_blocks_backward(*given, keys, mask, asked, kept, ends, errors, states, inverse)


def _differentiable(
    inputs: list[Tensor], given: tuple[Tensor, ...], needed: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """The same gradients by `solved_scan`. By way of views, since one input may be a function of another."""

    def results(*seen: Tensor) -> tuple[Tensor, ...]:
        keys, writes, mask, asked, kept, ends, start = seen
        products = gram(keys.flatten(0, 1)).view(mask.shape)
        return solved_scan(mask * products, writes, asked * keys, kept * keys, ends, start)[:3]

    seen = [own.view_as(own) for own in inputs]
    if is_transformed():
        return torch.func.vjp(results, *seen)[1](given)
    wanted = [own for own, is_needed in zip(seen, needed, strict=True) if is_needed]
    found = iter(torch.autograd.grad(results(*seen), wanted, given, create_graph=True, allow_unused=True))
    return tuple(next(found) if is_needed else None for is_needed in needed)


delta_blocks = differentiable(_delta_blocks, _blocks_backward, _save_blocks)
