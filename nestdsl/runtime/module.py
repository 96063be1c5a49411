"""NestModule: a plan as a torch module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from nestdsl.given import require_bool, wrong_type
from nestdsl.plan.plan import OrderedLevel, Plan
from nestdsl.plan.precision import precisions
from nestdsl.plan.reach import reach
from nestdsl.runtime.block import Block, Pass
from nestdsl.runtime.compilation import can_compile, compiled_run
from nestdsl.runtime.fitting import verify_input, verify_learning, verify_targets
from nestdsl.runtime.functions import at_least_float32
from nestdsl.runtime.learning.groups import groups
from nestdsl.runtime.learning.levels import PlasticLevel, bare_state, plastic_levels, target_count
from nestdsl.runtime.learning.reader import Reader
from nestdsl.runtime.learning.reading import at_end, read_and_learn
from nestdsl.runtime.learning.strategies import Strategy, strategy_for, training_loss
from nestdsl.runtime.method_checks import (
    listed_states,
    require_batch,
    require_targets,
    verify_mask,
    verify_numbers,
)
from nestdsl.runtime.optimizer.precision import fast_precision, verified
from nestdsl.runtime.program import Program
from nestdsl.runtime.rows import join_rows, reset_rows, take_rows
from nestdsl.runtime.run import PLAIN, Run
from nestdsl.runtime.state import State, get, put, settled
from nestdsl.runtime.state_checks import explain_state, verify_state
from nestdsl.runtime.streams import from_parents, next_start, with_present_starts
from nestdsl.runtime.watch import Watch
from nestdsl.vocabulary.functions import AUTO


class NestModule(Block):
    """A compiled model; `nestdsl.Nest.compile` makes one.

    State is an argument and a result: `model(x)` starts a context, `model(x, state)` goes on
    with one. A pass that starts a context runs compiled; so does one that goes on by one token or
    by a segment. Of other lengths it runs as it is, since each would be compiled for itself; so does
    a model with hooks, inside of torch.compile, and in a process group's wrappers.
    """

    def __init__(self, program: Program, plan: Plan) -> None:
        for name, value, type_ in (("plan", plan, Plan), ("program", program, Program)):
            if not isinstance(value, type_):
                give = "nothing: `nestdsl.load(...).compile()` makes models"
                raise wrong_type(f"`{name}` of nestdsl.NestModule", value, give)
        super().__init__(program)
        self.plan = plan
        self.run: Run = PLAIN
        self._watch: Watch | None = None
        self._plastic: tuple[int, list[PlasticLevel]] | None = None
        self.product_precision = AUTO
        """In which precision optimizers multiply matrices where the program leaves it to the machine."""

    def __getstate__(self) -> dict[str, Any]:
        """All but what is compiled: a copy compiles for itself."""
        return {**self.__dict__, "run": self.run is not PLAIN, "_watch": None, "_plastic": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({**state, "run": PLAIN})
        if state["run"] and can_compile(self._placement()[0]):
            self.run = compiled_run(self)

    if TYPE_CHECKING:  # torch says of no module what calling it takes and gives

        def __call__(
            self,
            x: Tensor,
            state: State | None = None,
            *,
            targets: Tensor | None = None,
            learn: bool = False,
            stream: bool = False,
        ) -> tuple[Tensor, Any]: ...

    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        *,
        targets: Tensor | None = None,
        learn: bool = False,
        stream: bool = False,
    ) -> tuple[Tensor, State | None]:
        """x: ids [batch, tokens] or vectors [batch, tokens, size]; gives [batch, tokens, output], state.

        With `learn`, levels that learn from surprise in context do so from the ids as they come,
        as in training; without, they are read as they stand. Memories always learn.

        With `targets` it gives the loss instead: `loss` and, with `stream`, `stream_loss` say which. They
        are here so that wrappers such as DistributedDataParallel see them: `loss, _ = wrapped(x, targets=y)`.

        Raises NestError N0501 for what is no such input; ids on a GPU are not looked at, which would make it
        wait.
        """
        require_bool("`learn`", learn)
        require_bool("`stream`", stream)
        if targets is not None:
            return self._losses(x, targets, state, stream=stream)
        verify_input(self, self.plan, x)
        self._verify_state(state, x)
        levels = self._levels() if learn else []
        if levels:
            state = self.init_state(x.shape[0]) if state is None else state
            verify_learning(self.plan, is_split=bool(groups(levels, state)))
            return read_and_learn(self._reader(levels), self._go_on, x, state)
        return self._begin(x) if state is None else self._go_on(x, state)

    def _begin(self, x: Tensor) -> Pass:
        """Reads x from the start of a context."""
        run = self._present_run()
        return self._read(x, None if run is PLAIN else settled(self.init_state(x.shape[0])), run)

    def _verify_state(self, state: State | None, x: Tensor) -> None:
        if state is not None and not torch.compiler.is_compiling():
            verify_state(self, state, len(x))

    def _go_on(self, x: Tensor, state: State) -> Pass:
        """Reads x from a state; compiled where passes of such a length come again and again."""
        lengths = (1, self.plan.clock.segment_tokens)
        run = self.steady_run() if x.shape[1] in lengths else PLAIN
        levels = self._levels()
        reading = state if run is PLAIN else settled(state)
        for level in levels:
            reading = put(reading, level.path, level.layer.read_state(get(state, level.path)))
        try:
            y, following = self._read(x, reading, run)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError):
            explain_state(
                self, state, self.init_state(len(x))
            )  # a state of another program, with these names
            raise
        for level in levels:
            kept = {**get(state, level.path), **get(following, level.path)}
            following = put(following, level.path, kept)
        return y, following

    def _read(self, x: Tensor, state: State | None, run: Run) -> Pass:
        """One pass of the body."""
        return self.run_by(run, x, state) if run is PLAIN else run.block(self, x, state)

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """The objective of the model's `train` clause, a mean over all targets.

        cross_entropy (in nats): targets [batch, tokens] of ids, -100 where there is none; mse:
        targets [batch, tokens, output]. Levels that learn in context do so on the way. Raises NestError
        N0501 for other tensors; ids on a GPU are not looked at.
        """
        require_targets(targets)
        return self(inputs, targets=targets)[0]

    def stream_loss(
        self, inputs: Tensor, targets: Tensor, state: State | None = None
    ) -> tuple[Tensor, State]:
        """The loss of the next sequences of a stream, one in each row, and the state for those after them.

        inputs and targets as in `loss`. Levels that say `reset never` go on from where the sequences
        before have left them; all others start again, and so does everything without a state. The
        state that is given back has no graph: the outer levels look back no further than a sequence.
        Of weights that learned from surprise, they take what earlier sequences changed as constant.
        Errors are those of `loss`.
        """
        require_targets(targets)
        return self(inputs, state, targets=targets, stream=True)

    def _losses(
        self, inputs: Tensor, targets: Tensor, state: State | None, *, stream: bool
    ) -> tuple[Tensor, State | None]:
        """The loss, and in a stream the state after it."""
        verify_input(self, self.plan, inputs)
        verify_targets(self.plan, inputs, targets)
        self._verify_state(state, inputs)
        if stream:
            return self._stream_loss(inputs, targets, state)
        levels = self._levels()
        if levels:
            return training_loss(self._reader(levels), inputs, targets, self._bare(len(inputs)))[0], None
        outputs, _ = self._begin(inputs)
        return self._mean_loss(outputs, targets), None

    def _stream_loss(self, inputs: Tensor, targets: Tensor, state: State | None) -> tuple[Tensor, State]:
        fresh = self._fresh(len(inputs))
        levels = self._levels()
        if state is None:
            state = fresh
        else:  # what starts again does so here, where its gradient can reach the start
            state = with_present_starts(self, next_start(self, state, fresh), fresh)
            state = from_parents(levels, state)
        if levels:
            loss, state = self._learned(levels, inputs, targets, state)
        else:
            outputs, state = self._read(inputs, settled(state), self._present_run())
            loss = self._mean_loss(outputs, targets)
        return loss, self.detach_state(self.reset_state(state))

    def _learned(
        self, levels: list[PlasticLevel], inputs: Tensor, targets: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """The loss of sequences that go on from a state, and the next state. Rows that stand at different
        places of a period are read in groups."""
        reader, apart = self._reader(levels), groups(levels, state)
        if not apart:
            return training_loss(reader, inputs, targets, state, goes_on=True)
        losses, following = [], []
        for rows in apart:
            own = take_rows(state, rows)
            loss, after = training_loss(reader, inputs[rows], targets[rows], own, goes_on=True)
            losses.append(loss * target_count(targets[rows]))
            following.append(after)
        order = torch.cat(apart).argsort()
        loss = torch.stack(losses).sum() / target_count(targets)
        return loss, take_rows(join_rows(self, following), order)

    def _present_run(self) -> Run:
        """How a pass runs now: compiled, if the model is and nothing hangs on the calls of its modules."""
        if self.run is PLAIN or torch.compiler.is_compiling():
            return PLAIN
        return PLAIN if self._looked().has_hooks() else self.run

    def _looked(self) -> Watch:
        """The watch, after a look."""
        if self._watch is None:
            self._watch = Watch(self)
        self._watch.look()
        return self._watch

    def _levels(self) -> list[PlasticLevel]:
        """The levels that learn from surprise in context; they are the same as long as the modules are."""
        if torch.compiler.is_compiling():
            return list(plastic_levels(self))
        changes = self._looked().changes
        if self._plastic is None or self._plastic[0] != changes:
            self._plastic = changes, list(plastic_levels(self))
        return self._plastic[1]

    def _fresh(self, batch: int) -> State:
        """The state at the start of a context, with its graph even where none is asked for: what is
        compiled for training then serves measuring as well."""
        with torch.enable_grad():
            return self.init_state(batch)

    def _bare(self, batch: int) -> State:
        """A state from which a context begins: where nothing is compiled, levels make their starts."""
        if self._present_run() is not PLAIN:
            return self._fresh(batch)
        return bare_state(self, batch, *self._placement())

    def _mean_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """In float32 at least, as in `loss_sum`."""
        outputs = at_least_float32(outputs)
        if self.plan.train.objective == "cross_entropy":
            return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())
        return F.mse_loss(outputs, targets)

    def init_state(self, batch: int) -> State:
        """The state at the start of a context for `batch` sequences, on the device of the weights.

        Raises NestError N0202 for what is no number of sequences.
        """
        require_batch(batch)
        device, dtype = self._placement()
        return self.initial(batch, device, dtype)

    def detach_state(self, state: State) -> State:
        """The same state without the graph that led to it.

        Raises NestError N0501 for a state of another model.
        """
        self._count_rows(state)
        return tree_map(lambda part: part.detach() if isinstance(part, Tensor) else part, state)

    def take_rows(self, state: State, rows: Tensor) -> State:
        """The rows of a state whose numbers `rows` holds, whole numbers from 0, in that order.

        Raises NestError N0501 for a state of another model, and for numbers of rows that it does not have.
        """
        verify_numbers(rows, self._count_rows(state))
        return take_rows(state, rows)

    def join_states(self, states: Sequence[State]) -> State:
        """One state with the rows of several, in their order, wherever in its context each stands.

        Raises NestError N0501 if levels have learned from surprise in some of them alone, and for states of
        another model; N0104 for what is no list of states.
        """
        for state in listed_states(states):
            self._count_rows(state)
        return join_rows(self, states)

    def reset_rows(self, state: State, rows: Tensor) -> State:
        """The state in which the rows where `rows` [batch] is true begin a context, and the others go on.

        Raises NestError N0501 for a state of another model, and for anything but a truth value for each row.
        """
        verify_mask(rows, self._count_rows(state))
        return reset_rows(self, state, self.init_state(len(rows)), rows)

    def reset_state(self, state: State) -> State:
        """The state with which the next sequences start, for as many as this one has.

        Levels that say `reset never` keep theirs; all others start again. Raises NestError N0501 for a state
        of another model.
        """
        following = next_start(self, state, self.init_state(self._count_rows(state)))
        levels = self._levels()
        if any(level.carried for level in levels):
            following = at_end(state, from_parents(levels, following))
        return following

    def carries_state(self) -> bool:
        """Whether any level keeps its state from one sequence of a stream to the next."""
        return any(level.carried for body in self.plan.bodies for level in body.levels)

    def level_parameters(self, level: OrderedLevel) -> dict[str, nn.Parameter]:
        """The weights of all copies of a declared level, by their full names.

        level: one of `plan.levels`. Raises NestError N0104 for anything else.
        """
        if not isinstance(level, OrderedLevel):
            raise wrong_type("`level`", level, "one of the levels of the model: `model.plan.levels[0]`")
        return {
            f"{path}.{name}": parameter
            for path in level.modules
            for name, parameter in self.get_submodule(path).named_parameters()
        }

    def state_grows(self) -> bool:
        """Whether the state grows with the tokens read, as that of attention without a window does."""
        return self.plan.costs.state_bytes_per_token > 0

    def _count_rows(self, state: State) -> int:
        """The rows of a state: the first extent of each of its tensors. Raises NestError N0501 for a state of
        another model."""
        leaves = tree_leaves(state)
        rows = next((leaf.shape[0] for leaf in leaves if isinstance(leaf, Tensor) and leaf.ndim), 1)
        if not torch.compiler.is_compiling():
            verify_state(self, state, rows)
        return rows

    def steady_run(self) -> Run:
        """The run for passes of one length, each of which goes on from the state of the one before."""
        # What a cache holds grows from pass to pass, and each length would be compiled again; where
        # sequences are read in segments, caches run apart (`pieces.py`).
        is_steady = self.plan.clock.segment_tokens or not self.state_grows()
        return self._present_run() if is_steady else PLAIN

    def fix_precision(self, precision: str = "") -> str:
        """Fixes the precision of `newton_schulz` wherever the program leaves it to the machine, and gives
        it: that of a run that goes on, or else what this machine is fast at. Empty if nothing is left to it.

        To be called before optimizers are built. Raises NestError N0203 for another precision.
        """
        given = verified(precision)
        if not any(AUTO in found for found in precisions(self.plan).values()):
            return ""
        self.product_precision = given or fast_precision([self._placement()[0]])
        for level in self._levels():
            level.layer.optimizer = replace(level.layer.optimizer, precision=self.product_precision)
        return self.product_precision

    def learning_strategy(self) -> Strategy:
        """How the training loss is computed where levels learn from surprise in context, and why so."""
        return strategy_for(reach(self.plan))

    def _reader(self, levels: list[PlasticLevel]) -> Reader:
        return Reader(self, levels, self.plan.train.objective, reach(self.plan), self.steady_run())

    def _placement(self) -> tuple[torch.device, torch.dtype]:
        for parameter in self.parameters():
            return parameter.device, parameter.dtype
        return torch.device("cpu"), torch.get_default_dtype()
