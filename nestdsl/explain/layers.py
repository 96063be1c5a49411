"""What levels without an objective of their own compute from their input x and their weights."""

from __future__ import annotations

from nestdsl.explain.terms import (
    Apply,
    Equation,
    Hadamard,
    Number,
    Power,
    Ratio,
    Root,
    Symbol,
    T,
    Term,
    Total,
    Transpose,
    apply,
    minus,
    plus,
    times,
)
from nestdsl.vocabulary.signatures import Arguments

X, Y, W = Symbol("x").at(T), Symbol("y").at(T), Symbol("W")
_J = Symbol("j")


def read(kind: str, arguments: Arguments, residual: bool) -> tuple[Equation, ...]:
    """y_t of x_t; `residual` is whether a two-layer memory adds its input."""
    bias = bool(arguments.get("bias", False))
    activation = str(arguments.get("activation", ""))
    match kind:
        case "embedding":
            right: Term = Apply(Symbol("row"), (W, Symbol("x").at(T)))
        case "linear":
            right = _affine(W, X, Symbol("b"), bias)
        case "mlp":
            up, down = Symbol("up"), Symbol("down")
            hidden = apply(activation, _affine(W.at(up), X, Symbol("b").at(up), bias))
            right = _affine(W.at(down), hidden, Symbol("b").at(down), bias)
        case "conv":
            taps = Hadamard((Symbol("w").at(_J), Symbol("x").at(minus(T, _J))))
            width = int(arguments.get("width") or 1)
            total = Total(_J, Number(0), Number(width - 1), taps)
            right = plus(total, Symbol("b")) if bias else total
        case "rms_norm":
            right = Hadamard((Symbol("w"), _normalized(X, Power(X, Number(2)), arguments)))
        case "layer_norm":
            centred = minus(X, apply("mean", X))
            right = Hadamard((Symbol("w"), _normalized(centred, Power(centred, Number(2)), arguments)))
            right = plus(right, Symbol("b"))
        case "matrix":
            right = times(Transpose(W), X)
        case "associative":
            right = times(W.at(Number(1)), apply(activation, times(W.at(Number(2)), X)))
            right = plus(X, right) if residual else right
        case _:
            right = Apply(Symbol(kind), (Symbol("x"), W), index=T)
    return (Equation(Y, right),)


def _affine(weight: Symbol, x: Term, bias: Symbol, has_bias: bool) -> Term:
    return plus(times(weight, x), bias) if has_bias else times(weight, x)


def _normalized(x: Term, square: Term, arguments: Arguments) -> Term:
    eps = Number(float(arguments.get("eps") or 0.0))
    return Ratio(x, Root(plus(apply("mean", square), eps)))
