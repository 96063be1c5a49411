"""Completes a level: what its clauses say, once all flows of its body are known."""

from __future__ import annotations

from dataclasses import replace

from nestdsl.graph.nodes import FROZEN_BLOCK, EdgeType, Init, Learning, Level, OptimizerUse
from nestdsl.semantics.complete.starts import start_from
from nestdsl.semantics.elaborate.flows import ModelFlows
from nestdsl.semantics.elaborate.scope import BodyScope, WaitingLevel
from nestdsl.semantics.names.clauses import Clauses, is_surprise
from nestdsl.semantics.names.meanings import FlowName
from nestdsl.syntax import ast
from nestdsl.vocabulary.signatures import LIBRARY
from nestdsl.vocabulary.timing import STOP, Reset, Unit


def complete_level(waiting: WaitingLevel) -> None:
    """Reads the clauses of a level and adds it to the graph."""
    body, level, clauses = waiting.scope, waiting.level, waiting.clauses
    body.index = waiting.index
    reader = body.clause_reader
    changes: dict[str, object] = {}
    learn = clauses.get("learn")
    if isinstance(learn, ast.Learn) and _associates(body, level, learn):
        changes["learning"] = Learning.ASSOCIATION
        changes["objective"] = "l2"
        if body.inherited.gradient:
            changes["gradient"] = body.inherited.gradient
    elif learn is None or isinstance(learn, ast.Learn):
        _inherit(body, level, clauses, changes)
    for name, clause in clauses.items():
        found: object = None
        match clause:
            case ast.Every():
                in_context = changes.get("learning") is Learning.ASSOCIATION
                period = reader.period(clause, meant=(Unit.TOKEN,) if in_context else ())
                if period is None:
                    body.shared.graph.unsure.add(level.id)
                if period:
                    changes["period"], changes["unit"] = period
                elif changes.get("learning") is Learning.ASSOCIATION:
                    changes["period"], changes["unit"] = 1, Unit.TOKEN  # no second mistake
                changes["chunk"] = reader.chunk(clause) or (period[0] if period else 1)
                continue
            case ast.OptimizerClause(call):
                found = _optimizer(body, level, call, changes.get("learning") is Learning.ASSOCIATION)
            case ast.Objective() if changes.get("learning") is Learning.ASSOCIATION:
                objective = reader.objective_in_context(clause)
                if objective:
                    changes["objective"], changes["exponent"] = objective
                continue
            case ast.Init():
                found = reader.init(clause) if clause.call else start_from(body, level, clause)
                if found is None:
                    body.shared.graph.unsure.add(level.id)
            case ast.Reset():
                found = reader.reset(clause)
            case ast.Gradient():
                found = reader.gradient(clause)
            case ast.Read():
                found = reader.read(clause)
            case ast.Frozen():
                found = True
        if found is not None:
            changes[name] = found
    _settle_start(body, level, clauses, changes)
    if "broken" in clauses:
        body.shared.graph.unsure.add(level.id)
    if "broken" in clauses and "every" not in clauses and changes.get("learning"):
        changes["period"], changes["unit"] = 1, Unit.TOKEN  # what is broken may have said so
    kind = LIBRARY.kinds[level.kind]
    if kind.is_nonparametric:
        changes.update(unit=Unit.TOKEN, period=1, chunk=1, objective=None)
        if body.inherited.frozen and kind.has_parameters(dict(level.arguments)):
            changes["frozen"] = True
    complete = replace(level, **changes)  # type: ignore[arg-type]
    if waiting.part and complete.init.file:
        complete = replace(complete, init=replace(complete.init, part=waiting.part))
    if complete.learns_surprise_in_context and "gradient" not in changes:
        complete = replace(complete, gradient=STOP)
    body.shared.graph.add(complete)
    if complete.init.level:
        body.shared.graph.connect(complete.init.level, level.id, EdgeType.INIT)
        if complete.reset is Reset.PARENT:
            body.shared.graph.connect(complete.init.level, level.id, EdgeType.RESET)
    optimizer = complete.optimizer
    for position, (_, source) in enumerate(optimizer.flows if optimizer else ()):
        body.shared.graph.connect(source, level.id, EdgeType.GENERATE, position)


def _settle_start(body: BodyScope, level: Level, clauses: Clauses, changes: dict[str, object]) -> None:
    """Who moves a start: that of a memory its clause, all other weights are trained in any case."""
    init = changes.get("init", Init())
    assert isinstance(init, Init)
    if changes.get("learning") is not Learning.ASSOCIATION:
        changes["init"] = replace(init, trained=True)
        return
    is_lost = "init" in clauses and "init" not in changes  # a mistake in it is reported
    has_start = not LIBRARY.kinds[level.kind].is_nonparametric and not is_lost
    if body.inherited.frozen and has_start and init.trained:
        body.diagnostics.report(
            "N0407",
            f"`{level.name}` has a learned start, which this compiler cannot freeze yet",
            level.span,
            "say `init zeros` or `init normal(0.02)`, or freeze the levels around it one by one",
        )


def _inherit(body: BodyScope, level: Level, clauses: Clauses, changes: dict[str, object]) -> None:
    inherited = body.inherited
    if inherited.period and "every" not in clauses:
        changes["period"], changes["unit"] = inherited.period
    if inherited.optimizer and "optimizer" not in clauses:
        changes["optimizer"] = inherited.optimizer
    if inherited.frozen:
        changes["frozen"] = True
        changes["written"] = (*level.written, (FROZEN_BLOCK, inherited.frozen))


def _associates(body: BodyScope, level: Level, learn: ast.Learn) -> bool:
    """Elaborates `learn key -> value`; False for `learn surprise` and for mistakes."""
    if learn.value is None:
        if not is_surprise(learn):
            pair = learn.key.stages if isinstance(learn.key, ast.Pipe) else ()
            hint = "it is `learn key -> value`, or `learn surprise`; only an optimizer learns an expression"
            if len(pair) == 2:
                hint = f"write `learn {pair[0].span.text} -> {pair[1].span.text}`"
            body.diagnostics.report(
                "N0104",
                "a memory in a model learns a value for each key",
                learn.span,
                hint,
            )
        return False
    kind = LIBRARY.kinds[level.kind]
    if not kind.is_memory:
        memories = [name for name, other in LIBRARY.kinds.items() if other.is_memory]
        body.diagnostics.report(
            "N0405",
            f"`{level.kind}` is no associative memory: it cannot learn a value for each key",
            learn.span,
            f"use a memory ({', '.join(memories)}), or leave `learn` out",
        )
        return False
    for part, expression, edge in (
        ("key", learn.key, EdgeType.KEY),
        ("value", learn.value, EdgeType.VALUE),
    ):
        flow = ModelFlows(body, f"{level.id}.{part}").flow(expression, f"a {part}")
        if flow is not None:
            body.shared.graph.connect(flow, level.id, edge)
    return True


def _optimizer(body: BodyScope, level: Level, call: ast.Call, is_memory: bool) -> OptimizerUse | None:
    def flow(name: str, value: ast.Expression) -> object:
        return _generated(body, level, name, value)

    return body.optimizers.in_context(call, flow) if is_memory else body.optimizers.surprised(call, flow)


def _generated(body: BodyScope, level: Level, name: str, expression: ast.Expression) -> object:
    """An optimizer's argument: the id of its flow, or a compile-time value."""
    value = ModelFlows(body, f"{level.id}.{name}").expression(expression)
    return value.id if isinstance(value, FlowName) else value
