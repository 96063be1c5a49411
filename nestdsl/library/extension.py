"""Kinds and functions added from Python: a decorator declares what `check` needs to know of them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar

from nestdsl.library.signatures import (
    LIBRARY,
    REQUIRED,
    Arguments,
    ArgumentSpec,
    Function,
    Kind,
    Place,
    Shapes,
    Type,
)

PYTHON_KINDS: dict[str, type] = {}
"""The classes of the kinds that Python has added, by name."""

PYTHON_FUNCTIONS: dict[str, Callable[..., Any]] = {}
"""The functions that Python has added, by name."""

_TYPES = {int: Type.WHOLE, float: Type.NUMBER, bool: Type.BOOLEAN, str: Type.STRING}
_NAME = re.compile(r"[A-Za-z_]\w*\Z", re.ASCII)
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

ClassT = TypeVar("ClassT", bound=type)
FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def kind(
    *,
    causal: bool,
    name: str | None = None,
    output_size: Callable[[Arguments, int], int] = lambda arguments, size: size,
    parameters: Callable[[Arguments, int, int], Shapes] = lambda arguments, input_size, output_size: (),
    state: Callable[[Arguments, int, int], Shapes] = lambda arguments, input_size, output_size: (),
    flops: Callable[[Arguments, int, int], int] = lambda arguments, input_size, output_size: 0,
) -> Callable[[ClassT], ClassT]:
    """Makes a `torch.nn.Module` class a kind of level, named `name` or as the class in snake case.

    The class is built as `Class(input_size, output_size, **arguments)`; its keyword-only
    parameters, annotated int, float, bool or str, are the arguments in the language. `forward`
    maps [batch, tokens, input_size] to [batch, tokens, output_size]. A kind with `state` keeps
    something for each sequence: it has `init_state(batch, device, dtype) -> dict of tensors`,
    and `forward(x, state) -> (y, next_state)`.

    causal: that no output depends on a later token; a kind that is not is refused in a model
    (N0302). parameters, state: name and shape of each learned tensor and of each tensor of the
    state, without the batch. flops: operations for one token.
    """

    def declare(cls: ClassT) -> ClassT:
        _check_positional(cls, 2, "input_size and output_size")
        chosen = _free(name or re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower())
        LIBRARY.kinds[chosen] = Kind(
            chosen,
            _summary(cls),
            _arguments(cls, skip=2),
            output_size=output_size,
            parameters=parameters,
            state=state,
            flops=flops,
            is_causal=lambda arguments: causal,
            is_custom=True,
        )
        PYTHON_KINDS[chosen] = cls
        return cls

    return declare


def function(
    *,
    causal: bool,
    name: str | None = None,
    output_size: Callable[[tuple[int, ...], Arguments], int] = lambda sizes, arguments: max(sizes),
) -> Callable[[FunctionT], FunctionT]:
    """Makes a Python function of tensors a function of flows.

    Its positional parameters are flows [batch, tokens, size] (`*flows` for one or more), its
    keyword-only ones, annotated int, float, bool or str, are the arguments in the language.

    causal: that no output depends on a later token (N0302 otherwise). output_size: the size of
    the result from the sizes of the flows.
    """

    def declare(body: FunctionT) -> FunctionT:
        chosen = _free(name or getattr(body, "__name__", ""))
        positional = [
            parameter
            for parameter in inspect.signature(body).parameters.values()
            if parameter.kind not in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
        ]
        if not positional:
            raise TypeError(f"{body!r} should take a flow: a positional parameter")
        is_variadic = any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in positional)
        LIBRARY.functions[chosen] = Function(
            chosen,
            _summary(body),
            flows=None if is_variadic else len(positional),
            arguments=_arguments(body, skip=len(positional)),
            output_size=output_size,
            place=Place.MODEL,
            is_causal=causal,
            is_custom=True,
        )
        PYTHON_FUNCTIONS[chosen] = body
        return body

    return declare


def _free(name: str) -> str:
    if not _NAME.match(name):
        raise ValueError(f"{name!r} is no name of the language: letters, digits and _")
    if name in _RESERVED:
        raise ValueError(f"`{name}` has a meaning in the language already; choose another name")
    is_built_in = name in LIBRARY.kinds and not LIBRARY.kinds[name].is_custom
    is_built_in |= name in LIBRARY.functions and not LIBRARY.functions[name].is_custom
    if is_built_in:
        raise ValueError(f"`{name}` is a kind or function of nestdsl already; choose another name")
    return name


def _check_positional(thing: Callable[..., Any], count: int, names: str) -> None:
    parameters = list(inspect.signature(thing).parameters.values())
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if sum(parameter.kind in positional for parameter in parameters) != count:
        raise TypeError(f"{thing!r} should take {count} positional parameters, {names}")


def _summary(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def _arguments(thing: Callable[..., Any], skip: int) -> tuple[ArgumentSpec, ...]:
    signature = inspect.signature(thing, eval_str=True)
    found: list[ArgumentSpec] = []
    for parameter in list(signature.parameters.values())[skip:]:
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY or parameter.annotation not in _TYPES:
            raise TypeError(
                f"the parameter {parameter.name!r} of {thing!r} should be keyword-only and annotated "
                "int, float, bool or str"
            )
        default = REQUIRED if parameter.default is inspect.Parameter.empty else parameter.default
        wanted = (int, float) if parameter.annotation is float else parameter.annotation
        if default is not REQUIRED and (
            not isinstance(default, wanted) or isinstance(default, bool) != (parameter.annotation is bool)
        ):
            raise TypeError(
                f"the default {default!r} of {parameter.name!r} in {thing!r} is no "
                f"{parameter.annotation.__name__}"
            )
        found.append(ArgumentSpec(parameter.name, _TYPES[parameter.annotation], default))
    return tuple(found)
