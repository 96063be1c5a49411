"""An optimizer of a `.nest` file as a `torch.optim.Optimizer`, for any PyTorch project."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nestdsl.diagnostics import fail
from nestdsl.given import path_text, require_bool, wrong_type
from nestdsl.graph.optimizer import OptimizerProgram
from nestdsl.memory import fits_memory
from nestdsl.plan.precision import precisions_of
from nestdsl.ranges import require_whole, shown
from nestdsl.runtime.compile_cache import use_compile_cache
from nestdsl.runtime.optimizer.constants import needs_run_steps
from nestdsl.runtime.optimizer.constants import scheduled as schedule_value
from nestdsl.runtime.optimizer.face_checks import (
    BFLOAT16,
    MATRICES,
    PARAMS,
    group_params,
    listed_params,
    number_of,
    refused,
    verify_gradients,
    verify_group,
    verify_groups,
    verify_precision,
    verify_same,
    verify_saved_groups,
    verify_state,
    verify_weights,
)
from nestdsl.runtime.optimizer.memories import STEP_COUNT
from nestdsl.runtime.optimizer.parts import Part, parts_of
from nestdsl.runtime.optimizer.precision import fast_precision
from nestdsl.semantics.elaborate.optimizers.named import NamedOptimizer, named_optimizer
from nestdsl.vocabulary.functions import AUTO

_COPIED = ("_named", "_arguments", "_compile", "_run_steps", "_of_groups", "_in_bfloat16", "_scheduled")
"""What a copy of an optimizer has beside what copies of torch's have."""
Value = int | float | bool | str

_fits_memory = fits_memory(
    "the optimizer with its memories", "give it fewer parameters, or an optimizer that remembers less"
)


@_fits_memory
def optimizer(
    name: str | os.PathLike[str],
    params: Iterable[Any],
    *,
    compile: bool = True,
    steps: int | None = None,
    **arguments: Value,
) -> NestOptimizer:
    """The optimizer `std.optim:m3` or `mine.nest:three_speed` for the parameters of any PyTorch model.

        optimizer = nestdsl.optimizer("std.optim:m3", model.parameters(), lr=3e-4)

    params: parameters, or groups of them as torch.optim takes them; a group may have arguments of its own,
    and `"matrices": False` where its 2-D parameters are embeddings or make the model's output: what an
    optimizer for `only matrices` leaves to another. Those move at that one's rate, such as `adamw_lr` of
    muon, which is a number of the group like `lr`; a scheduler that sets `lr` does not change it.
    Where the program leaves the precision of `newton_schulz` to the machine, as those of the library do, a
    group shows the choice as `"bfloat16"`, True or False; it may be given, and the state dict keeps it.
    arguments: those that the optimizer declares: numbers, or a schedule as a string, such as
    `lr="cosine(3e-4, warmup = 100)"`.
    steps: how many updates the run has, for schedules that fall to its end.
    compile: whether updates run as compiled kernels, or operation by operation. Compiling takes about a
    second at the first update, and less where a slow memory first moves.

    Raises NestError: N0101 and N0105 for an optimizer that is not there, N0103 and N0203 for arguments that
    it does not take, N0202 for steps that are no number, N0104 for an argument of another type or what
    are no parameters, and whatever else is wrong with the file;
    later, too, N0503 where the optimizer's memories do not fit into memory.
    """
    file = path_text("`name`", name, "the name of an optimizer, such as `std.optim:m3` or `mine.nest:fast`")
    require_bool("`compile`", compile)
    if steps is not None:
        require_whole("steps", steps)
    return NestOptimizer(named_optimizer(file), params, arguments, compile=compile, steps=steps)


@dataclass(frozen=True, slots=True)
class _Moving:
    """What moves the parameters of a group, and for which it was built.

    matrices: whether its 2-D parameters are matrices; None where the program moves all of them alike.
    """

    weights: tuple[Tensor, ...]
    matrices: bool | None
    parts: tuple[Part, ...]


