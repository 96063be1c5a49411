"""Kinds and functions from Python: declared, checked, run, and refused where they are not causal."""

import pytest
import torch
from torch import nn

import nestdsl
from nestdsl.diagnostics import Diagnostic, NestError
from nestdsl.plan.yaml import from_yaml, to_yaml
from nestdsl.vocabulary.extension import PYTHON_FUNCTIONS, PYTHON_KINDS
from nestdsl.vocabulary.signatures import LIBRARY
from tests.semantics.programs import analysis, codes, graph, model


@pytest.fixture(autouse=True)
def library():
    """Forgets after each test what it has added."""
    tables = (LIBRARY.kinds, LIBRARY.functions, PYTHON_KINDS, PYTHON_FUNCTIONS)
    before = [dict(table) for table in tables]
    yield
    for table, old in zip(tables, before, strict=True):
        table.clear()
        table.update(old)


def declare_scaled(**options):
    @nestdsl.kind(
        causal=True,
        output_size=lambda arguments, size: size * int(arguments["times"] or 1),
        parameters=lambda arguments, input_size, output_size: (("weight", (output_size,)),),
        flops=lambda arguments, input_size, output_size: 2 * output_size,
        **options,
    )
    class ScaledCopies(nn.Module):
        """Copies of the input, each feature scaled.

        More is not said in the summary.
        """

        def __init__(self, input_size: int, output_size: int, *, times: int = 2, start: float = 1) -> None:
            super().__init__()
            self.times = times
            self.weight = nn.Parameter(torch.full((output_size,), float(start)))

        def forward(self, x):
            return x.repeat(1, 1, self.times) * self.weight

    return ScaledCopies


def declare_shift():
    @nestdsl.function(causal=True, output_size=lambda sizes, arguments: sum(sizes))
    def weave(*flows, scale: float = 1.0):
        """All flows side by side, scaled."""
        return torch.cat(flows, dim=-1) * scale

    return weave


def declare_sum():
    @nestdsl.kind(
        causal=True,
        name="running_sum",
        state=lambda arguments, input_size, output_size: (("total", (input_size,)),),
    )
    class RunningSum(nn.Module):
        """The sum of all tokens so far."""

        def __init__(self, input_size: int, output_size: int) -> None:
            super().__init__()
            self.size = input_size

        def init_state(self, batch, device=None, dtype=None):
            return {"total": torch.zeros(batch, self.size, device=device, dtype=dtype)}

        def forward(self, x, state):
            sums = state["total"].to(x.dtype)[:, None] + x.cumsum(dim=1)
            return sums, {"total": sums[:, -1]}

    return RunningSum


def test_a_kind():
    declare_scaled()
    kind = LIBRARY.kinds["scaled_copies"]
    assert kind.summary == "Copies of the input, each feature scaled."
    text = model("level a = scaled_copies(times = 3, start = 0.5)\nflow out = in -> a -> scaled_copies")
    assert graph(text).sizes["out"] == 48
    nest = nestdsl.parse(text)
    assert from_yaml(to_yaml(nest.plan)) == nest.plan
    built = nest.compile(compile=False)
    x = torch.randn(2, 5, 8)
    y, _ = built(x)
    assert torch.equal(y, x.repeat(1, 1, 6) * 0.5)
    assert nest.plan.costs.parameters == 24 + 48 == sum(weight.numel() for weight in built.parameters())
    built.loss(x, torch.zeros(2, 5, 48)).backward()
    assert all(weight.grad is not None for weight in built.parameters())


def test_its_arguments_are_checked():
    declare_scaled()
    for arguments, code in (
        ("times = 1.5", "N0202"),
        ("times = true", "N0202"),
        ('start = "x"', "N0104"),
        ("tims = 2", "N0103"),
        ("1, 2, 3", "N0103"),
        ("start = 9 ** 99", "N0004"),
    ):
        assert codes(model(f"flow out = in -> scaled_copies({arguments})")) == [code]
    assert "did you mean `scaled_copies`" in nest_error(model("flow out = in -> scaled_copy"))


def nest_error(text: str) -> str:
    with pytest.raises(NestError) as raised:
        nestdsl.parse(text)
    return str(raised.value)


def test_a_function():
    declare_shift()
    text = model("flow out = weave(in, in + 1, scale = 2) -> weave")
    built = nestdsl.parse(text).compile(compile=False)
    x = torch.randn(2, 3, 8)
    y, _ = built(x)
    assert torch.equal(y, torch.cat((x, x + 1), dim=-1) * 2)
    assert codes(model("flow out = in -> weave(scal = 1)")) == ["N0103"]


def test_a_function_of_two_flows():
    @nestdsl.function(causal=True)
    def mean_of(left, right):
        return (left + right) / 2

    built = nestdsl.parse(model("flow out = in -> mean_of(in * 3)")).compile(compile=False)
    x = torch.randn(1, 2, 8)
    assert torch.allclose(built(x)[0], 2 * x)
    assert codes(model("flow out = mean_of(in)")) == ["N0103"]
    assert codes(model("flow out = mean_of(in, in, in)")) == ["N0103"]


