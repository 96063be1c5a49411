"""The functions of flows, against their formulas."""

import math
from pathlib import Path

import pytest
import torch

from nestdsl.runtime.functions import FUNCTIONS
from nestdsl.vocabulary.signatures import LIBRARY, Place

# what the compiler writes for operators and numbers
OPERATORS = {"add", "subtract", "multiply", "divide", "power", "negate", "constant"}
ONE_FLOW = {
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "gelu": lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2))),
    "relu": lambda x: torch.where(x > 0, x, torch.zeros_like(x)),
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
    "softplus": lambda x: torch.log(1 + torch.exp(x)),
    "tanh": lambda x: (torch.exp(x) - torch.exp(-x)) / (torch.exp(x) + torch.exp(-x)),
    "exp": lambda x: math.e**x,
    "abs": lambda x: torch.where(x > 0, x, -x),
    "sign": lambda x: (x > 0).to(x.dtype) - (x < 0).to(x.dtype),
}


def flow(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_table_names_what_the_signatures_declare():
    declared = {
        name
        for name, function in LIBRARY.functions.items()
        if function.place is not Place.OPTIMIZER and not function.is_custom
    }
    assert set(FUNCTIONS) - OPERATORS == declared
    assert set(FUNCTIONS) >= OPERATORS


@pytest.mark.parametrize("name", ONE_FLOW)
def test_functions_of_one_flow_equal_their_formulas(name):
    x = torch.cat((flow(2, 3, 4), torch.zeros(2, 3, 1, dtype=torch.float64)), dim=-1)
    torch.testing.assert_close(FUNCTIONS[name](x), ONE_FLOW[name](x))


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "sqrt", "exp", "abs"])
def test_folding_at_compile_time_equals_the_function(name):
    fold = LIBRARY.functions[name].fold
    assert fold is not None
    for number in (0.25, 1.5):
        assert FUNCTIONS[name](torch.tensor(number, dtype=torch.float64)).item() == pytest.approx(
            fold(number)
        )


def test_soft_cap_bends_to_its_limit():
    """limit · tanh(x / limit), in flows and, of numbers, at compile time; its slope at zero is 1."""
    x = flow(2, 3, 4).mul(40).requires_grad_()
    y = FUNCTIONS["soft_cap"](x, limit=30.0)
    torch.testing.assert_close(y, 30 * (torch.exp(x / 15) - 1) / (torch.exp(x / 15) + 1))
    assert y.abs().max() < 30
    origin = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(FUNCTIONS["soft_cap"](origin, limit=30.0).sum(), origin)
    torch.testing.assert_close(slope, torch.ones_like(origin))
    fold = LIBRARY.functions["soft_cap"].fold
    assert fold is not None and fold(3.0, limit=2.0) == pytest.approx(2 * math.tanh(1.5))


def test_every_function_is_in_the_docs():
    text = (Path(__file__).parents[2] / "docs" / "language.md").read_text("utf-8")
    missing = [
        name
        for name, function in LIBRARY.functions.items()
        if not function.is_custom and f"`{name}`" not in text and f"`{name}(" not in text
    ]
    assert missing == []


def test_sqrt_is_the_square_root():
    x = flow(2, 3, 4).abs()
    torch.testing.assert_close(FUNCTIONS["sqrt"](x).square(), x)


def test_operators_take_flows_numbers_and_broadcast_a_flow_of_size_1():
    x, gate = flow(2, 3, 4), flow(2, 3, 1, seed=1)
    for name, expected in {
        "add": lambda a, b: a + b,
        "subtract": lambda a, b: a - b,
        "multiply": lambda a, b: a * b,
        "divide": lambda a, b: a / b,
    }.items():
        for feature in range(4):
            torch.testing.assert_close(
                FUNCTIONS[name](x, gate)[..., feature], expected(x[..., feature], gate[..., 0])
            )
        torch.testing.assert_close(FUNCTIONS[name](x, 3), expected(x, torch.full_like(x, 3)))
        torch.testing.assert_close(FUNCTIONS[name](3, x), expected(torch.full_like(x, 3), x))
        assert FUNCTIONS[name](7, 2) == expected(7, 2)
    torch.testing.assert_close(FUNCTIONS["power"](x, 2), x * x)
    torch.testing.assert_close(FUNCTIONS["power"](2, x), torch.exp(math.log(2) * x))
    torch.testing.assert_close(FUNCTIONS["negate"](x), 0 - x)


