"""Softmax attention against a loop over queries, and that its state carries it over any cut."""

import cmath

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from nestdsl.runtime.kinds.attention import Attention, rotate
from nestdsl.runtime.ops.attention.fast import SMALLEST_BLOCK_TOKENS

BATCH, TOKENS, HEADS, KEY, VALUE = 2, 9, 2, 8, 6
WINDOWS = [None, 1, 2, 4, 9, 20]

Flows = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def flows(tokens: int = TOKENS, batch: int = BATCH) -> Flows:
    """Keys, values and queries."""
    generator = torch.Generator().manual_seed(0)
    sizes = (KEY, VALUE, KEY)
    key, value, query = (
        torch.randn(batch, tokens, s, dtype=torch.float64, generator=generator) for s in sizes
    )
    return key, value, query


def read_from(attention: Attention, key, value, query, state=None):
    if state is None:
        state = attention.init_state(key.shape[0], dtype=key.dtype)
    context, following = attention.learn(key, value, state)
    return attention.read(context, query), following


def rotated_naive(x: torch.Tensor) -> torch.Tensor:
    """Every feature pair as a complex number times exp(i p base^(-2 i / size))."""
    x = x.clone()
    size = x.shape[-1] // HEADS
    for position in range(x.shape[1]):
        for head in range(HEADS):
            for pair in range(size // 2):
                i, j = head * size + pair, head * size + size // 2 + pair
                turn = cmath.exp(1j * position * 10000 ** (-2 * pair / size))
                turned = torch.complex(x[:, position, i], x[:, position, j]) * turn
                x[:, position, i], x[:, position, j] = turned.real, turned.imag
    return x


def read_naive(key, value, query, window=None, rotary=True, causal=True) -> torch.Tensor:
    """One query at a time, over the tokens that it may see."""
    if rotary:
        key, query = rotated_naive(key), rotated_naive(query)
    tokens, out = key.shape[1], []
    size = key.shape[-1] // HEADS
    for t in range(tokens):
        reach = tokens if window is None else window
        seen = [s for s in range(tokens) if abs(t - s) < reach and (s <= t or not causal)]
        heads = []
        for q, k, v in zip(
            query[:, t].chunk(HEADS, -1),
            key[:, seen].chunk(HEADS, -1),
            value[:, seen].chunk(HEADS, -1),
            strict=True,
        ):
            weights = torch.softmax(torch.einsum("bk,bsk->bs", q, k) / size**0.5, dim=-1)
            heads.append(torch.einsum("bs,bsv->bv", weights, v))
        out.append(torch.cat(heads, dim=-1))
    return torch.stack(out, dim=1)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("rotary", [True, False])
@pytest.mark.parametrize("causal", [True, False])
def test_equals_a_plain_loop(window, rotary, causal):
    attention = Attention(KEY, VALUE, heads=HEADS, window=window, rotary=rotary, causal=causal)
    read, _ = read_from(attention, *flows())
    torch.testing.assert_close(read, read_naive(*flows(), window, rotary, causal))


@pytest.mark.parametrize("window", WINDOWS)
def test_any_cut_and_token_by_token_equal_the_whole(window):
    attention = Attention(KEY, VALUE, heads=HEADS, window=window)
    whole, final = read_from(attention, *flows())
    for pieces in [*([cut, TOKENS - cut] for cut in range(1, TOKENS)), [2, 3, 4], [1] * TOKENS]:
        state, parts, position = attention.init_state(BATCH, dtype=torch.float64), [], 0
        for part in zip(*(x.split(pieces, dim=1) for x in flows()), strict=True):
            read, state = read_from(attention, *part, state)
            parts.append(read)
            position += part[0].shape[1]
            kept = position if window is None else min(position, window - 1)
            assert state["key"].shape == (BATCH, kept, KEY)
            assert state["value"].shape == (BATCH, kept, VALUE)
            assert state["position"].dtype == torch.int64
            assert state["position"].tolist() == [position] * len(state["position"])
        torch.testing.assert_close(torch.cat(parts, dim=1), whole)
        torch.testing.assert_close(state, final)


# longer than a block: exact blocks, a remainder of one token, a window below and above the block
@pytest.mark.parametrize("tokens", [128, 129, 200])
@pytest.mark.parametrize("window", [1, 5, SMALLEST_BLOCK_TOKENS, 70])
def test_blocks_equal_a_mask(tokens, window):
    key, value, query = flows(tokens, batch=2)
    attention = Attention(KEY, VALUE, heads=HEADS, window=window)
    distance = torch.arange(tokens)[:, None] - torch.arange(tokens)
    position = torch.zeros((), dtype=torch.int64)
    q, k = (rotate(x.unflatten(-1, (HEADS, -1)), position).transpose(1, 2) for x in (query, key))
    scores = (q @ k.transpose(-1, -2)) / (KEY // HEADS) ** 0.5
    weights = scores.masked_fill((distance < 0) | (distance >= window), -torch.inf).softmax(-1)
    expected = (weights @ value.unflatten(-1, (HEADS, -1)).transpose(1, 2)).transpose(1, 2).flatten(2)
    torch.testing.assert_close(read_from(attention, key, value, query)[0], expected)
    for cut in (3, 50, tokens - 66):  # the second piece takes blocks too, beside a part-filled or full cache
        first, state = read_from(attention, key[:, :cut], value[:, :cut], query[:, :cut])
        second, _ = read_from(attention, key[:, cut:], value[:, cut:], query[:, cut:], state)
        torch.testing.assert_close(torch.cat((first, second), dim=1), expected)


def test_rotation_depends_on_the_distance_alone_even_far_into_a_sequence():
    x, y = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64)
    near = (rotate(x, torch.tensor(5)) * rotate(y, torch.tensor(2))).sum()
    far = (rotate(x, torch.tensor(1_000_005)) * rotate(y, torch.tensor(1_000_002))).sum()
    torch.testing.assert_close(near, far)
    single = (rotate(x.float(), torch.tensor(1_000_005)) * rotate(y.float(), torch.tensor(1_000_002))).sum()
    torch.testing.assert_close(single.double(), near, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("tokens", [TOKENS, 80])
def test_no_output_depends_on_a_later_token_or_another_sequence(window, tokens):
    attention = Attention(KEY, VALUE, heads=HEADS, window=window)
    read, _ = read_from(attention, *flows(tokens))
    cut = tokens - 4
    later = flows(tokens)
    other = flows(tokens)
    for x, y in zip(later, other, strict=True):
        x[:, cut:] += 1
        y[1] += 1
    changed = read_from(attention, *later)[0]
    torch.testing.assert_close(changed[:, :cut], read[:, :cut])
    assert (changed[:, cut:] - read[:, cut:]).abs().amax(-1).min() > 1e-6
    torch.testing.assert_close(read_from(attention, *other)[0][0], read[0])


def test_several_queries_read_one_context():
    key, value, query = flows()
    attention = Attention(KEY, VALUE, heads=HEADS)
    context, _ = attention.learn(key, value, attention.init_state(BATCH, dtype=torch.float64))
    torch.testing.assert_close(attention.read(context, query), read_naive(key, value, query))
    torch.testing.assert_close(attention.read(context, -query), read_naive(key, value, -query))


def test_it_has_no_parameters_and_a_window_bounds_its_state():
    attention = Attention(KEY, VALUE, heads=HEADS, window=4)
    assert attention.state_dict() == {}
    _, state = read_from(attention, *flows(100, batch=1))
    assert state["key"].untyped_storage().nbytes() == 3 * KEY * 8


@pytest.mark.parametrize("window", [None, 3])
def test_derivatives_through_a_carried_state(window):
    attention = Attention(KEY, VALUE, heads=HEADS, window=window)

    def read(key, value, query):
        first, state = read_from(attention, key[:, :2], value[:, :2], query[:, :2])
        second, _ = read_from(attention, key[:, 2:], value[:, 2:], query[:, 2:], state)
        return torch.cat((first, second), dim=1)

    inputs = tuple(x.requires_grad_() for x in flows(5, batch=1))
    assert torch.autograd.gradcheck(read, inputs, fast_mode=True)
    with sdpa_kernel(SDPBackend.MATH):  # the fast kernels have no second derivative
        assert torch.autograd.gradgradcheck(read, inputs, fast_mode=True)


# inductor imports parts of torch that torch itself has marked as old
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize(("window", "tokens"), [(None, TOKENS), (4, TOKENS), (4, 70)])
def test_compiled_equals_eager_in_values_and_gradients(window, tokens, backend):
    torch.compiler.reset()  # else torch makes the sizes of the cases before symbolic
    attention = Attention(KEY, VALUE, heads=HEADS, window=window)

    def two_pieces(key, value, query):
        first, state = read_from(attention, key[:, :2], value[:, :2], query[:, :2])
        second, state = read_from(attention, key[:, 2:], value[:, 2:], query[:, 2:], state)
        return torch.cat((first, second), dim=1), state["key"]

    def results(function):
        inputs = tuple(x.requires_grad_() for x in flows(tokens))
        read, kept = function(*inputs)
        return read, kept, torch.autograd.grad(read.square().sum() + kept.square().sum(), inputs)

    torch.testing.assert_close(
        results(torch.compile(two_pieces, fullgraph=True, backend=backend)), results(two_pieces)
    )


def test_compiled_token_by_token_recompiles_for_no_length():
    attention = Attention(KEY, VALUE, heads=HEADS)
    graphs = []

    def backend(module, example_inputs):
        graphs.append(module)
        return module.forward

    step = torch.compile(lambda *x: read_from(attention, *x), fullgraph=True, backend=backend)
    state, parts = attention.init_state(BATCH, dtype=torch.float64), []
    for part in zip(*(x.split(1, dim=1) for x in flows()), strict=True):
        read, state = step(*part, state)
        parts.append(read)
    torch.testing.assert_close(torch.cat(parts, dim=1), read_naive(*flows()))
    assert len(graphs) <= 4  # cache lengths 0 and 1 are special to torch, 2 is seen once, the rest share one


@pytest.mark.parametrize("window", [None, 4])
def test_low_precision_stays_close(window):
    attention = Attention(KEY, VALUE, heads=HEADS, window=window)
    low = tuple(x.bfloat16() for x in flows())
    read, state = read_from(attention, *low)
    assert {read.dtype, state["key"].dtype, state["value"].dtype} == {torch.bfloat16}
    expected = read_naive(*(x.double() for x in low), window=window)
    torch.testing.assert_close(read.double(), expected, rtol=0.05, atol=0.05)
    # a state made in another precision does not raise that of the flows
    single = attention.init_state(BATCH, dtype=torch.float32)
    assert read_from(attention, *low, single)[0].dtype == torch.bfloat16
