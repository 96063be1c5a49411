"""The sizes of a plan that was read: of its flows, against those of the levels and blocks that read them."""

from __future__ import annotations

from collections.abc import Mapping

from nestdsl.library.signatures import LIBRARY
from nestdsl.limits import MAX_SIZE
from nestdsl.plan.instructions import Call, Instruction, Learn, Peek, Read, ReadStart, Recall, RunBlock
from nestdsl.plan.names import identifier
from nestdsl.plan.plan import Body, LevelPlan
from nestdsl.plan.wellformed import ARITHMETIC, require

Sizes = dict[str, int | None]
"""The last dimension of each flow; None where it is not known here."""


def verify_sizes(body: Body, bodies: Mapping[str, Body]) -> None:
    """Raises OddPlanError where a flow has another size than what reads it.

    bodies: those before it, by name, which are verified.
    """
    for level in body.levels:
        _verify_level(level)
    sizes: Sizes = {identifier("in"): body.input_size}
    reader = _Reader(body, bodies, sizes)
    for line in body.lines:
        sizes[line.result] = reader.size_of(line)
    _require_size(sizes[body.output], body.output_size, f"the output of `{body.name}`")


def _verify_level(level: LevelPlan) -> None:
    kind = LIBRARY.kinds.get(level.kind)
    if kind is None or kind.is_custom:
        return
    here, arguments = f"`{level.attribute}`", dict(level.arguments)
    heads = arguments.get("heads")
    if isinstance(heads, int):
        divides = level.input_size % heads == 0 and level.output_size % heads == 0
        require(divides, f"{heads} heads do not divide the sizes of {here}")
    if not level.association:
        wanted = kind.output_size(arguments, level.input_size)
        _require_size(level.output_size, wanted, f"what {here} gives")


class _Reader:
    def __init__(self, body: Body, bodies: Mapping[str, Body], sizes: Sizes) -> None:
        self.levels = {level.attribute: level for level in body.levels}
        self.blocks = {block.attribute: [bodies[name] for name in block.bodies] for block in body.blocks}
        self.sizes = sizes

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
            case Learn() if line.level in self.levels:
                level = self.levels[line.level]
                pairs = int(dict(level.arguments).get("pairs") or 1)
                _require_size(self.sizes[line.key], pairs * level.input_size, here)
                _require_size(self.sizes[line.values[0]], pairs * level.output_size, here)
                return None
            case Read() if line.level in self.levels:
                return self._read(line.level, line.flow, here)
            case Recall() | Peek() | ReadStart() if line.level in self.levels:
                return self._read(line.level, line.query, here)
            case _:  # memories that work as one, whose sizes are those of their members
                return None

    def _read(self, name: str, flow: str, here: str) -> int:
        level = self.levels[name]
        _require_size(self.sizes[flow], level.input_size, here)
        return level.output_size

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


def _require_size(found: int | None, wanted: int, place: str) -> None:
    require(found is None or found == wanted, f"{place} has the size {found}, and should have {wanted}")
