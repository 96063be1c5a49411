"""AST to graph: models fully elaborated, with no parameters, repeats, arrays or sugar left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nestdsl.diagnostics import Diagnostics, Note, Severity
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import (
    TRAIN,
    Flow,
    Input,
    OptimizerUse,
    Scope,
    Train,
    Unit,
)
from nestdsl.library.signatures import ArgumentSpec, Takes, Type
from nestdsl.limits import MAX_DIAGNOSTICS, MAX_MODELS
from nestdsl.semantics.arguments import bind
from nestdsl.semantics.bodies import Body
from nestdsl.semantics.clauses import chunk_span, collect
from nestdsl.semantics.modules import Module, load_modules
from nestdsl.semantics.names import did_you_mean, listed
from nestdsl.semantics.optimizers.levels import connect_training
from nestdsl.semantics.optimizers.uses import default_optimizer, try_optimizer
from nestdsl.semantics.parameters import FileParameters, Override, check_overrides
from nestdsl.semantics.scope import Inherited, LimitReachedError, Shared, within_limits
from nestdsl.semantics.values import Constant, Unknown
from nestdsl.source import Source
from nestdsl.syntax import ast

_INPUTS = {
    "ids": (Takes.IDS, ArgumentSpec("vocab", Type.WHOLE, minimum=1)),
    "vectors": (Takes.VECTORS, ArgumentSpec("dim", Type.WHOLE, minimum=1)),
}


@dataclass(slots=True)
class Elaboration:
    """What a source says: a graph for each of its models, and what is wrong with it."""

    source: Source
    graphs: dict[str, NestGraph] = field(default_factory=dict)
    diagnostics: Diagnostics = field(default_factory=lambda: Diagnostics(most=MAX_DIAGNOSTICS))


def elaborate(
    source: Source, overrides: Mapping[str, Override] | None = None, model: str | None = None
) -> Elaboration:
    """Elaborates every model of a source, or the one named.

    `overrides` set parameters of the model or of the file. Blocks that no model uses are tried
    with their defaults, so that their mistakes are found too.
    """
    result = Elaboration(source)
    diagnostics = result.diagnostics
    with within_limits(diagnostics, source.span(0, len(source.text))):
        module = load_modules(source, diagnostics)
        _check_declares(module, diagnostics)
        models = [declared for declared in module.names.values() if isinstance(declared, ast.Model)]
        if len(models) > MAX_MODELS:
            message = f"a file has at most {MAX_MODELS:,} models; this one has {len(models):,}"
            diagnostics.report("N0004", message, models[MAX_MODELS].name.span, "write several files")
            raise LimitReachedError
        if model is not None:
            models = _chosen(models, model, diagnostics)
        overrides = _check_overrides(module, models, overrides or {}, diagnostics)
        _declarations(result, module, models, FileParameters(diagnostics, overrides, module))
    return result


def _check_declares(module: Module, diagnostics: Diagnostics) -> None:
    """N0303 for a file in which nothing stands, or comments alone."""
    if module.program.declarations or diagnostics.has_errors:
        return
    diagnostics.report(
        "N0303",
        "this file is empty: it declares nothing",
        module.source.span(0, 0),
        "write `model NAME { ... }`; other files can use a `block`, an `optimizer` or a `param`",
        severity=Severity.WARNING,
    )


def _declarations(
    result: Elaboration, module: Module, models: Sequence[ast.Model], parameters: FileParameters
) -> None:
    """Elaborates the models, then what no model has reached. Nothing follows a limit."""
    instantiated: set[int] = set()
    nodes = 0
    for model in models:
        graph = _model(model, module, parameters, instantiated, nodes)
        result.graphs[model.name.text] = graph
        nodes += len(graph.networkx)
    for declaration in module.names.values():
        match declaration:
            case ast.Block() if id(declaration) not in instantiated:
                nodes += _try_block(declaration, module, parameters, instantiated, nodes)
            case ast.Optimizer() if id(declaration) not in instantiated:
                try_optimizer(declaration, module, parameters)
            case ast.Param():
                parameters.value(module, declaration)


def _chosen(models: Sequence[ast.Model], name: str, diagnostics: Diagnostics) -> list[ast.Model]:
    found = [model for model in models if model.name.text == name]
    if not found:
        names = [model.name.text for model in models]
        otherwise = f"the models are {listed(names)}" if names else "this file declares no model"
        diagnostics.report("N0101", f"there is no model `{name}`", None, did_you_mean(name, names, otherwise))
    return found


def _check_overrides(
    module: Module, models: Sequence[ast.Model], overrides: Mapping[str, Override], diagnostics: Diagnostics
) -> dict[str, Override]:
    known = [name for name, declared in module.names.items() if isinstance(declared, ast.Param)]
    known += [parameter.name.text for model in models for parameter in model.parameters]
    return check_overrides(overrides, known, diagnostics)


def _model(
    model: ast.Model,
    module: Module,
    parameters: FileParameters,
    instantiated: set[int],
    nodes_before: int,
) -> NestGraph:
    diagnostics = parameters.diagnostics
    defaults = {parameter.name.text: parameter.default for parameter in model.parameters}
    given = {
        name: parameters.override_value(name, override, defaults[name], module)
        for name, override in parameters.overrides.items()
        if name in defaults
    }
    values = parameters.of_declaration(module, model.parameters, given)
    graph = NestGraph(model.name.text, _shown(values, module, parameters))
    shared = Shared(graph, diagnostics, instantiated=instantiated, nodes_before=nodes_before)
    scope = Scope("", "", model.name.text, None, model.name.span)
    graph.scopes[""] = scope
    body = Body(shared, module, parameters, scope, values, "in", Inherited())
    takes = _input(model, body, graph)
    body.run(model.body, model.name, "model")
    _train(model, body, graph, takes)
    return graph


def _shown(
    values: Mapping[str, Constant | Unknown], module: Module, parameters: FileParameters
) -> tuple[tuple[str, Constant], ...]:
    """The parameters that the plan shows: those of the file, then those of the model."""
    shown: dict[str, Constant] = {}
    for name, declared in module.names.items():
        if isinstance(declared, ast.Param):
            value = parameters.value(module, declared)
            if not isinstance(value, Unknown):
                shown[name] = value
    shown.update({name: value for name, value in values.items() if not isinstance(value, Unknown)})
    return tuple(shown.items())


def _try_block(
    block: ast.Block,
    module: Module,
    parameters: FileParameters,
    instantiated: set[int],
    nodes_before: int,
) -> int:
    """Elaborates a block by itself, to find its mistakes; gives the number of nodes it made."""
    graph = NestGraph(block.name.text)
    shared = Shared(graph, parameters.diagnostics, [block], instantiated, nodes_before)
    scope = Scope("", "", block.name.text, None, block.name.span)
    graph.scopes[""] = scope
    values = parameters.of_declaration(module, block.parameters, {}, is_trial=True)
    graph.add(Flow("in", "", "in", block.name.span))
    shared.count_nodes(block.name.span)
    Body(shared, module, parameters, scope, values, "in", Inherited()).run(block.body, block.name, "block")
    return len(graph.networkx)


def _input(model: ast.Model, body: Body, graph: NestGraph) -> Takes | None:
    """Adds the model's input to the graph."""
    diagnostics = body.diagnostics
    statements = [statement for statement in model.body if isinstance(statement, ast.Input)]
    for extra in statements[1:]:
        diagnostics.report(
            "N0102",
            "`input` is said twice",
            extra.span,
            "a model reads one input",
            (Note("it was said here first", statements[0].span),),
        )
    if not statements:
        graph.add(Flow("in", "", "in", model.name.span))
        if not any(isinstance(statement, ast.Broken) for statement in model.body):
            diagnostics.report(
                "N0303",
                f"model `{model.name.text}` has no `input`",
                model.name.span,
                "say what it reads: `input ids(256)` for bytes, `input vectors(8)` for vectors",
            )
        return None
    call = statements[0].call
    if call.function.text not in _INPUTS:
        diagnostics.report(
            "N0101",
            f"there is no input `{call.function.text}`",
            call.function.span,
            did_you_mean(call.function.text, _INPUTS, "an input is `ids(vocab)` or `vectors(dim)`"),
        )
        graph.add(Flow("in", "", "in", statements[0].span))
        return None
    takes, spec = _INPUTS[call.function.text]
    bound = bind(call, (spec,), f"`{call.function.text}`", body.constant, diagnostics)
    if bound is None:
        graph.add(Flow("in", "", "in", statements[0].span))
        return takes
    size = bound[spec.name]
    assert isinstance(size, int)
    graph.add(Input("in", "", takes, size, statements[0].span))
    return takes


