"""Elaborates the models of a program, then the blocks and optimizers that no model uses."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import Flow, Scope
from nestdsl.semantics.elaborate.bodies import Body
from nestdsl.semantics.elaborate.inputs import add_input
from nestdsl.semantics.elaborate.optimizers.clause import try_optimizer
from nestdsl.semantics.elaborate.scope import BodyScope, WaitingLevel
from nestdsl.semantics.elaborate.shared import Shared
from nestdsl.semantics.names.program import ProgramNames
from nestdsl.semantics.values.parameters import FileParameters
from nestdsl.syntax import ast
from nestdsl.vocabulary.signatures import Takes


@dataclass(frozen=True, slots=True)
class Elaborated:
    """A body at the top of a program with all flows in its graph; the clauses of its levels are not read yet.

    `model` is None for a block that is only tried, to find its mistakes. `waiting` grows while it is
    completed: clauses make levels too.
    """

    body: BodyScope
    waiting: deque[WaitingLevel]
    model: ast.Model | None = None
    takes: Takes | None = None

    @property
    def graph(self) -> NestGraph:
        return self.body.shared.graph


def elaborate_models(program: ProgramNames, parameters: FileParameters) -> Iterator[Elaborated]:
    """Each model, then each block of the file that no model has used, with its defaults.

    The next one is elaborated when the one before is complete: limits hold for all of them together. At the
    end the optimizers and parameters that nothing uses are tried too. Nothing follows a limit.
    """
    instantiated: set[int] = set()
    nodes = 0
    for model in program.models:
        elaborated = _model(model, program, parameters, instantiated, nodes)
        yield elaborated
        nodes += len(elaborated.graph.networkx)
    for declaration in program.module.names.values():
        match declaration:
            case ast.Block() if id(declaration) not in instantiated:
                elaborated = _block(declaration, program, parameters, instantiated, nodes)
                yield elaborated
                nodes += len(elaborated.graph.networkx)
            case ast.Optimizer() if id(declaration) not in instantiated:
                try_optimizer(declaration, program.module, parameters)
            case ast.Param():
                parameters.value(program.module, declaration)


def _model(
    model: ast.Model, program: ProgramNames, parameters: FileParameters, instantiated: set[int], nodes: int
) -> Elaborated:
    values = parameters.of_model(program.module, model)
    graph = NestGraph(model.name.text, parameters.shown(program.module, values))
    shared = Shared(graph, parameters.diagnostics, instantiated, nodes)
    scope = Scope("", "", model.name.text, None, model.name.span)
    graph.scopes[""] = scope
    waiting: deque[WaitingLevel] = deque()
    body = Body(shared, program.module, parameters, scope, values, "in", waiting)
    takes = add_input(model, body)
    body.run(model.body, model.name, "model")
    return Elaborated(body, waiting, model, takes)


def _block(
    block: ast.Block, program: ProgramNames, parameters: FileParameters, instantiated: set[int], nodes: int
) -> Elaborated:
    """A block by itself, to find its mistakes."""
    graph = NestGraph(block.name.text)
    shared = Shared(graph, parameters.diagnostics, instantiated, nodes)
    scope = Scope("", "", block.name.text, None, block.name.span)
    graph.scopes[""] = scope
    values = parameters.of_declaration(program.module, block.parameters, {}, is_trial=True)
    graph.add(Flow("in", "", "in", block.name.span))
    shared.count_nodes(block.name.span)
    waiting: deque[WaitingLevel] = deque()
    body = Body(shared, program.module, parameters, scope, values, "in", waiting, around=(block,))
    body.run(block.body, block.name, "block")
    return Elaborated(body, waiting)
