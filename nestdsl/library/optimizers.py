"""The built-in optimizers: of memories in context, and of weights across sequences."""

from __future__ import annotations

from nestdsl.library.types import ArgumentSpec, OptimizerSignature, Type


def _number(name: str, default: float, minimum: float = 0.0, maximum: float | None = None) -> ArgumentSpec:
    return ArgumentSpec(name, Type.NUMBER, default, minimum=minimum, maximum=maximum)


_REDUCE = ArgumentSpec("reduce", Type.STRING, "mean", choices=("mean", "sum"))
_DECAY = _number("decay", 0.01)
_STEP = _number("step", 1.0, maximum=2.0)
_RETAIN = _number("retain", 1.0, maximum=1.0)
_TOWARD = ArgumentSpec("toward", Type.STRING, "zero", choices=("zero", "init"))

OPTIMIZERS = (
    OptimizerSignature(
        "gd",
        "gradient descent on the memory's own objective [E93]",
        (_STEP, _RETAIN, _TOWARD),
        in_context=True,
        flow_arguments=("step", "retain"),
    ),
    OptimizerSignature(
        "dgd",
        "delta gradient descent, which decays along the key [E57, E88]; `momentum` adds past surprise",
        (_STEP, _RETAIN, ArgumentSpec("momentum", Type.NUMBER, None, minimum=0.0, maximum=1.0), _TOWARD),
        in_context=True,
        flow_arguments=("step", "retain", "momentum"),
    ),
    OptimizerSignature(
        "momentum",
        "gradient descent with past surprise [T13-T14]",
        (_STEP, _RETAIN, _number("momentum", 0.9, maximum=1.0), _TOWARD),
        in_context=True,
        flow_arguments=("step", "retain", "momentum"),
    ),
    OptimizerSignature(
        "adamw",
        "Adam with decoupled weight decay",
        (
            _number("lr", 1e-3),
            _number("beta1", 0.9, maximum=0.999999),
            _number("beta2", 0.999, maximum=0.999999),
            _number("eps", 1e-8),
            _DECAY,
            _REDUCE,
        ),
        memories=lambda a: ("m", "v"),
    ),
    OptimizerSignature(
        "sgd",
        "gradient descent, with heavy-ball momentum if `momentum` is not 0",
        (_number("lr", 1e-2), _number("momentum", 0.0, maximum=0.999999), _number("decay", 0.0), _REDUCE),
        memories=lambda a: ("m",) if a["momentum"] else (),
    ),
    OptimizerSignature(
        "muon",
        "momentum, made orthogonal, for matrices; AdamW for the rest",
        (
            _number("lr", 2e-2),
            _number("momentum", 0.95, maximum=0.999999),
            _number("decay", 0.0),
            _number("adamw_lr", 1e-3),
            _REDUCE,
        ),
        memories=lambda a: ("m",),
    ),
)
