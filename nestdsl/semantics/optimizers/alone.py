"""An optimizer by itself, without a model around it: for training loops that are not nestdsl's."""

from __future__ import annotations

from collections.abc import Mapping

from nestdsl.diagnostics import Diagnostics
from nestdsl.graph.optimizer import OptimizerProgram
from nestdsl.semantics.modules import library_module, load_modules
from nestdsl.semantics.names import did_you_mean, listed
from nestdsl.semantics.optimizers.uses import OptimizerReader, find_optimizer, optimizer_names
from nestdsl.semantics.parameters import FileParameters, check_overrides
from nestdsl.semantics.scope import LimitReachedError
from nestdsl.semantics.values import UNKNOWN, Constant, Unknown
from nestdsl.source import Source


def elaborate_optimizer(
    source: Source | None, name: str, arguments: Mapping[str, Constant], diagnostics: Diagnostics
) -> OptimizerProgram | None:
    """The optimizer `name` of a file, or of `std.optim` where that is None, with these parameters.

    None after a mistake, all of which are reported.
    """
    module = library_module("optim") if source is None else load_modules(source, diagnostics)
    parameters = FileParameters(diagnostics)
    reader = OptimizerReader(module, parameters, lambda expression: UNKNOWN)
    found = find_optimizer(module, name)
    if found is None:
        if not module.may_have(name):
            known = optimizer_names(module)
            hint = did_you_mean(name, known, f"the optimizers are {listed(known)}")
            diagnostics.report("N0101", f"there is no optimizer `{name}`", None, hint)
        return None
    module, declaration = found
    named = {parameter.name.text: parameter for parameter in declaration.parameters}
    taken = check_overrides(arguments, list(named), diagnostics)
    given: dict[str, Constant | Unknown] = {}
    for key, value in taken.items():
        assert isinstance(value, int | float | bool | str)
        if reader.fits(named[key], value, None):
            given[key] = value
    if diagnostics.has_errors:
        return None
    try:
        schedules = reader.default_schedules(module, declaration, given)
        values = parameters.of_declaration(module, declaration.parameters, given)
        return reader.program(module, declaration, values, schedules)
    except LimitReachedError:
        return None
