"""Which models of a file are elaborated, and what the file declares besides."""

from __future__ import annotations

from dataclasses import dataclass

from nestdsl.diagnostics import Diagnostics, Severity
from nestdsl.limits import MAX_MODELS
from nestdsl.semantics.modules import Module
from nestdsl.semantics.suggestions import did_you_mean, listed
from nestdsl.semantics.within_limits import LimitReachedError
from nestdsl.syntax import ast


@dataclass(frozen=True, slots=True)
class ProgramNames:
    """A program with everything it uses (`module`), and the models of it that are asked for."""

    module: Module
    models: tuple[ast.Model, ...]

    @property
    def parameters(self) -> list[str]:
        """The names of the parameters that can be set from outside: of the file, then of these models."""
        of_file = [name for name, declared in self.module.names.items() if isinstance(declared, ast.Param)]
        return of_file + [parameter.name.text for model in self.models for parameter in model.parameters]


def declare_program(module: Module, model: str | None, diagnostics: Diagnostics) -> ProgramNames:
    """The models of a program, or the one named `model`.

    Reports N0303 for a file that declares nothing, N0101 for a model that is not there, and N0004 with
    LimitReachedError for too many.
    """
    _check_declares(module, diagnostics)
    models = [declared for declared in module.names.values() if isinstance(declared, ast.Model)]
    if len(models) > MAX_MODELS:
        message = f"a file has at most {MAX_MODELS:,} models; this one has {len(models):,}"
        diagnostics.report("N0004", message, models[MAX_MODELS].name.span, "write several files")
        raise LimitReachedError
    if model is not None:
        models = _chosen(models, model, diagnostics)
    return ProgramNames(module, tuple(models))


def _check_declares(module: Module, diagnostics: Diagnostics) -> None:
    """N0303 for a file in which nothing stands, or comments alone."""
    if module.program.declarations or diagnostics.has_errors:
        return
    diagnostics.report(
        "N0303",
        "this file is empty: it declares nothing",
        module.source.span(0, 0),
        "write `model NAME { ... }`; other files can use a `block`, an `optimizer` or a `param`",
        severity=Severity.WARNING,
    )


def _chosen(models: list[ast.Model], name: str, diagnostics: Diagnostics) -> list[ast.Model]:
    found = [model for model in models if model.name.text == name]
    if not found:
        names = [model.name.text for model in models]
        otherwise = f"the models are {listed(names)}" if names else "this file declares no model"
        diagnostics.report("N0101", f"there is no model `{name}`", None, did_you_mean(name, names, otherwise))
    return found
