"""The recurrence of a `matrix` memory, S [key, value] for each head, as the runtime computes it.

[Nested Learning, Eq. 14-18] (dot), [Nested Learning, Eq. 65, 93] (l2), [Nested Learning, Eq. 57, 88] (dgd),
[Titans, Eq. 13-14] (momentum), [Nested Learning, Eq. 90] (anchored gradients); Yang et al. 2024, eq. 10 (the
gated delta rule as published, which forgets first).
"""

from __future__ import annotations

from nestdsl.explain.association import Association
from nestdsl.vocabulary.terms import (
    ONE,
    Absolute,
    Apply,
    Condition,
    Equation,
    Hadamard,
    Number,
    Power,
    Symbol,
    T,
    Term,
    Transpose,
    apply,
    before,
    minus,
    plus,
    times,
)


def update(memory: Association) -> tuple[Equation, ...]:
    """S_t, with the lines before it that it needs."""
    state, push = memory.letter("S"), memory.letter("U")
    period = memory.period
    last = state.at(before(T, period))
    decay, toward = memory.retention()
    kept = times(decay, last)
    kept = kept if toward is None else plus(kept, times(toward, state.at(Number(0))))
    if memory.forget_first:
        return _forgetting_first(memory, kept)
    error_lines, error = _error(memory, state)
    moment = memory.moment
    write = memory.gathered(times(memory.effective_step(moment), memory.key.at(moment), Transpose(error)))
    lines = [*memory.step_equations(), *error_lines]
    if memory.has_momentum:
        pushed = plus(times(memory.averaged(memory.momentum), push.at(before(T, period))), write)
        lines.append(Equation(push.at(T), pushed, _when(memory, push)))
        write = push.at(T)
    lines.append(Equation(state.at(T), plus(kept, write), _when(memory, state)))
    return tuple(lines)


def _forgetting_first(memory: Association, kept: Term) -> tuple[Equation, ...]:
    """F_t, what is left of the last state, and the step along the gradient that it has."""
    left, key = memory.letter("F").at(T), memory.key.at(T)
    error = minus(memory.value.at(T), times(Transpose(left), key))
    write = times(memory.effective_step(T), key, Transpose(error))
    return Equation(left, kept), Equation(memory.letter("S").at(T), plus(left, write))


def read(memory: Association) -> tuple[Equation, ...]:
    """What the memory answers to each of its queries."""
    state = memory.letter("S")
    return tuple(
        Equation(result.at(T), times(Transpose(state.at(memory.seen())), query.at(T)))
        for query, result in memory.queries
    )


def peek(memory: Association, anchor: Term) -> tuple[Equation, ...]:
    """What the memory answers at an anchor, where its own next state depends on the answer."""
    if memory.peeked is None:
        return ()
    z = memory.letter("z")
    answer = times(Transpose(memory.letter("S").at(anchor)), z)
    return (Equation(Apply(memory.peeked.at(anchor), (z,)), answer),)


def is_stale(memory: Association) -> bool:
    """Whether gradients are taken at the chunk's start; plain gd on l2 takes each at the running state."""
    if memory.period > 1 or memory.objective == "dot":
        return False
    return memory.rule != "gd" or memory.objective == "lp"


def _error(memory: Association, state: Symbol) -> tuple[tuple[Equation, ...], Term]:
    """The direction −∂L/∂answer of one token; for lp with the line that names the error."""
    if memory.objective == "dot":
        return (), memory.value.at(memory.moment)
    if memory.objective == "lp" and memory.exponent != 2:
        error = memory.letter("e")
        anchor = memory.anchor()
        answer = times(Transpose(state.at(anchor)), memory.key.at(T))
        line = Equation(error.at(T), minus(memory.value.at(T), answer))
        return (line,), slope(error.at(memory.moment), memory.exponent)
    seen = before(T, memory.period)
    if is_stale(memory):
        seen = memory.anchor()
    answer = times(Transpose(state.at(seen)), memory.key.at(memory.moment))
    return (), minus(memory.value.at(memory.moment), answer)


def slope(error: Term, exponent: float) -> Term:
    """The slope of |e|^p / p: sign(e) |e|^{p−1}."""
    sign = apply("sign", error)
    if exponent == 1:
        return sign
    power = Number(round(exponent - 1, 12))
    size = Absolute(error)
    return Hadamard((size if power.value == ONE.value else Power(size, power), sign))


def _when(memory: Association, state: Symbol) -> Condition | None:
    if memory.period == 1:
        return None
    return Condition(memory.period, T, state.at(before(T, 1)))
