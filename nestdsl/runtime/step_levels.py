"""Levels that move once in a number of optimizer steps.

After each backward pass the gradient of a level gathers in `.grad`; at the end of its period
the level moves once, by the mean (or the sum) of what has gathered, its optimizer's memories
advance once, and the gathering starts again [Nested Learning, Eq. 71]. Other levels are not touched.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from nestdsl.diagnostics import Diagnostic, NestError, Severity, fail
from nestdsl.plan.plan import OptimizerPlan, OrderedLevel
from nestdsl.runtime.compilation import CompiledRun
from nestdsl.runtime.likeness import difference
from nestdsl.runtime.optimizer.groups import Driven
from nestdsl.runtime.optimizer.memories import STEP_COUNT
from nestdsl.runtime.optimizers import Driver, Weights, drivers, hidden_matrices
from nestdsl.vocabulary.timing import Unit

if TYPE_CHECKING:
    from nestdsl.runtime.module import NestModule

_GATHERED = "gathered_gradient"


class NonFiniteGradient(ArithmeticError):
    """A gradient is infinite or not a number; nothing has moved. `weight` names the first such weight."""

    def __init__(self, weight: str, level: str) -> None:
        super().__init__(f"the gradient of `{level}` (its weight `{weight}`) is not finite")
        self.weight = weight


class UntrainedLevelError(NestError):
    """N0305: no gradient reaches the weights of `level`, a declared level."""

    def __init__(self, level: str, diagnostic: Diagnostic) -> None:
        super().__init__((diagnostic,))
        self.level = level
        self.diagnostic = diagnostic


@dataclass(frozen=True, slots=True)
class Group:
    """The weights that one optimizer moves at one period in steps."""

    optimizer: OptimizerPlan
    period: int
    weights: Weights
    drivers: tuple[Driver, ...]

    @property
    def takes_mean(self) -> bool:
        return dict(self.optimizer.arguments)["reduce"] == "mean"


class StepLevels:
    """Moves the weights of a model, each level at its own period.

    A level `every N steps` is moved by its own optimizer, or else by the model's. The weights of
    a level `every N tokens` (its learned initial state, for instance) belong to the model's
    `train` clause. A `frozen` level is in no group. Raises NestError N0404 where two levels hold
    the same tensor.

    run_steps: the optimizer steps of the whole run, to whose end schedules fall; 0 where there is no end.
    Products of optimizers have the precision that the model has now (`NestModule.fix_precision`).
    """

    def __init__(self, model: NestModule, run_steps: int = 0) -> None:
        weights = {level: model.level_parameters(level) for level in model.plan.levels if not level.owner}
        trained = {
            level: of_level
            for level, of_level in weights.items()
            if level.learns != "nothing" and not level.frozen
        }
        _verify_each_weight_once(model, weights)
        self._source = model.plan.source
        self._level_of = {name: level.name for level, of_level in weights.items() for name in of_level}
        self.groups = tuple(_groups(model, trained, run_steps))
        # The start of a memory that is never reset has a gradient in the first sequence of a stream only.
        carried = (of_level for level, of_level in weights.items() if level.carried and "->" in level.learns)
        self._resting = {name for of_level in carried for name in of_level}

    def step(self, number: int, rate_scale: float = 1.0, clip: float | None = None) -> float:
        """Ends optimizer step `number` (from 1 on): call it once after each backward pass.

        Levels whose period divides `number` move, at `rate_scale` times their learning rates.
        Returns the norm of the gradients that they move by, all taken together, before it is
        clipped to at most `clip`; it is 0 where nothing moves. Raises NonFiniteGradient, before
        anything moves, if any gradient gathered so far is not finite.
        """
        self._verify_gradients_exist()
        moving = [group for group in self.groups if number % group.period == 0]
        for group in moving:
            if group.takes_mean and group.period > 1:
                for gradient in _gradients(group):
                    gradient.div_(group.period)
        self._verify_gradients_are_finite()
        gradients = [gradient for group in moving for gradient in _gradients(group)]
        norm = torch.nn.utils.get_total_norm(gradients)
        if clip is not None and gradients:
            torch.nn.utils.clip_grads_with_norm_(
                [weight for group in moving for weight in group.weights.values()], clip, norm
            )
        for group in moving:
            for driver in group.drivers:
                driver.step(rate_scale)
            for weight in group.weights.values():
                weight.grad = None
        return float(norm)

    @property
    def follow_run(self) -> bool:
        """Whether `rate_scale` reaches any weight: schedules of optimizers take its place."""
        return any(driver.follows_run for group in self.groups for driver in group.drivers)

    def driven_by(self, weight: str) -> tuple[str, str]:
        """The level and the optimizer of a weight that one moves, by their names."""
        drivers = (driver for group in self.groups for driver in group.drivers)
        return self._level_of[weight], next(driver.name for driver in drivers if weight in driver.weights)

    def state_tensors(self) -> dict[str, torch.Tensor]:
        """All that a continued run needs beside the weights, as `name of the weight . name of the memory`.

        These are the memories of the optimizers and the gradients gathered but not yet applied.
        """
        tensors = {}
        for name, one in self._driven():
            if one.step_count:
                tensors |= {f"{name}.{memory}": value for memory, value in one.state.items()}
                tensors[f"{name}.{STEP_COUNT}"] = torch.tensor(one.step_count)
            if one.weight.grad is not None:
                tensors[f"{name}.{_GATHERED}"] = one.weight.grad
        return tensors

    def load_state_tensors(self, tensors: Mapping[str, torch.Tensor], step: int) -> None:
        """Takes up what `state_tensors` of the same model gave after optimizer step `step`.

        To be called before the first step. Raises ValueError, before anything has changed, for state that is
        missing, of no weight, or of another shape or type.
        """
        left = dict(tensors)
        counts: dict[str, int] = {}
        for name, one, period in self._driven_with_periods():
            counts[name] = _count(left.pop(f"{name}.{STEP_COUNT}", None), name)
            may_rest, most = name in self._resting, step // period
            if not (0 <= counts[name] <= most if may_rest else counts[name] == most):
                raise ValueError(f"`{name}` has moved {counts[name]} times in {step} steps")
            gathered = left.pop(f"{name}.{_GATHERED}", None)
            if gathered is not None or (step % period and not may_rest):
                _verify_like(f"{name}.{_GATHERED}", gathered, one.weight)
            for memory, value in one.state.items() if counts[name] else ():
                _verify_like(f"{name}.{memory}", left.pop(f"{name}.{memory}", None), value)
        if left:
            raise ValueError(f"no optimizer of this model keeps {min(left)!a}")
        for name, one in self._driven():
            one.step_count = counts[name]
            gathered = tensors.get(f"{name}.{_GATHERED}")
            one.weight.grad = None if gathered is None else gathered.to(one.weight.device, copy=True)
            for memory, value in one.state.items() if counts[name] else ():
                value.copy_(tensors[f"{name}.{memory}"])

    def _driven_with_periods(self) -> Iterator[tuple[str, Driven, int]]:
        """As `_driven`, with the period of each weight in steps."""
        for group in self.groups:
            for driver in group.drivers:
                yield from ((name, one, group.period) for name, one in driver.driven())

    def _driven(self) -> Iterator[tuple[str, Driven]]:
        for group in self.groups:
            for driver in group.drivers:
                yield from driver.driven()

    def _verify_gradients_exist(self) -> None:
        missing = [
            name for name, one in self._driven() if one.weight.grad is None and name not in self._resting
        ]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            level = self._level_of[missing[0]]
            message = (
                f"no gradient reaches `{level}` of {self._source} (its weights `{missing[0]}`{more}): "
                "the loss does not depend on it"
            )
            hint = "write `frozen` for this level, or read it without `stop`"
            raise UntrainedLevelError(
                level, Diagnostic("N0305", message, None, hint, severity=Severity.ERROR)
            )

    def _verify_gradients_are_finite(self) -> None:
        gradients = [gradient for group in self.groups for gradient in _gradients(group)]
        if not math.isfinite(float(torch.nn.utils.get_total_norm(gradients))):
            for name, one in self._driven():
                if one.weight.grad is not None and not bool(one.weight.grad.isfinite().all()):
                    raise NonFiniteGradient(name, self._level_of[name])


def _count(stored: torch.Tensor | None, name: str) -> int:
    """How often a weight has moved: 0 where nothing says so. Raises ValueError for anything but a count."""
    if stored is None:
        return 0
    if stored.shape or stored.dtype != torch.int64:
        raise ValueError(f"`{name}.{STEP_COUNT}` is not a whole number")
    return int(stored)


def _verify_like(name: str, given: torch.Tensor | None, wanted: torch.Tensor) -> None:
    if found := difference(name, given, wanted):
        raise ValueError(found)
    if given is not None and given.is_floating_point() and bool(given.isnan().any()):
        raise ValueError(f"`{name}` has what is not a number")


def _gradients(group: Group) -> list[torch.Tensor]:
    return [weight.grad for weight in group.weights.values() if weight.grad is not None]


def _groups(model: NestModule, weights: Mapping[OrderedLevel, Weights], run_steps: int) -> Iterator[Group]:
    """One group for each optimizer with its arguments and each period, in the order of levels."""
    plan, compile = model.plan, isinstance(model.run, CompiledRun)
    grouped: dict[tuple[OptimizerPlan, int], dict[str, nn.Parameter]] = {}
    for level, of_level in weights.items():
        if level.unit is Unit.STEP:
            key = (level.optimizer or plan.train.optimizer, level.period)
        else:
            key = (plan.train.optimizer, plan.train.period_steps)
        grouped.setdefault(key, {}).update(of_level)
    matrices = hidden_matrices(weights)
    for (optimizer, period), of_group in grouped.items():
        if of_group:
            updates = run_steps // period or None
            parts = drivers(
                optimizer,
                of_group,
                matrices,
                compile=compile,
                run_steps=updates,
                precision=model.product_precision,
            )
            yield Group(optimizer, period, of_group, parts)


def _verify_each_weight_once(model: NestModule, weights: Mapping[OrderedLevel, Weights]) -> None:
    owners: dict[str, str] = {}
    names: dict[int, str] = {}
    for level, of_level in weights.items():
        for name, weight in of_level.items():
            assert name not in owners, (
                f"weight `{name}` belongs to levels `{owners[name]}` and `{level.name}`"
            )
            owners[name] = level.name
            if (other := names.setdefault(id(weight), name)) != name:
                raise fail(
                    "N0404",
                    f"`{other}` and `{name}` are one tensor, which the optimizers of both would move",
                    "give each level weights of its own, or read one level in both places",
                )
    for name, _ in model.named_parameters():
        assert name in owners, f"weight `{name}` belongs to no level of the plan"