class NestOptimizer(torch.optim.Optimizer):
    """An optimizer written in the language. `optimizer` makes it.

    A group's numbers (`lr` above all) may change while it runs, so that the schedulers of torch.optim
    work; those that a program is built from, such as periods, cannot. `state[parameter]` holds the
    memories by name, and `step_count`.
    """

    def __init__(
        self,
        named: NamedOptimizer,
        params: Iterable[Any],
        arguments: dict[str, Value],
        *,
        compile: bool,
        steps: int | None,
    ) -> None:
        use_compile_cache(compiles=False)  # torch.optim imports what makes the folder
        self._named = named
        self._arguments = arguments
        self._compile = compile
        self._run_steps = steps
        self._programs: dict[str, OptimizerProgram] = {}
        self._of_groups: list[OptimizerProgram] = []
        self._in_bfloat16: list[bool | None] = []
        """Of each group, whether the products are whose precision its program leaves to the machine; None
        where it leaves none."""
        self._moving: dict[int, _Moving] = {}
        self._scheduled: list[dict[str, float]] = []
        """The values that schedules gave to each group's numbers last."""
        super().__init__(listed_params(params), {**_numbers(self._program({})), MATRICES: True})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds parameters, perhaps with arguments of their own; raises NestError for wrong ones."""
        verify_group(param_group)
        own = {
            name: value
            for name, value in param_group.items()
            if name not in (PARAMS, "param_names", MATRICES, BFLOAT16) and self.defaults.get(name) != value
        }
        program = self._program(own)
        verify_precision(program, param_group)
        params = group_params(param_group)
        try:
            super().add_param_group({**param_group, PARAMS: params, **_numbers(program)})
        except (TypeError, ValueError) as error:
            raise refused(error) from error
        self._of_groups.append(program)
        self._in_bfloat16.append(_with_choice(program, self.param_groups[-1]))
        self._scheduled.append({one.parameter: one.peak for one in program.schedules})

    @_fits_memory
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from what `state_dict()` of the same optimizer gave; memories keep their own precision.

        Parameters that the optimizer did not declare then have their defaults. Raises NestError N0502, before
        anything has changed, for the state of another optimizer, of other periods, or of other shapes, and
        N0104 for what is no state dict.
        """
        verify_groups(self.param_groups, len(self._of_groups))
        verify_saved_groups(state_dict, self.param_groups)
        saved = self._saved(state_dict)
        for number, group in enumerate(state_dict["param_groups"]):
            self._verify_structure(number, group)
            verify_precision(self._of_groups[number], group)
        for moving in self._all_moving():
            for one in moving.fast.driven:
                verify_state(one, saved.get(one.weight))
        super().load_state_dict(state_dict)
        self.state.clear()
        self._take_up_all(saved)
        for number, group in enumerate(self.param_groups):
            for name, value in {**_numbers(self._of_groups[number]), MATRICES: True}.items():
                group.setdefault(name, value)
            self._in_bfloat16[number] = _with_choice(self._of_groups[number], group)
            self._scheduled[number] = {name: group[name] for name in self._scheduled[number]}

    def __getstate__(self) -> dict[str, Any]:
        """All but what is built from it: kernels, and memories where they move."""
        own = {name: value for name, value in self.__dict__.items() if name in _COPIED}
        return {**super().__getstate__(), **own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._programs, self._moving = {}, {}
        self._take_up_all(dict(self.state))

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Moves all parameters that have a gradient. closure: computes the loss again, with its gradients.

        Raises NestError where a group has a number that is none: N0103, N0104 or N0203; N0405 for one that
        cannot change, N0501 for a sparse gradient.
        """
        if closure is not None and not callable(closure):
            raise wrong_type("`closure`", closure, "a function that computes the loss, or nothing")
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        verify_groups(self.param_groups, len(self._of_groups))
        for number, group in enumerate(self.param_groups):
            self._step(number, group)
        return loss

    @_fits_memory
    def _step(self, number: int, group: dict[str, Any]) -> None:
        program = self._of_groups[number]
        given = self._given(number, program, group)
        parts = self._of_group(number)
        verify_gradients(self._moving[number].weights)
        for moving in parts:
            moving.step(given, self._run_steps)
            for one in moving.fast.driven:
                if one.step_count:
                    kept = self.state[one.weight]
                    if not isinstance(kept, dict):
                        raise wrong_type("`state` of a parameter", kept, "what was there, or nothing")
                    if not kept:
                        kept.update(one.state)
                    kept[STEP_COUNT] = one.step_count
        self._show_schedules(number, program, group)

    # --- what moves ------------------------------------------------------------------------

    def _of_group(self, number: int) -> tuple[Part, ...]:
        """The matrices of a group and its other weights, each with what moves them."""
        group = self.param_groups[number]
        if (moving := self._moving.get(number)) is not None:
            verify_same(group, moving.weights, moving.matrices)
            return moving.parts
        require_bool(f"`{MATRICES}` of a group", group.get(MATRICES))
        verify_weights(group)
        program, weights, matrices = self._of_groups[number], tuple(group[PARAMS]), group[MATRICES]
        parts = parts_of(
            program,
            weights,
            lambda weight: matrices and weight.ndim == 2,
            compile=self._compile,
            precision=_PRECISIONS[group.get(BFLOAT16)],
        )
        self._moving[number] = _Moving(weights, None if program.otherwise is None else matrices, parts)
        return parts

    def _all_moving(self) -> Iterator[Part]:
        for number in range(len(self.param_groups)):
            yield from self._of_group(number)

    def _saved(self, state_dict: dict[str, Any]) -> dict[Tensor, dict[str, Any]]:
        """What a state dict holds of each weight of this optimizer."""
        numbers = [number for group in state_dict["param_groups"] for number in group[PARAMS]]
        weights = [weight for group in self.param_groups for weight in group[PARAMS]]
        return {weight: state_dict["state"].get(one) for weight, one in zip(weights, numbers, strict=True)}

    def _verify_structure(self, number: int, saved: dict[str, Any]) -> None:
        program = self._of_groups[number]
        made = _numbers(program)
        for name in made.keys() & saved.keys():
            number_of(saved, name)
        own = self.param_groups[number].get(MATRICES)
        if program.otherwise is not None and (its := saved.get(MATRICES, own)) != own:
            raise fail(
                "N0502",
                f"group {number} of this state was saved with `{MATRICES}` {its}, and here it is {own}",
                f"make the optimizer with `'{MATRICES}': {its}` in that group",
            )
        for name in program.structural:
            if name in made and saved.get(name, made[name]) != made[name]:
                raise fail(
                    "N0502",
                    f"this state was saved with `{name} = {saved[name]}`, and here `{name}` is {made[name]}",
                    f"make the optimizer with `{name}={saved[name]}`: the program is built from it",
                )

    def _take_up_all(self, saved: dict[Tensor, dict[str, Any]]) -> None:
        """Puts what was saved of each weight in the place of what is remembered of it now."""
        for moving in self._all_moving():
            for one in moving.fast.driven:
                its = saved.get(one.weight)
                if not its:
                    moving.fast.start_anew(one)
                    continue
                for name, tensor in one.state.items():
                    tensor.copy_(its[name])
                one.step_count = int(its[STEP_COUNT])
                self.state[one.weight] = {**one.state, STEP_COUNT: one.step_count}

    # --- programs --------------------------------------------------------------------------

    def _program(self, given: dict[str, Any]) -> OptimizerProgram:
        arguments = {**self._arguments, **given}
        key = self._named.written(arguments)
        if key not in self._programs:
            program = self._named.program(arguments)
            ends = needs_run_steps(program)
            if ends is not None and self._run_steps is None:
                raise fail(
                    "N0203",
                    f"the schedule of `{ends}` falls to the end of the run, and nobody said when that is",
                    "give `steps=` to `nestdsl.optimizer`, or to the schedule: `cosine(3e-4, steps = 1000)`",
                )
            self._programs[key] = program
        return self._programs[key]

    def _given(self, number: int, program: OptimizerProgram, group: dict[str, Any]) -> dict[str, float]:
        """The numbers of a group as they are now. Raises NestError where one has changed that cannot."""
        made = _numbers(program)
        numbers = {name: number_of(group, name) for name in made}
        for name in program.structural:
            if name in made and numbers[name] != made[name]:
                raise fail(
                    "N0405",
                    f"`{name}` was {made[name]} when the optimizer was made, and cannot become {group[name]}",
                    "the program is built from it: make a new optimizer",
                )
        if group.get(BFLOAT16) is not self._in_bfloat16[number]:
            raise fail(
                "N0405",
                f"`{BFLOAT16}` of a group was {self._in_bfloat16[number]} when the optimizer was made, and "
                f"cannot become {shown(group.get(BFLOAT16))}",
                "give it to the group when the optimizer is made",
            )
        scheduled = self._scheduled[number]
        for name, value in scheduled.items():
            if numbers[name] != value:
                raise fail(
                    "N0405",
                    f"`{name}` follows a schedule of its own, and something set it to {group[name]}",
                    f"give `{name}` a number, so that a scheduler of torch.optim may change it",
                )
        return {name: value for name, value in numbers.items() if name not in scheduled}

    def _show_schedules(self, number: int, program: OptimizerProgram, group: dict[str, Any]) -> None:
        """Puts the present values of schedules where people look for them: into the group."""
        counts = [self.state[weight][STEP_COUNT] for weight in group[PARAMS] if weight in self.state]
        for schedule in program.schedules if counts else ():
            value = schedule_value(schedule, max(counts), self._run_steps)
            group[schedule.parameter] = self._scheduled[number][schedule.parameter] = value


def _numbers(program: OptimizerProgram) -> dict[str, int | float]:
    """The parameters that are numbers; those with a schedule by their peak."""
    return {
        name: value
        for name, value in program.parameters
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


_PRECISIONS = {None: AUTO, True: "bfloat16", False: "float32"}


def _with_choice(program: OptimizerProgram, group: dict[str, Any]) -> bool | None:
    """The choice of a group; if it has none, that of where its weights are is put into it."""
    if AUTO not in precisions_of(program):
        return None
    if BFLOAT16 not in group:
        group[BFLOAT16] = fast_precision(weight.device for weight in group[PARAMS]) == "bfloat16"
    return group[BFLOAT16]
