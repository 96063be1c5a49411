"""The view `nesting`: levels in nested frames by how often they are updated, slow outside and fast inside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import graphviz

from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import TRAIN, EdgeType, Input
from nestdsl.graph.order import Rank, Speed, describe_frequency
from nestdsl.render.contract import contract
from nestdsl.render.drivers import Drivers, alike, between_boxes, drivers
from nestdsl.render.fold import Edge, Folded, fold
from nestdsl.render.gather import Box, gather, is_norm
from nestdsl.render.style import (
    FAINT,
    LINE_OF,
    Line,
    cluster,
    fills,
    label,
    legend,
    line_attributes,
    number,
    picture,
    text,
)
from nestdsl.render.words import input_label, train_label

_UNNAMED = (EdgeType.READ, EdgeType.SURPRISE, EdgeType.OPTIMIZE)
"""Edges whose line says it all; on others stands what they carry."""
_DEEPEST = 3
"""Ranks of one frequency share a frame where there are more of them than this."""
_MOST_EDGES, _MOST_OTHERS = 3, 2
"""A box of an optimizer that drives more boxes than this, and all but so few, says so in words."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One rank of the picture; `title` says its frequency."""

    id: str
    title: str
    speed: Speed
    boxes: tuple[Box, ...]


def nesting(graph: NestGraph, optimizers: bool = False) -> graphviz.Digraph:
    """The picture of what nests in what, as DOT; `optimizers` draws their memories too.

    The graph must have passed every check.
    """
    folded = fold(graph, optimizers)
    frames = _frames(folded)
    names = {level: box.name for frame in frames for box in frame.boxes for level in box.levels}
    driving = alike(drivers(folded), names)
    passed = frozenset(id for id, level in folded.levels().items() if is_norm(level))
    said = {group.id: words for group in driving if (words := _drives(group, frames))}
    found = between_boxes(contract(folded, passed), driving)
    shown = [edge for edge in found if edge.type is not EdgeType.OPTIMIZE or edge.source not in said]
    frames = _with_drivers(frames, driving, said)
    edges = _merged(shown, frames)
    drawing = picture(graph.name, legend(edge.line for edge in edges), "LR", "0.32")
    colors = fills(frame.speed for frame in frames)
    with cluster(drawing, "model") as model:
        total = number(sum(folded.parameters.values()))
        model.attr(label=label([text(graph.name, 12, bold=True) + text(f"  {total} parameters", 10)]))
        model.attr(style="rounded", color=FAINT, labelloc="t", labeljust="l", margin="10")
        _endpoints(model, folded)
        _nest(model, frames, colors)
    for edge in edges:
        edge.draw(drawing)
    return drawing


def _endpoints(model: graphviz.Digraph, folded: Folded) -> None:
    source = folded.nodes["in"]
    assert isinstance(source, Input)
    model.node("in", input_label(source), shape="ellipse", margin="0.03")
    model.node(TRAIN, train_label(folded.graph.train), style="filled", penwidth="1.6")


def _frames(folded: Folded) -> tuple[Frame, ...]:
    """The slowest rank first."""
    ranks = _nested(folded.ranks)
    levels = folded.levels()
    frames: list[Frame] = []
    for rank in reversed(ranks):
        title = describe_frequency(levels[rank.levels[0]])
        if frames and frames[-1].speed == rank.speed:
            title += ", first"
        frames.append(Frame(f"rank {rank.number}", title, rank.speed, gather(folded, rank)))
    return tuple(frames)


def _with_drivers(
    frames: Sequence[Frame], driving: Sequence[Drivers], said: Mapping[str, str]
) -> tuple[Frame, ...]:
    """The frames with one more for the optimizers of each frequency, inside of the levels of that."""
    boxes: dict[Speed, list[Box]] = {}
    titles = {group.speed: group.title for group in driving}
    for group in driving:
        ids = tuple(level.id for level in group.levels)
        box = Box(group.id, group.place, group.label(said.get(group.id, "")), ids, drives=True)
        boxes.setdefault(group.speed, []).append(box)
    own = {frame.speed for frame in frames}
    added = [
        Frame(
            f"optimizers {titles[speed]}",
            f"{titles[speed]}{', first' if speed in own else ''}: optimizers",
            speed,
            tuple(found),
        )
        for speed, found in boxes.items()
    ]
    return tuple(sorted((*frames, *added), key=lambda frame: frame.speed))


