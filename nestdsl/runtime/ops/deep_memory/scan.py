"""The step from chunk to chunk, the only sequential part of a two-layer memory.

An operator of our own with its backward written out: unrolled, the loop would take minutes to compile. The
operator takes and gives lists of tensors without those that the rule has no use for; `_pack`, `_unpack` and
`_outputs` know which are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor

from nestdsl.runtime.ops.deep_memory.adjoint import Totals, contributions, retreat
from nestdsl.runtime.ops.deep_memory.rule import Activation, DeepRule
from nestdsl.runtime.ops.deep_memory.step import Chunk, Weights, Writes, advance, write
from nestdsl.runtime.ops.memory_rule import Objective, Optimizer
from nestdsl.runtime.ops.operator import differentiable

_Parts = TypeVar("_Parts", Chunk, Weights, Writes)


class Path(NamedTuple):
    """writes [N, P, W, ...] of all chunks, the weights [N, P, ...] at their first tokens, and the last."""

    writes: Writes
    starts: Weights
    end: Weights


class _Inputs(NamedTuple):
    chunks: Chunk
    start: Weights
    anchor: Weights | None
    home: Weights | None


def scan(chunks: Chunk, start: Weights, anchor: Weights | None, home: Weights | None, rule: DeepRule) -> Path:
    """`advance` from chunk to chunk. chunks: stacked [N, P, ...]; anchor: the weights at which the first
    chunk takes its gradients, None for `start`; home: those that α decays to, None for zero.

    With rule.gradient "stop", writes are constants, and the weights depend on `start` and `home` through the
    decays only.
    """
    if rule.gradient == "stop":
        return _constant(chunks, start, anchor, home, rule)
    if chunks.keys.shape[0] == 1:
        # Nothing to loop over: in the open, where a compiler that works on one chunk at a time can fuse it.
        writes, end = advance(_nth(chunks, 0), start, anchor or start, home, rule)
        return Path(_each(writes, _alone), _each(start, _alone), end)
    parts, present = _pack(_Inputs(chunks, start, anchor, home))
    writes, states = _outputs(deep_scan(parts, present, *_options(rule)), rule)
    count = chunks.keys.shape[0]
    # clone: a view would keep the whole path alive for as long as the state is carried
    end = _each(states, lambda part: part[count].clone())
    return Path(writes, _each(states, lambda part: part[:count]), end)


def _constant(
    chunks: Chunk, start: Weights, anchor: Weights | None, home: Weights | None, rule: DeepRule
) -> Path:
    """The same values; what is left of `start` and `home` in each state is its share after decay."""

    def detached(parts: _Parts) -> _Parts:
        return _each(parts, Tensor.detach)

    constant_anchor = None if anchor is None else detached(anchor)
    constant_home = None if home is None else detached(home)
    through = replace(rule, gradient="through")
    path = scan(detached(chunks), detached(start), constant_anchor, constant_home, through)
    left = torch.cat((torch.ones_like(chunks.end[:1]), chunks.end)).cumprod(0)

    def shares(first: Tensor, last: Tensor | None) -> Tensor:
        share = left * (first - first.detach())
        return share if last is None else share + (1 - left) * (last - last.detach())

    inner = shares(start.inner, None if home is None else home.inner)
    outer = shares(start.outer, None if home is None else home.outer)
    starts, end = path.starts, path.end
    return Path(
        path.writes,
        starts._replace(inner=starts.inner + inner[:-1], outer=starts.outer + outer[:-1]),
        end._replace(inner=end.inner + inner[-1], outer=end.outer + outer[-1]),
    )


@torch.library.custom_op("nestdsl::deep_scan", mutates_args=())
def _deep_scan(
    parts: Sequence[Tensor],
    present: Sequence[bool],
    objective: str,
    optimizer: str,
    activation: str,
    residual: bool,
    p: float,
) -> list[Tensor]:
    """What all chunks write (`Writes`), and the weights [N + 1, P, ...] before, between and after them."""
    inputs, rule = _unpack(parts, present), _rule(objective, optimizer, activation, residual, p)
    weights, written, states = inputs.start, [], [inputs.start]
    for n in range(inputs.chunks.keys.shape[0]):
        at = inputs.anchor if n == 0 and inputs.anchor is not None else weights
        writes, weights = advance(_nth(inputs.chunks, n), weights, at, inputs.home, rule)
        written.append(writes)
        states.append(weights)
    return _stacked(written) + _stacked(states)


@_deep_scan.register_fake
def _(parts: Sequence[Tensor], present: Sequence[bool], *_: object) -> list[Tensor]:
    inputs = _unpack(parts, present)
    values, start = inputs.chunks.values, inputs.start
    hidden = values.new_empty(*values.shape[:-1], start.inner.shape[-1])
    count = values.shape[0] + 1
    erased = hidden if inputs.chunks.mix is not None else None
    writes = Writes(hidden, hidden, values, erased, hidden, values, hidden)
    states = [part.new_empty(count, *part.shape) for part in start if part is not None]
    return [part.new_empty(part.shape) for part in writes if part is not None] + states


@torch.library.custom_op("nestdsl::deep_scan_backward", mutates_args=())
def _deep_scan_backward(
    parts: Sequence[Tensor],
    present: Sequence[bool],
    found: Sequence[Tensor],
    given: Sequence[Tensor],
    objective: str,
    optimizer: str,
    activation: str,
    residual: bool,
    p: float,
) -> list[Tensor]:
    """From the last chunk to the first: `Totals` of all chunks, the gradients of the weights [N + 1, P, ...],
    and those of the first chunk's anchor."""
    inputs, rule = _unpack(parts, present), _rule(objective, optimizer, activation, residual, p)
    writes, states = _outputs(found, rule)
    return _retreats(inputs, writes, states, _outputs(given, rule), rule)


