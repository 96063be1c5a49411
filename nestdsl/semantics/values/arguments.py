"""Binds the arguments of a call to what a kind, function, optimizer or block declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from nestdsl.diagnostics import Diagnostics
from nestdsl.limits import MAX_WHOLE
from nestdsl.semantics.constants import UNKNOWN, describe, is_number
from nestdsl.semantics.suggestions import argument_meant, did_you_mean, listed
from nestdsl.source import Span
from nestdsl.syntax import ast
from nestdsl.vocabulary.signatures import REQUIRED, ArgumentSpec, Type, Value


def match_arguments(
    call: ast.Call, names: Sequence[str], what: str, diagnostics: Diagnostics, *, lists: bool = False
) -> dict[str, ast.Argument]:
    """Which argument of the call goes to which name; reports unknown, repeated and too many.

    `lists`: an unknown name is answered with all names, and not with the nearest.
    """
    matched: dict[str, ast.Argument] = {}
    known = dict.fromkeys(names)
    free = dict(known)
    for argument in call.arguments:
        name = argument.name.text if argument.name else next(iter(free), None)
        if name is None:
            takes = f"takes {len(names)} argument{'s' * (len(names) != 1)}" if names else "takes no arguments"
            diagnostics.report(
                "N0103",
                f"{what} {takes}; this is one too many",
                argument.span,
                _its_arguments(names)
                if names
                else "leave it out: it reads what is piped into it, and no more",
            )
        elif name in matched:
            diagnostics.report(
                "N0103", f"{what} is given `{name}` twice", argument.span, "leave one of them out"
            )
        elif name not in known:
            otherwise = _its_arguments(names) if names else "it takes no arguments"
            diagnostics.report(
                "N0103",
                f"{what} has no argument `{name}`",
                argument.span,
                otherwise if lists else argument_meant(name, names, otherwise),
            )
        else:
            matched[name] = argument
        if name is not None:
            free.pop(name, None)
    return matched


def gives_all(
    call: ast.Call,
    declaration: ast.Block | ast.Optimizer,
    matched: Mapping[str, ast.Argument],
    diagnostics: Diagnostics,
) -> bool:
    """Whether a call gives every parameter that has no default; reports the first that it does not."""
    name = declaration.name.text
    for parameter in declaration.parameters:
        missing = parameter.name.text
        if parameter.default is None and missing not in matched:
            hint = f"write `{name}({missing} = ...)`"
            diagnostics.report("N0103", f"`{name}` needs `{missing}`", call.span, hint)
            return False
    return True


def _its_arguments(names: Sequence[str]) -> str:
    return f"its arguments are {listed(names)}" if len(names) > 1 else f"its argument is {listed(names)}"


def bind(
    call: ast.Call,
    specs: Sequence[ArgumentSpec],
    what: str,
    evaluate: Callable[[ast.Expression], object],
    diagnostics: Diagnostics,
    matched: dict[str, ast.Argument] | None = None,
) -> dict[str, Value] | None:
    """The value of every argument, defaults included; None if any is missing or wrong.

    With `matched`, the arguments are already matched to names (some may have gone elsewhere).
    """
    if matched is None:
        found = match_arguments(call, [spec.name for spec in specs], what, diagnostics)
        is_whole = len(found) == len(call.arguments)
    else:
        found, is_whole = matched, True
    is_matched = is_whole
    bound: dict[str, Value] = {}
    for spec in specs:
        argument = found.get(spec.name)
        if argument is None:
            if spec.default is REQUIRED:
                if is_matched:  # what was given by a wrong name may be meant for it
                    diagnostics.report(
                        "N0103",
                        f"{what} needs `{spec.name}`, {spec.type.value}",
                        call.span,
                        f"write `{call.function.text}({spec.name} = ...)`",
                    )
                is_whole = False
            else:
                assert spec.default is None or isinstance(spec.default, int | float | bool | str)
                bound[spec.name] = spec.default
            continue
        # A choice may be written as a bare name: `toward = init`, `activation = silu`.
        match argument.value:
            case ast.Name(choice) if choice in spec.choices:
                value: object = choice
            case expression:
                value = evaluate(expression)
        if value is UNKNOWN or not check_argument(spec, value, argument.span, diagnostics):
            is_whole = False
        else:
            assert isinstance(value, int | float | bool | str)
            bound[spec.name] = _exact(spec.type, value)
    return bound if is_whole else None


def check_argument(spec: ArgumentSpec, value: object, span: Span | None, diagnostics: Diagnostics) -> bool:
    """Reports a value of the wrong type or out of its range; True if it fits."""
    wanted = f"`{spec.name}` is {spec.type.value}"
    match spec.type:
        case Type.WHOLE:
            if not is_number(value):
                diagnostics.report("N0202", f"{wanted}, not {describe(value)}", span, "write a whole number")
                return False
            assert isinstance(value, int | float)
            if abs(value) > MAX_WHOLE:
                diagnostics.report(
                    "N0004",
                    f"`{spec.name}` is at most {MAX_WHOLE:,}; this is {describe(value)}",
                    span,
                    "use a smaller number",
                )
                return False
            if spec.minimum == 0 and value < 0:
                diagnostics.report(
                    "N0203",
                    f"`{spec.name}` is at least 0; this is {describe(value)}",
                    span,
                    "write 0 or a positive whole number",
                )
                return False
            if value != int(value) or value < (value if spec.minimum is None else spec.minimum):
                sign = "" if not spec.minimum else "positive "
                diagnostics.report(
                    "N0202",
                    f"`{spec.name}` is a {sign}whole number; this is {describe(value)}",
                    span,
                    whole_hint(value),
                )
                return False
            return _in_range(spec, value, span, diagnostics)
        case Type.NUMBER:
            if not is_number(value):
                diagnostics.report("N0104", f"{wanted}, not {describe(value)}", span, "write a number")
                return False
            assert isinstance(value, int | float)
            return _in_range(spec, value, span, diagnostics)
        case Type.BOOLEAN:
            if not isinstance(value, bool):
                diagnostics.report(
                    "N0104", f"{wanted}, not {describe(value)}", span, "write `true` or `false`"
                )
                return False
        case Type.STRING:
            if not isinstance(value, str):
                diagnostics.report("N0104", f"{wanted}, not {describe(value)}", span, _choice_hint(spec))
                return False
            if spec.choices and value not in spec.choices:
                diagnostics.report(
                    "N0203",
                    f"`{spec.name}` cannot be {describe(value)}",
                    span,
                    did_you_mean(value, spec.choices, _choice_hint(spec)),
                )
                return False
    return True


def _exact(type: Type, value: int | float | bool | str) -> Value:
    match type:
        case Type.WHOLE:
            return int(value)
        case Type.NUMBER:
            return float(value)
        case _:
            return value


def whole_hint(value: object) -> str:
    """What to write instead of a value that is no positive whole number."""
    if isinstance(value, float) and value > 1:
        return f"write `{int(value)}` or `{int(value) + 1}`, or make the division come out whole"
    return "write a positive whole number"


def _choice_hint(spec: ArgumentSpec) -> str:
    if not spec.choices:
        return 'write a string, such as "name"'
    return "write one of " + ", ".join(f'"{choice}"' for choice in spec.choices)


def _in_range(spec: ArgumentSpec, value: int | float, span: Span | None, diagnostics: Diagnostics) -> bool:
    too_small = spec.minimum is not None and (
        value <= spec.minimum if spec.exclusive else value < spec.minimum
    )
    too_large = spec.maximum is not None and value > spec.maximum
    if not (too_small or too_large):
        return True
    lower = "" if spec.minimum is None else f"{'above' if spec.exclusive else 'at least'} {spec.minimum:g}"
    upper = "" if spec.maximum is None else f"at most {spec.maximum:g}"
    bounds = " and ".join(bound for bound in (lower, upper) if bound)
    diagnostics.report(
        "N0203",
        f"`{spec.name}` must be {bounds}; this is {describe(value)}",
        span,
        f"choose a value {bounds}",
    )
    return False
