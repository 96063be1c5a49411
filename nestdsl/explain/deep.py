"""The recurrence of an `associative` memory, M(z) = z + W_1 σ(W_2 z) for each head, as the runtime has it.

Nested Learning, Eq. 91; gradients are those of the chunk's start (Eq. 90), the decay along the key is on W_2
(Eq. 88).
"""

from __future__ import annotations

from dataclasses import replace

from nestdsl.explain.association import Association
from nestdsl.explain.linear import slope
from nestdsl.vocabulary.terms import (
    Apply,
    Condition,
    Equation,
    Hadamard,
    Negative,
    Number,
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

_OUTER, _INNER = Number(1), Number(2)


def update(memory: Association, activation: str, residual: bool) -> tuple[Equation, ...]:
    """W_1 and W_2 at token t, with the lines before them that they need."""
    gradient = memory.letter("G")
    lines = [*memory.step_equations(), *_gradients(memory, activation, residual)]
    weight, push = memory.letter("W"), memory.letter("U")
    for part, own in ((_OUTER, replace(memory, rule=_without_decay(memory.rule))), (_INNER, memory)):
        decay, toward = own.retention()
        last = weight.at(part, before(T, memory.period))
        # The decay along the key acts on what W_2 reads, so from the right.
        kept = times(last, decay) if own.decays_along_key else times(decay, last)
        kept = kept if toward is None else plus(kept, times(toward, weight.at(part, Number(0))))
        moment = memory.moment
        write: Term = memory.gathered(times(memory.effective_step(moment), gradient.at(part, moment)))
        if memory.has_momentum:
            last_push = push.at(part, before(T, memory.period))
            pushed = minus(times(memory.averaged(memory.momentum), last_push), write)
            lines.append(Equation(push.at(part, T), pushed, _when(memory, push, part)))
            change: Term = push.at(part, T)
        else:
            change = Negative(write)
        lines.append(Equation(weight.at(part, T), plus(kept, change), _when(memory, weight, part)))
    return tuple(lines)


def read(memory: Association, activation: str, residual: bool) -> tuple[Equation, ...]:
    """What the memory answers to each of its queries."""
    return tuple(
        Equation(result.at(T), _answer(memory, query.at(T), memory.seen(), activation, residual))
        for query, result in memory.queries
    )


def peek(memory: Association, anchor: Term, activation: str, residual: bool) -> tuple[Equation, ...]:
    """What the memory answers at an anchor, where its own next state depends on the answer."""
    if memory.peeked is None:
        return ()
    z = memory.letter("z")
    answer = _answer(memory, z, anchor, activation, residual)
    return (Equation(Apply(memory.peeked.at(anchor), (z,)), answer),)


def _answer(memory: Association, query: Term, seen: Term, activation: str, residual: bool) -> Term:
    weight = memory.letter("W")
    inside = apply(activation, times(weight.at(_INNER, seen), query))
    answer = times(weight.at(_OUTER, seen), inside)
    return plus(query, answer) if residual else answer


def _gradients(memory: Association, activation: str, residual: bool) -> tuple[Equation, ...]:
    """The gradients of one token's objective with respect to W_1 and W_2."""
    weight, gradient = memory.letter("W"), memory.letter("G")
    hidden, output, error = memory.letter("h"), memory.letter("o"), memory.letter("e")
    key, value, anchor = memory.key.at(T), memory.value.at(T), memory.anchor()
    inside = times(weight.at(_INNER, anchor), key)
    answer = times(weight.at(_OUTER, anchor), hidden.at(T))
    back = times(Transpose(weight.at(_OUTER, anchor)), error.at(T))
    derivative = Apply(Symbol(activation, mark="prime"), (inside,))
    lines = [Equation(hidden.at(T), apply(activation, inside))]
    match memory.objective:
        case "dot":
            lines.append(Equation(error.at(T), Negative(value)))
        case "lp" if memory.exponent != 2:
            lines.append(Equation(output.at(T), minus(plus(key, answer) if residual else answer, value)))
            lines.append(Equation(error.at(T), slope(output.at(T), memory.exponent)))
        case _:
            lines.append(Equation(error.at(T), minus(plus(key, answer) if residual else answer, value)))
    lines += [
        Equation(gradient.at(_OUTER, T), times(error.at(T), Transpose(hidden.at(T)))),
        Equation(gradient.at(_INNER, T), times(Hadamard((derivative, back)), Transpose(key))),
    ]
    return tuple(lines)


def _without_decay(rule: str) -> str:
    return {"dgd": "gd", "dgd_momentum": "momentum"}.get(rule, rule)


def _when(memory: Association, state: Symbol, part: Number) -> Condition | None:
    if memory.period == 1:
        return None
    return Condition(memory.period, T, state.at(part, before(T, 1)))