def test_a_constant_is_a_flow_of_size_1_like_another():
    for like in (flow(2, 3, 4), torch.zeros(2, 3, dtype=torch.int64)):
        for dtype in (torch.float32, torch.float64):
            constant = FUNCTIONS["constant"](0.5, like, dtype)
            torch.testing.assert_close(constant, torch.full((2, 3, 1), 0.5, dtype=dtype))


@pytest.mark.parametrize("heads", [1, 3])
def test_l2_normalize_divides_each_heads_part_by_its_length(heads):
    x = flow(2, 3, 6)
    expected = torch.cat(
        [part / torch.sqrt((part**2).sum(-1, keepdim=True) + 1e-3) for part in x.chunk(heads, dim=-1)], dim=-1
    )
    torch.testing.assert_close(FUNCTIONS["l2_normalize"](x, heads=heads, eps=1e-3), expected)


def test_l2_normalize_is_smooth_at_zero_to_the_second_derivative():
    x = torch.zeros(1, 1, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: FUNCTIONS["l2_normalize"](x, heads=2, eps=0.1), x)
    assert torch.autograd.gradgradcheck(lambda x: FUNCTIONS["l2_normalize"](x, heads=2, eps=0.1), x)


def test_l2_normalize_of_low_precision_sums_in_float32():
    x = torch.full((1, 1, 4096), 300.0, dtype=torch.float16)  # the squares alone are beyond float16
    y = FUNCTIONS["l2_normalize"](x)
    assert y.dtype == torch.float16
    torch.testing.assert_close(y, torch.full_like(x, 1 / 64))


@pytest.mark.parametrize("heads", [1, 2])
def test_softmax_is_taken_over_each_heads_part(heads):
    x = flow(2, 3, 6)
    expected = torch.cat([p.exp() / p.exp().sum(-1, keepdim=True) for p in x.chunk(heads, dim=-1)], dim=-1)
    torch.testing.assert_close(FUNCTIONS["softmax"](x, heads=heads), expected)


def test_stop_keeps_the_value_and_passes_no_gradient():
    x = flow(2, 3, 4).requires_grad_()
    stopped = FUNCTIONS["stop"](x)
    torch.testing.assert_close(stopped, x.detach())
    (stopped * x).sum().backward()
    torch.testing.assert_close(x.grad, x.detach())  # of the product, the other factor alone


def test_concat_puts_flows_side_by_side():
    a, b, c = flow(2, 3, 4), flow(2, 3, 1, seed=1), flow(2, 3, 2, seed=2)
    joined = FUNCTIONS["concat"](a, b, c)
    assert joined.shape == (2, 3, 7)
    for part, original in zip(joined.split([4, 1, 2], dim=-1), (a, b, c), strict=True):
        torch.testing.assert_close(part, original)


def test_dropout_acts_only_while_training_and_keeps_the_mean():
    torch.manual_seed(0)
    x = torch.ones(1, 100, 100, dtype=torch.float64)
    torch.testing.assert_close(FUNCTIONS["dropout"](x, rate=0.25, training=False), x)
    dropped = FUNCTIONS["dropout"](x, rate=0.25, training=True)
    assert (dropped == 0).double().mean().item() == pytest.approx(0.25, abs=0.02)
    assert dropped[dropped != 0].unique().tolist() == pytest.approx([1 / 0.75])
    assert not FUNCTIONS["dropout"](x, rate=1.0, training=True).any()