def _retreats(
    inputs: _Inputs, writes: Writes, states: Weights, given: tuple[Writes, Weights], rule: DeepRule
) -> list[Tensor]:
    """What `_deep_scan_backward` gives, from the writes, the states and their gradients."""
    given_writes, given_states = given
    count = inputs.chunks.keys.shape[0]
    later = _nth(given_states, count)
    totals: list[Totals] = []
    gradients = [later]
    at = Weights(inputs.start.inner, inputs.start.outer)
    for n in range(count - 1, -1, -1):
        anchor = inputs.anchor if n == 0 and inputs.anchor is not None else _nth(states, n)
        chunk, wrote, given_here = _nth(inputs.chunks, n), _nth(writes, n), _nth(given_writes, n)
        total, earlier, at = retreat(chunk, wrote, anchor, later, given_here, rule)
        later = _sum(earlier, _nth(given_states, n))
        if n > 0 or inputs.anchor is None:
            later = later._replace(inner=later.inner + at.inner, outer=later.outer + at.outer)
        totals.append(total)
        gradients.append(later)
    return _stacked(totals[::-1]) + _stacked(gradients[::-1]) + [at.inner.contiguous(), at.outer.contiguous()]


@_deep_scan_backward.register_fake
def _(parts: object, present: object, found: Sequence[Tensor], given: object, *options: Any) -> list[Tensor]:
    writes, states = _outputs(found, _rule(*options))
    wide, narrow = writes.hidden, writes.output
    totals = Totals(wide, narrow, writes.erased, narrow, narrow, wide, wide, narrow)
    shapes = [part for part in (*totals, *states) if part is not None]
    return [part.new_empty(part.shape) for part in (*shapes, states.inner[0], states.outer[0])]


def _save(ctx, inputs: tuple, output: list[Tensor]) -> None:
    parts, present, *options = inputs
    ctx.save_for_backward(*parts, *output)
    ctx.layout = len(parts), present, options


