"""The gated delta memory by itself, forward and backward, against the chunked PyTorch function of
transformers."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.compiling import compiled
from benchmarks.model import Claim, Contender, Row, Work

_EAGER, _COMPILED = "transformers, eager", "transformers, compiled"
_OURS, _OURS_EAGER = "nestdsl, compiled", "nestdsl, eager"

Core = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def contenders(quick: bool) -> tuple[Contender, ...]:
    """Both compute y_t = S_tᵀ q_t with S_t = α S_{t-1} + k (β (v − α S_{t-1}ᵀ k))ᵀ from the same tensors, in
    float32, read after the write; ours with `forget_first`, which is that rule.
    2048 tokens, batch 4, 4 heads of 64; chunk 64 for theirs (its default), 32 for ours. Values and all five
    gradients are compared before anything is timed.
    """
    batch, tokens, heads, size = (1, 70, 2, 16) if quick else (4, 2048, 4, 64)
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(batch, tokens, heads, *shape, generator=generator)

    inputs = (
        F.normalize(normal(size), dim=-1),
        F.normalize(normal(size), dim=-1),
        normal(size),
        normal().sigmoid(),
        F.logsigmoid(normal() + 4),
    )
    leaves = tuple(flow.requires_grad_() for flow in inputs)
    upstream = normal(size)

    def work(core: Core) -> Callable[[], tuple[Tensor, ...]]:
        def run() -> tuple[Tensor, ...]:
            y = core(*leaves)
            return y, *torch.autograd.grad(y, leaves, upstream)

        return run

    expected: list[tuple[Tensor, ...]] = []

    def checked(make: Callable[[], Core]) -> Callable[[], Work]:
        """The first result stands; every later contender must give the same."""

        def prepare() -> Work:
            run = work(make())
            got = run()
            if not expected:
                expected.append(got)
            for mine, theirs in zip(got, expected[0], strict=True):
                torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)
            return run

        return prepare

    return (
        Contender(_EAGER, checked(_theirs)),
        Contender(_COMPILED, checked(lambda: compiled(_theirs()))),
        Contender(_OURS_EAGER, checked(lambda: _ours)),
        Contender(_OURS, checked(lambda: compiled(_ours))),
    )


def _theirs() -> Core:
    from transformers.models.qwen3_next.modeling_qwen3_next import torch_chunk_gated_delta_rule

    def core(query: Tensor, key: Tensor, value: Tensor, beta: Tensor, log_decay: Tensor) -> Tensor:
        scale = query.shape[-1] ** 0.5  # theirs divides the query by it
        return torch_chunk_gated_delta_rule(query * scale, key, value, log_decay, beta)[0]

    return core


def _ours(query: Tensor, key: Tensor, value: Tensor, beta: Tensor, log_decay: Tensor) -> Tensor:
    from nestdsl.runtime.ops.linear_memory import LinearRule, initial_state, learn, read

    rule = LinearRule(forget_first=True)
    batch, _, heads, size = key.shape
    start = initial_state(key.new_zeros(batch, heads, size, value.shape[-1]), rule)
    trajectory, _ = learn(key, value, beta, log_decay.exp(), start, rule)
    return read(trajectory, query, "after", rule)


ROW = Row(
    "gated_delta",
    "gated delta memory, 2048 tokens, f+b",
    (Claim(_OURS, _EAGER, at_least=3.5), Claim(_OURS, _COMPILED, at_least=1.8)),
    contenders,
    {_EAGER: "transformers", _COMPILED: "transformers"},
)
