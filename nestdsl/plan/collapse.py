"""Linear memories that make their own targets, as one running product.

Let S be the memory of `level m = matrix { learn k -> m(z) + u }`, with the same k, z, u, step and rule for
all m. Its write is linear in its state, so with Π_0 = I and Q_0 = 0

    S_m,t = Π_t S_m,0 + Q_t        Π: the memory of `learn k -> Π(z)`,  Q: that of `learn k -> Q(z) + u`

and Π and Q are the same for all m. Without u there is no Q. A read of m is a read of Π, then the start of m,
then what Q reads is added. Retention toward the start is retention of Π toward I.

It holds for both objectives that are linear in the memory's answer, l2 and dot, with and without momentum,
and for every read; not for lp, nor where the outer gradient is cut: there the start is no constant factor of
what is differentiated.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeGuard

from nestdsl.plan.instructions import Call, Instruction, Learn, Operand, Peek, ReadStart, Recall
from nestdsl.plan.names import Names
from nestdsl.plan.plan import LevelPlan, SharedPlan, Sharing
from nestdsl.plan.rewrite import Rewriter, in_order, used
from nestdsl.plan.sharing import Lowered, groups
from nestdsl.plan.starts import is_trained, without_start, word_of
from nestdsl.vocabulary.timing import THROUGH


@dataclass(frozen=True, slots=True)
class _Target:
    """What a memory makes for itself: its own answer to `query`, and `added` to it, if anything is."""

    query: str
    added: Operand | None = None


def collapse(body: Lowered, attributes: Names, variables: Names) -> Lowered:
    """The same body with one running product for each group of memories that have one in common."""
    for learns in groups(body):
        makers = {line.result: line for line in body.lines}
        alike: dict[object, list[Learn]] = defaultdict(list)
        for line in learns:
            level = body.levels[line.level]
            target = _target(line, makers) if _is_linear(level) else None
            if target is not None:
                size = None if target.added is None else level.output_size
                alike[target, size].append(line)
        for (target, _), members in alike.items():  # type: ignore[misc]
            if len(members) > 1:
                body = _collapsed(body, members, target, attributes, variables)
    return body


def _is_linear(level: LevelPlan) -> bool:
    options = dict(level.options)
    return (
        options["objective"] in ("l2", "dot")
        and level.gradient == THROUGH
        and options["gradient"] == "through"
        and (word_of(level) != "zeros" or is_trained(level))
    )


def _target(learn: Learn, makers: Mapping[str, Instruction]) -> _Target | None:
    """What the memory's target is made of, if its own answer is in it once and nothing but a sum is."""
    line = makers.get(learn.values[0])
    if _is_own(line, learn):
        return _Target(line.query)
    if isinstance(line, Call) and line.function == "add":
        parts = [makers.get(part) if isinstance(part, str) else None for part in line.operands]
        for part, added in zip(parts, reversed(line.operands), strict=True):
            if _is_own(part, learn):
                return _Target(part.query, added)
    return None


def _is_own(line: Instruction | None, learn: Learn) -> TypeGuard[Peek]:
    return isinstance(line, Peek) and line.level == learn.level


def _collapsed(
    body: Lowered,
    learns: list[Learn],
    target: _Target,
    attributes: Names,
    variables: Names,
) -> Lowered:
    members = tuple(line.level for line in learns)
    first = body.levels[members[0]]
    product = attributes.new("product")
    new = {product: _memory(first, product, first.input_size, "identity")}
    source = None
    if target.added is not None:
        source = attributes.new("source")
        new[source] = _memory(first, source, first.output_size, "zeros")

    writer = Rewriter(variables)
    contexts: dict[str, str] = {}
    for memory in new:
        value = writer.line(Peek("", memory, target.query), named=f"{target.query}_{memory}")
        if memory == source and target.added is not None:
            value = writer.line(Call("", "add", (value, target.added)), named=f"{memory}_target")
        learn = replace(learns[0], result="", level=memory, values=(value,))
        contexts[memory] = writer.line(learn, named=f"{memory}_context")

    def answer(line: Recall | Peek) -> Instruction:
        """What one of the members answers, under the name that it has."""
        found = []
        for memory in new:
            own = replace(line, result="", level=memory)
            if isinstance(own, Recall):
                own = replace(own, context=contexts[memory])
            found.append(writer.line(own, named=f"{line.query}_{memory}"))
        start = ReadStart(line.result, line.level, found[0])
        if source is None:
            return start
        started = writer.line(replace(start, result=""), named=f"{line.result}_start")
        return Call(line.result, "add", (started, found[1]))

    rest: list[Instruction] = []
    for line in body.lines:
        match line:
            case Recall() | Peek() if line.level in members:
                rest.append(answer(line))
            case Learn() if line.level in members:
                pass
            case _:
                rest.append(line)
    lines = in_order([*writer.made, *rest])
    levels = {
        name: replace(level, stateful=False) if name in members else level
        for name, level in body.levels.items()
    }
    shared = SharedPlan(product, Sharing.ONE_PRODUCT, members, source or "")
    return Lowered(levels | new, tuple(used(lines, [body.output])), body.output, (*body.shared, shared))


def _memory(like: LevelPlan, name: str, output_size: int, init: str) -> LevelPlan:
    """A memory under the same rule, without weights."""
    options = (*without_start(like.options), ("init", init))
    return replace(like, name=name, attribute=name, output_size=output_size, options=options)
