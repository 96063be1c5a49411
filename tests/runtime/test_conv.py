"""The causal convolution: its formula, and that its state carries it over any cut."""

import pytest
import torch
from torch import nn

from nestdsl.runtime.kinds.conv import Conv
from nestdsl.vocabulary.signatures import LIBRARY

BATCH, TOKENS, SIZE = 2, 7, 3


def make(width: int, bias: bool = True) -> Conv:
    torch.manual_seed(0)
    conv = Conv(SIZE, SIZE, width=width, bias=bias).double()
    for parameter in conv.parameters():
        nn.init.normal_(parameter)
    return conv


def flow() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(BATCH, TOKENS, SIZE, dtype=torch.float64)


def from_the_start(conv: Conv, x: torch.Tensor) -> torch.Tensor:
    return conv(x, conv.init_state(x.shape[0], dtype=x.dtype))[0]


@pytest.mark.parametrize("width", [1, 2, 4, 9])
@pytest.mark.parametrize("bias", [True, False])
def test_equals_a_plain_loop(width, bias):
    conv, x = make(width, bias), flow()
    expected = torch.zeros_like(x)
    for t in range(TOKENS):
        for tap in range(width):
            source = t - (width - 1) + tap
            if source >= 0:
                expected[:, t] += conv.weight[:, tap] * x[:, source]
    if conv.bias is not None:
        expected += conv.bias
    torch.testing.assert_close(from_the_start(conv, x), expected)


@pytest.mark.parametrize("width", [1, 2, 4, 9])
def test_any_cut_and_token_by_token_equal_the_whole(width):
    conv, x = make(width), flow()
    whole, final = conv(x, conv.init_state(BATCH, dtype=x.dtype))
    declared = LIBRARY.kinds["conv"].state({"width": width}, SIZE, SIZE)
    for pieces in [*([cut, TOKENS - cut] for cut in range(1, TOKENS)), [1] * TOKENS]:
        state, parts = conv.init_state(BATCH, dtype=x.dtype), []
        for piece in x.split(pieces, dim=1):
            y, state = conv(piece, state)
            parts.append(y)
            assert {name: tuple(s.shape[1:]) for name, s in state.items()} == dict(declared)
        torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=0, atol=0)
        torch.testing.assert_close(state, final, rtol=0, atol=0)


def test_no_output_depends_on_a_later_token_or_another_sequence():
    conv, x = make(4), flow()
    y = from_the_start(conv, x)
    later = x.clone()
    later[:, 4:] += 1
    torch.testing.assert_close(from_the_start(conv, later)[:, :4], y[:, :4], rtol=0, atol=0)
    assert (from_the_start(conv, later)[:, 4:] != y[:, 4:]).all()
    other = x.clone()
    other[1] += 1
    torch.testing.assert_close(from_the_start(conv, other)[0], y[0], rtol=0, atol=0)


@pytest.mark.parametrize("width", [1, 4])
def test_begins_as_a_depthwise_filter_of_torch(width):
    """Uniform within ±1 / sqrt(width) at every tap; unlike torch's, the bias is zero."""
    torch.manual_seed(0)
    conv = Conv(2000, 2000, width=width)
    theirs = nn.Conv1d(2000, 2000, width, groups=2000).weight.squeeze(1)
    bound = width**-0.5
    for weight in (conv.weight, theirs):
        assert 0.99 * bound < weight.abs().max() <= bound
        torch.testing.assert_close(weight.std(0), torch.full((width,), bound / 3**0.5), rtol=0.05, atol=0)
        assert (weight.mean(0).abs() < 0.05 * bound).all()
    assert conv.bias is not None
    assert not conv.bias.any()


def test_first_and_second_derivatives():
    conv = make(3)
    state = conv.init_state(1, dtype=torch.float64)["inputs"].normal_().requires_grad_()
    x = torch.randn(1, 4, SIZE, dtype=torch.float64, requires_grad=True)

    def read(x, inputs, weight, bias):
        y, following = torch.func.functional_call(
            conv, {"weight": weight, "bias": bias}, (x, {"inputs": inputs})
        )
        return y * y, following["inputs"]

    arguments = (x, state, conv.weight, conv.bias)
    assert torch.autograd.gradcheck(read, arguments)
    assert torch.autograd.gradgradcheck(read, arguments)


def test_the_state_does_not_keep_the_sequence_alive():
    conv = make(4)
    _, state = conv(torch.zeros(1, 1000, SIZE, dtype=torch.float64), conv.init_state(1, dtype=torch.float64))
    assert state["inputs"].untyped_storage().nbytes() == 3 * SIZE * 8


# inductor imports parts of torch that torch itself has marked as old
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_compiled_equals_eager_in_values_and_gradients(backend):
    torch.compiler.reset()
    conv, x = make(4), flow().requires_grad_()
    state = conv.init_state(BATCH, dtype=x.dtype)["inputs"].normal_().requires_grad_()

    def results(function):
        y, following = function(x, {"inputs": state})
        loss = (y * y).sum() + following["inputs"].square().sum()
        return y, torch.autograd.grad(loss, (x, state, *conv.parameters()))

    torch.testing.assert_close(results(torch.compile(conv, fullgraph=True, backend=backend)), results(conv))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("tokens", [1, 2, 7])
def test_a_state_is_laid_out_alike_after_any_number_of_tokens(batch: int, tokens: int) -> None:
    """Compiled code is bound to strides, those of a single sequence included."""
    level = Conv(4, 4, width=3)
    start = level.init_state(batch)
    _, state = level(torch.randn(batch, tokens, 4), start)
    assert state["inputs"].stride() == start["inputs"].stride()
