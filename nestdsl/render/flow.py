"""The view `flow`: the data flow through blocks, levels and operations, from `in` to `out`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import graphviz

from nestdsl.diagnostics.quantities import as_written
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import TRAIN, EdgeType, Flow, Input, Level, Operation, Read, Scope, Train
from nestdsl.graph.order import Speed, describe_frequency, speed
from nestdsl.render.drivers import Drivers, between_boxes, drivers
from nestdsl.render.fold import Edge, Folded, data_order, fold
from nestdsl.render.style import (
    FAINT,
    LINE_OF,
    Line,
    cluster,
    fills,
    label,
    legend,
    line_attributes,
    picture,
    text,
)
from nestdsl.render.words import SMALL, UNSAID, input_label, place_label, times, train_label

_SIGNS = {"add": "+", "subtract": "-", "multiply": "×", "divide": "/", "power": "^", "negate": "-"}
_SECOND = {"subtract": "minus", "divide": "divided by", "power": "to the power of"}
"""What the second operand's edge says, where the order matters."""
_NOTES = ("What has no key and value and is not frozen learns surprise, the gradient of the loss.",)


@dataclass(frozen=True, slots=True)
class _Block:
    """A scope with what stands directly in it."""

    scope: Scope
    nodes: list[str]
    inner: list[_Block]


_DRAWN = (EdgeType.READ, EdgeType.KEY, EdgeType.VALUE, EdgeType.GENERATE, EdgeType.OPTIMIZE)


def flow(graph: NestGraph, optimizers: bool = False) -> graphviz.Digraph:
    """The picture of the data flow, as DOT; `optimizers` draws their memories too.

    A repeat is drawn once with its count. The graph must have passed every check.
    """
    folded = fold(graph, optimizers)
    driving = drivers(folded)
    stands = _stands(folded, driving)
    edges = _edges(folded, driving, stands)
    levels = folded.levels()
    speeds = {speed(level): describe_frequency(level) for level in levels.values() if not level.owner}
    speeds |= {group.speed: group.title for group in driving}
    colors = fills(speeds)
    swatches = [(colors[speed], _explained(speeds[speed])) for speed in sorted(speeds, reverse=True)]
    lines = [LINE_OF[edge.type] for edge in edges]
    drawing = picture(graph.name, legend([*lines, Line.FLOW], swatches, _NOTES), "TB", "0.2")
    _draw_block(drawing, folded, _tree(folded, set(stands.values()))[""], colors)
    for group in driving:
        drawing.node(group.id, group.label(), fillcolor=colors[group.speed])
    for edge in edges:
        drawing.edge(edge.source, edge.target, edge.argument, **line_attributes(LINE_OF[edge.type]))
    drawing.edge("out", TRAIN, **line_attributes(Line.FLOW))
    return drawing


def _explained(frequency: str) -> str:
    return f"{frequency} (where a box names no frequency)" if frequency == UNSAID else frequency


def _stands(folded: Folded, driving: Iterable[Drivers]) -> dict[str, str]:
    """The drawn node of each folded one: a level that is read once stands for its read too.

    The levels of optimizers stand in their boxes, `driving`. The flows that attention makes for
    itself are left out: their sources stand for them.
    """
    reads = Counter(folded.level_of(node) for node in folded.nodes.values() if isinstance(node, Read))
    sources = {edge.target: edge.source for edge in folded.edges if edge.type is EdgeType.READ}
    stands: dict[str, str] = {}
    for id in data_order(folded):
        match folded.nodes[id]:
            case Read() as read if reads[folded.level_of(read)] == 1:
                stands[id] = folded.level_of(read)
            case Flow(name=name) if "." in name:
                stands[id] = stands[sources[id]]
            case _:
                stands[id] = id
    return stands | {level.id: group.id for group in driving for level in group.levels}


