"""What several kinds are made of: matrices with biases, affine maps, normalisation."""

from __future__ import annotations

from nestdsl.vocabulary.arguments import Arguments, Shapes
from nestdsl.vocabulary.terms import Number, Ratio, Root, Symbol, T, Term, apply, plus, times

X, W, LOWER_W, B = Symbol("x").at(T), Symbol("W"), Symbol("w"), Symbol("b")

NEVER_THE_IDENTITY = "is not linear, and so is never the identity"


def biased(name: str, out: int, in_: int, arguments: Arguments) -> Shapes:
    """A matrix, and a bias if there is one."""
    weight = (f"{name}weight", (out, in_))
    return (weight, (f"{name}bias", (out,))) if arguments["bias"] else (weight,)


def affine(weight: Symbol, x: Term, bias: Symbol, arguments: Arguments) -> Term:
    """W x + b, or W x."""
    return plus(times(weight, x), bias) if arguments.get("bias") else times(weight, x)


def normalized(x: Term, square: Term, arguments: Arguments) -> Term:
    """x divided by the root of the mean of its squares."""
    eps = Number(float(arguments.get("eps") or 0.0))
    return Ratio(x, Root(plus(apply("mean", square), eps)))


def of_heads(arguments: Arguments, in_: int, out: int) -> tuple[int, int, int]:
    """Heads, and the sizes of a key and of a value of one head."""
    heads = int(arguments["heads"] or 1)
    return heads, in_ // heads, out // heads
