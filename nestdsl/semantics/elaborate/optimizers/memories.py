"""The memories of an optimizer's body: what each keeps, how often it moves, and what it learns."""

from __future__ import annotations

from dataclasses import replace

from nestdsl.graph.optimizer import GradientMemory, Line, Operand
from nestdsl.semantics.constants import UNKNOWN, Unknown
from nestdsl.semantics.elaborate.optimizers.flows import OptimizerFlows, as_flow
from nestdsl.semantics.elaborate.optimizers.lines import Flow
from nestdsl.semantics.elaborate.optimizers.scope import OptimizerScope
from nestdsl.semantics.names.clauses import chunk_span, collect
from nestdsl.semantics.rewriting import text_of
from nestdsl.semantics.suggestions import did_you_mean, listed
from nestdsl.semantics.values.arguments import bind, match_arguments
from nestdsl.semantics.values.clauses import ClauseReader
from nestdsl.source import Span
from nestdsl.syntax import ast
from nestdsl.vocabulary.gradient_memories import GRADIENT_MEMORIES, MEMORY_KINDS, Rate
from nestdsl.vocabulary.shapes import CONSTANT, NUMBER, WEIGHT
from nestdsl.vocabulary.signatures import ArgumentSpec, Type
from nestdsl.vocabulary.timing import ReadTime, Unit

REDUCE = ArgumentSpec("reduce", Type.STRING, "mean", choices=("mean", "sum"))
"""How what gathered over a period is taken together."""


def read_memory(body: OptimizerScope, level: ast.Level, name: str) -> GradientMemory | None:
    kind = level.kind.function.text
    if kind not in MEMORY_KINDS:
        body.diagnostics.report(
            "N0104",
            f"`{kind}` is no memory of gradients",
            level.kind.function.span,
            did_you_mean(kind, MEMORY_KINDS, f"in an optimizer the memories are {listed(MEMORY_KINDS)}"),
        )
        return None
    if level.repeat is not None:
        body.diagnostics.report(
            "N0405",
            "`repeat` has no meaning in an optimizer",
            level.repeat.span,
            "write an array: `level m[3]`",
        )
    declared = MEMORY_KINDS[kind]
    specs = (*declared.options, REDUCE)
    names = tuple(one.name for one in (*declared.rates, *specs))
    matched = match_arguments(level.kind, names, f"`{kind}`", body.diagnostics, lists=True)
    if len(matched) < len(level.kind.arguments):
        return None
    arguments: list[tuple[str, Operand]] = []
    for rate in declared.rates:
        found = _rate(body, level, name, rate, matched.pop(rate.name, None))
        if found is None:
            return None
        arguments.append((rate.name, found))
    options = bind(level.kind, specs, f"`{kind}`", body.constant, body.diagnostics, matched)
    clauses = _clauses(body, level)
    if options is None or clauses is None:
        return None
    period, read = clauses
    reduce = options.pop("reduce")
    return GradientMemory(
        name, kind, tuple(arguments), WEIGHT, period, read, str(reduce), tuple(options.items())
    )


def _rate(
    body: OptimizerScope, level: ast.Level, name: str, rate: Rate, given: ast.Argument | None
) -> Operand | None:
    kind = level.kind.function.text
    if given is None:
        if rate.default is None:
            body.diagnostics.report(
                "N0103",
                f"`{kind}` needs `{rate.name}`, a number",
                level.kind.span,
                f"write `{kind}(0.9)`",
            )
        return rate.default
    flow = OptimizerFlows(body, f"{name}.{rate.name}").flow(given.value)
    if isinstance(flow, Unknown):
        return None
    if flow.shape not in (CONSTANT, NUMBER) or (rate.is_constant and flow.shape != CONSTANT):
        body.diagnostics.report(
            "N0201",
            f"`{rate.name}` is one number",
            given.span,
            "write a number, a parameter or `norm(...)` of a flow",
        )
        return None
    if not _is_in_range(body, name, rate, flow, given.span):
        return None
    if MEMORY_KINDS[kind].nothing_kept == (rate.name, flow.value):
        body.make_structural(flow)
        return 0
    return flow.operand


def _is_in_range(body: OptimizerScope, name: str, rate: Rate, flow: Flow, span: Span) -> bool:
    """Reports a rate that its memory cannot take, at the argument that says it."""
    value = flow.value
    if value is None and flow.operand in body.schedules:
        value = body.schedules[str(flow.operand)].peak
    if value is None or (0 <= value <= rate.most and not (rate.is_below and value == rate.most)):
        return True
    places = {one.name.text: one.span for one in body.declaration.parameters} | dict(body.places)
    parts = body.parameters_in(flow)
    said = next((one for one in parts if one in body.places), None)
    said = said or next((one for one in parts if one in places), None)
    what = f"the `{rate.name}` of the memory `{name}`"
    body.diagnostics.report(
        "N0203",
        f"`{said}` is {what}, which cannot be {value:g}" if said else f"{what} cannot be {value:g}",
        places[said] if said else span,
        f"choose a value from 0 to {'below ' if rate.is_below else ''}{rate.most:g}",
    )
    return False


