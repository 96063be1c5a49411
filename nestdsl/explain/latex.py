"""Equations as LaTeX, for papers: the bodies of amsmath's `align`."""

from __future__ import annotations

import re

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

_SUM, _TOTAL, _PRODUCT, _POWER, _ATOM = range(1, 6)

_LETTERS = {"ξ": r"\xi", "…": r"\dots"}
_ESCAPES = {
    "\\": r"\textbackslash{}",
    "→": r"$\to$",
    "×": r"$\times$",
    "≥": r"$\ge$",
    "∼": r"$\sim$",
    "√": r"$\surd$",
    "−": "$-$",
    "½": r"$\tfrac12$",
    "–": "--",
    "…": r"\dots{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "#$%&_{}"},
}


def align(equations: tuple[Equation, ...]) -> str:
    """Equations as one `align*` environment."""
    rows = " \\\\\n".join(f"  {equation(one)}" for one in equations)
    return f"\\begin{{align*}}\n{rows}\n\\end{{align*}}"


def equation(equation: Equation) -> str:
    text = f"{term(equation.left)} &= {term(equation.right)}"
    if (condition := equation.condition) is None:
        return text
    index, otherwise = term(condition.index), term(condition.otherwise)
    return rf"{text} && \text{{if }} {condition.period} \mid {index} \text{{, else }} {otherwise}"


def line(pieces: Line) -> str:
    return "".join(text(piece) if isinstance(piece, str) else f"${term(piece)}$" for piece in pieces)


def text(words: str) -> str:
    """Plain words with LaTeX's own signs escaped."""
    return "".join(_ESCAPES.get(sign, sign) for sign in words)


def term(term: Term) -> str:
    return _write(term)[0]


def _at_least(part: Term, strength: int) -> str:
    written, binds = _write(part)
    return written if binds >= strength else rf"\left({written}\right)"


def _write(part: Term) -> tuple[str, int]:
    match part:
        case Number(value):
            return _number(value), _ATOM if value >= 0 else _SUM
        case Symbol(name, index, mark):
            return _marked(_name(name), mark) + _index(index), _ATOM
        case Sum(terms):
            return _sum(terms), _SUM
        case Negative(inner):
            return f"-{_at_least(inner, _TOTAL)}", _SUM
        case Product(factors):
            *first, last = factors
            written = [*(_at_least(one, _POWER) for one in first), _at_least(last, _TOTAL)]
            return r"\, ".join(written), _PRODUCT
        case Hadamard(factors):
            return r" \odot ".join(_at_least(one, _PRODUCT) for one in factors), _TOTAL
        case Ratio(above, below):
            return rf"\frac{{{term(above)}}}{{{term(below)}}}", _POWER
        case Power(base, exponent):
            return f"{_at_least(base, _ATOM)}^{{{term(exponent)}}}", _POWER
        case Transpose(inner):
            return rf"{_at_least(inner, _ATOM)}^{{\top}}", _POWER
        case Norm(inner):
            return rf"\lVert {term(inner)} \rVert", _ATOM
        case Absolute(inner):
            return rf"\lvert {term(inner)} \rvert", _ATOM
        case Root(inner):
            return rf"\sqrt{{{term(inner)}}}", _ATOM
        case Floor(inner):
            return rf"\left\lfloor {term(inner)} \right\rfloor", _ATOM
        case Apply(function, arguments, options, index):
            inside = ", ".join(term(one) for one in arguments)
            named = ", ".join(f"{_name(name)} = {term(value)}" for name, value in options)
            inside = f"{inside};\\, {named}" if named else inside
            called = rf"{_function(function)}\!\left({inside}\right)"
            return called + _index(() if index is None else (index,)), _ATOM
        case Total(index, first, last, inner):
            bounds = f"_{{{term(index)}={term(first)}}}^{{{term(last)}}}"
            return rf"\sum{bounds} {_at_least(inner, _TOTAL)}", _TOTAL
        case Gradient(of, by):
            return rf"\nabla_{{{term(by)}}}\, {_at_least(of, _POWER)}", _PRODUCT


def _sum(terms: tuple[Term, ...]) -> str:
    written = ""
    for place, one in enumerate(terms):
        is_negative = isinstance(one, Negative)
        sign = (" - " if is_negative else " + ") if place else ("-" if is_negative else "")
        written += sign + _at_least(one.term if isinstance(one, Negative) else one, _TOTAL)
    return written


def _number(value: int | float) -> str:
    shown = as_written(value)
    if found := re.fullmatch(r"(.*)e([+-]?)0*(\d+)", shown):
        digits, sign, exponent = found.groups()
        power = f"10^{{{sign.replace('+', '')}{exponent}}}"
        return power if digits == "1" else rf"{digits} \cdot {power}"
    return shown


def _name(name: str) -> str:
    """Names of one letter as letters, longer ones as words."""
    if len(name) == 1:
        return _LETTERS.get(name, name)
    return rf"\mathit{{{text(name)}}}"


def _function(function: Symbol) -> str:
    return _marked(rf"\operatorname{{{text(function.name)}}}", function.mark) + _index(function.index)


def _index(index: tuple[Term, ...]) -> str:
    return f"_{{{','.join(term(one) for one in index)}}}" if index else ""


def _marked(name: str, mark: str) -> str:
    match mark:
        case "hat":
            return rf"\hat{{{name}}}" if len(name) < 8 else rf"\widehat{{{name}}}"
        case "prime":
            return f"{{{name}}}'"
    return name
