"""Softmax attention as a loop over queries that reads like its equation: the truth for `fast`."""

from __future__ import annotations

import torch
from torch import Tensor

from nestdsl.runtime.ops.attention.reach import Reach


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    reach: Reach,
    placed_query: Tensor | None = None,
    placed_key: Tensor | None = None,
    persistent: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """y_t = Σ p_i v_i with p = softmax over the pairs i in reach of t of q_tᵀ k_i / sqrt(K).

    query [B, T, H, K]; key [B, T, P, H, K] and value [B, T, P, H, V]: each token has P pairs;
    placed_query and placed_key: the same turned by the token's place (None: by nothing), which score the
    pairs of tokens; persistent: keys [N, H, K] and values [N, H, V] without a place, in reach of all.
    Gives [B, T, H, V].
    """
    placed_query = query if placed_query is None else placed_query
    placed_key = key if placed_key is None else placed_key
    outputs = []
    for t in range(query.shape[1]):
        seen = [s for s in range(key.shape[1]) if reach.sees(t, s)]
        keys, values = placed_key[:, seen].flatten(1, 2), value[:, seen].flatten(1, 2)
        scores = torch.einsum("bhk,bihk->bhi", placed_query[:, t], keys)
        if persistent is not None:
            lasting = torch.einsum("bhk,nhk->bhn", query[:, t], persistent[0])
            scores = torch.cat((lasting, scores), dim=-1)
            values = torch.cat((persistent[1].expand(len(values), -1, -1, -1), values), dim=1)
        shares = torch.softmax(scores / query.shape[-1] ** 0.5, dim=-1)
        outputs.append(torch.einsum("bhi,bihv->bhv", shares, values))
    return torch.stack(outputs, dim=1)