def test_a_kind_with_state():
    declare_sum()
    nest = nestdsl.parse(model("flow out = in -> running_sum -> linear(8) -> running_sum"))
    assert nest.plan.costs.state_bytes_per_sequence == 2 * 8 * 4
    built = nest.compile(compile=False).double()
    x = torch.randn(2, 7, 8, dtype=torch.float64)
    whole, _ = built(x)
    first, state = built(x[:, :3])
    second, _ = built(x[:, 3:], state)
    assert torch.allclose(whole, torch.cat((first, second), dim=1), atol=1e-12)


def test_what_is_not_causal_is_refused():
    @nestdsl.kind(causal=False)
    class Mixer(nn.Module):
        def __init__(self, input_size, output_size):
            super().__init__()

    @nestdsl.function(causal=False)
    def reverse(x):
        return x.flip(1)

    assert codes(model("level a = mixer\nflow out = in -> a -> reverse")) == ["N0302", "N0302"]
    [found] = analysis(model("flow out = in -> reverse")).diagnostics
    assert found.message == "`reverse` reads later tokens"
    assert found.hint.startswith("its Python declares `reverse` with `causal=False`")


def test_a_plan_of_a_kind_that_is_declared_otherwise_now_names_it() -> None:
    def declare(**more):
        @nestdsl.kind(causal=True, name="scale", **more)
        class Scale(nn.Module):
            def __init__(self, input_size, output_size):
                super().__init__()
                self.size = input_size

            def init_state(self, batch, device, dtype):
                return {"total": torch.zeros(batch, self.size, device=device, dtype=dtype)}

            def forward(self, x, state=None):
                return x if state is None else (x, state)

    declare()
    text = to_yaml(nestdsl.parse(model("flow out = in -> scale -> linear")).plan)
    declare(state=lambda arguments, size, out: (("total", (size,)),))
    with pytest.raises(NestError, match="the kind `scale` from Python was declared otherwise for it"):
        from_yaml(text)


def test_a_plan_with_a_kind_that_is_gone():
    declare_scaled()
    plan = nestdsl.parse(model("flow out = in -> scaled_copies")).plan
    del PYTHON_KINDS["scaled_copies"], LIBRARY.kinds["scaled_copies"]
    from nestdsl.runtime.build import build

    with pytest.raises(NestError, match=r"nestdsl\.kind"):
        build(plan, compile=False)


# --- declarations that are wrong -----------------------------------------------------------


def refused(declare) -> Diagnostic:
    with pytest.raises(NestError) as raised:
        declare()
    (found,) = raised.value.diagnostics
    assert found.hint
    return found


@pytest.mark.parametrize("name", ["linear", "silu", "add", "negate", "parallel", "index"])
def test_names_that_are_taken(name):
    for declare in (
        lambda: nestdsl.function(causal=True, name=name)(lambda x: x),
        lambda: declare_scaled(name=name),
    ):
        found = refused(declare)
        assert found.code == "N0102" and f"the name `{name}`" in found.message


@pytest.mark.parametrize("name", ["a b", "", "1x", "é", "a.b"])
def test_names_that_the_language_does_not_have(name):
    for declare in (
        lambda: nestdsl.function(causal=True, name=name)(lambda x: x),
        lambda: declare_scaled(name=name),
    ):
        found = refused(declare)
        assert found.code == "N0104" and f"`name` is the str {name!r}" in found.message


def test_a_kind_may_be_declared_again():
    first, second = declare_scaled(), declare_scaled()
    assert PYTHON_KINDS["scaled_copies"] is second is not first


def test_signatures_that_cannot_be_read():
    def not_annotated(x, *, scale=1.0): ...
    def odd_annotation(x, *, scale: list): ...
    def wrong_default(x, *, scale: int = 0.5): ...
    def whole_default_for_truth(x, *, scale: bool = 1): ...
    def truth_default_for_number(x, *, scale: float = True): ...
    def anything(x, **options): ...
    def no_flow(*, scale: float = 1.0): ...
    def unknown_annotation(x: "Nowhere"): ...  # type: ignore[name-defined]  # noqa: F821

    for body in (
        not_annotated,
        odd_annotation,
        wrong_default,
        whole_default_for_truth,
        truth_default_for_number,
        anything,
        no_flow,
        unknown_annotation,
    ):
        found = refused(lambda body=body: nestdsl.function(causal=True)(body))
        assert found.code == "N0506" and f"the function `{body.__name__}`" in found.message
        assert body.__name__ not in LIBRARY.functions


def test_classes_that_cannot_be_built():
    class OneSize(nn.Module):
        def __init__(self, size, *, times: int = 1): ...

    class Positional(nn.Module):
        def __init__(self, input_size, output_size, times: int): ...

    class NotAnnotated(nn.Module):
        def __init__(self, input_size, output_size, *, times): ...

    for cls, name in ((OneSize, "one_size"), (Positional, "positional"), (NotAnnotated, "not_annotated")):
        found = refused(lambda cls=cls: nestdsl.kind(causal=True)(cls))
        assert found.code == "N0506" and f"the kind `{name}`" in found.message
    assert not PYTHON_KINDS


def test_causality_must_be_said():
    with pytest.raises(TypeError, match="causal"):
        nestdsl.function()  # type: ignore[call-arg]
