"""`compile --verify`: the built model keeps what its plan promises."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nestdsl.diagnostics import fail
from nestdsl.plan.instructions import Call
from nestdsl.plan.plan import Plan
from nestdsl.runtime.build import build
from nestdsl.runtime.compilation import CompiledRun
from nestdsl.runtime.compile_progress import Note, compiling_shown
from nestdsl.runtime.module import NestModule
from nestdsl.vocabulary.extension import PYTHON_FUNCTIONS, PYTHON_KINDS


class VerificationError(Exception):
    """A built model broke a promise of its plan: a fault of the compiler."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What was checked, in words; `compiled` is whether models can be compiled here, to compare with."""

    text: str
    compiled: bool


def verify_model(plan: Plan, note: Note, tokens: int = 24) -> Verified:
    """Builds the model eagerly and compiled, and checks both in float64; `note` is told what is compiled.

    Where nothing can be compiled, the eager one is checked alone. Raises VerificationError if the weights are
    not those of the plan, if the compiled model differs from the eager one in a value or a gradient, or if
    reading a sequence in two parts differs from reading it at once; NestError N0506 for the last, where kinds
    or functions from Python may be why.
    """
    eager = build(plan, compile=False).double().eval()
    compiled = build(plan).double().eval()
    _require(
        sum(weight.numel() for weight in eager.parameters()) == plan.costs.parameters,
        "its weights are counted",
    )
    x = _sample(plan, tokens)
    whole, _ = eager(x)
    _require(whole.shape == (2, tokens, plan.output_size), "its output has the planned size")
    first, state = eager(x[:, : tokens // 2 - 1])
    second, _ = eager(x[:, tokens // 2 - 1 :], state)
    if not _is_equal(torch.cat((first, second), 1), whole):
        _blame_python(plan)
        _require(False, "a sequence read in two parts gives what it gives at once")
    weights = f"{plan.costs.parameters:,} weights"
    if not isinstance(compiled.run, CompiledRun):
        text = (
            f"{plan.model}: {weights} as planned, and parts of a sequence give what it gives at once; nothing"
            " can be compiled here, so there was no compiled model to compare with"
        )
        return Verified(text, compiled=False)
    with compiling_shown(compiled.run, note):
        _compare(compiled(x)[0], whole, "compiled and eager outputs are equal")
        gradients = _gradients(compiled, x)
    for name, gradient in _gradients(eager, x).items():
        _compare(gradients[name], gradient, f"compiled and eager gradients of `{name}` are equal")
    equal = "compiled equals eager in value and gradient"
    found = equal if compiled.run.units else "no part of it is worth compiling, so it runs as it is"
    text = f"{plan.model}: verified, {weights}; {found}"
    return Verified(text, compiled=True)


def _sample(plan: Plan, tokens: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    if plan.input.takes == "ids":
        return torch.randint(plan.input.size, (2, tokens), generator=generator)
    return torch.randn(2, tokens, plan.input.size, generator=generator, dtype=torch.float64)


def _gradients(model: NestModule, x: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    model(x)[0].square().mean().backward()
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


def _blame_python(plan: Plan) -> None:
    """Raises NestError N0506 where kinds or functions from Python are in the plan."""
    lines = [line for body in plan.bodies for line in body.lines]
    names = [level.kind for level in plan.levels if level.kind in PYTHON_KINDS]
    names += [line.function for line in lines if isinstance(line, Call) and line.function in PYTHON_FUNCTIONS]
    if names:
        things = " or ".join(f"`{name}`" for name in dict.fromkeys(names))
        raise fail(
            "N0506",
            f"{things}, from Python, gives something else for a sequence read in two parts than at once",
            "let no output depend on a later token, and let `forward` give the whole next state",
        )


def _compare(found: Tensor, wanted: Tensor, promise: str) -> None:
    _require(_is_equal(found, wanted), promise)


def _is_equal(found: Tensor, wanted: Tensor) -> bool:
    scale = wanted.abs().max().clamp(min=1.0)
    return bool(((found - wanted).abs().max() / scale) < 1e-8)


def _require(holds: bool, promise: str) -> None:
    if not holds:
        raise VerificationError(f"this does not hold: {promise}")
