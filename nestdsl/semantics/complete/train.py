"""The outermost level: what `train` says."""

from __future__ import annotations

from nestdsl.diagnostics import Severity
from nestdsl.graph.nodes import TRAIN, OptimizerUse, Train
from nestdsl.semantics.elaborate.optimizers.clause import default_optimizer
from nestdsl.semantics.elaborate.scope import BodyScope
from nestdsl.semantics.names.clauses import chunk_span, collect
from nestdsl.semantics.twice import report_said_twice
from nestdsl.syntax import ast
from nestdsl.vocabulary.signatures import Takes
from nestdsl.vocabulary.timing import Unit


def add_train(model: ast.Model, body: BodyScope, takes: Takes | None) -> None:
    """Adds the outermost level to the graph."""
    reader, diagnostics = body.clause_reader, body.diagnostics
    statements = [statement for statement in model.body if isinstance(statement, ast.Train)]
    for extra in statements[1:]:
        report_said_twice(diagnostics, "train", extra.span, statements[0].span, "put all clauses into one")
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
    body.shared.graph.add(
        Train(TRAIN, objective, period, optimizer or default_optimizer(place, body.parameters), place)
    )
