"""Kinds and functions added from Python: a decorator declares what `check` needs to know of them."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from nestdsl.given import is_module_name, require_bool, wrong_type
from nestdsl.vocabulary.declared import (
    MOST_OF_A_NAME,
    arguments_of,
    checked_name,
    checked_shapes,
    checked_size,
    require_positional,
    wrong_declaration,
)
from nestdsl.vocabulary.signatures import LIBRARY, Arguments, Function, Kind, Place, Shapes

if TYPE_CHECKING:
    from torch.nn import Module

PYTHON_KINDS: dict[str, type[Any]] = {}
"""The classes of the kinds that Python has added, by name."""

PYTHON_FUNCTIONS: dict[str, Callable[..., Any]] = {}
"""The functions that Python has added, by name."""

DECLARED_IN: dict[str, str] = {}
"""The module in which Python has declared a kind or a function, by its name in the language; SCRIPT for a
script, a notebook or text that was run, which nobody can import."""
SCRIPT = "__main__"

ClassT = TypeVar("ClassT", bound="type[Module]")
FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def kind(
    *,
    causal: bool,
    name: str | None = None,
    output_size: Callable[[Arguments, int], int] | None = None,
    parameters: Callable[[Arguments, int, int], Shapes] | None = None,
    state: Callable[[Arguments, int, int], Shapes] | None = None,
    flops: Callable[[Arguments, int, int], int] | None = None,
) -> Callable[[ClassT], ClassT]:
    """Makes a `torch.nn.Module` class a kind of level, named `name` or as the class in snake case.

    The class is built as `Class(input_size, output_size, **arguments)`; its keyword-only
    parameters, annotated int, float, bool or str, are the arguments in the language. `forward`
    maps [batch, tokens, input_size] to [batch, tokens, output_size]. A kind with `state` keeps
    something for each sequence: it has `init_state(batch, device, dtype)`, which gives a dict of
    tensors, and `forward(x, state) -> (y, next_state)`, where `next_state` is such a dict again.

    causal: that no output depends on a later token; a kind that is not is refused in a model
    (N0302). output_size(arguments, input_size): left out, it is the size that is read.
    parameters, state (arguments, input_size, output_size): name and shape of each learned tensor,
    and of each tensor of the state without the batch, such as `(("total", (input_size,)),)`.
    flops, of the same three: operations for one token. Left out, there are none.

    Raises NestError N0104 for an argument of another type, N0102 for a name that is taken, N0506 for a
    class that cannot be such a kind; N0506 later, where the class does other than is declared.
    """
    require_bool("`causal` of nestdsl.kind", causal)
    sizes = {"output_size": output_size, "parameters": parameters, "state": state, "flops": flops}
    for what, function in sizes.items():
        if function is not None and not callable(function):
            raise wrong_type(f"`{what}` of nestdsl.kind", function, f"a function: `{what}={_FORMS[what]}`")
    module = _module_of(sys._getframe(1).f_globals)

    def declare(cls: ClassT) -> ClassT:
        if not _is_module_class(cls):
            raise wrong_type("what nestdsl.kind decorates", cls, "a torch.nn.Module class")
        chosen = checked_name(name, re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower())
        thing = f"kind `{chosen}`"
        require_positional(thing, cls, 2, "input_size and output_size")
        if state is not None and not callable(getattr(cls, "init_state", None)):
            raise wrong_declaration(
                thing,
                "declares a state, and its class has no `init_state`",
                "define `init_state(self, batch, device, dtype)`, which gives a dict of tensors",
            )
        LIBRARY.kinds[chosen] = Kind(
            chosen,
            _summary(cls),
            arguments_of(thing, cls, skip=2),
            output_size=checked_size(thing, "output_size", output_size or (lambda _, size: size), least=1),
            parameters=checked_shapes(thing, "parameters", parameters or (lambda _, size, out: ())),
            state=checked_shapes(thing, "state", state or (lambda _, size, out: ())),
            flops=checked_size(thing, "flops", flops or (lambda _, size, out: 0), least=0),
            is_causal=lambda arguments: causal,
            is_custom=True,
        )
        PYTHON_KINDS[chosen] = cls
        DECLARED_IN[chosen] = module
        return cls

    return declare


def function(
    *,
    causal: bool,
    name: str | None = None,
    output_size: Callable[[tuple[int, ...], Arguments], int] | None = None,
) -> Callable[[FunctionT], FunctionT]:
    """Makes a Python function of tensors a function of flows.

    Its positional parameters are flows [batch, tokens, size] (`*flows` for one or more), its
    keyword-only ones, annotated int, float, bool or str, are the arguments in the language.

    causal: that no output depends on a later token (N0302 otherwise). output_size(sizes, arguments):
    the size of the result from the sizes of the flows; left out, it is that of the largest.

    Raises NestError N0104 for an argument of another type, N0102 for a name that is taken, N0506 for
    what cannot be such a function; N0506 later, where it does other than is declared.
    """
    require_bool("`causal` of nestdsl.function", causal)
    if output_size is not None and not callable(output_size):
        give = "a function: `output_size=lambda sizes, arguments: sum(sizes)`"
        raise wrong_type("`output_size` of nestdsl.function", output_size, give)
    module = _module_of(sys._getframe(1).f_globals)

    def declare(body: FunctionT) -> FunctionT:
        if not callable(body) or isinstance(body, type):
            raise wrong_type("what nestdsl.function decorates", body, "a function of tensors")
        chosen = checked_name(name, getattr(body, "__name__", ""))
        thing = f"function `{chosen}`"
        flows = require_positional(thing, body, None, "a flow")
        is_variadic = any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in flows)
        LIBRARY.functions[chosen] = Function(
            chosen,
            _summary(body),
            flows=None if is_variadic else len(flows),
            arguments=arguments_of(thing, body, skip=len(flows)),
            output_size=checked_size(
                thing, "output_size", output_size or (lambda sizes, _: max(sizes)), least=1
            ),
            place=Place.MODEL,
            is_causal=causal,
            is_custom=True,
        )
        PYTHON_FUNCTIONS[chosen] = body
        DECLARED_IN[chosen] = module
        return body

    return declare


_FORMS = {
    "output_size": "lambda arguments, size: 2 * size",
    "parameters": 'lambda arguments, size, out: (("weight", (out, size)),)',
    "state": 'lambda arguments, size, out: (("total", (size,)),)',
    "flops": "lambda arguments, size, out: 2 * size * out",
}


def _module_of(globals_: Mapping[str, object]) -> str:
    name = globals_.get("__name__")
    return name if isinstance(name, str) and is_module_name(name) and len(name) <= MOST_OF_A_NAME else SCRIPT


def _is_module_class(thing: object) -> bool:
    """Whether it is a class derived from torch.nn.Module, whose import is left to whoever defines one."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(thing, type) and issubclass(thing, torch.nn.Module)


def _summary(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]
