"""What is called in a flow of an optimizer, or piped into, and is none of its functions or memories."""

from __future__ import annotations

from nestdsl.semantics.elaborate.optimizers.scope import OptimizerScope
from nestdsl.semantics.rewriting import is_flow, loosest, text_of
from nestdsl.semantics.suggestions import listed
from nestdsl.source import Span
from nestdsl.syntax import ast
from nestdsl.vocabulary.gradient_memories import MEMORY_KINDS
from nestdsl.vocabulary.signatures import LIBRARY, Function, Place


def report_no_stage(body: OptimizerScope, stage: ast.Expression, start: Span) -> None:
    """Reports what a flow cannot be piped into, at what follows the function that begins it."""
    found = loosest(stage, start)
    if found is None:
        body.diagnostics.report(
            "N0104",
            "a flow is piped into a function or a memory",
            stage.span,
            "`->` binds loosest: write `(a -> b) + c` to add to what a pipe gives",
        )
        return
    first, place, written = found
    body.diagnostics.report(
        "N0104",
        f"`->` binds loosest: this is computed with `{first.span.text}` itself, which has no value "
        "before a flow is piped into it",
        place,
        f"write `{written}`",
    )


def report_no_function(body: OptimizerScope, call: ast.Call, function: Function | None) -> None:
    """Reports a call of what optimizers do not have; `function` is one of a model's flows, if it is that."""
    name, span = call.function.text, call.function.span
    known = [
        one.name for one in LIBRARY.functions.values() if one.place is not Place.MODEL and not one.is_custom
    ]
    if function is not None:
        body.diagnostics.report(
            "N0104",
            f"`{name}` is a function of a model's flows, which have tokens; gradients have none",
            span,
            "did you mean `normalize`?"
            if name == "l2_normalize"
            else f"the functions of optimizers are {listed(known)}",
        )
    elif name in MEMORY_KINDS:
        _report_memory(body, call)
    elif name in LIBRARY.kinds:
        body.diagnostics.report(
            "N0104",
            f"`{name}` reads activations; an optimizer sees only gradients and weights",
            span,
            "declare a memory with `level`, such as `level m = ema(0.9) { learn grad }`",
        )
    elif name in ("clamp", "clip_") and len(call.arguments) == 3:
        first, _, limit = (argument.span.text for argument in call.arguments)
        body.diagnostics.report(
            "N0101", f"unknown name `{name}`", call.span, f"write `clip({first}, {limit})`"
        )
    else:
        body.unknown(call.function, known)


def _report_memory(body: OptimizerScope, call: ast.Call) -> None:
    """Reports a memory in a flow; if that is all of the flow, the help makes it a level."""
    name, flow = call.function.text, body.flow_at(call.span)
    read = next((one for one in call.arguments if one.name is None and _is_flow(body, one.value)), None)
    flow_text = text_of(read.span) if read else "grad"
    rest = ", ".join(text_of(one.span) for one in call.arguments if one is not read)
    memory = MEMORY_KINDS[name]
    learned = memory.example.format(flow=flow_text)
    if not rest and any(rate.default is None for rate in memory.rates):
        rest = "0.9"
    kind = f"{name}({rest})" if rest else name
    message = f"`{name}` is a memory, which is declared by itself and not written into a flow"
    if flow is not None and flow.value is call and not memory.is_network:
        written = f"level {flow.name.text} = {kind} {{ learn {learned} }}"
        body.diagnostics.report("N0104", message, flow.span, f"write `{written}`")
        return
    answer = "m(grad)" if memory.is_network else "m"
    body.diagnostics.report(
        "N0104",
        message,
        call.span,
        f"declare it, `level m = {kind} {{ learn {learned} }}`, and read `{answer}` here",
    )


def _is_flow(body: OptimizerScope, expression: ast.Expression) -> bool:
    known = (*body.declared.levels, *body.declared.flows, "grad", "weight")
    return is_flow(expression, lambda name: name in known)