def _backward(ctx, given: list[Tensor | None]) -> tuple:
    size, present, options = ctx.layout
    parts, found = ctx.saved_tensors[:size], ctx.saved_tensors[size:]
    inputs, rule = _unpack(parts, present), _rule(*options)
    writes, states = _outputs(found, rule)
    filled = [
        torch.zeros_like(part) if grad is None else grad for part, grad in zip(found, given, strict=True)
    ]
    count = inputs.chunks.keys.shape[0]
    starts = _each(states, lambda part: part[:count])
    anchors = Weights(starts.inner, starts.outer)
    if inputs.anchor is not None:
        inner, outer = inputs.anchor.inner.unsqueeze(0), inputs.anchor.outer.unsqueeze(0)
        anchors = Weights(torch.cat((inner, starts.inner[1:])), torch.cat((outer, starts.outer[1:])))
    if torch.is_grad_enabled():
        # Who differentiates once more needs each step as torch knows it, and what was written from the
        # states, which have a gradient: what this pass has kept for itself (before, output, blame) has none.
        writes = write(inputs.chunks, starts, anchors, rule)
        back = _retreats(inputs, writes, states, _outputs(filled, rule), rule)
    else:
        back = _deep_scan_backward(parts, present, found, filled, *options)
    *rest, anchor_inner, anchor_outer = back
    taken = iter(rest)
    totals = Totals(
        next(taken), next(taken), next(taken) if rule.decays_along_key else None, *_take(taken, 5)
    )
    gradients = Weights(*_take(taken, 4 if rule.has_momentum else 2))

    later = _each(gradients, lambda part: part[1:])
    chunks, home = contributions(
        inputs.chunks, writes, starts, anchors.inner, inputs.home, later, totals, rule
    )
    anchor = None if inputs.anchor is None else Weights(anchor_inner, anchor_outer)
    start = _each(gradients, lambda part: part[0].clone())
    found_parts, _ = _pack(_Inputs(chunks, start, anchor, home))
    return (found_parts, None, *(None for _ in options))


deep_scan = differentiable(_deep_scan, _backward, _save)


def _pack(inputs: _Inputs) -> tuple[list[Tensor], list[bool]]:
    nothing = (None,) * len(Weights._fields)
    fields = (*inputs.chunks, *inputs.start, *(inputs.anchor or nothing), *(inputs.home or nothing))
    return [part for part in fields if part is not None], [part is not None for part in fields]


def _unpack(parts: Sequence[Tensor], present: Sequence[bool]) -> _Inputs:
    taken = iter(parts)
    fields = iter([next(taken) if there else None for there in present])
    chunks = Chunk(*_take(fields, len(Chunk._fields)))
    start, anchor, home = (Weights(*_take(fields, len(Weights._fields))) for _ in range(3))
    return _Inputs(
        chunks, start, anchor if anchor.inner is not None else None, home if home.inner is not None else None
    )


def _outputs(found: Sequence[Tensor], rule: DeepRule) -> tuple[Writes, Weights]:
    """The list that `deep_scan` gives, taken apart."""
    taken = iter(found)
    hidden, inner, outer = _take(taken, 3)
    erased = next(taken) if rule.decays_along_key else None
    writes = Writes(hidden, inner, outer, erased, *_take(taken, 3))
    return writes, Weights(*_take(taken, 4 if rule.has_momentum else 2))


def _options(rule: DeepRule) -> tuple[str, str, str, bool, float]:
    return rule.objective, rule.optimizer, rule.activation, rule.residual, float(rule.p)


def _rule(objective: str, optimizer: str, activation: str, residual: bool, p: float) -> DeepRule:
    return DeepRule(
        cast(Objective, objective), cast(Optimizer, optimizer), cast(Activation, activation), residual, p
    )


def _take(parts: Iterator, count: int) -> list[Any]:
    return [next(parts) for _ in range(count)]


def _each(parts: _Parts, change: Callable[[Tensor], Tensor]) -> _Parts:
    changed: list[Any] = [None if part is None else change(part) for part in parts]
    return type(parts)(*changed)


def _alone(part: Tensor) -> Tensor:
    return part.unsqueeze(0)


def _nth(parts: _Parts, n: int) -> _Parts:
    return _each(parts, lambda part: part[n])


def _sum(left: Weights, right: Weights) -> Weights:
    summed: list[Any] = [None if a is None or b is None else a + b for a, b in zip(left, right, strict=True)]
    return Weights(*summed)


def _stacked(rows: Sequence[tuple]) -> list[Tensor]:
    """Contiguous, as the fake operators promise it: stacked parts may keep an order of their own."""
    columns = (column for column in zip(*rows, strict=True) if column[0] is not None)
    return [torch.stack(column).contiguous() for column in columns]
