"""The optimizers of memories in context. Those of weights are written in the language: `optim.nest`."""

from __future__ import annotations

from nestdsl.vocabulary.arguments import ArgumentSpec, Type
from nestdsl.vocabulary.types import OptimizerSignature


def _number(name: str, default: float, minimum: float = 0.0, maximum: float | None = None) -> ArgumentSpec:
    return ArgumentSpec(name, Type.NUMBER, default, minimum=minimum, maximum=maximum)


_STEP = _number("step", 1.0, maximum=2.0)
_RETAIN = _number("retain", 1.0, maximum=1.0)
_TOWARD = ArgumentSpec("toward", Type.STRING, "zero", choices=("zero", "init"))

OPTIMIZERS = (
    OptimizerSignature(
        "gd",
        "gradient descent on the memory's own objective [Nested Learning, Eq. 93]",
        (_STEP, _RETAIN, _TOWARD, ArgumentSpec("forget_first", Type.BOOLEAN, False)),
        flow_arguments=("step", "retain"),
    ),
    OptimizerSignature(
        "dgd",
        "delta gradient descent, which decays along the key [Nested Learning, Eq. 57, 88]; `momentum` adds "
        "past surprise",
        (_STEP, _RETAIN, ArgumentSpec("momentum", Type.NUMBER, None, minimum=0.0, maximum=1.0), _TOWARD),
        flow_arguments=("step", "retain", "momentum"),
    ),
    OptimizerSignature(
        "momentum",
        "gradient descent with past surprise [Titans, Eq. 13-14]",
        (_STEP, _RETAIN, _number("momentum", 0.9, maximum=1.0), _TOWARD),
        flow_arguments=("step", "retain", "momentum"),
    ),
)
