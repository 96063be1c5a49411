"""The sizes of a plan that was read: of its flows, against those of the levels and blocks that read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nestdsl.limits import MAX_NUMBERS, MAX_SIZE
from nestdsl.plan.instructions import (
    Call,
    Columns,
    Instruction,
    Learn,
    Operand,
    Peek,
    Read,
    ReadStart,
    Recall,
    RunBlock,
    operands,
)
from nestdsl.plan.names import identifier
from nestdsl.plan.plan import Body, LevelPlan, Plan, Sharing
from nestdsl.plan.wellformed import ARITHMETIC, require
from nestdsl.vocabulary.signatures import LIBRARY, Kind, Memory, Takes, count

Sizes = dict[str, int | None]
"""The last dimension of each flow; None where it is not known here, as of what is no flow."""


def verify_sizes(plan: Plan) -> None:
    """Raises OddPlanError where a flow has another size than what reads it, or where ids are computed with.

    The bodies of the plan are verified, each by itself.
    """
    root, input = plan.root, plan.input
    require(root.input_size == input.size, f"`{root.name}` reads another size than the model is given")
    require(root.output_size == plan.output_size, f"`{root.name}` makes another size than the model gives")
    bodies: dict[str, Body] = {}
    for body in plan.bodies:
        for level in body.levels:
            _verify_level(level)
        _Reader(body, bodies).verify()
        bodies[body.name] = body
    flows = _Ids(bodies)
    gives_ids = flows.gives_ids(root.name, takes_ids=input.takes == "ids")
    require(not gives_ids, "it gives the ids that it reads")
    require({name for name, _ in flows.known} == set(bodies), "it has a body that nothing runs")


def _verify_level(level: LevelPlan) -> None:
    kind = LIBRARY.kinds.get(level.kind)
    if kind is None:
        return
    here, arguments = f"`{level.attribute}`", dict(level.arguments)
    for shapes in (kind.parameters, kind.state):
        numbers = count(shapes(arguments, level.input_size, level.output_size))
        require(numbers <= MAX_NUMBERS, f"{here} is too large")
    if kind.is_custom:
        return
    heads = arguments.get("heads")
    if isinstance(heads, int):
        divides = level.input_size % heads == 0 and level.output_size % heads == 0
        require(divides, f"{heads} heads do not divide the sizes of {here}")
        is_even = not arguments.get("rotary") or (level.input_size // heads) % 2 == 0
        require(is_even, f"{here} turns pairs of features, and its heads have an odd number of them")
    if not level.association:
        wanted = kind.output_size(arguments, level.input_size)
        _require_size(level.output_size, wanted, f"what {here} gives")


class _Reader:
    """The sizes of the flows of one body. bodies: those before it, by name."""

    def __init__(self, body: Body, bodies: Mapping[str, Body]) -> None:
        self.body = body
        self.levels = {level.attribute: level for level in body.levels}
        self.blocks = {block.attribute: [bodies[name] for name in block.bodies] for block in body.blocks}
        self.together = {
            shared.attribute: [self.levels[name] for name in shared.members]
            for shared in body.shared
            if shared.form is Sharing.SIDE_BY_SIDE
        }
        self.sizes: Sizes = {identifier("in"): body.input_size}

    def verify(self) -> None:
        for line in self.body.lines:
            self.sizes[line.result] = self.size_of(line)
        found, wanted = self.sizes[self.body.output], self.body.output_size
        _require_size(found, wanted, f"the output of `{self.body.name}`")

    def size_of(self, line: Instruction) -> int | None:
        """The size of what a line makes."""
        here = f"what `{line.result}` reads"
        match line:
            case Call():
                return self._of_call(line)
            case RunBlock():
                size = self.sizes[line.flow]
                for one in self.blocks[line.block]:
                    _require_size(size, one.input_size, here)
                    size = one.output_size
                return size
            case Learn():
                self._learn(line, here)
                return None
            case Read():
                return self._read(self.levels[line.level], line.flow, here)
            case Columns():
                return self._memories(line.level)[line.member].output_size
            case Recall() | Peek() | ReadStart():
                members = self._memories(line.level)
                member = None if isinstance(line, ReadStart) else line.member
                size = self._read(members[member or 0], line.query, here)
                return size if member is not None or line.level in self.levels else None
            case _:
                return None

    def _memories(self, name: str) -> Sequence[LevelPlan]:
        """A memory, or those that work side by side under a name."""
        return self.together.get(name) or [self.levels[name]]

    def _read(self, level: LevelPlan, flow: str, here: str) -> int:
        _require_size(self.sizes[flow], level.input_size, here)
        return level.output_size

    def _learn(self, line: Learn, here: str) -> None:
        members = self._memories(line.level)
        for level, value in zip(members, line.values, strict=True):
            pairs = int(dict(level.arguments).get("pairs") or 1)
            _require_size(self.sizes[line.key], pairs * level.input_size, here)
            _require_size(self.sizes[value], pairs * level.output_size, here)
            for name, factor in line.factors:
                self._verify_factor(level, name, factor, here)

    def _verify_factor(self, level: LevelPlan, name: str, factor: Operand, here: str) -> None:
        """A factor that is a flow has one value, one for each head, or one for each channel of the key."""
        size = self.sizes[factor] if isinstance(factor, str) else 1
        heads = dict(level.arguments).get("heads")
        if size is None or size in (1, heads):
            return
        rule = dict(level.options)
        is_linear = LIBRARY.memory(level.kind) is Memory.MATRIX and rule["optimizer"] in ("gd", "dgd")
        is_linear &= rule["objective"] in ("l2", "dot") and rule["period"] == 1
        is_stale = rule["optimizer"] == "dgd" and rule["objective"] == "l2" and rule["chunk"] != 1
        of_channels = name == "retain" and size == level.input_size and is_linear and not is_stale
        require(of_channels, f"`{name}` of {here} has {size} values for {heads} heads")

    def _of_call(self, line: Call) -> int | None:
        here = f"`{line.result}`"
        given = [self.sizes[operand] for operand in line.operands if isinstance(operand, str)]
        if line.function == "constant":
            return 1
        known = [size for size in given if size is not None]
        if line.function in ARITHMETIC:
            wide = {size for size in known if size != 1}
            require(len(wide) <= 1, f"the sizes of what {here} computes with differ")
            return None if len(known) < len(given) else max(known)
        function = LIBRARY.functions.get(line.function)
        if function is None or function.is_custom or len(known) < len(given):
            return None
        arguments = dict(line.options)
        heads = arguments.get("heads")
        if isinstance(heads, int):
            require(known[0] % heads == 0, f"{heads} heads do not divide what {here} reads")
        size = function.output_size(tuple(known), arguments)
        require(size <= MAX_SIZE, f"{here} is too large")
        return size


class _Ids:
    """Which flows are ids: only levels that take ids read them. A body may be run with either."""

    def __init__(self, bodies: Mapping[str, Body]) -> None:
        self.bodies = bodies
        self.known: dict[tuple[str, bool], bool] = {}

    def gives_ids(self, name: str, *, takes_ids: bool) -> bool:
        """Whether the output of a body is ids."""
        key = name, takes_ids
        if key not in self.known:
            self.known[key] = self._gives_ids(self.bodies[name], takes_ids)
        return self.known[key]

    def _gives_ids(self, body: Body, takes_ids: bool) -> bool:
        ids = {identifier("in")} if takes_ids else set()
        levels = {level.attribute: LIBRARY.kinds.get(level.kind) for level in body.levels}
        blocks = {block.attribute: block.bodies for block in body.blocks}
        for line in body.lines:
            here = f"`{line.result}` of `{body.name}`"
            match line:
                case RunBlock():
                    are_ids = line.flow in ids
                    for name in blocks[line.block]:
                        are_ids = self.gives_ids(name, takes_ids=are_ids)
                    ids |= {line.result} if are_ids else set()
                case Read():
                    wanted = _takes_ids(levels[line.level])
                    is_fit = wanted is None or wanted == (line.flow in ids)
                    require(is_fit, f"{here} reads {'vectors, not ids' if wanted else 'ids, not vectors'}")
                case _:
                    require(ids.isdisjoint(operands(line)), f"{here} computes with ids")
        return body.output in ids


def _takes_ids(kind: Kind | None) -> bool | None:
    """Whether a kind reads ids; None of one that is not known here."""
    return None if kind is None else kind.takes is Takes.IDS


def _require_size(found: int | None, wanted: int, place: str) -> None:
    require(found is None or found == wanted, f"{place} has the size {found}, and should have {wanted}")
