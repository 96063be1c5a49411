"""One chunk of a two-layer memory: the gradients at its start, and the weights at its end.

With the weights A (inner) and B (outer) at the chunk's first token, their momenta S and R, the weights a and
b at which the gradients are taken (the same, unless the call began inside the chunk), W_0 what α decays to,
and for token t γ_t = α_1 … α_t, D_ts = α_{s+1} … α_t (s ≤ t), P the like for what momentum spreads (`Chunk`):

    Z = K a,  H = σ(Z),  O = K + H b,  G = σ'(Z) ∘ (e bᵀ),  X = -η G,  Y = -η e       all tokens at once
    A_t = γ_t A + (1 - γ_t) W_0 + c_t S + Σ_s k_s (D_ts E_s + P_ts X_s)ᵀ
    B_t = γ_t B + (1 - γ_t) W_0 + c_t R + Σ_s P_ts h_s y_sᵀ

E, what the decay along the key writes, is the solution of a triangular system that is linear in X, A and S;
it takes X in with it where there is no momentum. Suffixes: P = B·H batch rows and heads, W tokens, K key
size, V value size, D hidden size.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from nestdsl.runtime.ops.deep_memory.pointwise import activate, error, slope
from nestdsl.runtime.ops.deep_memory.rule import DeepRule


class Chunk(NamedTuple):
    """What the tokens of one chunk bring, and of `Coefficients` what one step needs.

    keys [P, W, K], values [P, W, V], steps η [P, W, 1]; end γ_W [P, 1, 1]; written P_W [P, W, 1].
    With momentum: moved c_W [P, 1, 1]; kept [P, W, 1] and left [P, 1, 1], with S_W = left S + Kᵀ (kept ∘ X).
    With dgd: decays D_W [P, W, 1] and E = mix X - answers A - momentum_answers S - source,
    mix [P, W, W], answers and momentum_answers [P, W, K], source [P, W, D] (only with toward init).
    """

    keys: Tensor
    values: Tensor
    steps: Tensor
    end: Tensor
    written: Tensor
    moved: Tensor | None = None
    kept: Tensor | None = None
    left: Tensor | None = None
    decays: Tensor | None = None
    mix: Tensor | None = None
    answers: Tensor | None = None
    momentum_answers: Tensor | None = None
    source: Tensor | None = None


class Weights(NamedTuple):
    """inner [P, K, D], outer [P, D, V], and their momenta, None without."""

    inner: Tensor
    outer: Tensor
    inner_momentum: Tensor | None = None
    outer_momentum: Tensor | None = None


class Writes(NamedTuple):
    """What a chunk's tokens write: hidden H [P, W, D], inner X [P, W, D], outer Y [P, W, V], erased E
    [P, W, D] (None without dgd); and for the backward pass, before Z [P, W, D], output O [P, W, V] and
    blame e bᵀ [P, W, D]."""

    hidden: Tensor
    inner: Tensor
    outer: Tensor
    erased: Tensor | None
    before: Tensor
    output: Tensor
    blame: Tensor


def advance(
    chunk: Chunk, weights: Weights, anchor: Weights, home: Weights | None, rule: DeepRule
) -> tuple[Writes, Weights]:
    """What the chunk writes, and the weights after it. home: the weights that α decays to, None for 0."""
    writes = write(chunk, weights, anchor, rule)
    keys = chunk.keys.transpose(-1, -2)
    hidden = writes.hidden.transpose(-1, -2)
    spread = chunk.written * writes.outer
    if chunk.decays is None:
        total = chunk.written * writes.inner
    else:
        assert writes.erased is not None
        total = chunk.decays * writes.erased
        if rule.has_momentum:
            total = total + chunk.written * writes.inner
    inner = chunk.end * weights.inner + keys @ total
    outer = chunk.end * weights.outer + hidden @ spread
    if home is not None:
        inner = inner + (1 - chunk.end) * home.inner
        outer = outer + (1 - chunk.end) * home.outer
    if chunk.moved is None or chunk.left is None or chunk.kept is None:
        return writes, Weights(inner, outer)
    assert weights.inner_momentum is not None and weights.outer_momentum is not None
    return writes, Weights(
        inner + chunk.moved * weights.inner_momentum,
        outer + chunk.moved * weights.outer_momentum,
        chunk.left * weights.inner_momentum + keys @ (chunk.kept * writes.inner),
        chunk.left * weights.outer_momentum + hidden @ (chunk.kept * writes.outer),
    )


def write(chunk: Chunk, weights: Weights, anchor: Weights, rule: DeepRule) -> Writes:
    """The gradients of a chunk's tokens at `anchor`, times -η, and what decay along the key adds."""
    before = chunk.keys @ anchor.inner
    hidden = activate(before, rule.activation)
    output = hidden @ anchor.outer
    if rule.residual:
        output = output + chunk.keys
    missed = error(output, chunk.values, rule)
    blame = missed @ anchor.outer.transpose(-1, -2)
    inner, outer = -chunk.steps * (slope(before, rule.activation) * blame), -chunk.steps * missed
    erased = None
    if chunk.mix is not None and chunk.answers is not None:
        erased = chunk.mix @ inner - chunk.answers @ weights.inner
        if chunk.momentum_answers is not None and weights.inner_momentum is not None:
            erased = erased - chunk.momentum_answers @ weights.inner_momentum
        if chunk.source is not None:
            erased = erased - chunk.source
    return Writes(hidden, inner, outer, erased, before, output, blame)
