"""Equations as readable Unicode text."""

from __future__ import annotations

from nestdsl.diagnostics.quantities import as_written
from nestdsl.vocabulary.terms import (
    Absolute,
    Apply,
    Equation,
    Floor,
    Gradient,
    Hadamard,
    Line,
    Negative,
    Norm,
    Number,
    Power,
    Product,
    Ratio,
    Root,
    Sum,
    Symbol,
    Term,
    Total,
    Transpose,
)

_SUM, _RATIO, _TOTAL, _PRODUCT, _POWER, _ATOM = range(1, 7)


def equation(equation: Equation) -> str:
    """`S_t = retain_t S_{t−1} + …`, with its condition, if it has one."""
    text = f"{term(equation.left)} = {term(equation.right)}"
    if (condition := equation.condition) is None:
        return text
    return f"{text}   if {condition.period} divides {term(condition.index)}, else {term(condition.otherwise)}"


def line(pieces: Line) -> str:
    return "".join(piece if isinstance(piece, str) else term(piece) for piece in pieces)


def term(term: Term) -> str:
    return _write(term)[0]


def _at_least(part: Term, strength: int) -> str:
    """The part, in parentheses if it binds more loosely than `strength`."""
    text, binds = _write(part)
    return text if binds >= strength else f"({text})"


def _write(part: Term) -> tuple[str, int]:
    """The text of a term and how strongly it binds."""
    match part:
        case Number(value):
            return as_written(value).replace("-", "−", value < 0), _ATOM if value >= 0 else _SUM
        case Symbol(name, index, mark):
            return _marked(name, mark) + _index(index), _ATOM
        case Sum(terms):
            return _sum(terms, " + ", " − "), _SUM
        case Negative(inner):
            return f"−{_at_least(inner, _RATIO)}", _SUM
        case Product(factors):
            *first, last = factors
            return " ".join([*(_at_least(one, _POWER) for one in first), _at_least(last, _TOTAL)]), _PRODUCT
        case Hadamard(factors):
            return " ⊙ ".join(_at_least(one, _PRODUCT) for one in factors), _RATIO
        case Ratio(above, below):
            return f"{_at_least(above, _PRODUCT)} / {_at_least(below, _POWER)}", _RATIO
        case Power(base, exponent):
            return _at_least(base, _ATOM) + _raised(exponent), _POWER
        case Transpose(inner):
            return f"{_at_least(inner, _ATOM)}ᵀ", _POWER
        case Norm(inner):
            return f"‖{term(inner)}‖", _ATOM
        case Absolute(inner):
            return f"|{term(inner)}|", _ATOM
        case Root(inner):
            return f"√{_at_least(inner, _ATOM)}", _POWER
        case Floor(inner):
            return f"⌊{term(inner)}⌋", _ATOM
        case Apply(function, arguments, options, index):
            inside = ", ".join(term(one) for one in arguments)
            named = ", ".join(f"{name} = {term(value)}" for name, value in options)
            inside = f"{inside}; {named}" if named else inside
            return f"{term(function)}({inside})" + _index(() if index is None else (index,)), _ATOM
        case Total(index, first, last, inner):
            bounds = f"_{{{_tight(index)}={_tight(first)}}}^{_braced(_tight(last))}"
            return f"Σ{bounds} {_at_least(inner, _TOTAL)}", _TOTAL
        case Gradient(of, by):
            return f"∇{_index((by,))} {_at_least(of, _POWER)}", _PRODUCT


def _sum(terms: tuple[Term, ...], added: str, taken: str) -> str:
    text = ""
    for place, one in enumerate(terms):
        is_negative = isinstance(one, Negative)
        inner = _at_least(one.term if isinstance(one, Negative) else one, _RATIO)
        sign = (taken if is_negative else added) if place else ("−" if is_negative else "")
        text += sign + inner
    return text


def _tight(part: Term) -> str:
    """A term as an index: without spaces."""
    return _sum(part.terms, "+", "−") if isinstance(part, Sum) else term(part)


def _index(index: tuple[Term, ...]) -> str:
    text = ",".join(_tight(one) for one in index)
    return f"_{_braced(text)}" if text else ""


def _raised(exponent: Term) -> str:
    return {Number(2): "²", Number(3): "³"}.get(exponent) or f"^{_braced(_tight(exponent))}"  # type: ignore[call-overload]


def _braced(text: str) -> str:
    return text if len(text) == 1 or text.isalnum() else f"{{{text}}}"


def _marked(name: str, mark: str) -> str:
    match mark:
        case "hat":
            return f"{name[0]}\N{COMBINING CIRCUMFLEX ACCENT}{name[1:]}"
        case "prime":
            return f"{name}′"
    return name
