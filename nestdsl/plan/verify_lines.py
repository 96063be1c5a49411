"""The instructions of a plan that was read: see `verify.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from nestdsl.plan.instructions import (
    Call,
    Cast,
    Columns,
    Instruction,
    Learn,
    Peek,
    ReadStart,
    Recall,
    Round,
    RunBlock,
    operands,
    part_of,
)
from nestdsl.plan.instructions import Read as ReadLevel
from nestdsl.plan.names import identifier
from nestdsl.plan.plan import Body, LevelPlan, Sharing
from nestdsl.plan.rewrite import used
from nestdsl.plan.stages import stages
from nestdsl.plan.wellformed import (
    ARITHMETIC,
    is_number,
    require,
    require_arguments,
    require_identifier,
    require_member,
    require_operands,
)
from nestdsl.vocabulary.signatures import LIBRARY, Memory


def verify_lines(body: Body) -> None:
    """Raises OddPlanError for an instruction that no program gives: each reads what stands before it, and
    runs a part of the body in a way that this part can."""
    parts = _Parts(
        {level.attribute: level for level in body.levels},
        {block.attribute for block in body.blocks},
        {shared.attribute: shared.members for shared in body.shared if shared.form is Sharing.SIDE_BY_SIDE},
    )
    known = {identifier("in")}
    contexts: dict[str, str] = {}
    answers: dict[str, str] = {}
    for line in body.lines:
        here = f"`{line.result}` of `{body.name}`"
        require_identifier(line.result, f"a line of `{body.name}`")
        require(line.result not in known | contexts.keys() | answers.keys(), f"{here} is there twice")
        for name in operands(line):
            if isinstance(line, Recall) and name == line.context:
                is_there = contexts.get(name) == line.level
            elif isinstance(line, Columns):
                is_there = answers.get(name) == line.level
            else:
                is_there = name in known
            require(is_there, f"{here} reads what is not there")
        part = part_of(line)
        if part is not None:
            require_member(part, parts.attributes, f"what {here} runs")
        _verify(line, parts, here)
        match line:
            case Learn():
                contexts[line.result] = line.level
            case Peek(member=None) if line.level in parts.together:
                answers[line.result] = line.level
            case _:
                known.add(line.result)
    require(body.output in known, f"`{body.name}` has no flow that is its output")
    require(used(body.lines, [body.output]) == list(body.lines), f"`{body.name}` makes what nothing reads")
    _verify_runs(body, parts)
    _verify_stages(body, parts)


def _verify_runs(body: Body, parts: _Parts) -> None:
    """Each part runs: blocks and memories once in a pass, and those that work as others by these alone."""
    runs = Counter(part_of(line) for line in body.lines if isinstance(line, Learn | RunBlock))
    reads = Counter(part_of(line) for line in body.lines if not isinstance(line, Learn | RunBlock))
    starts = {line.level for line in body.lines if isinstance(line, ReadStart)}
    products = [shared for shared in body.shared if shared.form is Sharing.ONE_PRODUCT]
    factored = {name for shared in products for name in shared.members}
    joined = {name for members in parts.together.values() for name in members}
    for name in sorted(parts.attributes):
        here = f"`{name}` of `{body.name}`"
        if name in factored or name in joined:
            by_itself = runs[name] or (reads[name] and name in joined)
            require(not by_itself, f"{here} works by itself and with others")
            require(name in starts or name in joined, f"nothing reads {here}")
        elif name in parts.blocks or parts.is_memory(name):
            require(runs[name] == 1, f"{here} runs {runs[name]} times in a pass")
        else:
            require(reads[name] > 0, f"nothing reads {here}")
    require(starts <= factored, f"a start is read in `{body.name}` of what is no factor")


def _verify_stages(body: Body, parts: _Parts) -> None:
    """What runs chunk by chunk is what must, in chunks that its memories have."""
    found = stages(body.lines)
    is_so = (found.before, found.loop, found.after) == (body.instructions, body.loop, body.after)
    require(is_so, f"what runs chunk by chunk in `{body.name}` is not what must")
    chunks: list[int] = []
    for line in body.lines:
        if isinstance(line, Peek):
            members = [parts.levels[name] for name in parts.together.get(line.level, (line.level,))]
            options = [dict(level.options) for level in members]
            # Of memories side by side, the one that reads itself keeps the anchor for all.
            is_kept = any(one.get("anchored") for one in options)
            is_kept |= LIBRARY.memory(members[0].kind) is not Memory.MATRIX
            require(is_kept and bool(options[0]), f"`{line.level}` of `{body.name}` keeps no anchor")
            chunks.append(int(options[0]["chunk"] or 0))
    require(body.chunk_tokens == min(chunks, default=0), f"the chunks of `{body.name}` are odd")


@dataclass(frozen=True, slots=True)
class _Parts:
    """What instructions run: levels, blocks, and memories side by side with their members."""

    levels: Mapping[str, LevelPlan]
    blocks: set[str]
    together: Mapping[str, tuple[str, ...]]

    @property
    def attributes(self) -> set[str]:
        return {*self.levels, *self.blocks, *self.together}

    def is_memory(self, name: str) -> bool:
        """Whether it learns `key -> value` in context."""
        return name in self.together or (name in self.levels and self.levels[name].association)

    def require_member(self, name: str, member: int | None, here: str) -> None:
        """Of memories side by side, one of them, or of a memory by itself none."""
        members = self.together.get(name, ())
        fits = member is None if not members else member is None or 0 <= member < len(members)
        require(fits, f"{here} is the answer of no memory")


def _verify(line: Instruction, parts: _Parts, here: str) -> None:
    match line:
        case Call():
            _verify_call(line, here)
        case Learn():
            require(parts.is_memory(line.level), f"{here} is learned by no memory")
            count = len(parts.together.get(line.level, (line.level,)))
            require(len(line.values) == count, f"{here} learns {len(line.values)} values, not {count}")
            wanted = _factors(parts.levels[parts.together.get(line.level, (line.level,))[0]])
            require(
                {name for name, _ in line.factors} == wanted, f"{here} takes other factors than its memory"
            )
            for name, value in line.factors:
                is_fit = isinstance(value, str) or (is_number(value) and 0 <= value <= 2)
                require(is_fit, f"`{name}` of {here} is odd")
        case Recall() | Peek():
            require(parts.is_memory(line.level), f"{here} is the answer of no memory")
            parts.require_member(line.level, line.member, here)
            all_answer = line.level in parts.together and line.member is None
            require(not all_answer or isinstance(line, Peek), f"{here} does not say which memory answers")
        case ReadStart():
            is_one = line.level in parts.levels and parts.is_memory(line.level)
            require(is_one, f"{here} is the answer of no memory")
        case Columns():
            require(line.level in parts.together, f"{here} is the answer of no memory")
            parts.require_member(line.level, line.member, here)
        case ReadLevel():
            is_layer = line.level in parts.levels and not parts.is_memory(line.level)
            require(is_layer, f"{here} reads what is no layer")
        case RunBlock():
            require_member(line.block, parts.blocks, f"what {here} runs")
        case Cast() | Round():
            require(False, f"{here} is made where a plan is built")


def _factors(level: LevelPlan) -> set[str]:
    """What the optimizer of a memory takes at each token."""
    rule = str(dict(level.options).get("optimizer", ""))
    return ({"step", "retain"} if rule else set()) | ({"momentum"} if "momentum" in rule else set())


def _verify_call(line: Call, here: str) -> None:
    require_identifier(line.function, f"the function of {here}", free=False)
    for name, _ in line.options:
        require_identifier(name, here, free=False)
    function = LIBRARY.functions.get(line.function)
    count, flows = len(line.operands), sum(isinstance(operand, str) for operand in line.operands)
    if line.function == "constant":
        require(count == 1 and not flows and not line.options, f"{here} is an odd constant")
    elif line.function in ARITHMETIC:
        require(flows > 0, f"{here} reads numbers alone")
        require(count == ARITHMETIC[line.function], f"{here} has {count} operands")
        require(not line.options, f"{here} has options")
    elif function is not None:  # one that is not known here is refused where it is built
        require_operands(function, count, here)
        require(function.is_causal, f"{here} reads later tokens")
        require(flows == count, f"{here} reads a number")
        require_arguments(line.options, function.arguments, here)
