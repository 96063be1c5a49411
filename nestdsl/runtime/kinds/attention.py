"""`attention`: softmax attention, the memory that is recomputed at every token.

The projections to keys, values and queries are levels of their own; its only weights are the
persistent pairs, if it has any. Shapes: B batch, T new tokens, C cached tokens, S = C + T, H heads,
P pairs of each token, N persistent pairs, K and V the sizes of a head's keys and values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nestdsl.runtime.functions import at_least_float32, split_heads
from nestdsl.runtime.kinds.weights import Start, initialize, normal, require_division
from nestdsl.runtime.ops.attention import Pairs, Reach, Room, attend, attend_appended

State = dict[str, Any]

ROTARY_BASE = 10000.0
PERSISTENT_STD = 0.02
"""Of persistent keys and values at the start: small, so that all tokens weigh alike."""


class Context(NamedTuple):
    """What the new tokens can read: all keys and values in reach, and where the new tokens begin."""

    key: Tensor  # [B, S, P * H * K], already rotated
    value: Tensor  # [B, S, P * H * V]
    position: Tensor  # [B], whole numbers: tokens of each sequence before the new ones
    room: Room | None = None  # where the cache has one: then `key` and `value` are those of the new tokens
    persistent: tuple[Tensor, Tensor] | None = None  # keys [H, N, K] and values [H, N, V]
    padding: Tensor | None = None  # [B], where rows have read different numbers: cached tokens that are none


def rotate(x_BTHK: Tensor, position: Tensor) -> Tensor:
    """Rotary position embedding (Su et al. 2021), first half of the features paired with the second.

    Feature pair i of the token at absolute position p turns by p * base^(-2 i / K): token t of a row by the
    row's `position` [B] and t together. Angles are in float64 (float32 where the device has no float64): in
    float32 a long sequence would lose them.
    """
    tokens, half = x_BTHK.shape[1], x_BTHK.shape[3] // 2
    device = x_BTHK.device
    precision = torch.float32 if device.type == "mps" else torch.float64
    frequencies = ROTARY_BASE ** (-torch.arange(half, device=device, dtype=precision) / half)
    of_row = position.to(precision).view(-1, 1, 1, 1) * frequencies  # [B, 1, 1, K / 2]
    of_token = torch.arange(tokens, device=device, dtype=precision).view(1, -1, 1, 1) * frequencies
    x = at_least_float32(x_BTHK)
    # Sums of angles by products: no cosine for each token of each row.
    cosine = of_row.cos() * of_token.cos() - of_row.sin() * of_token.sin()
    sine = of_row.sin() * of_token.cos() + of_row.cos() * of_token.sin()
    cosine, sine = cosine.to(x.dtype), sine.to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    rotated = torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)
    return rotated.to(x_BTHK.dtype)


class Attention(nn.Module):
    """softmax(q k^T / sqrt(K)) v over the tokens in reach, for each head.

    Causal: a token reads itself and those before it; with `window`, so many in all; with `segment`, those
    of its segment of so many tokens. Not causal: it reads every token so far learned, or those less than
    `window` tokens away on both sides.
    pairs: keys and values that each token writes, which stand one after the other in what is learned.
    persistent: pairs that are learned by the outer levels and stand before every token: `persistent_key`
    `[N, key_size]`, `persistent_value` `[N, value_size]` [Titans, Eq. 19]. They have no place: with `rotary`
    they meet the query as it is, not turned.
    State: `key` `[B, C, P * key_size]`, rotated; `value` `[B, C, P * value_size]`; `position` `[B]`, whole
    numbers: the tokens that each row has read. Kept is only what a later token can reach. Where rows have
    read different numbers of tokens, `padding` `[B]` says how many of the first cached ones are none of a
    row's own. `in_room` gives a state that goes on without copying what is cached.

    Raises ValueError if `heads` does not divide the sizes, or an argument has no meaning.
    """

    kind = "attention"

    def __init__(
        self,
        key_size: int,
        value_size: int,
        *,
        heads: int = 1,
        window: int | None = None,
        rotary: bool = True,
        causal: bool = True,
        segment: int | None = None,
        persistent: int = 0,
        pairs: int = 1,
    ) -> None:
        super().__init__()
        require_division(key_size, heads)
        require_division(value_size, heads)
        if rotary and key_size // heads % 2:
            raise ValueError(f"rotary turns pairs of features: a head of {key_size // heads} has no pairs")
        self.key_size = key_size
        self.value_size = value_size
        self.heads = heads
        self.pairs = pairs
        self.rotary = rotary
        self.reach = Reach(window, segment, causal)
        self.persistent = persistent
        if persistent:
            self.persistent_key = nn.Parameter(torch.empty(persistent, key_size))
            self.persistent_value = nn.Parameter(torch.empty(persistent, value_size))
            for weight in (self.persistent_key, self.persistent_value):
                initialize(weight, Start(), normal(PERSISTENT_STD))

    def init_state(
        self, batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """The state of a sequence of which nothing is read yet."""
        key, value = self.pairs * self.key_size, self.pairs * self.value_size
        return {
            "key": torch.zeros(batch, 0, key, device=device, dtype=dtype),
            "value": torch.zeros(batch, 0, value, device=device, dtype=dtype),
            "position": torch.zeros(batch, device=device, dtype=torch.int64),
        }

    def forward(
        self,
        key: Tensor,
        value: Tensor,
        state: State | None = None,
        *,
        aligned: bool = False,
        within: bool = False,
    ) -> tuple[Context, State]:
        """Takes in keys and values (`learn`), from a state or, without one, from the start of a context.

        aligned, within: as in `Matrix.forward`; to attention it is all the same where it begins.
        """
        if state is None:
            state = self.init_state(key.shape[0], key.device, key.dtype)
        return self.learn(key, value, state)

    def learn(self, key: Tensor, value: Tensor, state: State) -> tuple[Context, State]:
        """Takes in keys `[B, T, P * key_size]` and values `[B, T, P * value_size]`; gives what queries of
        the same tokens read, and the next state."""
        position = state["position"]
        if "room" in state:
            return self._learn_in_room(key, value, state)
        keys = torch.cat((state["key"].to(key.dtype), self._rotated(key, position)), dim=1)
        values = torch.cat((state["value"].to(value.dtype), value), dim=1)
        tokens, padding = keys.shape[1], state.get("padding")
        kept, left = self.reach.kept(tokens, padding)
        following = {"key": keys, "value": values, "position": position + key.shape[1]}
        if left is not None:
            following["padding"] = left
        if kept < tokens:
            # clone: a view would keep the whole sequence alive
            following["key"] = keys[:, tokens - kept :].clone()
            following["value"] = values[:, tokens - kept :].clone()
        return Context(keys, values, position, persistent=self._persistent(), padding=padding), following

    def read(self, context: Context, query: Tensor) -> Tensor:
        """Queries `[B, T, key_size]` of the tokens just learned -> `[B, T, value_size]`."""
        size = self.key_size // self.heads
        if context.room is not None:
            return self._read_in_room(context, context.room, query)
        key, value = self._by_head(context.key), self._by_head(context.value)
        queries = self._by_head_of_one(self._rotated(query, context.position))
        persistent = context.persistent
        if persistent is not None and self.rotary:
            # One product scores both: a pair of a token meets the turned half of the query, a
            # persistent pair the half that is not turned.
            queries = torch.cat((queries, self._by_head_of_one(query)), dim=-1)
            key = torch.cat((key, torch.zeros_like(key)), dim=-1)
            persistent = torch.cat((torch.zeros_like(persistent[0]), persistent[0]), -1), persistent[1]
        pairs = Pairs(key.flatten(-2), value.flatten(-2), self.pairs, persistent, context.padding)
        return attend(queries, pairs, self.reach, size**-0.5).transpose(1, 2).flatten(2)

    def _persistent(self) -> tuple[Tensor, Tensor] | None:
        if not self.persistent:
            return None
        key, value = (
            split_heads(weight.clone(), self.heads).transpose(0, 1)  # a shard is whole in this call alone
            for weight in (self.persistent_key, self.persistent_value)
        )
        return key, value

    def in_room(self, state: State, tokens: int, kind: torch.dtype) -> State:
        """A state with room for so many more tokens, from one without: what is cached then is a constant to
        the outer levels, and only one sequence can go on from it. The same state where nothing is gained: for
        short caches, persistent pairs, and numbers of less than 32 bits, whose scores kernels of their own
        keep in float32.
        """
        is_plain = self.reach == Reach() and not self.persistent and "padding" not in state
        if not is_plain or kind not in (torch.float32, torch.float64):
            return state
        key, value = (self._pairs_by_head(state[name].to(kind)) for name in ("key", "value"))
        capacity = key.shape[2] + tokens * self.pairs
        keys, values = (x.new_empty(*x.shape[:2], capacity, x.shape[3]) for x in (key, value))
        return {"position": state["position"], "room": Room(keys, values).append(key, value)}

    def join(self, states: Sequence[State]) -> State:
        """The state of all rows of some states, in order; rows that have read fewer tokens are padded."""
        longest = max(state["key"].shape[1] for state in states)
        joined: dict[str, list[Tensor]] = {"key": [], "value": [], "position": [], "padding": []}
        for state in states:
            missing = longest - state["key"].shape[1]
            none = torch.zeros_like(state["position"])
            joined["padding"].append(state.get("padding", none) + missing)
            joined["position"].append(state["position"])
            for name in ("key", "value"):
                joined[name].append(F.pad(state[name], (0, 0, missing, 0)))
        whole = {name: torch.cat(parts) for name, parts in joined.items()}
        if not any("padding" in state for state in states) and not bool(whole["padding"].any()):
            del whole["padding"]
        return whole

    def reset_rows(self, state: State, rows: Tensor) -> State:
        """The state in which some rows begin a context: those where `rows` [B] is true."""
        cached = state["key"].shape[1]
        before = state.get("padding", torch.zeros_like(state["position"]))
        position = torch.where(rows, 0, state["position"])
        return {**state, "position": position, "padding": torch.where(rows, cached, before)}

    def out_of_room(self, state: State) -> State:
        """The same state as `init_state` lays it out."""
        if "room" not in state:
            return state
        room: Room = state["room"]
        flat = (
            x[:, :, : room.pairs].unflatten(2, (-1, self.pairs)).permute(0, 2, 3, 1, 4).flatten(2)
            for x in (room.key, room.value)
        )
        return {**dict(zip(("key", "value"), flat, strict=True)), "position": state["position"]}

    def _learn_in_room(self, key: Tensor, value: Tensor, state: State) -> tuple[Context, State]:
        position, room = state["position"], state["room"]
        keys = self._pairs_by_head(self._rotated(key, position).to(room.key.dtype))
        values = self._pairs_by_head(value.to(room.value.dtype))
        room = room.append(keys, values)
        following = {"position": position + key.shape[1], "room": room}
        return Context(keys, values, position, room), following

    def _read_in_room(self, context: Context, room: Room, query: Tensor) -> Tensor:
        queries = self._by_head_of_one(self._rotated(query, context.position)).to(room.key.dtype)
        scale = (self.key_size // self.heads) ** -0.5
        read = attend_appended(queries, context.key, context.value, room, scale)
        return read.transpose(1, 2).flatten(2).to(query.dtype)

    def _pairs_by_head(self, x: Tensor) -> Tensor:
        """`[B, S, P * H * D]` -> `[B, H, S * P, D]`."""
        return self._by_head(x).flatten(2, 3)

    def _by_head(self, x: Tensor) -> Tensor:
        """`[B, S, P * H * D]` -> `[B, H, S, P, D]`."""
        return x.unflatten(-1, (self.pairs, self.heads, -1)).permute(0, 3, 1, 2, 4)

    def _by_head_of_one(self, x: Tensor) -> Tensor:
        """`[B, T, H * D]` -> `[B, H, T, D]`."""
        return split_heads(x, self.heads).transpose(1, 2)

    def _rotated(self, x: Tensor, position: Tensor) -> Tensor:
        """Keys or queries, each turned by its token's place."""
        if not self.rotary:
            return x
        return rotate(x.unflatten(-1, (-1, self.key_size // self.heads)), position).flatten(2)
