"""Parameters: those of files and models, their defaults, and what overrides them from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from nestdsl.diagnostics import Diagnostics
from nestdsl.graph.optimizer import OptimizerProgram
from nestdsl.limits import MAX_OPTIMIZER_PARTS, MAX_PARAMETER_DEPTH
from nestdsl.semantics.constants import UNKNOWN, Constant, Unknown, describe
from nestdsl.semantics.modules import Module
from nestdsl.semantics.names.program import ProgramNames
from nestdsl.semantics.suggestions import did_you_mean, listed
from nestdsl.semantics.synonyms import PHRASES, number_meant
from nestdsl.semantics.values.arithmetic import Arithmetic, fold
from nestdsl.semantics.values.overrides import Override, check_overrides, kind_of
from nestdsl.semantics.values.settings import Setting
from nestdsl.semantics.within_limits import LimitReachedError
from nestdsl.source import Span
from nestdsl.syntax import ast
from nestdsl.vocabulary.signatures import Type


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
        if override is None:
            value = fold(param.value, lambda name: self.lookup(module, name), self.diagnostics)
        else:
            value = self.override_value(param.name.text, override, param.value, module)
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

    def override_value(
        self, name: str, override: Override, default: ast.Expression | None, module: Module
    ) -> Constant | Unknown:
        """The value that is set from outside, if it is of the kind of the default."""
        found = Diagnostics()
        match override:
            case Setting(value=expression):
                value = fold(expression, lambda one: self.lookup(module, one, found), found)
            case int() | float():
                value = Arithmetic(found).bounded(override, None)
            case _:
                value = override
        wanted = None if default is None else self._kind(default, module)
        if isinstance(override, Setting) and isinstance(override.value, ast.Name) and value is UNKNOWN:
            # One word without quotation marks: what it was to be follows from the default.
            text = override.value_text
            otherwise = {
                Type.STRING: f"write it in quotes: `--set '{name}=\"{text}\"'`",
                Type.BOOLEAN: "write `true` or `false`",
            }.get(wanted or Type.NUMBER)
            found = Diagnostics(replace(one, hint=otherwise or one.hint) for one in found)
        if not isinstance(value, Unknown) and wanted is not None and wanted is not kind_of(value):
            example = describe(value) if default is None else default.span.text
            said = "" if isinstance(override, Setting) else f"cannot set {name} = {describe(value)}: "
            found.report(
                "N0104",
                f"{said}`{name}` is {wanted.value}, not {describe(value)}",
                None,
                f"give it {wanted.value}, as its default is: `{example}`",
            )
            value = UNKNOWN
        self.diagnostics.extend(override.told(one) if isinstance(override, Setting) else one for one in found)
        return value

    def _kind(self, default: ast.Expression, module: Module) -> Type | None:
        """What values a parameter takes, by its default; None where that cannot be told."""
        match default:
            case ast.Name(name):
                found = module.find(name)
                is_param = found is not None and isinstance(found[1], ast.Param) and len(self.open) < 2
                return self._kind(found[1].value, found[0]) if is_param else None  # type: ignore[union-attr,index]
            case ast.String():
                return Type.STRING
            case ast.Boolean():
                return Type.BOOLEAN
            case ast.Call():
                return None
            case _:
                return Type.NUMBER

    def lookup(
        self, module: Module, name: ast.Name, diagnostics: Diagnostics | None = None
    ) -> Constant | Unknown:
        """A name where only `param`s of the file can stand; mistakes go to `diagnostics`, if given."""
        found = module.find(name.text)
        if found and isinstance(found[1], ast.Param):
            return self.value(found[0], found[1])
        if found is None and module.may_have(name.text):
            return UNKNOWN
        known = [one for one, declared in module.names.items() if isinstance(declared, ast.Param)]
        known += [one for one, (_, other) in module.imported.items() if isinstance(other, ast.Param)]
        if diagnostics is None:
            otherwise = f"write a number, or declare it: `param {name.text} = ...`"
        else:
            otherwise = f"write a number, or compute it from {listed(known)}" if known else "write a number"
        hint = PHRASES.get(name.text) or number_meant(name.text) or did_you_mean(name.text, known, otherwise)
        (self.diagnostics if diagnostics is None else diagnostics).report(
            "N0101" if found is None else "N0104",
            f"unknown name `{name.text}`" if found is None else f"`{name.text}` is not a parameter",
            name.span,
            hint
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
                        "leave it out: a body is no object, and has no `self`"
                        if name == "self"
                        else f"give it a default, `{name} = ...`, or set it from outside",
                    )
        return values

    def of_model(self, module: Module, model: ast.Model) -> dict[str, Constant | Unknown]:
        """Values of a model's parameters: those set from outside, else the defaults."""
        defaults = {parameter.name.text: parameter.default for parameter in model.parameters}
        given = {
            name: self.override_value(name, override, defaults[name], module)
            for name, override in self.overrides.items()
            if name in defaults
        }
        return self.of_declaration(module, model.parameters, given)

    def shown(
        self, module: Module, values: Mapping[str, Constant | Unknown]
    ) -> tuple[tuple[str, Constant], ...]:
        """The parameters that the plan shows: those of the file, then those of the model (`values`)."""
        shown: dict[str, Constant] = {}
        for name, declared in module.names.items():
            if isinstance(declared, ast.Param):
                value = self.value(module, declared)
                if not isinstance(value, Unknown):
                    shown[name] = value
        shown.update({name: value for name, value in values.items() if not isinstance(value, Unknown)})
        return tuple(shown.items())


def evaluate_parameters(
    program: ProgramNames, overrides: Mapping[str, Override], diagnostics: Diagnostics
) -> FileParameters:
    """The parameters of a program, with those that are set from outside; reports what cannot be set."""
    taken = check_overrides(overrides, program.parameters, diagnostics)
    return FileParameters(diagnostics, taken, program.module)
