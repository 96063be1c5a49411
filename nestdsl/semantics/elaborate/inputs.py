"""What a model reads: `input ids(vocab)` or `input vectors(dim)`."""

from __future__ import annotations

from nestdsl.graph.nodes import Flow, Input
from nestdsl.semantics.elaborate.scope import BodyScope
from nestdsl.semantics.suggestions import did_you_mean
from nestdsl.semantics.twice import report_said_twice
from nestdsl.semantics.values.arguments import bind
from nestdsl.syntax import ast
from nestdsl.vocabulary.signatures import ArgumentSpec, Takes, Type

_INPUTS = {
    "ids": (Takes.IDS, ArgumentSpec("vocab", Type.WHOLE, minimum=1)),
    "vectors": (Takes.VECTORS, ArgumentSpec("dim", Type.WHOLE, minimum=1)),
}


def add_input(model: ast.Model, body: BodyScope) -> Takes | None:
    """Adds the model's input to its graph; what it takes, None after a mistake."""
    graph = body.shared.graph
    diagnostics = body.diagnostics
    statements = [statement for statement in model.body if isinstance(statement, ast.Input)]
    for extra in statements[1:]:
        report_said_twice(diagnostics, "input", extra.span, statements[0].span, "a model reads one input")
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
