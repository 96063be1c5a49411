"""Attention within segments, with several pairs a token and with persistent pairs, against the naive loop."""

import pytest
import torch

from nestdsl.runtime.kinds.attention import Attention, rotate
from nestdsl.runtime.ops.attention import naive
from nestdsl.runtime.ops.attention.fast import SMALLEST_BLOCK_TOKENS

BATCH, TOKENS, HEADS, KEY, VALUE = 2, 11, 2, 8, 6
CASES = [
    {"segment": 1},
    {"segment": 4},
    {"segment": 4, "rotary": False},
    {"segment": 20, "persistent": 1},
    {"persistent": 3},
    {"persistent": 3, "rotary": False},
    {"window": 3, "persistent": 2},
    {"pairs": 2},
    {"window": 4, "pairs": 3},
    {"segment": 4, "persistent": 2, "pairs": 2},
    {"segment": 3, "persistent": 2, "pairs": 2, "rotary": False},
]


def built(arguments: dict) -> Attention:
    attention = Attention(KEY, VALUE, heads=HEADS, **arguments).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in attention.parameters():
            weight.copy_(torch.randn(weight.shape, dtype=torch.float64, generator=generator))
    return attention


def flows(attention: Attention, tokens: int = TOKENS, batch: int = BATCH) -> tuple[torch.Tensor, ...]:
    """Keys, values and queries."""
    generator = torch.Generator().manual_seed(0)
    sizes = (attention.pairs * KEY, attention.pairs * VALUE, KEY)
    drawn = (torch.randn(batch, tokens, s, dtype=torch.float64, generator=generator) for s in sizes)
    return tuple(x.requires_grad_() for x in drawn)


def read_from(attention, key, value, query, state=None):
    state = attention.init_state(key.shape[0], dtype=key.dtype) if state is None else state
    context, following = attention.learn(key, value, state)
    return attention.read(context, query), following


def read_naive(attention, key, value, query):
    key = key.unflatten(-1, (attention.pairs, HEADS, -1))
    value = value.unflatten(-1, (attention.pairs, HEADS, -1))
    query = query.unflatten(-1, (HEADS, -1))
    start = torch.tensor(0)
    placed = (rotate(query, start), rotate(key.flatten(2, 3), start).view_as(key))
    persistent = None
    if attention.persistent:
        persistent = (
            attention.persistent_key.unflatten(-1, (HEADS, -1)),
            attention.persistent_value.unflatten(-1, (HEADS, -1)),
        )
    turned = placed if attention.rotary else (None, None)
    return naive.attend(query, key, value, attention.reach, *turned, persistent).flatten(2)


@pytest.mark.parametrize("arguments", CASES, ids=str)
def test_equals_the_loop_in_value_and_gradient(arguments):
    attention = built(arguments)
    results = []
    for read in (lambda *x: read_from(attention, *x)[0], lambda *x: read_naive(attention, *x)):
        inputs = flows(attention)
        wanted = [*inputs, *attention.parameters()]
        y = read(*inputs)
        results.append((y, torch.autograd.grad(y.sin().sum(), wanted)))
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("arguments", CASES, ids=str)
def test_any_cut_and_token_by_token_equal_the_whole(arguments):
    attention = built(arguments)
    whole, final = read_from(attention, *flows(attention))
    for pieces in [*([cut, TOKENS - cut] for cut in range(1, TOKENS)), [2, 4, 5], [1] * TOKENS]:
        state, parts, position = None, [], 0
        for part in zip(*(x.split(pieces, dim=1) for x in flows(attention)), strict=True):
            read, state = read_from(attention, *part, state)
            parts.append(read)
            position += part[0].shape[1]
            assert state["key"].shape[1] == attention.reach.kept(position)[0]
            assert state["position"].tolist() == [position] * len(state["position"])
        torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(state, final)


@pytest.mark.parametrize("tokens", [130, 200])
@pytest.mark.parametrize(
    "arguments", [{"window": 5, "persistent": 2, "pairs": 2}, {"segment": 48, "persistent": 1, "pairs": 2}]
)
def test_long_sequences_in_blocks_and_segments(tokens, arguments):
    assert tokens > SMALLEST_BLOCK_TOKENS
    attention = built(arguments)
    with torch.no_grad():
        expected = read_naive(attention, *flows(attention, tokens, 1))
        whole, _ = read_from(attention, *flows(attention, tokens, 1))
        torch.testing.assert_close(whole, expected, rtol=1e-9, atol=1e-10)
        for cut in (3, 48, 50, tokens - 66):
            parts = [x.split([cut, tokens - cut], dim=1) for x in flows(attention, tokens, 1)]
            first, state = read_from(attention, *(part[0] for part in parts))
            second, _ = read_from(attention, *(part[1] for part in parts), state)
            torch.testing.assert_close(torch.cat((first, second), dim=1), expected, rtol=1e-9, atol=1e-10)


def test_the_state_of_a_segment_is_bounded_by_it():
    attention = built({"segment": 4, "pairs": 2})
    for tokens in (100, 103):
        _, state = read_from(attention, *flows(attention, tokens, 1))
        assert state["key"].untyped_storage().nbytes() == tokens % 4 * 2 * KEY * 8


@pytest.mark.parametrize("arguments", CASES, ids=str)
def test_no_output_depends_on_a_later_token_or_another_sequence(arguments):
    attention = built(arguments)
    read, _ = read_from(attention, *flows(attention))
    cut = TOKENS - 4
    later, other = flows(attention), flows(attention)
    with torch.no_grad():
        for x, y in zip(later, other, strict=True):
            x[:, cut:] += 1
            y[1] += 1
    torch.testing.assert_close(read_from(attention, *later)[0][:, :cut], read[:, :cut])
    torch.testing.assert_close(read_from(attention, *other)[0][0], read[0])


def test_persistent_pairs_are_read_alike_from_every_place():
    """With nothing else in reach but the token itself, only distances of zero are left."""
    attention = built({"persistent": 3, "window": 1})
    x = [x[:, :1].expand(-1, 7, -1) for x in flows(attention)]
    read, _ = read_from(attention, *x)
    torch.testing.assert_close(read, read[:, :1].expand_as(read))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "arguments", [{"segment": 4, "persistent": 2, "pairs": 2}, {"window": 3, "pairs": 2}]
)
def test_compiled_equals_eager_in_values_and_gradients(arguments, backend):
    torch.compiler.reset()
    attention = built(arguments)

    def two_pieces(key, value, query):
        first, state = read_from(attention, key[:, :2], value[:, :2], query[:, :2])
        second, state = read_from(attention, key[:, 2:], value[:, 2:], query[:, 2:], state)
        return torch.cat((first, second), dim=1), state["key"]

    def results(function):
        inputs = flows(attention)
        read, kept = function(*inputs)
        wanted = [*inputs, *attention.parameters()]
        loss = read.square().sum() + kept.square().sum()
        return read, kept, torch.autograd.grad(loss, wanted)

    torch.testing.assert_close(
        results(torch.compile(two_pieces, fullgraph=True, backend=backend)), results(two_pieces)
    )


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"window": 2, "segment": 2}, "not both"),
        ({"segment": 0}, "positive"),
        ({"segment": 2, "causal": False}, "causal"),
    ],
)
def test_arguments_without_meaning(arguments, why):
    with pytest.raises(ValueError, match=why):
        Attention(KEY, VALUE, heads=HEADS, **arguments)
