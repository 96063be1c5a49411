"""The operators of linear memories give what torch.compile is told of them, in any layout of their inputs."""

import pytest
import torch
from torch import Tensor

import nestdsl.runtime.ops.linear_memory  # noqa: F401  registers them

N, P, C, K, V = 3, 2, 4, 5, 6
"""Blocks, rows and heads, tokens of a block, sizes of keys and values."""

FLOWS, STATES, SQUARES, KEYS = (N, P, C, V), (N, P, K, V), (N, P, C, C), (N, P, C, K)
TOKENS, ENDS, STATE = (N, P, C, 1), (N, P, 1, 1), (P, K, V)

SHAPES: dict[str, tuple[tuple[int, ...], ...]] = {
    "gram": ((P, C, K),),
    "unit_lower_inverse": ((P, C, C),),
    "decay_matrix": ((N, P, C),),
    "decay_scan": (STATES, ENDS, STATE),
    "delta_scan": (KEYS, ENDS, FLOWS, KEYS, STATE),
    "delta_scan_backward": (FLOWS, (N + 1, P, K, V), KEYS, ENDS, KEYS),
    "delta_blocks": (KEYS, FLOWS, SQUARES, TOKENS, TOKENS, ENDS, STATE),
    "delta_blocks_backward": (
        FLOWS,
        STATES,
        STATE,
        KEYS,
        SQUARES,
        TOKENS,
        TOKENS,
        ENDS,
        FLOWS,
        STATES,
        SQUARES,
    ),
    "solved_scan": (SQUARES, FLOWS, KEYS, KEYS, ENDS, STATE),
    "solved_scan_backward": (FLOWS, STATES, STATE, SQUARES, KEYS, KEYS, ENDS),
}
"""The inputs of each operator."""


def drawn(shape: tuple[int, ...], turned: bool) -> Tensor:
    tensor = torch.rand(shape, generator=torch.Generator().manual_seed(len(shape)))
    if len(shape) > 1 and shape[-1] == shape[-2]:
        tensor = tensor.tril(-1)
    return tensor.transpose(0, -1).contiguous().transpose(0, -1) if turned else tensor


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_an_operator_gives_what_its_fake_says(name: str, turned: bool) -> None:
    operator = getattr(torch.ops.nestdsl, name).default
    inputs = tuple(drawn(shape, turned) for shape in SHAPES[name])
    torch.library.opcheck(operator, inputs, test_utils=("test_schema", "test_faketensor"))
