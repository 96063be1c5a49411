"""What can be wrong with a kind or a function that Python declares: N0506 says which, and what."""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from nestdsl.diagnostics import NestError, fail
from nestdsl.given import described, wrong_type
from nestdsl.ranges import shown
from nestdsl.vocabulary.signatures import LIBRARY, REQUIRED, ArgumentSpec, Shapes, Type

_TYPES = {int: Type.WHOLE, float: Type.NUMBER, bool: Type.BOOLEAN, str: Type.STRING}
_NAME = re.compile(r"[A-Za-z_]\w*\Z", re.ASCII)
MOST_OF_A_NAME = 200
"""Characters of the name of a kind or function, and of the module that declares it."""
_RESERVED = (
    "add",
    "subtract",
    "multiply",
    "divide",
    "power",
    "negate",
    "constant",
    "parallel",
    "in",
    "index",
)
"""What flows are made of already: arithmetic in graph and plan, and words of the language."""


def wrong_declaration(thing: str, what: str, hint: str) -> NestError:
    """N0506, "the kind `gain` …": what is wrong with a thing from Python, and what to do."""
    return fail("N0506", f"the {thing} {what}", hint)


def raised_inside(thing: str, where: str, error: Exception, code: object) -> NestError:
    """N0506 for an error in somebody's own Python, with the place in the file that `code` is from."""
    text = str(error).strip().partition("\n")[0]
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    try:
        file = inspect.getsourcefile(code)  # type: ignore[arg-type]  # which says so where there is none
    except (TypeError, OSError):
        file = None
    lines = [one.lineno for one in traceback.extract_tb(error.__traceback__) if file and one.filename == file]
    called = "`nestdsl explain N0506` says how it is called"
    hint = f"correct line {lines[-1]} of {file}" if lines else called
    return wrong_declaration(thing, f"raises in {where} {what}", hint)


def checked_name(given: object, otherwise: str) -> str:
    """The name in the language: the one given, or else that of the class or function."""
    if given is not None and not isinstance(given, str):
        raise wrong_type("`name`", given, "a string of letters, digits and _")
    name = otherwise if given is None else given
    if not _NAME.match(name) or len(name) > MOST_OF_A_NAME:
        give = f"a name of the language: at most {MOST_OF_A_NAME} letters, digits and _"
        raise wrong_type("`name`", name, give)
    is_built_in = name in LIBRARY.kinds and not LIBRARY.kinds[name].is_custom
    is_built_in |= name in LIBRARY.functions and not LIBRARY.functions[name].is_custom
    if is_built_in or name in _RESERVED:
        what = "is a kind or function of nestdsl" if is_built_in else "has a meaning in the language"
        raise fail("N0102", f"the name `{name}` {what} already", "choose another with `name=`")
    return name


def require_positional(
    thing: str, code: Callable[..., Any], count: int | None, names: str
) -> list[inspect.Parameter]:
    """The positional parameters, so many or (None) at least one, `*flows` among them."""
    parameters = list(_signature(thing, code).parameters.values())
    later = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
    positional = [one for one in parameters if one.kind not in later]
    is_listed = all(one.kind is not inspect.Parameter.VAR_POSITIONAL for one in positional)
    if count is None and not positional:
        raise wrong_declaration(thing, "takes no flow", "give it a positional parameter for each flow")
    if count is not None and (len(positional) != count or not is_listed):
        found = ", ".join(one.name for one in positional) or "none"
        what = f"takes the positional parameters {found}"
        raise wrong_declaration(thing, what, f"let it take {count}, {names}; put `*` before all others")
    return positional


def arguments_of(thing: str, code: Callable[..., Any], skip: int) -> tuple[ArgumentSpec, ...]:
    """The arguments in the language: the keyword-only parameters, with their types and defaults."""
    found: list[ArgumentSpec] = []
    for parameter in list(_signature(thing, code).parameters.values())[skip:]:
        type_ = parameter.annotation
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY or not _is_type(type_):
            raise wrong_declaration(
                thing,
                f"has a parameter `{parameter.name}` that no program can give",
                f"make it keyword-only (after `*`) and annotate it: `{parameter.name}: float`; int, bool and "
                "str are the others",
            )
        default = REQUIRED if parameter.default is inspect.Parameter.empty else parameter.default
        wanted = (int, float) if type_ is float else type_
        if default is not REQUIRED and (
            not isinstance(default, wanted) or isinstance(default, bool) != (type_ is bool)
        ):
            raise wrong_declaration(
                thing,
                f"has a parameter `{parameter.name}: {type_.__name__}` with the default {shown(default)}",
                f"give it a default that is {_TYPES[type_].value}",
            )
        found.append(ArgumentSpec(parameter.name, _TYPES[type_], default))
    return tuple(found)


def _is_type(annotation: object) -> bool:
    return isinstance(annotation, type) and annotation in _TYPES


def _signature(thing: str, code: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(code, eval_str=True)
    except Exception as error:
        what = f"has a signature that cannot be read: {type(error).__name__}: {error}"
        hint = "annotate with what can be found when the module is imported"
        raise wrong_declaration(thing, what, hint) from error


def checked_size(thing: str, name: str, function: Callable[..., Any], least: int) -> Callable[..., int]:
    """The function, held to giving whole numbers of at least `least`."""

    def size(*given: Any) -> int:
        made = _called(thing, name, function, given)
        if not isinstance(made, int) or isinstance(made, bool) or made < least:
            raise wrong_declaration(
                thing,
                f"has as its `{name}` {described(made)}",
                f"let `{name}` give a whole number of at least {least}",
            )
        return made

    return size


def checked_shapes(thing: str, name: str, function: Callable[..., Any]) -> Callable[..., Shapes]:
    """The function, held to giving names, each once, with shapes.

    Some ask for sizes of 1 alone, to see whether there are any: extents may be anything here.
    """

    def shapes(*given: Any) -> Shapes:
        made = _called(thing, name, function, given)
        if not _are_shapes(made) or len({one for one, _ in made}) < len(made):
            hint = f'let `{name}` give names with shapes, such as `(("total", (size,)),)`; mind the commas'
            raise wrong_declaration(thing, f"has as its `{name}` {shown(made)}", hint)
        return tuple((one, tuple(shape)) for one, shape in made)

    return shapes


def _called(thing: str, name: str, function: Callable[..., Any], given: Sequence[Any]) -> Any:
    try:
        return function(*given)
    except Exception as error:
        raise raised_inside(thing, f"`{name}`", error, function) from error


def _are_shapes(made: object) -> bool:
    return isinstance(made, tuple | list) and all(
        isinstance(pair, tuple | list)
        and len(pair) == 2
        and isinstance(pair[0], str)
        and isinstance(pair[1], tuple | list)
        and all(isinstance(extent, int) for extent in pair[1])
        for pair in made
    )
