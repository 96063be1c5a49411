"""Self-referential Titans against the equations, token by token [Nested Learning, Eq. 83-88, 90]."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nestdsl.runtime.block import Block
from tests.invariants.programs import nest


def layer_as_the_paper_says(block: Block, x: Tensor, heads: int, chunk: int, memory_chunk: int) -> Tensor:
    """One `self_referential` block of matrix memories with dgd: a loop over the tokens of one row x [T, D].

    For sq in key, value, rate, keep and memory, with everything they make read at the chunk's start ξ:
        M_sq,t = M_sq,t-1 (α_t I − η'_t k_t k_tᵀ) − η'_t (M_sq,ξ k_t − v̂_sq,t) k_tᵀ,  v̂_sq,t = M_sq,ξ v_t
        y_t = M_memory,t q_t
    """
    weights = block._modules
    state = {
        name: weights[name].weight.transpose(1, 2) for name in ("key", "value", "rate", "keep", "memory")
    }
    anchor = dict(state)
    u, _ = weights["x_conv"](x[None], weights["x_conv"].init_state(1, dtype=x.dtype))
    u = F.silu(u)[0]

    def answer(name: str, z: Tensor) -> Tensor:
        return torch.einsum("hvk,hk->hv", anchor[name], z.unflatten(0, (heads, -1))).flatten()

    outputs = []
    for t in range(len(x)):
        for name in state:
            if t % (memory_chunk if name == "memory" else chunk) == 0:
                anchor[name] = state[name]
        k = answer("key", u[t]).unflatten(0, (heads, -1))
        k = k / (k.square().sum(-1, keepdim=True) + 1e-6).sqrt()
        v = weights["v_rms_norm"](answer("value", u[t]))
        step = (weights["step_linear"](answer("rate", u[t])) - 3).sigmoid()
        retain = (weights["retain_linear"](answer("keep", u[t])) + 3).sigmoid()
        eta = step / (1 + step * k.square().sum(-1))
        for name, matrix in state.items():
            target = answer(name, v).unflatten(0, (heads, -1))
            error = torch.einsum("hvk,hk->hv", anchor[name], k) - target
            decayed = retain[:, None, None] * matrix - eta[:, None, None] * torch.einsum(
                "hvk,hk,hl->hvl", matrix, k, k
            )
            state[name] = decayed - eta[:, None, None] * torch.einsum("hv,hk->hvk", error, k)
        q = weights["q_linear"](u[t]).unflatten(0, (heads, -1))
        q = q / (q.square().sum(-1, keepdim=True) + 1e-6).sqrt()
        read = torch.einsum("hvk,hk->hv", state["memory"], q).flatten()
        gated = weights["out_rms_norm"](read) * F.silu(weights["out_linear"](x[t]))
        outputs.append(weights["out_linear_2"](gated))
    return torch.stack(outputs)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_block_is_the_recurrence_of_the_paper(seed: int) -> None:
    model = nest("self_matrix_dgd").compile(compile=False, seed=seed).double()
    block = model.stack[0]
    x = torch.randn(2, 37, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    found, _ = model.run.block(block, x, block.initial(2, torch.device("cpu"), torch.float64))
    wanted = torch.stack([layer_as_the_paper_says(block, row, 2, 8, 16) for row in x])
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)
    weights = list(block.parameters())
    ours = torch.autograd.grad(found.square().sum(), weights)
    theirs = torch.autograd.grad(wanted.square().sum(), weights)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)
