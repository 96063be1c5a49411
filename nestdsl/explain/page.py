"""The whole page: every level of a model in order, each with its update equation, as text or LaTeX."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

from nestdsl.explain import drivers, latex, memories, unicode, weights
from nestdsl.explain.flows import Names
from nestdsl.explain.section import Row, Section
from nestdsl.explain.words import by_name
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import Learning, Level
from nestdsl.plan.plan import Plan

_OF_EACH = ("memory", "input x", "state", "parameters")
"""Rows in which levels of one section may differ."""
_LABEL, _WIDTH = 14, 110


@dataclass(frozen=True, repr=False)
class Explanation:
    """The levels of a model, the fastest first, each with its update equation. Printed, it is the text."""

    graph: NestGraph
    plan: Plan

    @cached_property
    def text(self) -> str:
        """The page in Unicode, as `nestdsl explain` prints it."""
        return as_text(self.graph, self.plan)

    @cached_property
    def latex(self) -> str:
        """The page in LaTeX (amsmath), as `nestdsl explain --latex` prints it."""
        return as_latex(self.graph, self.plan)

    def __repr__(self) -> str:
        return self.text.rstrip("\n")


def sections(graph: NestGraph, plan: Plan) -> tuple[Section, ...]:
    """Every declared level once, the fastest first; levels that differ only in sizes together."""
    names = Names(graph)
    first: dict[str, Level] = {}
    for level in graph.levels():
        first.setdefault(level.declared, level)
    groups: dict[object, list[Section]] = defaultdict(list)
    for ordered in plan.levels:
        level = first[ordered.name]
        if level.owner:
            found = drivers.section(names, level, ordered)
        elif level.learning is Learning.ASSOCIATION:
            found = memories.section(names, level, ordered)
        else:
            found = weights.section(names, level, ordered, plan.clock.segment_tokens)
        shared = tuple(one for one in found.rows if one.label not in _OF_EACH)
        groups[found.rank, found.kind, shared, found.equations].append(found)
    return tuple(_merged(group) for group in groups.values())


def as_text(graph: NestGraph, plan: Plan) -> str:
    """The page as plain Unicode text."""
    head = f"{plan.model}: {len(plan.levels)} levels, the fastest first"
    return "\n\n".join([head, *(_text(one) for one in sections(graph, plan))]) + "\n"


def as_latex(graph: NestGraph, plan: Plan) -> str:
    """The page as LaTeX, to be put into a document that uses amsmath."""
    head = f"% {plan.model}: {len(plan.levels)} levels, the fastest first; needs amsmath"
    return "\n\n".join([head, *(_latex(one) for one in sections(graph, plan))]) + "\n"


def _merged(group: list[Section]) -> Section:
    if len(group) == 1:
        return group[0]
    rows = []
    for place, one in enumerate(group[0].rows):
        if one.label in _OF_EACH:
            named = [(_shown(each.members[0].name), each.rows[place].lines[0]) for each in group]
            one = Row(one.label, by_name(named))
        rows.append(one)
    members = tuple(member for each in group for member in each.members)
    return Section(group[0].rank, group[0].kind, members, tuple(rows), group[0].equations)


def _shown(name: str) -> str:
    return name.replace("[*]", "").removeprefix("@")


def _heading(section: Section) -> str:
    members = [
        _shown(member.name) + (f" ×{member.copies}" if member.copies > 1 else "")
        for member in section.members
    ]
    return f"{', '.join(members)}"


def _text(section: Section) -> str:
    lines = _wrapped(f"{section.rank}. {_heading(section)}  ({section.kind})", 3)
    for one in section.rows:
        for place, words in enumerate(one.lines):
            label = one.label if place == 0 else ""
            lines += _wrapped(f"   {label:<{_LABEL}}{unicode.line(words)}", 3 + _LABEL)
    for label, equations in section.equations:
        for place, equation in enumerate(equations):
            lines.append(f"   {label if place == 0 else '':<{_LABEL}}{unicode.equation(equation)}")
    return "\n".join(line.rstrip() for line in lines)


def _wrapped(text: str, indent: int) -> list[str]:
    """Lists of names broken at commas, outside of brackets if they can be, so that lines stay readable."""
    lines, rest = [], text
    while len(rest) > _WIDTH and (cut := _cut(rest[:_WIDTH], indent)) > indent:
        lines.append(rest[: cut + 1])
        rest = " " * indent + rest[cut + 2 :]
    return [*lines, rest]


def _cut(text: str, indent: int) -> int:
    """The last comma after the indent before which all brackets are closed, or else the last one; -1 if
    there is none."""
    commas = [found.start() for found in re.finditer(", ", text) if found.start() > indent]
    outside = [place for place in commas if text.count("(", 0, place) == text.count(")", 0, place)]
    return max(outside or commas, default=-1)


def _latex(section: Section) -> str:
    title = rf"\paragraph{{{section.rank}. {latex.text(_heading(section))} ({latex.text(section.kind)})}}"
    lines = [title, r"\begin{description}"]
    for one in section.rows:
        words = r"; ".join(latex.line(line) for line in one.lines)
        lines.append(rf"  \item[{one.label}] {words}")
    lines.append(r"\end{description}")
    for label, equations in section.equations:
        lines += [rf"\noindent\emph{{{label}}}", latex.align(equations)]
    return "\n".join(lines)
