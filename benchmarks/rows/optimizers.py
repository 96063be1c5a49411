"""One step of an optimizer over 200 tensors from 64 to 4M elements, 15.6M in all, against torch.optim."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from benchmarks.model import Claim, Contender, Row, Work
from nestdsl.runtime.optimizer.precision import fast_precision

_TORCH_ADAMW, _ADAMW = "torch, fused AdamW", "nestdsl, adamw"
_TORCH_MUON, _MUON, _M3 = "torch, Muon", "nestdsl, muon", "nestdsl, m3"
_FOUR_SPEEDS, _ONE_SPEED = "nestdsl, levels at 1, 16, 64, 256 steps", "nestdsl, all levels at 1 step"

_VECTORS = (64, 128, 256, 512, 1024, 2048, 4096)
_MATRICES = (
    ((64, 64), 30),
    ((128, 128), 26),
    ((256, 256), 20),
    ((512, 512), 12),
    ((512, 2048), 4),
    ((1024, 1024), 2),
    ((2048, 2048), 1),
)
_LARGEST_TIMED = 256 * 256
_WARM_UP = 3
"""Steps before anything is timed, which compile; where a run has many, one run."""

_SPEEDS = """
optimizer speeds(lr = 1e-3, a = 1, b = 1, c = 1) {
  level fastest = ema(0.9) { learn grad }
  level fast = ema(0.9) { learn grad  every a steps }
  level slow = ema(0.9) { learn grad  every b steps }
  level slowest = ema(0.9) { learn grad  every c steps }
  flow update = -lr * (fastest + (fast + slow + slowest))
}
"""

Make = Callable[[list[nn.Parameter]], list[torch.optim.Optimizer]]


def _adamw(quick: bool) -> tuple[Contender, ...]:
    """AdamW with its defaults; both have the same states, in float32."""
    return (
        _contender(_TORCH_ADAMW, quick, lambda weights: [torch.optim.AdamW(weights, fused=True)]),
        _contender(_ADAMW, quick, lambda weights: [_ours("std.optim:adamw", weights)]),
    )


def _muon(quick: bool) -> tuple[Contender, ...]:
    """Muon for the matrices and AdamW for the vectors; M3 takes a second Newton-Schulz of its slow memory
    whenever that moves. Ours multiply in the precision that the machine is fast at, torch's in bfloat16.
    Where the machine has none in hardware, a step of torch's takes minutes: there it is timed on the matrices
    of up to 65,536 elements alone, which count as their share of the operations."""
    own = fast_precision([torch.device("cpu")])
    largest = None if own == "bfloat16" else _LARGEST_TIMED
    return (
        _contender(_TORCH_MUON, quick, _torch_muon, largest=largest, precision="bfloat16"),
        _contender(_MUON, quick, lambda weights: [_ours("std.optim:muon", weights)], precision=own),
        _contender(_M3, quick, lambda weights: [_ours("std.optim:m3", weights)], precision=own),
    )


def _levels(quick: bool) -> tuple[Contender, ...]:
    """Four moving averages; the mean step over a whole cycle of 256 of them."""
    path = Path(tempfile.mkdtemp(prefix="speeds-")) / "speeds.nest"
    path.write_text(_SPEEDS, encoding="utf-8")
    periods = (2, 4, 8) if quick else (16, 64, 256)

    def four(weights: list[nn.Parameter]) -> list[torch.optim.Optimizer]:
        return [_ours(f"{path}:speeds", weights, **dict(zip("abc", periods, strict=True)))]

    def one(weights: list[nn.Parameter]) -> list[torch.optim.Optimizer]:
        return [_ours(f"{path}:speeds", weights)]

    return (
        _contender(_FOUR_SPEEDS, quick, four, steps=periods[-1]),
        _contender(_ONE_SPEED, quick, one, steps=periods[-1] // 4),
    )


def _contender(
    name: str, quick: bool, make: Make, steps: int = 1, *, largest: int | None = None, precision: str = ""
) -> Contender:
    """`largest`: of how many elements the matrices are at most that take part; all without."""

    def prepare() -> Work:
        optimizers = make([one for one in _weights(quick) if _takes_part(one.shape, largest)])

        def run() -> None:
            for _ in range(steps):
                for optimizer in optimizers:
                    optimizer.step()

        for _ in range(_WARM_UP if steps == 1 else 1):
            run()
        return run

    return Contender(name, prepare, share=steps * _share(quick, largest), precision=precision)


def _takes_part(shape: Sequence[int], largest: int | None) -> bool:
    return largest is None or len(shape) < 2 or math.prod(shape) <= largest


def _share(quick: bool, largest: int | None) -> float:
    """The part that some matrices are of the operations of Newton-Schulz for all."""
    shapes = [shape for shape in _shapes(quick) if len(shape) == 2]
    taking = [shape for shape in shapes if _takes_part(shape, largest)]
    return sum(map(_operations, taking)) / sum(map(_operations, shapes))


def _operations(shape: Sequence[int]) -> int:
    """Of one iteration: X Xᵀ, its square, and their product with X."""
    few, many = sorted(shape)
    return 2 * few * few * (2 * many + few)


def _shapes(quick: bool) -> list[tuple[int, ...]]:
    shapes: list[tuple[int, ...]] = [(size,) for size in _VECTORS for _ in range(1 if quick else 15)]
    for shape, count in _MATRICES[: 3 if quick else None]:
        shapes += [shape] * (2 if quick else count)
    return shapes


def _weights(quick: bool) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    weights = [nn.Parameter(0.02 * torch.randn(shape, generator=generator)) for shape in _shapes(quick)]
    for weight in weights:
        weight.grad = 0.01 * torch.randn(weight.shape, generator=generator)
    return weights


def _ours(name: str, weights: list[nn.Parameter], **arguments: int) -> torch.optim.Optimizer:
    import nestdsl

    return nestdsl.optimizer(name, weights, **arguments)


def _torch_muon(weights: list[nn.Parameter]) -> list[torch.optim.Optimizer]:
    matrices = [weight for weight in weights if weight.ndim == 2]
    vectors = [weight for weight in weights if weight.ndim != 2]
    return [torch.optim.Muon(matrices, weight_decay=0.0), torch.optim.AdamW(vectors, fused=True)]


ROWS = (
    Row(
        "optimizer_adamw",
        "AdamW, one step of 200 tensors",
        (Claim(_ADAMW, _TORCH_ADAMW, at_most=1.0),),
        _adamw,
        {},
        repeats=41,
    ),
    Row(
        "optimizer_muon",
        "Muon and M3, one step of 200 tensors",
        (Claim(_MUON, _TORCH_MUON, at_most=0.9), Claim(_M3, _MUON, at_most=1.25)),
        _muon,
        {},
    ),
    Row(
        "optimizer_levels",
        "four levels of gradients, one step of 200 tensors",
        (Claim(_FOUR_SPEEDS, _ONE_SPEED, at_most=1.0),),
        _levels,
        {},
        repeats=3,
    ),
)
