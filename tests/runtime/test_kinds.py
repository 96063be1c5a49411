"""The kinds with weights: their parameters as the signatures declare them, and their formulas."""

import inspect
import math
from dataclasses import dataclass, field

import pytest
import torch
from torch import nn

from nestdsl.runtime.kinds.attention import Attention
from nestdsl.runtime.kinds.conv import Conv
from nestdsl.runtime.kinds.embedding import Embedding
from nestdsl.runtime.kinds.layer_norm import LayerNorm
from nestdsl.runtime.kinds.linear import Linear
from nestdsl.runtime.kinds.low_rank import LowRank
from nestdsl.runtime.kinds.mlp import ACTIVATIONS, Mlp
from nestdsl.runtime.kinds.rms_norm import RmsNorm
from nestdsl.vocabulary.signatures import LIBRARY, REQUIRED, Value

BATCH, TOKENS = 2, 7


@dataclass(frozen=True)
class Case:
    kind: str
    cls: type
    input_size: int
    output_size: int
    arguments: dict[str, Value] = field(default_factory=dict)

    def make(self) -> nn.Module:
        torch.manual_seed(0)
        return self.cls(self.input_size, self.output_size, **self.arguments).double()

    def read(self, module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        if isinstance(module, Conv):
            return module(x, module.init_state(x.shape[0], dtype=x.dtype))[0]
        return module(x)

    def input(self) -> torch.Tensor:
        torch.manual_seed(1)
        if self.kind == "embedding":
            return torch.randint(self.input_size, (BATCH, TOKENS))
        return torch.randn(BATCH, TOKENS, self.input_size, dtype=torch.float64)

    def __str__(self) -> str:
        return "-".join([self.kind, *(f"{name}={value}" for name, value in self.arguments.items())])


CASES = [
    Case("embedding", Embedding, 5, 4, {"dim": 4}),
    Case("linear", Linear, 6, 4, {"out": 4}),
    Case("linear", Linear, 6, 6, {"bias": False}),
    Case("mlp", Mlp, 6, 6),
    Case("mlp", Mlp, 6, 6, {"expand": 1.6, "activation": "silu", "bias": False}),
    Case("mlp", Mlp, 6, 6, {"hidden": 3, "activation": "tanh"}),
    Case("low_rank", LowRank, 6, 6, {"rank": 2}),
    Case("conv", Conv, 6, 6, {"width": 4}),
    Case("conv", Conv, 6, 6, {"width": 1, "bias": False}),
    Case("rms_norm", RmsNorm, 6, 6),
    Case("rms_norm", RmsNorm, 6, 6, {"heads": 3, "eps": 1e-3}),
    Case("layer_norm", LayerNorm, 6, 6),
    Case("layer_norm", LayerNorm, 6, 6, {"heads": 2, "eps": 1e-3}),
]
every_case = pytest.mark.parametrize("case", CASES, ids=str)
CLASSES = {case.kind: case.cls for case in CASES} | {"attention": Attention}


@every_case
def test_parameters_are_those_of_the_signature(case):
    kind = LIBRARY.kinds[case.kind]
    defaults = {spec.name: spec.default for spec in kind.arguments}
    declared = kind.parameters(defaults | case.arguments, case.input_size, case.output_size)
    module = case.make()
    assert {name: tuple(p.shape) for name, p in module.named_parameters()} == dict(declared)
    assert dict(module.named_buffers()) == {}


@pytest.mark.parametrize("name", CLASSES)
def test_arguments_and_defaults_are_those_of_the_signature(name):
    parameters = inspect.signature(CLASSES[name]).parameters
    keywords = {n: p.default for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    declared = {spec.name: spec.default for spec in LIBRARY.kinds[name].arguments}
    if name == "attention":  # its projections, and so their bias, are the compiler's; it has no weights
        del declared["bias"]
    elif LIBRARY.kinds[name].starts:
        assert keywords.pop("init") == "learned"
    assert keywords == {n: inspect.Parameter.empty if d is REQUIRED else d for n, d in declared.items()}


def test_the_activations_are_those_of_the_signature():
    [spec] = [spec for spec in LIBRARY.kinds["mlp"].arguments if spec.name == "activation"]
    assert spec.choices == ACTIVATIONS


@every_case
def test_shape_and_a_gradient_for_every_parameter(case):
    module = case.make()
    y = case.read(module, case.input())
    assert y.shape == (BATCH, TOKENS, case.output_size)
    torch.manual_seed(2)
    (y * torch.randn_like(y)).sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0, name


@every_case
def test_the_same_seed_makes_the_same_module(case):
    first, second = case.make(), case.make()
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_embedding_looks_rows_up():
    module = CASES[0].make()
    ids = torch.tensor([[3, 0, 3]])
    torch.testing.assert_close(module(ids)[0, 1], module.weight[0])
    torch.testing.assert_close(module(ids)[0, 0], module(ids)[0, 2])


def test_linear_and_mlp_equal_their_formulas():
    linear, x = CASES[1].make(), CASES[1].input()
    nn.init.normal_(linear.bias)
    torch.testing.assert_close(linear(x), torch.einsum("oi,bti->bto", linear.weight, x) + linear.bias)
    mlp = CASES[3].make()
    nn.init.normal_(mlp.up.bias)
    nn.init.normal_(mlp.down.bias)
    hidden = x @ mlp.up.weight.T + mlp.up.bias
    active = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
    torch.testing.assert_close(mlp(x), active @ mlp.down.weight.T + mlp.down.bias)


def test_the_activation_of_an_mlp_is_the_one_named():
    x = torch.randn(1, 2, 4, dtype=torch.float64)
    for name, function in {"relu": torch.relu, "tanh": torch.tanh, "silu": lambda h: h * h.sigmoid()}.items():
        mlp = Mlp(4, 4, activation=name).double()
        torch.testing.assert_close(mlp(x), mlp.down(function(mlp.up(x))))


@pytest.mark.parametrize("heads", [1, 3])
def test_norms_normalise_each_heads_part_by_itself(heads):
    x = torch.randn(2, 3, 6, dtype=torch.float64) * 5 + 2
    rms, layer = (
        RmsNorm(6, 6, heads=heads, eps=1e-3).double(),
        LayerNorm(6, 6, heads=heads, eps=1e-3).double(),
    )
    for parameter in (*rms.parameters(), *layer.parameters()):
        nn.init.normal_(parameter)
    parts = x.chunk(heads, dim=-1)
    by_rms = [p / torch.sqrt((p**2).mean(-1, keepdim=True) + 1e-3) for p in parts]
    torch.testing.assert_close(rms(x), torch.cat(by_rms, dim=-1) * rms.weight)
    by_layer = [
        (p - p.mean(-1, keepdim=True)) / torch.sqrt(p.var(-1, correction=0, keepdim=True) + 1e-3)
        for p in parts
    ]
    torch.testing.assert_close(layer(x), torch.cat(by_layer, dim=-1) * layer.weight + layer.bias)


@pytest.mark.parametrize("cls", [RmsNorm, LayerNorm])
def test_norms_of_low_precision_take_statistics_in_float32(cls):
    x = torch.tensor([[[300.0, -300.0] * 64]], dtype=torch.float16)  # the squares are beyond float16
    y = cls(128, 128).half()(x)
    assert y.dtype == torch.float16
    torch.testing.assert_close(y, torch.tensor([[[1.0, -1.0] * 64]], dtype=torch.float16))


@pytest.mark.parametrize("cls", [RmsNorm, LayerNorm])
def test_norms_have_second_derivatives_even_at_zero(cls):
    norm = cls(4, 4, heads=2, eps=0.1).double()
    x = torch.randn(1, 2, 4, dtype=torch.float64)
    x[0, 0] = 0
    assert torch.autograd.gradgradcheck(norm, x.requires_grad_())


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="does not divide"):
        RmsNorm(6, 6, heads=4)
    with pytest.raises(ValueError, match="6 in, 4 out"):
        LayerNorm(6, 4)
    with pytest.raises(ValueError, match="6 in, 4 out"):
        Conv(6, 4, width=2)
    with pytest.raises(ValueError, match="width = 0"):
        Conv(6, 6, width=0)
    with pytest.raises(ValueError, match="unknown activation"):
        Mlp(6, 6, activation="swish")
    with pytest.raises(ValueError, match="out = 3"):
        Linear(6, 4, out=3)
    with pytest.raises(ValueError, match="dim = 3"):
        Embedding(6, 4, dim=3)
    with pytest.raises(ValueError, match="no pairs"):
        Attention(6, 6, heads=2)
    with pytest.raises(ValueError, match="does not divide"):
        Attention(8, 6, heads=4)
    with pytest.raises(ValueError, match="window = 0"):
        Attention(8, 8, window=0)
