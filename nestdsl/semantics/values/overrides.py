"""Parameters that are set from outside of a program: by the command line, or from Python."""

from __future__ import annotations

import math
from collections.abc import Mapping

from nestdsl.diagnostics import Diagnostics
from nestdsl.semantics.constants import Constant, describe
from nestdsl.semantics.suggestions import argument_meant, did_you_mean, listed
from nestdsl.semantics.synonyms import ARGUMENTS
from nestdsl.semantics.values.settings import Setting
from nestdsl.vocabulary.signatures import Type

Override = Constant | Setting
"""A value from Python, or an expression of the language from `--set name=expression`."""


def check_overrides(
    overrides: Mapping[str, Override], known: list[str], diagnostics: Diagnostics
) -> dict[str, Override]:
    """The overrides that some parameter takes; the others are N0106, or N0203 for what is no value.

    Python can give anything; a program's numbers are finite.
    """
    taken: dict[str, Override] = {}
    for name, override in overrides.items():
        if not isinstance(override, int | float | bool | str | Setting):
            diagnostics.report(
                "N0203",
                f"cannot set {name} to a value of the type {type(override).__name__}",
                None,
                "a parameter is a number (int or float), True or False, or a string",
            )
        elif isinstance(override, float) and not math.isfinite(override):
            diagnostics.report(
                "N0203", f"cannot set {name} = {override}", None, "a parameter's number is finite"
            )
        elif name in known:
            taken[name] = override
        else:
            said = (
                override.shown
                if isinstance(override, Setting)
                else f"cannot set {name} = {describe(override)}"
            )
            diagnostics.report(
                "N0106", f"{said}: the program has no parameter `{name}`", None, parameter_meant(name, known)
            )
    return taken


def parameter_meant(name: str, known: list[str]) -> str:
    """A hint for a parameter that is not there: the nearest, and all that there are."""
    if not known:
        return "it declares no parameters"
    listing = f"its parameters are {listed(known)}" if len(known) > 1 else f"its parameter is {listed(known)}"
    others = [one for one in known if one != "step"]  # of a memory, not the rate of the run that `lr` means
    near = argument_meant(name, others, "") if name in ARGUMENTS else did_you_mean(name, known)
    return f"{near} {listing[0].upper()}{listing[1:]}" if near else listing


def kind_of(value: Constant) -> Type:
    """The kind of a compile-time value."""
    match value:
        case bool():
            return Type.BOOLEAN
        case str():
            return Type.STRING
        case _:
            return Type.NUMBER