def _drives(group: Drivers, frames: Sequence[Frame]) -> str:
    """What a box of an optimizer drives in words, where many edges around it would say no more."""
    if group.id != group.first:
        return ""
    around = [box for frame in frames if frame.speed == group.speed for box in frame.boxes]
    others = [box.name for box in around if not set(box.levels) & set(group.drives)]
    if len(around) - len(others) <= _MOST_EDGES or len(others) > _MOST_OTHERS:
        return ""
    return "drives all around it" + (f" but {', '.join(others)}" if others else "")


def _nested(ranks: Sequence[Rank]) -> tuple[Rank, ...]:
    """The ranks, those of one frequency as one where a long chain of memories makes many of them."""
    found: dict[Speed, list[Rank]] = {}
    for rank in ranks:
        found.setdefault(rank.speed, []).append(rank)
    kept: list[Rank] = []
    for frequency, same in found.items():
        if len(same) > _DEEPEST:
            levels = tuple(level for rank in same for level in rank.levels)
            same = [Rank(same[0].number, frequency, levels)]
        kept += same
    return tuple(kept)


def _nest(outer: graphviz.Digraph, frames: Sequence[Frame], colors: dict[Speed, str]) -> None:
    if not frames:
        return
    frame = frames[0]
    with cluster(outer, frame.id) as inner:
        inner.attr(label=label([text(frame.title, 10, bold=True)]), style="rounded,filled", color=FAINT)
        inner.attr(fillcolor=colors[frame.speed], labelloc="t", labeljust="l", margin="9")
        for box in frame.boxes:
            inner.node(box.id, box.label)
        _nest(inner, frames[1:], colors)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """An edge between boxes; with `frame` it ends at that frame and means all levels directly in it."""

    source: str
    target: str
    line: Line
    words: tuple[str, ...] = ()
    frame: str = ""

    def draw(self, drawing: graphviz.Digraph) -> None:
        attributes = line_attributes(self.line)
        if self.words:
            attributes["label"] = ", ".join(self.words)
        if self.source != TRAIN:
            if self.frame:
                attributes["lhead"] = f"cluster {self.frame}"
            drawing.edge(self.source, self.target, **attributes)
            return
        # Laid out from the level to `train`, which so stands at the end, and drawn the other way.
        attributes |= {"dir": "back", "arrowtail": attributes.pop("arrowhead")}
        if self.frame:
            attributes["ltail"] = f"cluster {self.frame}"
        drawing.edge(self.target, self.source, **attributes)


def _merged(edges: Iterable[Edge], frames: Sequence[Frame]) -> list[_Drawn]:
    """One edge for each pair of boxes and line; what the whole of a frame gets goes to the frame."""
    box_of = {level: box.id for frame in frames for box in frame.boxes for level in box.levels}
    words: dict[tuple[str, str, Line], dict[str, None]] = {}
    for edge in edges:
        source, target = box_of.get(edge.source, edge.source), box_of.get(edge.target, edge.target)
        if source != target:
            said = edge.argument or ("" if edge.type in _UNNAMED else edge.type.value)
            words.setdefault((source, target, LINE_OF[edge.type]), {})[said] = None
    drawn: list[_Drawn] = []
    for line in (Line.SURPRISE, Line.INIT):
        for frame in frames:
            keys = [(TRAIN, box.id, line) for box in frame.boxes]
            if len(keys) > 1 and all(key in words for key in keys):
                said = [words.pop(key) for key in keys]
                drawn.append(_Drawn(TRAIN, frame.boxes[0].id, line, _said(said[0]), frame.id))
    drawn += _driven_frames(words, frames)
    single = [_Drawn(*key, words=_said(said)) for key, said in words.items()]
    return single + drawn


def _driven_frames(
    words: dict[tuple[str, str, Line], dict[str, None]], frames: Sequence[Frame]
) -> list[_Drawn]:
    """Takes from `words` what a slow memory of an optimizer has for all levels of a frame inside of its own.

    Into a frame from within it no edge can be drawn, so that what is faster keeps one for each box.
    """
    drawn: list[_Drawn] = []
    for place, outer in enumerate(frames):
        for source in outer.boxes:
            for frame in frames[place + 1 :]:
                keys = [(source.id, box.id, Line.OPTIMIZE) for box in frame.boxes if not box.drives]
                if len(keys) > 1 and all(key in words for key in keys):
                    for key in keys:
                        del words[key]
                    drawn.append(_Drawn(source.id, keys[0][1], Line.OPTIMIZE, frame=frame.id))
    return drawn


def _said(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(filter(None, words))
