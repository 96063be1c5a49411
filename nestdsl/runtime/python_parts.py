"""Kinds and functions that Python has added, as they run: held to what they declare.

Inside of what is compiled nothing is looked at: there a model has run once as it is, when it was built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nestdsl.diagnostics import NestError
from nestdsl.given import described
from nestdsl.memory import was_refused
from nestdsl.plan.plan import LevelPlan
from nestdsl.runtime.state import State
from nestdsl.vocabulary.declared import raised_inside, wrong_declaration
from nestdsl.vocabulary.extension import PYTHON_FUNCTIONS, PYTHON_KINDS
from nestdsl.vocabulary.signatures import LIBRARY, Shapes


def constructed(declared: LevelPlan, make: Callable[[], nn.Module]) -> nn.Module:
    """The module of a level of such a kind. Raises NestError N0506 where its class raises."""
    return _run(declared, "__init__", make)


def read_level(
    declared: LevelPlan, level: nn.Module, x: Tensor, state: State | None, dtype: torch.dtype
) -> tuple[Tensor, State]:
    """What a level of such a kind makes of x [batch, tokens, size], and its next state; {} if it has none.

    Raises NestError N0506 where the class does not do what is declared of the kind.
    """
    if not declared.stateful:
        return _checked(declared, x, _run(declared, "forward", lambda: level(x))), {}
    if state is None:
        begin: Callable[..., Any] = level.init_state  # type: ignore[assignment]
        made = _run(declared, "init_state", lambda: begin(x.shape[0], device=x.device, dtype=dtype))
        state = _checked_state(declared, x, made, "init_state", exact=True)
    made = _run(declared, "forward", lambda: level(x, state))
    if not isinstance(made, tuple) or len(made) != 2:
        what = f"keeps a state, and its `forward` gives {_seen(made)}"
        raise wrong_declaration(_kind(declared), what, "let `forward(x, state)` give `(y, next_state)`")
    y, following = made
    return _checked(declared, x, y), _checked_state(declared, x, following, "forward", exact=False)


def call_function(name: str, operands: Sequence[Any], options: Mapping[str, Any]) -> Tensor:
    """What a function from Python makes of flows. Raises NestError N0506 where it is not what is declared."""
    function = PYTHON_FUNCTIONS[name]
    if torch.compiler.is_compiling():
        return function(*operands, **options)
    thing = f"function `{name}`"
    made = _guarded(thing, "its body", lambda: function(*operands, **options), function)
    flows = [one for one in operands if isinstance(one, Tensor)]
    if len(flows) == len(operands):
        size = LIBRARY.functions[name].output_size(tuple(flow.shape[-1] for flow in flows), options)
        _require_flow(thing, made, [*flows[0].shape[:-1], size], flows[0].device)
    return made


def verify_weights(declared: LevelPlan, level: nn.Module) -> None:
    """Raises NestError N0506 if a level has other weights than its kind declares, in name or shape."""
    arguments, sizes = dict(declared.arguments), (declared.input_size, declared.output_size)
    wanted = dict(LIBRARY.kinds[declared.kind].parameters(arguments, *sizes))
    found = {name: tuple(weight.shape) for name, weight in level.named_parameters()}
    if found != wanted:
        raise wrong_declaration(
            _kind(declared),
            f"declares {_listed(wanted.items(), 'no weights')}, and its class has "
            f"{_listed(found.items(), 'none')}",
            "give the names and shapes of its weights to `nestdsl.kind(parameters=...)`",
        )


def _run(declared: LevelPlan, where: str, call: Callable[[], Any]) -> Any:
    return _guarded(_kind(declared), f"`{where}`", call, PYTHON_KINDS[declared.kind])


def _guarded(thing: str, where: str, call: Callable[[], Any], code: object) -> Any:
    if torch.compiler.is_compiling():
        return call()
    try:
        return call()
    except NestError:
        raise
    except Exception as error:
        if was_refused(error):
            raise
        raise raised_inside(thing, where, error, code) from error


def _checked(declared: LevelPlan, x: Tensor, y: Any) -> Tensor:
    if not torch.compiler.is_compiling():
        _require_flow(_kind(declared), y, [*x.shape[:-1], declared.output_size], x.device)
    return y


def _require_flow(thing: str, made: Any, wanted: list[int], device: torch.device) -> None:
    if not isinstance(made, Tensor):
        raise wrong_declaration(thing, f"gives {_seen(made)}", f"let it give a tensor {wanted}")
    if list(made.shape) != wanted:
        what = f"gives a tensor {list(made.shape)} where {wanted} is declared: [batch, tokens, size]"
        raise wrong_declaration(thing, what, "let it give that, or declare its size with `output_size=`")
    if not made.is_floating_point() or made.layout is not torch.strided:
        kind = made.layout if made.layout is not torch.strided else made.dtype
        what = f"gives a tensor of {str(kind).removeprefix('torch.')}"
        raise wrong_declaration(thing, what, "let it give a dense tensor of floating-point numbers, as x is")
    if made.device != device:
        what = f"gives a tensor on `{made.device}`, and reads one on `{device}`"
        raise wrong_declaration(thing, what, "let it make tensors where x is: `device=x.device`")


def _checked_state(declared: LevelPlan, x: Tensor, made: Any, where: str, *, exact: bool) -> State:
    """The state, which has the tensors that are declared; of the shapes that are declared, if `exact`."""
    if torch.compiler.is_compiling() or declared.surprise is not None:  # that has a state around this one
        return made
    arguments, sizes = dict(declared.arguments), (declared.input_size, declared.output_size)
    shapes = LIBRARY.kinds[declared.kind].state(arguments, *sizes)
    wanted = {name: (x.shape[0], *shape) for name, shape in shapes}
    is_state = isinstance(made, dict) and all(isinstance(one, Tensor) for one in made.values())
    found = {name: tuple(one.shape) for name, one in made.items()} if is_state else {}
    is_right = found == wanted if exact else found.keys() == wanted.keys()
    if not is_state or not is_right:
        seen = _listed(found.items(), "an empty dict") if is_state else _seen(made)
        raise wrong_declaration(
            _kind(declared),
            f"declares the state {_listed(wanted.items(), 'nothing')} for {x.shape[0]} sequences, and its "
            f"`{where}` gives {seen}",
            "let it give a dict with these tensors, or declare them with `nestdsl.kind(state=...)`",
        )
    return made


def _kind(declared: LevelPlan) -> str:
    return f"kind `{declared.kind}`"


def _seen(made: Any) -> str:
    return f"a tensor {list(made.shape)}" if isinstance(made, Tensor) else described(made)


def _listed(shapes: Any, nothing: str) -> str:
    named: Shapes = tuple(shapes)
    return ", ".join(f"`{name}` {list(shape)}" for name, shape in named) or nothing