def _train(model: ast.Model, body: Body, graph: NestGraph, takes: Takes | None) -> None:
    """Adds the outermost level, and what the optimizers remember."""
    reader, diagnostics = body.clause_reader, body.diagnostics
    statements = [statement for statement in model.body if isinstance(statement, ast.Train)]
    for extra in statements[1:]:
        diagnostics.report(
            "N0102",
            "`train` is said twice",
            extra.span,
            "put all clauses into one",
            (Note("it was said here first", statements[0].span),),
        )
    place = statements[0].span if statements else model.name.span
    objective = "mse" if takes is Takes.VECTORS else "cross_entropy"
    period = 1
    optimizer: OptimizerUse | None = None
    clauses = collect(statements[0].clauses, diagnostics) if statements else {}
    for name, clause in clauses.items():
        match clause:
            case ast.Objective():
                objective = reader.objective_of_training(clause) or objective
                if objective == "mse" and takes is Takes.IDS:
                    diagnostics.report(
                        "N0405",
                        "`objective mse` compares vectors, and the labels of a model that reads ids are ids",
                        clause.span,
                        "write `objective cross_entropy`; `mse` is for `input vectors(size)`, or for vectors "
                        "that a program in Python gives to `model.loss`",
                        severity=Severity.WARNING,
                    )
            case ast.Every():
                found = reader.period(clause, (Unit.STEP,))
                period = found[0] if found else 1
                if clause.chunk is not None:
                    span = chunk_span(clause)
                    diagnostics.report("N0405", "training has no chunk", span, "leave it out")
            case ast.OptimizerClause(call):
                optimizer = body.optimizers.across(call)
            case ast.Broken():
                pass
            case _:
                diagnostics.report(
                    "N0405",
                    f"`{name}` has no meaning in `train`",
                    clause.span,
                    "`train` has `objective`, `every` and `optimizer`",
                )
    graph.add(Train(TRAIN, objective, period, optimizer or default_optimizer(place, body.parameters), place))
    connect_training(graph, body.shared)
