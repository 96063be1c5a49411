"""`init from`: a level that starts from another level's state, or from weights in a file."""

from __future__ import annotations

import re
from pathlib import Path

from nestdsl.graph.nodes import Init, Level
from nestdsl.limits import MAX_PATH_LENGTH
from nestdsl.semantics.constants import UNKNOWN, describe
from nestdsl.semantics.elaborate.arrays import report_whole_array
from nestdsl.semantics.elaborate.flows import ModelFlows
from nestdsl.semantics.elaborate.scope import BodyScope
from nestdsl.semantics.names.meanings import ConstantName, FlowName, LevelName, Poisoned, Stage
from nestdsl.syntax import ast

_IN_BRACES = re.compile(r"\{(\w+)\}")
"""A parameter or `index` within a string."""


def start_from(body: BodyScope, level: Level, clause: ast.Init) -> Init | None:
    """What `init from` says; None after a mistake, which is reported."""
    match clause.origin:
        case ast.Name() as name:
            stages = _named(body, name)
        case ast.Index() as index:
            stages = ModelFlows(body, level.id).level_of(index)
        case ast.String() as place:
            return _from_file(body, place)
        case None:
            raise AssertionError("`init` has a call or an origin")
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


def _named(body: BodyScope, name: ast.Name) -> tuple[Stage, ...] | None:
    match body.meaning(name.text):
        case LevelName(elements, False):
            return elements[0] if elements else ()
        case LevelName():
            report_whole_array(name.text, name.span, body.diagnostics)
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


def _from_file(body: BodyScope, place: ast.String) -> Init | None:
    """A file, from the folder of the program, and a key in it: `"weights.safetensors:layers.{index}.mlp"`."""
    values: dict[str, object] = {}
    length = len(place.value)
    for name in _IN_BRACES.findall(place.value):
        if name not in values:
            values[name] = body.constant(ast.Name(name, place.span))
        if values[name] is UNKNOWN:
            return None
        length += len(str(values[name])) - len(name) - 2
        if length > MAX_PATH_LENGTH:
            break
    if length > MAX_PATH_LENGTH:
        body.diagnostics.report(
            "N0004",
            f"a path and a key have at most {MAX_PATH_LENGTH:,} characters",
            place.span,
            "use shorter names",
        )
        return None
    text = _IN_BRACES.sub(lambda match: str(values[match[1]]), place.value)
    file, colon, key = text.rpartition(":")
    if not colon or not file or not key:
        body.diagnostics.report(
            "N0203",
            f"{describe(text)} does not say which weights of which file",
            place.span,
            'the form is `init from "FILE.safetensors:KEY"`, where the names of the weights begin with KEY',
        )
        return None
    return Init(file=str(Path(body.module.source.name).parent / file), key=key)
