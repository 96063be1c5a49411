"""Which tokens a query reads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Reach:
    """The tokens that a query at token t reads.

    All up to t; with `window`, the last `window` of them; with `segment`, those of its own segment of so
    many tokens, counted from the start of the context. Not `causal`: later tokens too, as far as the
    window goes on that side. A segment excludes both a window and later tokens.
    """

    window: int | None = None
    segment: int | None = None
    causal: bool = True

    def __post_init__(self) -> None:
        for name, tokens in (("window", self.window), ("segment", self.segment)):
            if tokens is not None and tokens < 1:
                raise ValueError(f"{name} = {tokens} is not a positive number of tokens")
        if self.window is not None and self.segment is not None:
            raise ValueError("attention has a window or a segment, not both")
        if self.segment is not None and not self.causal:
            raise ValueError("attention within a segment is causal")

    def sees(self, query: int, token: int) -> bool:
        """Whether the query at one token of the context reads another."""
        if self.causal and token > query:
            return False
        if self.segment is not None:
            return query // self.segment == token // self.segment
        return self.window is None or abs(query - token) < self.window

    def kept(self, tokens: int, padding_B: Tensor | None = None) -> tuple[int, Tensor | None]:
        """How many of the last tokens those to come can still reach, and how many of these are then none of a
        row's own, if that differs between rows. padding: that of the `tokens` so far, which begin a segment.
        """
        if padding_B is None:
            return (tokens % self.segment if self.segment else self._within_window(tokens)), None
        if self.segment is not None:
            kept = min(tokens, self.segment - 1)
            return kept, kept - (tokens - padding_B) % self.segment
        kept = self._within_window(tokens)
        return kept, (padding_B - (tokens - kept)).clamp_min(0)

    def _within_window(self, tokens: int) -> int:
        return tokens if self.window is None else min(tokens, self.window - 1)

    def mask(self, queries: int, tokens: int, device: torch.device) -> Tensor:
        """What the last `queries` of `tokens` tokens of one segment read: [queries, tokens], true: reads."""
        query_T = torch.arange(tokens - queries, tokens, device=device)
        distance_TS = query_T[:, None] - torch.arange(tokens, device=device)
        mask_TS = distance_TS >= 0 if self.causal else torch.ones_like(distance_TS, dtype=torch.bool)
        return mask_TS if self.window is None else mask_TS & (distance_TS.abs() < self.window)

    def padded_mask(self, queries: int, tokens: int, padding_B: Tensor) -> Tensor:
        """The same for each row [B, queries, tokens], of which the first `padding` tokens are no tokens of it
        and the next one begins a segment."""
        token_BS = torch.arange(tokens, device=padding_B.device) - padding_B[:, None]
        mask_BTS = self.mask(queries, tokens, padding_B.device) & (token_BS >= 0)[:, None]
        if self.segment is not None:
            segment_BS = token_BS // self.segment
            mask_BTS &= segment_BS[:, None] == segment_BS[:, tokens - queries :, None]
        return mask_BTS
