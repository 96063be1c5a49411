"""`init from`: a level that starts from another level's state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nestdsl.graph.nodes import Init, Level
from nestdsl.semantics.flows import FlowElaborator
from nestdsl.semantics.scope import ConstantName, FlowName, LevelName, Poisoned, Stage
from nestdsl.syntax import ast

if TYPE_CHECKING:
    from nestdsl.semantics.bodies import Body


def start_from(body: Body, level: Level, clause: ast.Init) -> Init | None:
    """What `init from` says; None after a mistake, which is reported."""
    match clause.origin:
        case ast.Name() as name:
            stages = _named(body, name)
        case ast.Index() as index:
            stages = FlowElaborator(body, level.id).element(index)
        case _:
            body.diagnostics.report(
                "N0407",
                "`init from` a file is in the language but not yet in this compiler",
                clause.span,
                "write `init learned`, `init zeros` or `init normal(std)`",
            )
            return None
    if stages is None:
        return None
    if len(stages) != 1 or stages[0].level is None:
        body.diagnostics.report(
            "N0104",
            f"`{clause.origin.span.text}` is more than one level: it has no state to start from",
            clause.origin.span,
            "name one level of this body, of a kind with weights",
        )
        return None
    return Init(level=stages[0].level)


def _named(body: Body, name: ast.Name) -> tuple[Stage, ...] | None:
    match body.meaning(name.text):
        case LevelName(elements, False):
            return elements[0] if elements else ()
        case LevelName():
            body.diagnostics.report(
                "N0104",
                f"`{name.text}` is an array: its elements have a state each",
                name.span,
                f"name one of them, such as `{name.text}[0]`",
            )
        case FlowName() | ConstantName() as meaning:
            thing = "a flow" if isinstance(meaning, FlowName) else "a value"
            body.diagnostics.report(
                "N0104",
                f"`{name.text}` is {thing}, not a level",
                name.span,
                "name a level of this body, or a file with a key in quotes",
            )
        case Poisoned():
            pass
        case None:
            body.unknown_name(name)
    return None
