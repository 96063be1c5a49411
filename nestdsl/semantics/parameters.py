"""Parameters: those of files and models, their defaults, and what overrides them from outside."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from nestdsl.diagnostics import Diagnostics
from nestdsl.graph.optimizer import OptimizerProgram
from nestdsl.limits import MAX_OPTIMIZER_PARTS, MAX_PARAMETER_DEPTH
from nestdsl.semantics.modules import Module
from nestdsl.semantics.names import did_you_mean, listed
from nestdsl.semantics.scope import LimitReachedError
from nestdsl.semantics.values import UNKNOWN, Arithmetic, Constant, Unknown, describe, fold
from nestdsl.source import Span
from nestdsl.syntax import ast

Override = Constant | ast.Expression
"""A value from Python, or an expression of the language from `--set name=expression`."""


@dataclass(slots=True)
class FileParameters:
    """The values of `param` declarations, each found when it is first asked for."""

    diagnostics: Diagnostics
    overrides: Mapping[str, Override] = field(default_factory=dict)
    main: Module | None = None
    values: dict[int, Constant | Unknown] = field(default_factory=dict)
    programs: dict[object, OptimizerProgram] = field(default_factory=dict)
    """The optimizers that have been elaborated, each once for the same values."""
    optimizer_parts: int = 0
    open: list[ast.Param] = field(default_factory=list)

    def value(self, module: Module, param: ast.Param) -> Constant | Unknown:
        if id(param) in self.values:
            return self.values[id(param)]
        if len(self.open) > MAX_PARAMETER_DEPTH:
            self.diagnostics.report(
                "N0004",
                f"parameters may be computed from one another at most {MAX_PARAMETER_DEPTH} deep",
                param.span,
                "give a parameter of this chain a number",
            )
            raise LimitReachedError
        if any(param is other for other in self.open):
            self.diagnostics.report(
                "N0301",
                f"`{param.name.text}` is computed from itself: {self._circle(param)}",
                param.span,
                "give one of these parameters a value that names none of the others",
            )
            return UNKNOWN
        override = self.overrides.get(param.name.text) if module is self.main else None
        self.open.append(param)
        value = self.override_value(param.value if override is None else override, module)
        self.open.pop()
        self.values[id(param)] = value
        return value

    def count_part(self, span: Span) -> None:
        """Counts one part of an expression in an optimizer, which is elaborated again for other values."""
        self.optimizer_parts += 1
        if self.optimizer_parts > MAX_OPTIMIZER_PARTS:
            self.diagnostics.report(
                "N0004",
                f"the optimizers of a program have at most {MAX_OPTIMIZER_PARTS:,} names, numbers and "
                "operations, counted again for each use with other values",
                span,
                "use one optimizer with the same values at several levels, or shorter ones",
            )
            raise LimitReachedError

    def _circle(self, param: ast.Param) -> str:
        names = [other.name.text for other in self.open]
        circle = [*names[names.index(param.name.text) :], param.name.text]
        return " needs ".join(f"`{name}`" for name in circle)

    def override_value(self, override: Override, module: Module) -> Constant | Unknown:
        if isinstance(override, int | float):
            return Arithmetic(self.diagnostics).bounded(override, None)
        if isinstance(override, str):
            return override
        return fold(override, lambda name: self.lookup(module, name), self.diagnostics)

    def lookup(self, module: Module, name: ast.Name) -> Constant | Unknown:
        """A name where only `param`s of the file can stand."""
        found = module.find(name.text)
        if found and isinstance(found[1], ast.Param):
            return self.value(found[0], found[1])
        if found is None and module.may_have(name.text):
            return UNKNOWN
        known = list(module.known_names())
        self.diagnostics.report(
            "N0101" if found is None else "N0104",
            f"unknown name `{name.text}`" if found is None else f"`{name.text}` is not a parameter",
            name.span,
            did_you_mean(name.text, known, f"declare it: `param {name.text} = ...`")
            if found is None
            else "a parameter's value is a number, another parameter or arithmetic on them",
        )
        return UNKNOWN

    def of_declaration(
        self,
        module: Module,
        parameters: tuple[ast.Parameter, ...],
        given: Mapping[str, Constant | Unknown],
        is_trial: bool = False,
    ) -> dict[str, Constant | Unknown]:
        """Values of a block's or model's parameters: those given, else the defaults, in order.

        A default may name earlier parameters. One without a value is UNKNOWN; that is reported
        unless the body is only tried.
        """
        values: dict[str, Constant | Unknown] = {}

        def lookup(name: ast.Name) -> Constant | Unknown:
            return values[name.text] if name.text in values else self.lookup(module, name)

        for parameter in parameters:
            name = parameter.name.text
            if name in ("in", "out"):
                self.diagnostics.report(
                    "N0102",
                    f"`{name}` is a flow of every body already",
                    parameter.name.span,
                    "give the parameter another name",
                )
            elif name in values:
                self.diagnostics.report(
                    "N0102", f"`{name}` is defined twice", parameter.span, "give one of them another name"
                )
            elif name in given:
                values[name] = given[name]
            elif parameter.default is not None:
                values[name] = fold(parameter.default, lookup, self.diagnostics)
            else:
                values[name] = UNKNOWN
                if not is_trial:
                    self.diagnostics.report(
                        "N0103",
                        f"`{name}` has no value",
                        parameter.span,
                        f"give it a default, `{name} = ...`, or set it from outside",
                    )
        return values


def check_overrides(
    overrides: Mapping[str, Override], known: list[str], diagnostics: Diagnostics
) -> dict[str, Override]:
    """The overrides that some parameter takes; the others are N0106, or N0203 for what is no value.

    Python can give anything; a program's numbers are finite.
    """
    taken: dict[str, Override] = {}
    for name, override in overrides.items():
        is_constant = isinstance(override, int | float | bool | str)
        is_expression = isinstance(override, ast.Expression)
        if not (is_constant or is_expression):
            diagnostics.report(
                "N0203",
                f"cannot set {name} to a value of the type {type(override).__name__}",
                None,
                "a parameter is a number (int or float), True or False, or a string",
            )
            continue
        if isinstance(override, float) and not math.isfinite(override):
            diagnostics.report(
                "N0203", f"cannot set {name} = {override}", None, "a parameter's number is finite"
            )
            continue
        if name in known:
            taken[name] = override
            continue
        span = override.span if isinstance(override, ast.Expression) else None
        value = span.text if span else describe(override)
        otherwise = f"its parameters are {listed(known)}" if known else "it declares no parameters"
        diagnostics.report(
            "N0106",
            f"cannot set {name} = {value}: the program has no parameter `{name}`",
            span,
            did_you_mean(name, known, otherwise),
        )
    return taken