def _clauses(body: OptimizerScope, level: ast.Level) -> tuple[int, ReadTime] | None:
    """The period and the read of a memory."""
    clauses = collect(level.clauses, body.diagnostics)
    reader = ClauseReader(body.diagnostics, body.constant)
    period, read = 1, ReadTime.AFTER
    is_whole = True
    for word, clause in clauses.items():
        match clause:
            case ast.Learn() | ast.Broken():
                pass
            case ast.Every():
                found = reader.period(clause, (Unit.STEP,))
                is_whole &= found is not None
                period = found[0] if found else 1
                if clause.chunk is not None:
                    body.diagnostics.report(
                        "N0405", "a memory of gradients has no chunk", chunk_span(clause), "leave it out"
                    )
            case ast.Read(name) if name.text == ReadTime.ANCHOR.value:
                body.diagnostics.report(
                    "N0405",
                    "an optimizer has no chunks, so no anchor",
                    clause.span,
                    "write `read after` or `read before`",
                )
            case ast.Read():
                read = reader.read(clause) or read
            case _:
                body.diagnostics.report(
                    "N0405",
                    f"`{word}` has no meaning for a memory of gradients",
                    clause.span,
                    "it has `learn`, `every N steps` and `read`",
                )
    if "learn" not in clauses and "broken" not in clauses:
        learned = MEMORY_KINDS[level.kind.function.text].example.format(flow="grad")
        kind = text_of(level.kind.span)
        hint = (
            f"add `learn {learned}` to its clauses: a memory learns a flow of its body"
            if level.clauses
            else f"write `{kind} {{ learn {learned} }}`: a memory learns a flow of its body"
        )
        body.diagnostics.report(
            "N0103",
            f"`{level.name.text}` needs `learn`: it does not say what it learns",
            level.name.span if level.clauses else level.kind.span,
            hint,
        )
        is_whole = False
    return (period, read) if is_whole else None


def learned(body: OptimizerScope, level: ast.Level, memory: GradientMemory) -> Flow | Unknown:
    learn = next((one for one in level.clauses if isinstance(one, ast.Learn)), None)
    if learn is None:
        return UNKNOWN
    declared = memory.declared
    if (learn.value is not None) != declared.learns_pairs:
        how = f"`learn {declared.example.format(flow=text_of(learn.key.span))}`"
        if NUMBER in declared.values:
            how += ": a number as value means so many times the identity"
        body.diagnostics.report(
            "N0104",
            f"`{memory.kind}` learns {'a value for each key' if declared.learns_pairs else 'one flow'}",
            learn.span,
            f"write {how}",
        )
        return UNKNOWN
    parts = (learn.key, learn.value) if learn.value is not None else (learn.key,)
    elaborator = OptimizerFlows(body, f"{memory.name}.learn")
    flows: list[Flow] = []
    for part in parts:  # a chain of many memories is deep: no more frames here than it takes
        flow = as_flow(elaborator.expression(part))
        flows += [flow] if isinstance(flow, Flow) else []
    if len(flows) < len(parts) or not _fits(body, memory, flows, learn):
        return UNKNOWN
    keeps_nothing = declared.nothing_kept in memory.arguments and memory.period == 1
    if keeps_nothing and memory.read is ReadTime.AFTER:
        return replace(flows[0], memory=None)
    body.lines.all.append(
        Line(memory.name, "learn", tuple(flow.operand for flow in flows), memory.shape, memory.period)
    )
    return Flow(memory.name, memory.shape, memory.period, None, memory)


def _fits(body: OptimizerScope, memory: GradientMemory, flows: list[Flow], learn: ast.Learn) -> bool:
    """Whether what a memory learns has the shapes that it can learn."""
    key = flows[0]
    if key.shape != WEIGHT:
        shape = "a number" if key.shape in (CONSTANT, NUMBER) else f"`{key.shape}`"
        body.diagnostics.report(
            "N0201",
            f"`{memory.name}` has the shape of the weight, `out × in`; what it learns is {shape}",
            learn.key.span,
            "learn a flow of that shape, such as `grad`",
        )
        return False
    if len(flows) == 1:
        return True
    value = flows[1]
    if value.shape not in memory.declared.values:
        learns = ", ".join(f"`{kind.name}` {kind.of_value}" for kind in GRADIENT_MEMORIES if kind.values)
        body.diagnostics.report(
            "N0201",
            f"the value for the keys of `{memory.name}` is no `{value.shape}`",
            learn.value.span if learn.value else learn.span,
            learns,
        )
        return False
    return True
