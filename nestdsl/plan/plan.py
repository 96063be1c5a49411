"""The plan: the whole compiled model as frozen data, and the only thing the runtime reads.

It names no torch and no span. `plan/yaml.py` writes and reads it. Instructions of a body refer
to flows by name; a body is one block with fixed sizes, shared by all its copies.
"""

from __future__ import annotations

from dataclasses import dataclass

from nestdsl.graph.optimizer import OptimizerProgram
from nestdsl.plan.instructions import Instruction, Pairs
from nestdsl.vocabulary.timing import THROUGH, Frequency, Gradient, Named, Reset, Unit

FORMAT = 4
"""Rises when a plan of an older nestdsl can no longer be read."""


@dataclass(frozen=True, slots=True)
class SurprisePlan:
    """How a level learns from surprise in context: once in `period_tokens`, each sequence for itself.

    `gradient` says whether the outer levels differentiate through its updates: `stop`, `through` or
    `truncated(n)`, through the last n.
    With a `parent`, the attribute of another level in the same body, it has no start of its own but
    that level's state, and with `reset` `parent` it starts from it again whenever that level moves [Nested
    Learning, Eq. 72].
    """

    period_tokens: int
    optimizer: OptimizerPlan
    gradient: Gradient
    parent: str = ""
    reset: Reset = Reset.CONTEXT
    matrices: bool = True
    """Whether the 2-D weights of the level are matrices, as `only matrices` means them."""


@dataclass(frozen=True, slots=True)
class LevelPlan:
    """How to build one level of a body.

    `association` is True for a memory that learns `key -> value` in context; `gradient` is how
    far the outer levels differentiate through what it learns. `surprise` is there for a level
    that learns from surprise in context. `attribute` is its name in generated code and in the
    names of its weights.
    """

    name: str
    attribute: str
    kind: str
    arguments: Pairs
    input_size: int
    output_size: int
    stateful: bool = False
    association: bool = False
    gradient: Gradient = THROUGH
    surprise: SurprisePlan | None = None
    carried: bool = False
    """Whether its state goes on from one sequence of a stream to the next (`reset never`)."""
    options: Pairs = ()
    """For a memory: objective, read, period, chunk, gradient. For all: how it starts (`plan/starts.py`)."""


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """A block used in a body: the body of each of its copies, run one after the other.

    `repeated` is True where the program says `repeat` (the copies then stand in a list, even
    if there is only one).
    """

    name: str
    attribute: str
    bodies: tuple[str, ...]
    repeated: bool


class Sharing(Named):
    """How memories work as one."""

    SIDE_BY_SIDE = "side by side"
    """The state of the one is that of all members."""
    ONE_PRODUCT = "one running product"
    """The members are their starts times the state of the one, plus what `source` remembers, if any."""


@dataclass(frozen=True, slots=True)
class SharedPlan:
    """Memories of a body that work as one, under the name `attribute`; `members` are their attributes."""

    attribute: str
    form: Sharing
    members: tuple[str, ...]
    source: str = ""


@dataclass(frozen=True, slots=True)
class Body:
    """A block or the model with everything resolved: levels, blocks, and what runs in order.

    `instructions` run over all tokens of a pass. With `chunk_tokens`, `loop` then runs on so many
    tokens at a time, counted from the start of the context: what memories make for themselves is
    made once for each chunk, at its start. `after` is what runs over all tokens after that.
    """

    name: str
    block: str
    input_size: int
    output_size: int
    levels: tuple[LevelPlan, ...]
    blocks: tuple[BlockPlan, ...]
    instructions: tuple[Instruction, ...]
    output: str
    shared: tuple[SharedPlan, ...] = ()
    chunk_tokens: int = 0
    loop: tuple[Instruction, ...] = ()
    after: tuple[Instruction, ...] = ()

    @property
    def lines(self) -> tuple[Instruction, ...]:
        """All instructions, in the order in which they run."""
        return self.instructions + self.loop + self.after


@dataclass(frozen=True, slots=True)
class OptimizerPlan:
    """An optimizer with all of its arguments, and what it does; those of memories have no `program`."""

    name: str
    arguments: Pairs
    program: OptimizerProgram | None = None


@dataclass(frozen=True, slots=True)
class OrderedLevel:
    """One declared level, in the order of levels (rank 1 is the fastest).

    `modules` are the paths of its copies in the built model. `frequency` is `every token`,
    `every 16 steps`, `every read` (attention) or `never`. Sizes and costs are of one copy; what
    attention keeps and computes grows with the tokens read, which the last two fields of bytes
    and of operations count. `learns` is `surprise`, an association, or `nothing`. An optimizer's
    memory has an `owner`: what it drives. `carried` is whether its state goes on from one sequence of
    a stream to the next; `matrices` whether its 2-D weights are matrices, as `only matrices` means them.
    """

    name: str
    kind: str
    rank: int
    frequency: Frequency
    unit: Unit
    period: int
    learns: str
    copies: int
    modules: tuple[str, ...] = ()
    optimizer: OptimizerPlan | None = None
    frozen: bool = False
    owner: str = ""
    carried: bool = False
    matrices: bool = False
    input_size: int = 0
    output_size: int = 0
    parameters: int = 0
    state_bytes_per_sequence: int = 0
    state_bytes_per_token: int = 0
    flops_per_token: int = 0
    flops_per_token_of_context: int = 0


@dataclass(frozen=True, slots=True)
class Clock:
    """All periods: who updates when, and after how many tokens the runtime must stop.

    `tokens` and `steps` map each period to the declared levels that have it. `segment_tokens` is the
    shortest period of a level that learns from surprise in context, 0 if there is none.
    """

    segment_tokens: int
    cycle_steps: int
    tokens: tuple[tuple[int, tuple[str, ...]], ...]
    steps: tuple[tuple[int, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Costs:
    """Totals of one model, in float32: weights, state of each sequence, operations for each token.

    Operations are those of matrix products; training counts a backward pass as two forward ones.
    What attention adds for each token of context is counted apart. `optimizer_bytes` are those of
    `optimizer_memories`: the levels inside of optimizers across sequences, and what they keep.
    """

    parameters: int
    trained_parameters: int
    parameter_bytes: int
    optimizer_bytes: int
    state_bytes_per_sequence: int
    state_bytes_per_token: int
    flops_per_token_decoding: int
    flops_per_token_training: int
    flops_per_token_of_context: int
    optimizer_memories: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class TrainPlan:
    """The outermost level: the loss, its period, and the optimizer of levels that name none."""

    objective: str
    period_steps: int
    optimizer: OptimizerPlan


@dataclass(frozen=True, slots=True)
class InputPlan:
    """`ids` below `size`, or `vectors` of `size`."""

    takes: str
    size: int


@dataclass(frozen=True, slots=True)
class WeightsPlan:
    """The first values of one level: the tensor in `file` for each weight of the level at `module`."""

    module: str
    file: str
    key: str
    tensors: Pairs


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled model. `bodies` holds each distinct body once, parts before wholes; the model is last.

    `weights` says which levels have their first values from a file.
    """

    format: int
    model: str
    source: str
    parameters: Pairs
    input: InputPlan
    output_size: int
    train: TrainPlan
    levels: tuple[OrderedLevel, ...]
    clock: Clock
    costs: Costs
    bodies: tuple[Body, ...]
    weights: tuple[WeightsPlan, ...] = ()

    @property
    def root(self) -> Body:
        return self.bodies[-1]
