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

from nestdsl.plan.names import Names
from nestdsl.plan.plan import Instruction, LevelPlan, SharedPlan
from nestdsl.plan.rewrite import Rewriter, in_order, used
from nestdsl.plan.sharing import ONE_PRODUCT, Lowered, groups
from nestdsl.plan.starts import is_trained, without_start, word_of


@dataclass(frozen=True, slots=True)
class _Target:
    """What a memory makes for itself: its own answer to `query`, and `added` to it, if anything is."""

    query: str
    added: str | int | float | None = None


def collapse(body: Lowered, attributes: Names, variables: Names) -> Lowered:
    """The same body with one running product for each group of memories that have one in common."""
    for learns in groups(body):
        makers = {line.result: line for line in body.lines}
        alike: dict[object, list[Instruction]] = defaultdict(list)
        for line in learns:
            level = body.levels[line.target]
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
        and level.gradient == options["gradient"] == "through"
        and (word_of(level) != "zeros" or is_trained(level))
    )


def _target(learn: Instruction, makers: Mapping[str, Instruction]) -> _Target | None:
    """What the memory's target is made of, if its own answer is in it once and nothing but a sum is."""
    line = makers.get(str(learn.operands[1]))
    if line is None:
        return None
    if _is_own(line, learn):
        return _Target(str(line.operands[0]))
    if line.operation == "function" and line.target == "add":
        parts = [makers.get(part) if isinstance(part, str) else None for part in line.operands]
        for part, added in zip(parts, reversed(line.operands), strict=True):
            if part is not None and _is_own(part, learn):
                return _Target(str(part.operands[0]), added)
    return None


def _is_own(line: Instruction, learn: Instruction) -> bool:
    return line.operation == "peek" and line.target == learn.target


def _collapsed(
    body: Lowered,
    learns: list[Instruction],
    target: _Target,
    attributes: Names,
    variables: Names,
) -> Lowered:
    members = tuple(line.target for line in learns)
    first = body.levels[members[0]]
    product = attributes.new("product")
    new = {product: _memory(first, product, first.input_size, "identity")}
    source = None
    if target.added is not None:
        source = attributes.new("source")
        new[source] = _memory(first, source, first.output_size, "zeros")

    writer = Rewriter(variables)
    key, factors = learns[0].operands[0], learns[0].keywords
    contexts: dict[str, str] = {}
    for memory in new:
        value = writer.line("peek", memory, (target.query,), named=f"{target.query}_{memory}")
        if memory == source and target.added is not None:
            value = writer.line("function", "add", (value, target.added), named=f"{memory}_target")
        contexts[memory] = writer.line(
            "learn", memory, (key, value), named=f"{memory}_context", keywords=factors
        )

    def answer(line: Instruction) -> Instruction:
        """What one of the members answers, under the name that it has."""
        found = []
        for memory in new:
            operands = (contexts[memory], line.operands[1]) if line.operation == "recall" else line.operands
            named = f"{line.operands[-1]}_{memory}"
            found.append(writer.line(line.operation, memory, operands, named=named))
        if source is None:
            return Instruction(line.result, "start", line.target, (found[0],))
        start = writer.line("start", line.target, (found[0],), named=f"{line.result}_start")
        return Instruction(line.result, "function", "add", (start, found[1]))

    rest: list[Instruction] = []
    for line in body.lines:
        if line.target not in members or line.operation not in ("learn", "recall", "peek"):
            rest.append(line)
        elif line.operation != "learn":
            rest.append(answer(line))
    lines = in_order([*writer.made, *rest])
    levels = {
        name: replace(level, stateful=False) if name in members else level
        for name, level in body.levels.items()
    }
    shared = SharedPlan(product, ONE_PRODUCT, members, source or "")
    return Lowered(levels | new, tuple(used(lines, [body.output])), body.output, (*body.shared, shared))


def _memory(like: LevelPlan, name: str, output_size: int, init: str) -> LevelPlan:
    """A memory under the same rule, without weights."""
    options = (*without_start(like.options), ("init", init))
    return replace(like, name=name, attribute=name, output_size=output_size, options=options)
