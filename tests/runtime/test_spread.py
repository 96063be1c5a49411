"""`spread(first, last, size)`: a flow of numbers, the same at every token, alone and in what is computed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import nestdsl
from nestdsl.diagnostics import NestError
from nestdsl.plan.instructions import Call
from nestdsl.plan.yaml import from_yaml, to_yaml
from nestdsl.runtime.functions import spread
from nestdsl.runtime.module import NestModule

RETENTION = """
model m(dim = 8, heads = 4) {
  input vectors(dim)
  flow k = in -> linear -> l2_normalize(heads)
  flow v = in -> linear
  flow keep = 1 - 2 ** spread(-1, -4, heads)
  level memory = matrix(heads) {
    learn k -> v
    every 1 token, chunk 4
    optimizer gd(step = 0.5, retain = keep)
    objective dot
    init zeros
  }
  flow out = k -> memory
}
"""
BIASED = """
model m(dim = 8, heads = 4) {
  input ids(16)
  flow x = in -> embedding(dim)
  flow retain = sigmoid((x -> linear(heads)) + spread(2, 6, heads))
  flow weighted = (x -> linear) * spread(0.5, 1, dim)
  level memory = matrix(heads) {
    learn x -> weighted
    every 1 token
    optimizer gd(step = 0.1, retain = retain)
  }
  flow out = (x -> memory) * spread(2, 2, 1) -> linear(16)
}
"""


def test_numbers_are_those_of_linspace_at_every_token() -> None:
    like = torch.zeros(2, 3, 5, dtype=torch.float64)
    for first, last, size in ((2.0, 6.0, 5), (-5.0, -8.0, 4), (1.5, 1.5, 3), (2.0, 6.0, 1), (0.0, 1.0, 2)):
        found = spread(like, torch.float64, first=first, last=last, size=size)
        wanted = torch.tensor([first + (last - first) * j / max(1, size - 1) for j in range(size)])
        assert found.dtype == torch.float64
        assert found.is_contiguous()
        torch.testing.assert_close(found, wanted.double().expand(2, 3, size), rtol=1e-7, atol=1e-7)
        assert torch.equal(found, torch.linspace(first, last, size, dtype=torch.float64).expand(2, 3, size))


def built(text: str, **options: bool) -> NestModule:
    return nestdsl.parse(text).compile(**({"compile": False} | options)).double()  # type: ignore[arg-type]


def sample(model: NestModule, tokens: int = 11) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    if model.plan.input.takes == "ids":
        return torch.randint(16, (3, tokens), generator=generator)
    return torch.randn(3, tokens, 8, generator=generator, dtype=torch.float64)


def test_each_head_keeps_at_its_own_fixed_rate() -> None:
    """RetNet's decays: against the plain recurrence, in value and in every gradient."""
    model = built(RETENTION)
    x = sample(model).requires_grad_()
    found, _ = model(x)
    weights = dict(model.named_parameters())
    key = x @ weights["k_linear.weight"].T + weights["k_linear.bias"]
    value = (x @ weights["v_linear.weight"].T + weights["v_linear.bias"]).unflatten(-1, (4, 2))
    keys = key.unflatten(-1, (4, 2))
    keys = keys * torch.rsqrt(keys.square().sum(-1, keepdim=True) + 1e-6)
    decay = 1 - 2 ** torch.tensor([-1.0, -2.0, -3.0, -4.0], dtype=torch.float64)
    wanted = torch.stack(
        [
            sum(
                0.5
                * decay[:, None] ** (t - s)
                * (keys[:, t] * keys[:, s]).sum(-1, keepdim=True)
                * value[:, s]
                for s in range(t + 1)
            )  # type: ignore[arg-type]
            for t in range(x.shape[1])
        ],
        dim=1,
    ).flatten(-2)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    inputs = (x, *weights.values())
    sent = torch.randn_like(found)
    for one, other in zip(
        torch.autograd.grad((found * sent).sum(), inputs),
        torch.autograd.grad((wanted * sent).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("text", [RETENTION, BIASED])
@pytest.mark.parametrize("sizes", [[1] * 11, [4, 7], [3, 1, 5, 2]])
def test_whole_equals_any_split(text: str, sizes: list[int]) -> None:
    model = built(text)
    x = sample(model)
    whole, _ = model(x)
    state, parts = None, []
    for part in x.split(sizes, dim=1):
        y, state = model(part, state)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-9, atol=1e-9)
    assert whole.dtype == torch.float64


def test_a_bias_for_each_head_is_what_is_added() -> None:
    model = built(BIASED)
    x = sample(model)
    found, _ = model(x)
    plain = built(BIASED.replace(" + spread(2, 6, heads)", ""))
    weights = model.state_dict()
    bias = "retain_linear.bias"
    weights[bias] = weights[bias] + torch.linspace(2, 6, 4, dtype=torch.float64)
    plain.load_state_dict(weights)
    torch.testing.assert_close(plain(x)[0], found, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_numbers_beside_ids_have_the_precision_of_the_weights(dtype: torch.dtype) -> None:
    model = nestdsl.parse("""
    model m(dim = 8) {
      input ids(16)
      flow shift = 0.1
      flow out = (in -> embedding(dim)) * spread(0.1, 1, dim) + shift -> linear
    }
    """).compile(compile=False)
    model.to(dtype)
    assert model(torch.zeros(1, 2, dtype=torch.int64))[0].dtype == dtype


@pytest.mark.slow
@pytest.mark.parametrize("text", [RETENTION, BIASED])
def test_compiled_equals_eager(text: str) -> None:
    plain, compiled = built(text), built(text, compile=True)
    x = sample(plain, 8)
    loss, again = plain(x)[0].square().sum(), compiled(x)[0].square().sum()
    torch.testing.assert_close(again, loss)
    wanted, found = (
        torch.autograd.grad(one, tuple(model.parameters()), allow_unused=True)
        for one, model in ((loss, plain), (again, compiled))
    )
    torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-8)
    with torch.no_grad():
        _, state = compiled(x)
        y, _ = compiled(x[:, :1], state)
        torch.testing.assert_close(y, plain(x[:, :1], plain(x)[1])[0])


def test_equal_spreads_are_made_once_and_the_plan_keeps_them() -> None:
    plan = nestdsl.parse("""
    model m {
      input vectors(8)
      flow out = in * spread(0, 1, 8) + spread(first = 0.0, last = 1, size = 8)
    }
    """).plan
    assert from_yaml(to_yaml(plan)) == plan
    assert [line.function for line in plan.root.lines if isinstance(line, Call)].count("spread") == 1


ODD = [
    ("in -> spread(0, 1, 8)", "N0104", "makes a flow of numbers, and reads none"),
    ("in -> spread", "N0104", "makes a flow of numbers, and reads none"),
    ("in * spread", "N0104", "`spread` is a function, not a flow"),
    ("in * spread(0, 1)", "N0103", "needs `size`"),
    ("in * spread(0, 1, 8, 2)", "N0103", "one too many"),
    ("in * spread(in, 1, 8)", "N0104", "`in` is not a compile-time constant"),
    ('in * spread("a", 1, 8)', "N0104", "`first` is a number"),
    ("in * spread(0, 1, 0)", "N0202", "`size` is a positive whole number"),
    ("in * spread(0, 1, 4)", "N0201", "the sizes 8 and 4 differ"),
    ("in * spread(0, 1, 2 ** 40)", "N0004", "the size of a flow"),
]


@pytest.mark.parametrize(("expression", "code", "message"), ODD)
def test_wrong_calls_are_refused(expression: str, code: str, message: str) -> None:
    with pytest.raises(NestError) as error:
        _ = nestdsl.parse(f"model m {{\n input vectors(8)\n flow out = {expression}\n}}").plan
    [found] = error.value.diagnostics
    assert found.code == code
    assert message in found.message


def test_hints_say_how_it_is_called() -> None:
    for expression in ("in * spread", "in -> spread"):
        with pytest.raises(NestError) as error:
            _ = nestdsl.parse(f"model m {{\n input vectors(8)\n flow out = {expression}\n}}").plan
        assert "spread(first, last, size)" in error.value.diagnostics[0].hint


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("last: 1.0, size: 8}", "last: 1.0, size: 0}", "size of `out_1` of `m` is 0"),
        (
            "last: 1.0, size: 8}",
            "last: 1.0, size: 4294967296}",
            "`out_1` is too large|4294967296",
        ),
        ("last: 1.0, size: 8}", "last: 1.0}", "does not say `size`"),
        ("last: 1.0", "last: .nan", "last of|finite|value"),
        ("last: 1.0, size: 8}", "last: 1.0, size: 8, heads: 2}", "an argument of .* is 'heads'"),
        ("last: 1.0, size: 8}", "last: 1.0, size: 4}", "the sizes of what `out` computes with differ"),
    ],
)
def test_odd_plans_are_refused(old: str, new: str, message: str) -> None:
    text = to_yaml(nestdsl.parse("model m {\n input vectors(8)\n flow out = in * spread(0, 1, 8)\n}").plan)
    assert old in text
    with pytest.raises(NestError, match=message) as error:
        from_yaml(text.replace(old, new))
    assert [one.code for one in error.value.diagnostics] == ["N0502"]


@pytest.mark.parametrize("source", ["vectors(8)", "ids(16)"])
@pytest.mark.parametrize(
    "gate",
    ["spread(2, 6, 8) + (x -> linear)", "(x -> linear) + spread(2, 6, 8)", "1 - 2 ** spread(-1, -9, 8)"],
)
def test_what_drives_a_memory_is_exact_and_what_else_sees_it_has_the_precision_of_the_model(
    source: str, gate: str
) -> None:
    embedding = "embedding(8)" if "ids" in source else "linear"
    model = nestdsl.parse(f"""
    model m {{
      input {source}
      flow x = in -> {embedding}
      flow keep = sigmoid({gate})
      level memory = matrix(8) {{ learn x -> x  every 1 token  optimizer gd(step = 0.1, retain = keep) }}
      flow out = (x -> memory) * keep + spread(0, 1, 8) -> linear
    }}
    """).compile(compile=False)
    x = torch.zeros(2, 3, dtype=torch.int64) if "ids" in source else torch.randn(2, 3, 8)
    wanted, _ = model(x)
    found, _ = model.bfloat16()(x if "ids" in source else x.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), wanted, rtol=0.05, atol=0.05)
