"""NestModule: a plan as a torch module."""

from __future__ import annotations

import builtins
import linecache
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from nestdsl.library.extension import PYTHON_KINDS
from nestdsl.library.functions import AUTO
from nestdsl.memory import fits_memory
from nestdsl.plan.plan import OrderedLevel, Plan
from nestdsl.plan.precision import precisions
from nestdsl.plan.reach import reach
from nestdsl.runtime.block import Block, Pass, Run, State
from nestdsl.runtime.carried import settled
from nestdsl.runtime.compilation import can_compile, compiled_run
from nestdsl.runtime.compile_cache import use_compile_cache
from nestdsl.runtime.fitting import verify_input, verify_targets
from nestdsl.runtime.functions import at_least_float32
from nestdsl.runtime.kinds.matrix import Matrix
from nestdsl.runtime.memory import require_memory
from nestdsl.runtime.ops.linear_memory import fla
from nestdsl.runtime.optimizer.precision import fast_precision, verified
from nestdsl.runtime.stored import load_weights
from nestdsl.runtime.streams import from_parents, next_start, with_present_starts
from nestdsl.runtime.surprise.learn import Graph, training_loss
from nestdsl.runtime.surprise.levels import get, plastic_levels, put
from nestdsl.runtime.surprise.reading import at_end, read_and_learn


class NestModule(Block):
    """A compiled model. `build` makes one; its class is generated from the plan.

    State is an argument and a result: `model(x)` starts a context, `model(x, state)` goes on
    with one. A pass that starts a context runs compiled; so does one that goes on by one token or
    by a segment. Of other lengths it runs as it is, since each would be compiled for itself.
    """

    plan: Plan
    run: Run
    product_precision: str = AUTO
    """In which precision optimizers multiply matrices where the program leaves it to the machine."""

    def forward(self, x: Tensor, state: State | None = None, *, learn: bool = False) -> tuple[Tensor, State]:
        """x: ids [batch, tokens] or vectors [batch, tokens, size]; gives [batch, tokens, output], state.

        With `learn`, levels that learn from surprise in context do so from the ids as they come,
        as in training; without, they are read as they stand. Memories always learn. Raises NestError
        N0501 for what is no such input; ids on a GPU are not looked at, which would make it wait.
        """
        verify_input(self, self.plan, x)
        levels = list(plastic_levels(self)) if learn else []
        if levels:
            return read_and_learn(self, x, self.init_state(x.shape[0]) if state is None else state, levels)
        if state is None:
            return self.run.block(self, x, settled(self.init_state(x.shape[0])))
        return self.go_on(x, state)

    def go_on(self, x: Tensor, state: State) -> Pass:
        """Reads x from a state; compiled where passes of such a length come again and again."""
        lengths = (1, self.plan.clock.segment_tokens)
        run = self.steady_run() if x.shape[1] in lengths else Run()
        levels = list(plastic_levels(self))
        reading = settled(state)
        for level in levels:
            reading = put(reading, level.path, level.layer.read_state(get(state, level.path)))
        y, following = run.block(self, x, reading)
        for level in levels:
            kept = {**get(state, level.path), **get(following, level.path)}
            following = put(following, level.path, kept)
        return y, following

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """The objective of the model's `train` clause, a mean over all targets.

        cross_entropy (in nats): targets [batch, tokens] of ids, -100 where there is none; mse:
        targets [batch, tokens, output]. Levels that learn in context do so on the way. Raises NestError
        N0501 for other tensors; ids on a GPU are not looked at.
        """
        self._verify(inputs, targets)
        levels = list(plastic_levels(self))
        if levels:
            return training_loss(self, inputs, targets, levels, self._fresh(len(inputs)))[0]
        outputs, _ = self(inputs)
        return self._mean_loss(outputs, targets)

    def stream_loss(
        self, inputs: Tensor, targets: Tensor, state: State | None = None
    ) -> tuple[Tensor, State]:
        """The loss of the next sequences of a stream, one in each row, and the state for those after them.

        inputs and targets as in `loss`. Levels that say `reset never` go on from where the sequences
        before have left them; all others start anew, and so does everything without a state. The
        state that is given back has no graph: the outer levels look back no further than a sequence.
        Of weights that learned from surprise, they take what earlier sequences changed as constant.
        Errors are those of `loss`.
        """
        self._verify(inputs, targets)
        fresh = self._fresh(len(inputs))
        levels = list(plastic_levels(self))
        if state is None:
            state = fresh
        else:  # what starts anew does so here, where its gradient can reach the start
            state = with_present_starts(self, next_start(self, state, fresh), fresh)
            state = from_parents(levels, state)
        if levels:
            loss, state = training_loss(self, inputs, targets, levels, state, goes_on=True)
        else:
            outputs, state = self.run.block(self, inputs, settled(state))
            loss = self._mean_loss(outputs, targets)
        return loss, self.detach_state(self.reset_state(state))

    def _verify(self, inputs: Tensor, targets: Tensor) -> None:
        verify_input(self, self.plan, inputs)
        verify_targets(self.plan, inputs, targets)

    def _fresh(self, batch: int) -> State:
        """The state at the start of a context, with its graph even where none is asked for: what is
        compiled for training then serves measuring as well."""
        with torch.enable_grad():
            return self.init_state(batch)

    def _mean_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """In float32 at least, as in `loss_sum`."""
        outputs = at_least_float32(outputs)
        if self.plan.train.objective == "cross_entropy":
            return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())
        return F.mse_loss(outputs, targets)

    def init_state(self, batch: int) -> State:
        """The state at the start of a context for `batch` sequences, on the device of the weights."""
        device, dtype = self._placement()
        return self.initial(batch, device, dtype)

    def detach_state(self, state: State) -> State:
        """The same state without the graph that led to it."""
        return tree_map(lambda part: part.detach() if isinstance(part, Tensor) else part, state)

    def reset_state(self, state: State) -> State:
        """The state with which the next sequences start, for as many as this one has.

        Levels that say `reset never` keep theirs; all others start anew.
        """
        following = next_start(self, state, self.init_state(_batch(state)))
        levels = list(plastic_levels(self))
        if any(level.carried for level in levels):
            following = at_end(state, from_parents(levels, following))
        return following

    def carries_state(self) -> bool:
        """Whether any level keeps its state from one sequence of a stream to the next."""
        return any(level.carried for body in self.plan.bodies for level in body.levels)

    def level_parameters(self, level: OrderedLevel) -> dict[str, nn.Parameter]:
        """The weights of all copies of a declared level, by their full names."""
        return {
            f"{path}.{name}": parameter
            for path in level.modules
            for name, parameter in self.get_submodule(path).named_parameters()
        }

    def state_grows(self) -> bool:
        """Whether the state grows with the tokens read, as that of attention without a window does."""
        return self.plan.costs.state_bytes_per_token > 0

    def steady_run(self) -> Run:
        """The run for passes of one length, each of which goes on from the state of the one before."""
        # What a cache holds grows from pass to pass, and each length would be compiled anew; where
        # sequences are read in segments, caches run apart (`pieces.py`).
        return Run() if self.state_grows() and not self.plan.clock.segment_tokens else self.run

    def fix_precision(self, precision: str = "") -> str:
        """Fixes the precision of `newton_schulz` wherever the program leaves it to the machine, and gives
        it: that of a run that goes on, or else what this machine is fast at. Empty if nothing is left to it.

        To be called before optimizers are built. Raises ValueError for another precision.
        """
        if not any(AUTO in found for found in precisions(self.plan).values()):
            return ""
        self.product_precision = verified(precision) if precision else fast_precision([self._placement()[0]])
        for level in plastic_levels(self):
            level.layer.optimizer = replace(level.layer.optimizer, precision=self.product_precision)
        return self.product_precision

    def graph_kept(self) -> Graph:
        """How much of the graph the outer levels need while levels learn from surprise in context."""
        found = reach(self.plan)
        if found.is_cut:
            return Graph.CUT
        if not found.is_whole:
            return Graph.WINDOW
        return Graph.THROUGH if any(found.updates.values()) else Graph.WHOLE

    def _placement(self) -> tuple[torch.device, torch.dtype]:
        for parameter in self.parameters():
            return parameter.device, parameter.dtype
        return torch.device("cpu"), torch.get_default_dtype()