def _edges(folded: Folded, driving: Iterable[Drivers], stands: dict[str, str]) -> list[Edge]:
    """The edges between drawn nodes; `argument` is what they say."""
    found: dict[Edge, None] = {}
    seconds = _seconds(folded)
    for edge in between_boxes(folded.edges, driving):
        source, target = stands[edge.source], stands[edge.target]
        if edge.type not in _DRAWN or source == target:
            continue
        words = edge.argument or seconds.get((edge.source, edge.target), "")
        if edge.type in (EdgeType.KEY, EdgeType.VALUE):
            words = edge.type.value
        found[Edge(source, target, edge.type, words)] = None
    return list(found)


def _seconds(folded: Folded) -> dict[tuple[str, str], str]:
    """What the edge of a second operand says, for operations whose order matters."""
    says: dict[tuple[str, str], str] = {}
    for id, node in folded.nodes.items():
        if isinstance(node, Operation) and node.function in _SECOND and isinstance(node.operands[1], str):
            says[folded.id_of(node.operands[1]), id] = _SECOND[node.function]
    return says


def _tree(folded: Folded, drawn: set[str]) -> dict[str, _Block]:
    blocks = {id: _Block(scope, [], []) for id, scope in folded.scopes.items()}
    for scope in blocks.values():
        if scope.scope.parent is not None:
            blocks[folded.graph.scopes[scope.scope.parent].declared].inner.append(scope)
    for id, node in folded.nodes.items():
        if id in drawn and not (isinstance(node, Level) and node.owner):
            blocks[folded.scope_of(id)].nodes.append(id)
    return blocks


def _draw_block(drawing: graphviz.Digraph, folded: Folded, block: _Block, colors: dict[Speed, str]) -> None:
    for id in block.nodes:
        _draw_node(drawing, folded, id, colors)
    for inner in block.inner:
        scope = inner.scope
        with cluster(drawing, scope.declared) as frame:
            name = scope.id.removeprefix(f"{block.scope.id}.").removesuffix("[0]" if scope.copies > 1 else "")
            words = [text(name, 11, bold=True) + text(times(scope.copies)) + text(f"  {scope.block}", 10)]
            frame.attr(label=label(words), labelloc="t", labeljust="l")
            frame.attr(style="rounded", color=FAINT, margin="10", penwidth="2" if scope.copies > 1 else "1")
            _draw_block(frame, folded, inner, colors)


def _draw_node(drawing: graphviz.Digraph, folded: Folded, id: str, colors: dict[Speed, str]) -> None:
    match folded.nodes[id]:
        case Level() as level:
            sizes = folded.graph.level_sizes.get(level.id, (0, 0))
            drawing.node(id, place_label(level, sizes), fillcolor=colors[speed(level)])
        case Input() as source:
            drawing.node(id, input_label(source), shape="ellipse", margin="0.03")
        case Train() as train:
            drawing.node(id, train_label(train), style="filled", penwidth="1.6")
        case Flow(name=name):
            drawing.node(id, label([text(name, 10, bold=True)]), shape="plaintext", margin="0.04,0.02")
        case Read(level=level_id):
            words = f"read {folded.graph.level(level_id).name}"
            drawing.node(id, label([text(words, SMALL)]), shape="ellipse", margin="0.02")
        case Operation() as operation:
            words = _operation(operation)
            short = len(words) == 1
            drawing.node(
                id,
                label([text(words, 11 if short else SMALL)]),
                shape="circle" if short else "ellipse",
                margin="0.01" if short else "0.02",
            )


def _operation(operation: Operation) -> str:
    """`silu`, `+`, or with a number `+ 4` and `1 -`."""
    if operation.function == "constant":
        return as_written(operation.operands[0])
    sign = _SIGNS.get(operation.function)
    if sign is None:
        return operation.function
    numbers = ["" if isinstance(operand, str) else as_written(operand) for operand in operation.operands]
    return f" {sign} ".join(numbers).strip() if len(numbers) > 1 else sign
