"""Parameters: those of files and models, their defaults, and what overrides them from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nestdsl.diagnostics import Diagnostics
from nestdsl.semantics.modules import Module
from nestdsl.semantics.names import did_you_mean, listed
from nestdsl.semantics.values import UNKNOWN, Constant, Unknown, describe, fold
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
    open: list[ast.Param] = field(default_factory=list)

    def value(self, module: Module, param: ast.Param) -> Constant | Unknown:
        if id(param) in self.values:
            return self.values[id(param)]
        if param in self.open:
            self.diagnostics.report(
                "N0301",
                f"`{param.name.text}` is computed from itself",
                param.span,
                "give one of these parameters a value that names none of the others",
            )
            return UNKNOWN
        self.open.append(param)
        override = self.overrides.get(param.name.text) if module is self.main else None
        if override is None:
            value = fold(param.value, lambda name: self.lookup(module, name), self.diagnostics)
        else:
            value = self.override_value(override, module)
        self.open.pop()
        self.values[id(param)] = value
        return value

    def override_value(self, override: Override, module: Module) -> Constant | Unknown:
        if isinstance(override, int | float | bool | str):
            return override
        return fold(override, lambda name: self.lookup(module, name), self.diagnostics)

    def lookup(self, module: Module, name: ast.Name) -> Constant | Unknown:
        """A name where only `param`s of the file can stand."""
        found = module.find(name.text)
        if found and isinstance(found[1], ast.Param):
            return self.value(*found)
        if found is None and (module.is_partial or name.text in module.broken):
            return UNKNOWN
        known = [known for known in module.known_names()]
        self.diagnostics.report(
            "N0101" if found is None else "N0104",
            f"unknown name `{name.text}`" if found is None else f"`{name.text}` is not a parameter",
            name.span,
            did_you_mean(name.text, known, f"declare it: `param {name.text} = ...`"),
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
            if name in values:
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


def check_overrides(overrides: Mapping[str, Override], known: list[str], diagnostics: Diagnostics) -> None:
    """N0106 for every override that no parameter takes."""
    for name, override in overrides.items():
        if name in known:
            continue
        span = None if isinstance(override, int | float | bool | str) else override.span
        value = describe(override) if span is None else override.span.text  # type: ignore[union-attr]
        otherwise = f"its parameters are {listed(known)}" if known else "it declares no parameters"
        diagnostics.report(
            "N0106",
            f"cannot set {name} = {value}: the program has no parameter `{name}`",
            span,
            did_you_mean(name, known, otherwise),
        )