def _batch(state: Any) -> int:
    """The number of sequences of a state: the first extent of its tensors."""
    leaves = tree_leaves(state)
    return next((leaf.shape[0] for leaf in leaves if isinstance(leaf, Tensor) and leaf.ndim > 1), 1)


def build(
    plan: Plan,
    seed: int = 0,
    compile: bool = True,
    device: torch.device | str = "cpu",
    *,
    load: bool = True,
    kernels: bool = True,
) -> NestModule:
    """The model of a plan, with weights drawn from a seed, or from the files that the plan names.

    Same plan, same seed, same model. With `compile`, whole passes run through torch.compile;
    where that cannot work, a warning says why and the model runs as it is. `load=False` leaves the
    files alone, for a model whose weights come from elsewhere. With `kernels`, memories on a GPU run by
    flash-linear-attention where it is installed and computes what they do.
    """
    from nestdsl.runtime.source import python_source

    text = python_source(plan)
    file = f"<nestdsl {plan.model}>"
    # So that a traceback through the generated code shows its lines.
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    namespace: dict[str, Any] = {}
    exec(builtins.compile(text, file, "exec"), namespace)
    device = torch.device(device)
    what, hint = f"the model `{plan.model}`", "make it smaller, with `--set` for instance"
    require_memory(plan.costs.parameter_bytes, device, what, hint)
    with fits_memory(what, hint):
        model = _built(namespace["Model"], plan, seed, device, load=load)
    use_compile_cache(compiles=False)  # torch makes the folder for operators of its users, too
    if kernels and device.type == "cuda" and fla.is_installed():
        use_kernels(model)
    model.run = compiled_run(model) if compile and can_compile(device) else Run()
    return model


def _built(made: type[NestModule], plan: Plan, seed: int, device: torch.device, *, load: bool) -> NestModule:
    """The model with its weights, on its device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = made()
    model.plan = plan
    if load:
        load_weights(model, plan.weights)
    model.to(device)
    _verify_declarations(model)
    _freeze(model)
    return model


def use_kernels(model: nn.Module) -> None:
    """Lets the memories that flash-linear-attention computes run by it; printing the model shows which."""
    for part in model.modules():
        if isinstance(part, Matrix):
            part.use_kernels()


def _verify_declarations(model: NestModule) -> None:
    """Raises TypeError if a kind that Python has added learns other than it declares."""
    for level in model.plan.levels:
        if level.kind not in PYTHON_KINDS:
            continue
        found = sum(weight.numel() for weight in model.level_parameters(level).values())
        if found != level.parameters * level.copies:
            raise TypeError(
                f"the kind `{level.kind}` learns {found // level.copies} numbers, but declares "
                f"{level.parameters}: give their names and shapes to `nestdsl.kind(parameters=...)`"
            )


def _freeze(model: NestModule) -> None:
    """Weights of frozen levels need no gradient."""
    for level in model.plan.levels:
        if level.frozen:
            for parameter in model.level_parameters(level).values():
                parameter.requires_grad_(False)
