"""Which tensors of a file a level starts from; N0003, N0101, N0201 and N0502 where they do not fit it.

Files are looked at without loading what they hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import nsmallest
from itertools import islice

from nestdsl.diagnostics import Diagnostics
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import Level
from nestdsl.semantics.suggestions import did_you_mean, listed
from nestdsl.vocabulary.clauses import INIT
from nestdsl.vocabulary.signatures import LIBRARY, Shapes
from nestdsl.weights import FLOATS, Found, Stored, UnreadableError, find, fits, stored

_MOST_SHOWN = 3
_MOST_COMPARED = 2000
"""Tensors with which a key that no tensor has is compared."""


def infer_weights(graph: NestGraph, diagnostics: Diagnostics) -> None:
    """Fills `graph.stored_weights`."""
    for level in graph.levels():
        sizes = graph.level_sizes.get(level.id)
        if not level.init.file or sizes is None:
            continue
        shapes = LIBRARY.kinds[level.kind].parameters(dict(level.arguments), *sizes)
        if not shapes:
            diagnostics.report(
                "N0405",
                f"`init` has no meaning for `{level.name}`: it has no weights",
                level.clause(INIT),
                "leave it out",
            )
            continue
        _check(graph, level, shapes, diagnostics)


def _check(graph: NestGraph, level: Level, shapes: Shapes, diagnostics: Diagnostics) -> None:
    span, init = level.clause(INIT), level.init
    try:
        tensors = stored(init.file)
    except UnreadableError as error:
        code = "N0003" if error.is_missing else "N0502"
        diagnostics.report(
            code, str(error), span, "the path of a safetensors file is taken from the folder of the program"
        )
        return
    found = find(tensors, init.key, init.part, shapes)
    part = f" for its {init.part}" if init.part else ""
    if found is None:
        pieces = [name.split(".") for name in islice(tensors, _MOST_COMPARED)]
        starts = {".".join(name[:count]) for name in pieces for count in range(1, len(name) + 1)}
        some = listed(nsmallest(_MOST_SHOWN, tensors))
        diagnostics.report(
            "N0101",
            f"no tensor of `{init.file}` is `{init.key}` or begins with it{part}",
            span,
            did_you_mean(init.key, starts, f"it has {some} and so on"),
        )
    elif found.missing or found.unused:
        _report_names(level, found, shapes, diagnostics)
    elif _all_fit(level, found, shapes, tensors, diagnostics):
        graph.stored_weights[level.id] = found.tensors


def _report_names(level: Level, found: Found, shapes: Shapes, diagnostics: Diagnostics) -> None:
    what = f"`{level.init.key}` of `{level.init.file}`"
    if found.missing:
        has_bias = all(name.endswith("bias") for name in found.missing)
        diagnostics.report(
            "N0201",
            f"{what} has no {listed(found.missing)}, which `{level.name}` needs",
            level.clause(INIT),
            "add `bias = false` to the arguments of its kind"
            if has_bias
            else f"its weights are {listed(name for name, _ in shapes)}",
        )
    if found.unused:
        more = " and more" if len(found.unused) > _MOST_SHOWN else ""
        diagnostics.report(
            "N0201",
            f"{what} has {listed(found.unused[:_MOST_SHOWN])}{more}, for which `{level.name}` has no place",
            level.clause(INIT),
            "with a part of its weights it would compute something else; choose a kind that has all",
        )


def _all_fit(
    level: Level, found: Found, shapes: Shapes, tensors: Mapping[str, Stored], diagnostics: Diagnostics
) -> bool:
    wanted = dict(shapes)
    for name, tensor in found.tensors:
        one = tensors[tensor]
        if one.kind not in FLOATS:
            diagnostics.report(
                "N0502",
                f"`{tensor}` of `{level.init.file}` holds {one.kind} numbers",
                level.clause(INIT),
                f"weights are {listed(FLOATS)}; store them as such",
            )
            return False
        if not fits(one.shape, wanted[name]):
            diagnostics.report(
                "N0201",
                f"`{tensor}` of `{level.init.file}` is {_shown(one.shape)}, and the {name} of `{level.name}` "
                f"is {_shown(wanted[name])}",
                level.clause(INIT),
                "make the sizes equal; matrices are stored as out × in",
            )
            return False
    return True


def _shown(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "one number"
