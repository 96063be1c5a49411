"""The optimizers that move weights once in a number of steps, by torch.optim.

`drivers` builds the torch optimizers of one group of weights; `step_levels.py` says when each
of them moves. A later release writes these optimizers in the language itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass

import torch
from torch import nn

from nestdsl.library.signatures import Value
from nestdsl.plan.plan import Body, OptimizerPlan, OrderedLevel, Plan

Weights = Mapping[str, nn.Parameter]


@dataclass(frozen=True, slots=True)
class Driver:
    """One torch optimizer, the weights it moves by full name, and its learning rate before any schedule."""

    optimizer: torch.optim.Optimizer
    weights: Weights
    rate: float

    def step(self, rate_scale: float) -> None:
        """Moves the weights by their `.grad`, at `rate_scale` times the learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * rate_scale
        self.optimizer.step()


def drivers(plan: OptimizerPlan, weights: Weights, matrices: Set[str]) -> tuple[Driver, ...]:
    """The torch optimizers that carry out `plan` on `weights`.

    `matrices` names the weights that an optimizer for matrices may drive (`hidden_matrices`).
    There is one driver, or two where such an optimizer leaves the other weights to AdamW.
    """
    builder = _BUILDERS.get(plan.name)
    if builder is None:
        known = ", ".join(_BUILDERS)
        raise ValueError(
            f"the plan names an optimizer `{plan.name}` that the runtime does not know ({known})"
        )
    return builder(dict(plan.arguments), weights, matrices)


def hidden_matrices(plan: Plan, weights: Mapping[OrderedLevel, Weights]) -> frozenset[str]:
    """The names of the weights that are matrices of hidden levels, which Muon is meant for.

    These are the 2-D weights, except of an `embedding` (each row is moved by few tokens), of a
    `conv` (each row is a filter of one feature) and of the level that makes the model's output.
    Vectors and the 3-D stacks of memories with heads are no matrices either.
    """
    output = _output_level(plan.root)
    return frozenset(
        name
        for level, of_level in weights.items()
        if level.kind not in ("embedding", "conv") and output not in level.modules
        for name, weight in of_level.items()
        if weight.ndim == 2
    )


def _output_level(body: Body) -> str | None:
    """The level whose read is the body's output, directly or through functions of one flow."""
    makers = {instruction.result: instruction for instruction in body.lines}
    instruction = makers.get(body.output)
    while instruction is not None and instruction.operation == "function":
        flows = [operand for operand in instruction.operands if isinstance(operand, str)]
        instruction = makers.get(flows[0]) if len(flows) == 1 else None
    return instruction.target if instruction is not None and instruction.operation == "read" else None


def _number(arguments: Mapping[str, Value], name: str) -> float:
    value = arguments[name]
    assert isinstance(value, int | float), f"`{name}` is {value!r}"
    return float(value)


def _adamw(arguments: Mapping[str, Value], weights: Weights, matrices: Set[str]) -> tuple[Driver, ...]:
    rate = _number(arguments, "lr")
    optimizer = torch.optim.AdamW(
        list(weights.values()),
        lr=rate,
        betas=(_number(arguments, "beta1"), _number(arguments, "beta2")),
        eps=_number(arguments, "eps"),
        weight_decay=_number(arguments, "decay"),
    )
    return (Driver(optimizer, weights, rate),)


def _sgd(arguments: Mapping[str, Value], weights: Weights, matrices: Set[str]) -> tuple[Driver, ...]:
    rate = _number(arguments, "lr")
    optimizer = torch.optim.SGD(
        list(weights.values()),
        lr=rate,
        momentum=_number(arguments, "momentum"),
        weight_decay=_number(arguments, "decay"),
    )
    return (Driver(optimizer, weights, rate),)


def _muon(arguments: Mapping[str, Value], weights: Weights, matrices: Set[str]) -> tuple[Driver, ...]:
    driven = {name: weight for name, weight in weights.items() if name in matrices}
    others = {name: weight for name, weight in weights.items() if name not in matrices}
    decay = _number(arguments, "decay")
    result = []
    if driven:
        rate = _number(arguments, "lr")
        optimizer = torch.optim.Muon(
            list(driven.values()), lr=rate, momentum=_number(arguments, "momentum"), weight_decay=decay
        )
        result.append(Driver(optimizer, driven, rate))
    if others:
        rate = _number(arguments, "adamw_lr")
        optimizer = torch.optim.AdamW(list(others.values()), lr=rate, weight_decay=decay)
        result.append(Driver(optimizer, others, rate))
    return tuple(result)


_BUILDERS: dict[str, Callable[[Mapping[str, Value], Weights, Set[str]], tuple[Driver, ...]]] = {
    "adamw": _adamw,
    "sgd": _sgd,
    "muon": _muon,
}
