"""The backward pass of `step.advance`, written out. ẋ (here `x` of a `Totals`) is the gradient of x.

Split in two: `retreat` is what must run chunk by chunk from the end, because it needs the gradient of the
weights after the chunk; `contributions` is all the rest, for all chunks at once. Letters as in `step`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nestdsl.runtime.ops.deep_memory.pointwise import curvature, error, error_slope, slope
from nestdsl.runtime.ops.deep_memory.rule import DeepRule
from nestdsl.runtime.ops.deep_memory.step import Chunk, Weights, Writes


class Totals(NamedTuple):
    """Gradients inside a chunk, all later uses counted: of inner X, outer Y, erased E (None without dgd),
    error e, output O and before Z. Beside them, because both halves need them: key_uses K λ and hidden_uses
    H λ, with λ the gradients of the inner and of the outer weights after the chunk."""

    inner: Tensor
    outer: Tensor
    erased: Tensor | None
    error: Tensor
    output: Tensor
    before: Tensor
    key_uses: Tensor
    hidden_uses: Tensor


def retreat(
    chunk: Chunk, writes: Writes, anchor: Weights, later: Weights, given: Writes, rule: DeepRule
) -> tuple[Totals, Weights, Weights]:
    """One chunk, backwards. later: the gradients of the weights after it; given: those of what it wrote, from
    reads (before, output and blame are never read). Returns the totals, and the gradients of the weights
    before the chunk, and of its anchor."""
    keys, hidden = chunk.keys, writes.hidden
    key_uses, hidden_uses = keys @ later.inner, hidden @ later.outer
    inner, erased = given.inner, None
    inner_before, outer_before = chunk.end * later.inner, chunk.end * later.outer
    outer = given.outer + chunk.written * hidden_uses
    hidden_total = given.hidden + (chunk.written * writes.outer) @ _t(later.outer)
    if chunk.decays is None or rule.has_momentum:
        inner = inner + chunk.written * key_uses
    inner_momentum = outer_momentum = None
    if later.inner_momentum is not None and later.outer_momentum is not None:
        assert chunk.kept is not None and chunk.left is not None and chunk.moved is not None
        inner = inner + chunk.kept * (keys @ later.inner_momentum)
        outer = outer + chunk.kept * (hidden @ later.outer_momentum)
        hidden_total = hidden_total + (chunk.kept * writes.outer) @ _t(later.outer_momentum)
        inner_momentum = chunk.moved * later.inner + chunk.left * later.inner_momentum
        outer_momentum = chunk.moved * later.outer + chunk.left * later.outer_momentum
    if chunk.decays is not None:
        assert given.erased is not None and chunk.mix is not None and chunk.answers is not None
        erased = given.erased + chunk.decays * key_uses
        inner = inner + _t(chunk.mix) @ erased
        inner_before = inner_before - _t(chunk.answers) @ erased
        if inner_momentum is not None and chunk.momentum_answers is not None:
            inner_momentum = inner_momentum - _t(chunk.momentum_answers) @ erased

    missed = error(writes.output, chunk.values, rule)
    first = slope(writes.before, rule.activation)
    back = -chunk.steps * inner
    error_total = -chunk.steps * outer + (first * back) @ anchor.outer
    output = error_slope(writes.output, chunk.values, rule) * error_total
    hidden_total = hidden_total + output @ _t(anchor.outer)
    bend = curvature(writes.before, rule.activation) * writes.blame
    before = first * hidden_total + bend * back
    anchor_total = Weights(_t(keys) @ before, _t(hidden) @ output + _t(first * back) @ missed)
    totals = Totals(inner, outer, erased, error_total, output, before, key_uses, hidden_uses)
    return totals, Weights(inner_before, outer_before, inner_momentum, outer_momentum), anchor_total


def contributions(
    chunks: Chunk,
    writes: Writes,
    starts: Weights,
    anchor_inner: Tensor,
    home: Weights | None,
    later: Weights,
    totals: Totals,
    rule: DeepRule,
) -> tuple[Chunk, Weights | None]:
    """The gradients of what the chunks brought, and of `home`. All stacked over chunks; later: those of the
    weights after each chunk; anchor_inner: the inner weights at which each took its gradients."""
    keys, hidden = chunks.keys, writes.hidden
    missed = error(writes.output, chunks.values, rule)
    back = slope(writes.before, rule.activation) * writes.blame

    is_written = chunks.decays is None or rule.has_momentum
    spread = chunks.written * writes.inner if is_written else torch.zeros_like(writes.inner)
    if chunks.decays is not None and writes.erased is not None:
        spread = spread + chunks.decays * writes.erased
    key = spread @ _t(later.inner) + totals.before @ _t(anchor_inner)
    if rule.residual:
        key = key + totals.output
    written = _row_sum(writes.outer * totals.hidden_uses)
    if is_written:
        written = written + _row_sum(writes.inner * totals.key_uses)
    end = _sum(starts.inner * later.inner) + _sum(starts.outer * later.outer)
    home_total = None
    if home is not None:
        end = end - _sum(home.inner * later.inner) - _sum(home.outer * later.outer)
        rest = 1 - chunks.end
        home_total = Weights((rest * later.inner).sum(0), (rest * later.outer).sum(0))
    found = Chunk(
        key,
        -(totals.error if rule.objective == "dot" else totals.output),
        -_row_sum(back * totals.inner) - _row_sum(missed * totals.outer),
        end,
        written,
    )
    if later.inner_momentum is not None and later.outer_momentum is not None:
        inner, outer = starts.inner_momentum, starts.outer_momentum
        assert inner is not None and outer is not None and chunks.kept is not None
        inner_uses, outer_uses = keys @ later.inner_momentum, hidden @ later.outer_momentum
        found = found._replace(
            keys=found.keys + (chunks.kept * writes.inner) @ _t(later.inner_momentum),
            moved=_sum(inner * later.inner) + _sum(outer * later.outer),
            left=_sum(inner * later.inner_momentum) + _sum(outer * later.outer_momentum),
            kept=_row_sum(writes.inner * inner_uses) + _row_sum(writes.outer * outer_uses),
        )
    if totals.erased is not None and writes.erased is not None:
        found = found._replace(
            decays=_row_sum(writes.erased * totals.key_uses),
            mix=totals.erased @ _t(writes.inner),
            answers=-totals.erased @ _t(starts.inner),
        )
        if starts.inner_momentum is not None:
            found = found._replace(momentum_answers=-totals.erased @ _t(starts.inner_momentum))
        if chunks.source is not None:
            found = found._replace(source=-totals.erased)
    return found, home_total


def _t(matrix: Tensor) -> Tensor:
    return matrix.transpose(-1, -2)


def _row_sum(rows: Tensor) -> Tensor:
    return rows.sum(-1, keepdim=True)


def _sum(matrix: Tensor) -> Tensor:
    return matrix.sum((-1, -2), keepdim=True)
