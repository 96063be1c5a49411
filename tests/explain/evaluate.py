"""Computes what equations say, term by term: vectors are columns, and a product is that of matrices."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from nestdsl.vocabulary import terms
from nestdsl.vocabulary.terms import Equation, Symbol, Term

Value = Any


def _diag(x: Tensor) -> Tensor:
    return torch.diag(x[:, 0])


def _slope_of_gelu(x: Tensor) -> Tensor:
    return torch.func.vmap(torch.func.grad(torch.nn.functional.gelu))(x.flatten()).view_as(x)


def _slope_of_silu(x: Tensor) -> Tensor:
    share = torch.sigmoid(x)
    return share * (1 + x * (1 - share))


def _larger(x: Value, y: Value) -> Value:
    return max(x, y) if not isinstance(x, Tensor) else x.clamp(min=y)


FUNCTIONS: dict[tuple[str, str], Callable[..., Value]] = {
    ("gelu", ""): torch.nn.functional.gelu,
    ("gelu", "prime"): _slope_of_gelu,
    ("diag", ""): _diag,
    ("sign", ""): torch.sign,
    ("exp", ""): torch.exp,
    ("silu", "prime"): _slope_of_silu,
    ("max", ""): _larger,
    ("rows", ""): lambda x: x.shape[0],
    ("columns", ""): lambda x: x.shape[1],
}


class Recurrence:
    """Equations, and what is given: values of symbols by (name, mark) and index; functions by name."""

    def __init__(
        self,
        equations: Iterable[Equation],
        given: dict[tuple[str, str], dict[tuple, Value]],
        functions: Mapping[str, Callable[..., Value]] | None = None,
    ) -> None:
        self.equations = tuple(equations)
        self.given = given
        self.functions = FUNCTIONS | {(name, ""): function for name, function in (functions or {}).items()}
        self.known: dict[tuple, Value] = {}

    def value(self, term: Term, where: dict[str, Value]) -> Value:
        """The value of a term with index symbols (t, s, ...) bound."""

        def of(part: Term) -> Value:
            return self.value(part, where)

        match term:
            case terms.Number(value):
                return value
            case terms.Symbol():
                return self.symbol(term, where)
            case terms.Sum(parts):
                total = of(parts[0])
                for part in parts[1:]:
                    total = add(total, of(part))
                return total
            case terms.Negative(part):
                return -of(part)
            case terms.Product(factors):
                result = of(factors[-1])
                for factor in reversed(factors[:-1]):
                    result = multiply(of(factor), result)
                return result
            case terms.Hadamard(factors):
                return math.prod((of(one) for one in factors[1:]), start=of(factors[0]))
            case terms.Ratio(above, below):
                return of(above) / of(below)
            case terms.Power(base, exponent):
                return of(base) ** of(exponent)
            case terms.Transpose(part):
                return of(part).mT
            case terms.Norm(part):
                return of(part).norm()
            case terms.Absolute(part):
                return abs(of(part))
            case terms.Root(part):
                return of(part) ** 0.5
            case terms.Floor(part):
                return math.floor(of(part))
            case terms.Total(index, first, last, part):
                found = [
                    self.value(part, where | {index.name: place}) for place in range(of(first), of(last) + 1)
                ]
                return sum(found[1:], start=found[0])
            case terms.Apply(function, arguments):
                return self.apply(function, [of(one) for one in arguments], where)
        raise AssertionError(f"no value for {term}")

    def apply(self, function: Symbol, arguments: list[Value], where: dict[str, Value]) -> Value:
        found = tuple(self.value(one, where) for one in function.index)
        for equation in self.equations:
            match equation.left:
                case terms.Apply(Symbol(name, index), (Symbol(argument, ()),)) if name == function.name:
                    bound = where | {
                        one.name: at for one, at in zip(index, found, strict=True) if isinstance(one, Symbol)
                    }
                    if tuple(self.value(one, bound) for one in index) == found:
                        return self.value(equation.right, bound | {argument: arguments[0]})
        return self.functions[function.name, function.mark](*arguments)

    def symbol(self, symbol: Symbol, where: dict[str, Value]) -> Value:
        if not symbol.index and symbol.name in where:
            return where[symbol.name]
        if symbol.name == "I":
            return IDENTITY
        name = (symbol.name, symbol.mark)
        if symbol.name == "ξ":
            (definition,) = (one for one in self.equations if one.left == symbol)
            return self.value(definition.right, where)
        index = tuple(self.value(one, where) for one in symbol.index)
        given = self.given.get(name, {})
        if index in given:
            return given[index]
        if (name, index) not in self.known:
            self.known[name, index] = self.next(name, index)
        return self.known[name, index]

    def next(self, name: tuple[str, str], index: tuple) -> Value:
        """The value of a symbol by its equation, whose left side has variables or numbers as indices."""
        for equation in self.equations:
            match equation.left:
                case Symbol(found, places, mark) if (found, mark) == name and len(places) == len(index):
                    where = {
                        place.name: value
                        for place, value in zip(places, index, strict=True)
                        if isinstance(place, Symbol)
                    }
                    if tuple(self.value(place, where) for place in places) != index:
                        continue
                    when = equation.condition
                    if when is not None and self.value(when.index, where) % when.period:
                        return self.value(when.otherwise, where)
                    return self.value(equation.right, where)
        raise AssertionError(f"no equation for {name} at {index}")


class _Identity:
    """The identity, of whatever size is asked for."""

    def __init__(self, scale: Value = 1.0) -> None:
        self.scale = scale

    def __neg__(self) -> _Identity:
        return _Identity(-self.scale)


IDENTITY = _Identity()


def add(left: Value, right: Value) -> Value:
    match left, right:
        case _Identity(), Tensor():
            return left.scale * torch.eye(len(right), dtype=right.dtype) + right
        case Tensor(), _Identity():
            return add(right, left)
    return left + right


def multiply(left: Value, right: Value) -> Value:
    match left, right:
        case _, _Identity():
            return _Identity(left * right.scale) if not is_matrix(left) else left * right.scale
        case _Identity(), _:
            return left.scale * right
    return left @ right if is_matrix(left) and is_matrix(right) else left * right


def is_matrix(value: Value) -> bool:
    """True for what the matrix product takes; a product qᵀ k is a number."""
    return isinstance(value, Tensor) and value.ndim == 2 and value.numel() > 1
