"""`conv`: a causal convolution of each feature by itself over the last tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nestdsl.runtime.kinds.weights import Start, initialize

State = dict[str, Tensor]


class Conv(nn.Module):
    """y_t = bias + sum_j weight[:, j] * x_{t - width + 1 + j}: the last tap reads the token itself.

    State: `inputs` `[batch, width - 1, size]`, the tokens just before the next one, oldest first.
    init learned: uniform within ±1 / sqrt(width), as torch.nn.Conv1d starts a depthwise filter of
    `width` inputs (kaiming_uniform with a = sqrt(5)), so that all tokens that it reads count from the
    start. The bias always begins at zero, where that of Conv1d is as random as the weight. identity: 1 on
    the token itself, 0 on those before.
    """

    kind = "conv"

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        width: int,
        bias: bool = True,
        init: Start | str = "learned",
    ) -> None:
        super().__init__()
        if input_size != output_size:
            raise ValueError(f"keeps the size: {input_size} in, {output_size} out")
        if width < 1:
            raise ValueError(f"width = {width} is not a positive number of tokens")
        self.width = width
        self.weight = nn.Parameter(torch.empty(output_size, width))
        self.bias = nn.Parameter(torch.zeros(output_size)) if bias else None
        of_the_token = torch.zeros(width)
        of_the_token[-1] = 1.0
        initialize(self.weight, Start.of(init), Start("uniform", width**-0.5), identity=of_the_token)

    def init_state(
        self, batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """The state of a sequence of which nothing is read yet: zeros before its first token."""
        return {
            "inputs": torch.zeros(batch, self.width - 1, self.weight.shape[0], device=device, dtype=dtype)
        }

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """`[batch, tokens, size]` and the state before them -> the same shape and the state after."""
        tokens = x.shape[1]
        state = self.init_state(x.shape[0], x.device, x.dtype) if state is None else state
        past = torch.cat((state["inputs"].to(x.dtype), x), dim=1)
        # A sum of shifted products: it fuses into one kernel, has every derivative, and does the
        # same arithmetic for one token as for many.
        y = past[:, :tokens] * self.weight[:, 0]
        for tap in range(1, self.width):
            y = y + past[:, tap : tap + tokens] * self.weight[:, tap]
        if self.bias is not None:
            y = y + self.bias
        # A view would keep the whole sequence alive; and of one sequence, a plain clone would have other
        # strides after each number of tokens, for each of which its reader would be compiled again.
        return y, {"inputs": past[:, tokens:].clone(memory_format=torch.contiguous_format)}
