"""Applies functions to flows: which arguments are flows, which are known at compile time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nestdsl.graph.nodes import Operand
from nestdsl.library.signatures import LIBRARY, Function, Place
from nestdsl.semantics.arguments import bind
from nestdsl.semantics.rewriting import text_of
from nestdsl.semantics.scope import FlowName
from nestdsl.semantics.values import UNKNOWN, describe, is_number
from nestdsl.syntax import ast

if TYPE_CHECKING:
    from nestdsl.semantics.flows import FlowElaborator, Result


def apply_function(
    elaborator: FlowElaborator, function: Function, call: ast.Call, piped: str | None
) -> Result:
    """Applies a function to the flows of its call, the piped one first; folds it if they are numbers."""
    if function.place is Place.OPTIMIZER:
        elaborator.diagnostics.report(
            "N0104",
            f"`{function.name}` stands only in an optimizer",
            call.span,
            _instead(function.name),
        )
        return UNKNOWN
    flows, rest = _flow_arguments(elaborator, function, call, piped)
    if flows is None:
        return UNKNOWN
    evaluate = elaborator.body.constant
    bound = bind(rest, function.arguments, f"`{function.name}`", evaluate, elaborator.diagnostics)
    if bound is None:
        return UNKNOWN
    numbers = [flow for flow in flows if not isinstance(flow, str)]
    if function.fold is not None and len(numbers) == len(flows):
        return elaborator.arithmetic.call(function.fold, function.name, numbers, call.span)
    operands = [
        elaborator.as_flow(FlowName(flow) if isinstance(flow, str) else flow, call.span, "an argument")
        for flow in flows
    ]
    return elaborator.operation(
        function.name, tuple(operand for operand in operands if operand), call.span, tuple(bound.items())
    )


def _whole_call(function: Function, call: ast.Call) -> str:
    """A call as it stands, or with the names of its arguments if it has none."""
    return text_of(call.span) if call.arguments else as_call(function)


def as_call(function: Function) -> str:
    """`spread(first, last, size)`: a function that reads no flow, with the names of its arguments."""
    return f"{function.name}({', '.join(spec.name for spec in function.arguments)})"


def without_flows(call: ast.Call, count: int) -> ast.Call:
    """A call without its first `count` positional arguments, which are flows."""
    left: list[ast.Argument] = []
    for argument in call.arguments:
        if argument.name is None and count:
            count -= 1
        else:
            left.append(argument)
    return ast.Call(call.function, tuple(left), call.span)


def _instead(name: str) -> str:
    """What a model's flows have instead of a function of optimizers."""
    if name == "normalize":
        return "did you mean `l2_normalize`?"
    return "the functions here are " + ", ".join(
        f"`{one.name}`" for one in LIBRARY.functions.values() if one.place is not Place.OPTIMIZER
    )


def _flow_arguments(
    elaborator: FlowElaborator, function: Function, call: ast.Call, piped: str | None
) -> tuple[list[Operand] | None, ast.Call]:
    """The flows of a function's call, and the call that is left without them."""
    if function.flows == 0:
        if piped is not None:
            elaborator.diagnostics.report(
                "N0104",
                f"`{function.name}` makes a flow of numbers, and reads none",
                call.span,
                f"write `flow numbers = {_whole_call(function, call)}`, without what is piped",
            )
            return None, call
        return [], call
    positional = [argument for argument in call.arguments if argument.name is None]
    wanted = len(positional) if function.flows is None else function.flows - (piped is not None)
    taken = positional[: max(0, wanted)]
    flows: list[Operand] = [] if piped is None else [piped]
    rest = without_flows(call, len(taken))
    for argument in taken:
        value = elaborator.expression(argument.value)
        if value is UNKNOWN:
            return None, rest
        if isinstance(value, FlowName):
            flows.append(value.id)
        elif is_number(value):
            assert isinstance(value, int | float)
            flows.append(value)
        else:
            elaborator.diagnostics.report(
                "N0104",
                f"`{function.name}` takes a flow, not {describe(value)}",
                argument.span,
                f"write `{function.name}(in)` or `in -> {function.name}`",
            )
            return None, rest
    if len(flows) < (function.flows or 1):
        elaborator.diagnostics.report(
            "N0103",
            f"`{function.name}` needs a flow",
            call.span,
            f"write `in -> {function.name}` or `{function.name}(in)`",
        )
        return None, rest
    return flows, rest
