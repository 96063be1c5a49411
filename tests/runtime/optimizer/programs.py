"""Optimizers for the tests, in the language, and how they run."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nestdsl.graph.optimizer import OptimizerProgram, chain
from nestdsl.runtime.optimizer import naive
from nestdsl.runtime.optimizer.constants import parameters_at
from nestdsl.runtime.optimizer.fast import FastOptimizer
from nestdsl.semantics.elaborate.optimizers.named import NamedOptimizer
from nestdsl.source import Source

PROGRAMS = {
    "sgd": "optimizer sgd(lr = 0.1) { flow update = -lr * grad }",
    "momentum": """optimizer momentum(lr = 0.05) {
        level m = sum_of(0.9) { learn grad + 0.01 * weight }
        flow update = -lr * m
    }""",
    "adam": """optimizer adam(lr = 1e-2, beta1 = 0.9, beta2 = 0.99, eps = 1e-8) {
        level m = ema(beta1) { learn grad }
        level v = ema(beta2) { learn grad * grad }
        flow update = -lr * debias(m) / (sqrt(debias(v)) + eps)
    }""",
    "last": """optimizer last(lr = 1e-2, b = 0) {
        level last = sum_of(0) { learn grad  read before }
        level top = sum_of(b) { learn max(top, grad * grad)  read before }
        flow update = -lr * (2 * grad - last) / (1 + sqrt(top))
    }""",
    "lion": """optimizer lion(lr = 1e-3) {
        level m = ema(0.99) { learn grad  read before }
        flow update = -lr * (sign(0.9 * m + 0.1 * grad) + 0.1 * weight)
    }""",
    "three": """optimizer three(lr = 1e-2) {
        level fast = ema(0.5) { learn grad }
        level middle = ema(0.8) { learn fast  every 2 steps }
        level slow = sum_of(0.9, reduce = "sum") { learn grad - middle  every 3 steps }
        flow slow_part = clip(debias(middle) + tanh(slow), 0.5)
        flow update = -lr * (fast + 0.1 * slow_part + 0.01 * exp(slow))
    }""",
    "nested": """optimizer nested(lr = 1e-2) {
        level fast = ema(0.8) { learn grad  every 2 steps }
        level slow = sum_of(0.9, reduce = "sum") { learn grad  every 4 steps }
        level slowest = ema(0.9) { learn grad  every 8 steps  read before }
        level odd = ema(0.9) { learn grad  every 3 steps }
        flow update = -lr * (grad + (fast + slow + slowest) + odd)
    }""",
    "late": """optimizer late(lr = 1e-2) {
        level far = ema(0.9) { learn grad  every 3 steps  read before }
        flow direction = normalize(debias(far)) + 0.1 * exp(far)
        flow update = -lr * (direction + grad)
    }""",
    "normed": """optimizer normed(lr = 1e-2) {
        level m = ema(0.9) { learn grad / max(1, norm(grad)) }
        flow scale = sqrt(max(1, rows(weight) / columns(weight)))
        flow update = -lr * (scale * rms_match(m) + mean(grad) * weight + rms(m) * min(grad, 0))
    }""",
    "delta": """optimizer delta(lr = 1e-2) {
        level m = matrix(step = 0.5, retain = 0.9) { learn normalize(grad) -> 1  every 2 steps }
        level n = matrix(step = 1 / (1 + norm(grad)), retain = 0.99) { learn grad -> outer(grad) }
        flow update = -lr * (m + matmul(n(grad), grad) + trace(outer(grad, weight)) * n)
    }""",
    "deep": """optimizer deep(lr = 1e-2) {
        level net = associative(hidden = 4, step = 0.3, retain = 0.99) {
            learn normalize(grad) -> -grad  every 2 steps
        }
        level near = associative(hidden = 3, step = 0.3) { learn grad -> weight }
        flow update = lr * (net(grad) + 0.1 * near(grad))
    }""",
    "m3": """optimizer m3(lr = 1e-2, beta = 0.9, mix = 0.5) {
        only matrices else adam(lr = lr / 2)
        level near = ema(beta) { learn grad }
        level far = ema(beta) { learn grad  every 3 steps }
        level v = ema(0.99) { learn grad * grad }
        flow scale = sqrt(debias(v)) + 1e-8
        flow orthogonal = newton_schulz(debias(near) / scale, precision = "float32")
        flow update = -lr * (orthogonal + mix * newton_schulz(far, precision = "float32"))
    }""",
}
PROGRAMS[
    "handing_on"
] = """optimizer handing_on(lr = linear(0.1, warmup = 4, steps = 30), keep = linear(0.9, steps = 40)) {
        only matrices else handed(eps = lr, beta = keep)
        level m = sum_of(keep) { learn grad }
        flow update = -lr * m
    }
    optimizer handed(lr = 1e-2, eps = 1e-8, beta = 0.9) {
        level m = ema(beta) { learn grad }
        flow update = -lr * m / (abs(m) + eps)
    }"""
TEXT = "\n".join(PROGRAMS.values())
SHAPES = [(3,), (7, 5), (4, 6), (1,), (2, 3, 4), (), (5, 5), (7, 5), (2, 3, 4)]


def program(name: str, text: str | None = None, **arguments: float) -> OptimizerProgram:
    """The program of an optimizer of this file, or of a text."""
    return NamedOptimizer(Source(text or PROGRAMS[name], "test.nest"), name).program(arguments)


def is_matrix(weight: Tensor) -> bool:
    return weight.ndim == 2


def run_naive(
    outer: OptimizerProgram, weights: Sequence[Tensor], gradients: Sequence[Sequence[Tensor]], **given: float
) -> list[Tensor]:
    """The weights after one update by each of the gradients, one weight at a time."""
    moved = []
    for index, weight in enumerate(weights):
        programs = chain(outer, is_matrix=is_matrix(weight))
        memory = naive.initial_memory(programs[-1], weight)
        for count, gradient in enumerate(gradients, 1):
            parameters = parameters_at(programs, given, count)
            change, memory = naive.apply(programs[-1], parameters, gradient[index], memory, weight)
            weight = weight + change
        moved.append(weight)
    return moved


def run_fast(
    outer: OptimizerProgram,
    weights: Sequence[Tensor],
    gradients: Sequence[Sequence[Tensor]],
    *,
    compile: bool = False,
    **given: float,
) -> list[Tensor]:
    """The same, all at once and in place."""
    weights = [weight.clone() for weight in weights]
    parts = []
    for are_matrices in (True, False):
        of_kind = [weight for weight in weights if is_matrix(weight) is are_matrices]
        programs = chain(outer, is_matrix=are_matrices)
        parts.append((programs, FastOptimizer(programs[-1], of_kind, compile=compile)))
    for gradient in gradients:
        for weight, part in zip(weights, gradient, strict=True):
            weight.grad = part.clone()
        for programs, fast in parts:
            fast.step(lambda count, programs=programs: parameters_at(programs, given, count))
    return weights


def start(
    seed: int = 0, steps: int = 8, dtype: torch.dtype = torch.float64, scale: float = 0.3
) -> tuple[list[Tensor], list[list[Tensor]]]:
    """Weights of SHAPES, and gradients of so many steps."""
    generator = torch.Generator().manual_seed(seed)

    def draw() -> list[Tensor]:
        return [torch.randn(shape, generator=generator, dtype=dtype) * scale for shape in SHAPES]

    return draw(), [draw() for _ in range(steps)]
