"""Kinds and functions from Python that do other than they declare: N0506 names them and what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import nestdsl
from nestdsl.vocabulary.extension import PYTHON_FUNCTIONS, PYTHON_KINDS
from nestdsl.vocabulary.signatures import LIBRARY

SIZES = {"parameters": lambda arguments, size, out: (("weight", (out,)),)}
STATE = {"state": lambda arguments, size, out: (("total", (size,)),)}
PROGRAM = """
model m {
  input vectors(4)
  level odd = odd
  flow out = in -> odd -> linear(2)
}
"""


@pytest.fixture(autouse=True)
def library() -> Iterator[None]:
    """Forgets after each test what it has added."""
    tables: tuple[dict[str, Any], ...] = (LIBRARY.kinds, LIBRARY.functions, PYTHON_KINDS, PYTHON_FUNCTIONS)
    before = [dict(table) for table in tables]
    yield
    for table, old in zip(tables, before, strict=True):
        table.clear()
        table.update(old)


class Plain(nn.Module):
    """A kind in which no problems found, to be spoiled."""

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        self.size = input_size

    def forward(self, x: Tensor) -> Any:
        return x


class Keeps(Plain):
    def init_state(self, batch: int, device: Any, dtype: Any) -> Any:
        return {"total": torch.zeros(batch, self.size, device=device, dtype=dtype)}

    def forward(self, x: Tensor, state: dict[str, Tensor]) -> Any:
        sums = state["total"][:, None] + x.cumsum(1)
        return sums, {"total": sums[:, -1]}


class Weighted(Plain):
    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, output_size)
        self.weight = nn.Parameter(torch.ones(output_size))


class Scales(Weighted):
    def forward(self, x: Tensor) -> Any:
        return self.weight * x


class Twice(Plain):
    def forward(self, x: Tensor) -> Any:
        return torch.cat((x, x), dim=-1)


class Last(Plain):
    def forward(self, x: Tensor) -> Any:
        return x[:, -1]


class Raises(Plain):
    def forward(self, x: Tensor) -> Any:
        raise KeyError("nothing here")


class List(Plain):
    def forward(self, x: Tensor) -> Any:
        return [x]


class NoPair(Keeps):
    def forward(self, x: Tensor, state: dict[str, Tensor]) -> Any:
        return x


class StateOfNothing(Keeps):
    def forward(self, x: Tensor, state: dict[str, Tensor]) -> Any:
        return x, None


class OtherNames(Keeps):
    def forward(self, x: Tensor, state: dict[str, Tensor]) -> Any:
        return x, {"sum": x[:, -1]}


class OtherStart(Keeps):
    def init_state(self, batch: int, device: Any, dtype: Any) -> Any:
        return {"total": torch.zeros(self.size)}


class StartOfTensor(Keeps):
    def init_state(self, batch: int, device: Any, dtype: Any) -> Any:
        return torch.zeros(batch, self.size)


class StartsWithoutDevice(Keeps):
    def init_state(self, batch: int) -> Any:  # type: ignore[override]
        return {"total": torch.zeros(batch, self.size)}


RUN_WRONG: tuple[tuple[type[nn.Module], dict[str, Any], str, str], ...] = (
    (Twice, {}, "gives a tensor [1, 2, 8] where [1, 2, 4] is declared", "`output_size=`"),
    (Plain, {"output_size": lambda arguments, size: 8}, "gives a tensor [1, 2, 4] where [1, 2, 8]", "size"),
    (Last, {}, "gives a tensor [1, 4] where [1, 2, 4] is declared: [batch, tokens, size]", "let it give"),
    (Raises, {}, "raises in `forward` KeyError: 'nothing here'", "correct line"),
    (List, {}, "gives a value of type `list`", "let it give a tensor"),
    (NoPair, STATE, "keeps a state, and its `forward` gives a tensor [1, 2, 4]", "`(y, next_state)`"),
    (StateOfNothing, STATE, "its `forward` gives None", "a dict with these tensors"),
    (OtherNames, STATE, "state `total` [1, 4] for 1 sequences, and its `forward` gives `sum` [1, 4]", "dict"),
    (OtherStart, STATE, "`total` [1, 4] for 1 sequences, and its `init_state` gives `total` [4]", "dict"),
    (StartOfTensor, STATE, "its `init_state` gives a tensor [1, 4]", "dict"),
    (StartsWithoutDevice, STATE, "raises in `init_state` TypeError", "says how it is called"),
    (Keeps, {}, "raises in `forward` TypeError", "says how it is called"),
    (Weighted, {}, "declares no weights, and its class has `weight` [4]", "nestdsl.kind(parameters=...)"),
    (Plain, SIZES, "declares `weight` [4], and its class has none", "nestdsl.kind(parameters=...)"),
    (
        Weighted,
        {"parameters": lambda arguments, size, out: (("gain", (out,)),)},
        "declares `gain` [4], and its class has `weight` [4]",
        "nestdsl.kind(parameters=...)",
    ),
)


def refused(call: Callable[[], object]) -> nestdsl.Diagnostic:
    with pytest.raises(nestdsl.NestError) as raised:
        call()
    (found,) = raised.value.diagnostics
    return found


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize(("cls", "declared", "message", "hint"), RUN_WRONG)
def test_a_class_that_is_not_what_its_kind_declares(
    cls: type[nn.Module], declared: dict[str, Any], message: str, hint: str, compile: bool
) -> None:
    nestdsl.kind(causal=True, name="odd", **declared)(cls)
    found = refused(lambda: nestdsl.parse(PROGRAM).compile(compile=compile))
    assert found.code == "N0506"
    assert found.message.startswith("the kind `odd` ")
    assert message in found.message
    assert hint in found.hint


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        (Tensor.long, "gives a tensor of int64", "floating-point numbers"),
        (lambda x: x > 0, "gives a tensor of bool", "floating-point numbers"),
        (lambda x: x.to(torch.complex64), "gives a tensor of complex64", "floating-point numbers"),
        (Tensor.to_sparse, "gives a tensor of sparse_coo", "dense"),
        (lambda x: x.to("meta"), "gives a tensor on `meta`, and reads one on `cpu`", "device=x.device"),
    ],
)
def test_a_flow_is_of_dense_floating_point_numbers(
    change: Callable[[Tensor], Tensor], message: str, hint: str
) -> None:
    class Changes(Plain):
        def forward(self, x: Tensor) -> Any:
            return change(x)

    nestdsl.kind(causal=True, name="odd")(Changes)
    nestdsl.function(causal=True, name="same")(lambda x: change(x))
    for program, thing in (
        (PROGRAM, "kind `odd`"),
        (PROGRAM.replace("-> odd", "-> same"), "function `same`"),
    ):
        found = refused(lambda program=program: nestdsl.parse(program).compile(compile=False))
        assert found.code == "N0506"
        assert found.message.startswith(f"the {thing} {message}")
        assert hint in found.hint


def declare(**declared: Any) -> Callable[[], object]:
    def call() -> object:
        nestdsl.kind(causal=True, name="odd", **declared)(Plain)
        return nestdsl.parse(PROGRAM).plan

    return call


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"output_size": lambda arguments, size: size / 2}, "has as its `output_size` the float 2.0"),
        ({"output_size": lambda arguments, size: 0}, "has as its `output_size` the int 0"),
        ({"output_size": lambda arguments: 4}, "raises in `output_size` TypeError"),
        ({"output_size": lambda arguments, size: arguments["x"]}, "raises in `output_size` KeyError: 'x'"),
        (
            {"parameters": lambda arguments, size, out: ("weight", (out,))},
            "has as its `parameters` ('weight'",
        ),
        ({"parameters": lambda arguments, size, out: (("w", out),)}, "has as its `parameters` (('w', "),
        ({"parameters": lambda arguments, size, out: (("w", (1,)), ("w", (2,)))}, "has as its `parameters`"),
        ({"flops": lambda arguments, size, out: -1}, "has as its `flops` the int -1"),
        ({"flops": lambda arguments, size, out: 1 // 0}, "raises in `flops` ZeroDivisionError"),
    ],
)
def test_a_declaration_that_gives_no_sizes(declared: dict[str, Any], message: str) -> None:
    found = refused(declare(**declared))
    assert found.code == "N0506"
    assert found.message.startswith("the kind `odd` ") and message in found.message
    assert found.hint


def test_a_state_without_a_start_is_refused_where_it_is_declared() -> None:
    found = refused(lambda: nestdsl.kind(causal=True, **STATE)(Plain))
    assert found.code == "N0506"
    assert found.message == "the kind `plain` declares a state, and its class has no `init_state`"


def test_a_constructor_that_raises() -> None:
    class Fails(Plain):
        def __init__(self, input_size: int, output_size: int) -> None:
            super().__init__(input_size, output_size)
            self.lack  # noqa: B018

    nestdsl.kind(causal=True, name="odd")(Fails)
    found = refused(lambda: nestdsl.parse(PROGRAM).compile(compile=False))
    assert found.code == "N0506"
    assert "the kind `odd` raises in `__init__` AttributeError" in found.message


def test_what_shows_later_is_told_as_well() -> None:
    class Short(Plain):
        def forward(self, x: Tensor) -> Any:
            assert x.shape[1] < 5, "too long"
            return x

    nestdsl.kind(causal=True, name="odd")(Short)
    model = nestdsl.parse(PROGRAM).compile(compile=False)
    model(torch.ones(1, 4, 4))
    found = refused(lambda: model(torch.ones(1, 6, 4)))
    assert found.code == "N0506"
    assert found.message == "the kind `odd` raises in `forward` AssertionError: too long"
    assert __file__ in found.hint


def test_a_kind_for_long_sequences_alone_can_be_built() -> None:
    class Chunks(Plain):
        def forward(self, x: Tensor) -> Any:
            return x.unflatten(1, (-1, 16)).flatten(1, 2)

    nestdsl.kind(causal=True, name="odd")(Chunks)
    model = nestdsl.parse(PROGRAM).compile(compile=False)
    assert model(torch.ones(1, 32, 4))[0].shape == (1, 32, 2)
    assert refused(lambda: model(torch.ones(1, 5, 4))).code == "N0506"


def test_building_leaves_nothing_behind() -> None:
    class Drops(Plain):
        def __init__(self, input_size: int, output_size: int) -> None:
            super().__init__(input_size, output_size)
            self.mean = nn.BatchNorm1d(input_size)
            self.drop = nn.Dropout(0.5)

        def forward(self, x: Tensor) -> Any:
            return self.drop(self.mean(x.mT).mT)

    sizes = lambda arguments, size, out: (("mean.weight", (size,)), ("mean.bias", (size,)))  # noqa: E731
    nestdsl.kind(causal=True, name="odd", parameters=sizes)(Drops)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    model = nestdsl.parse(PROGRAM).compile(compile=False)
    assert torch.equal(torch.rand(3), expected)
    assert model.training
    assert int(model.get_buffer("odd.mean.num_batches_tracked")) == 0


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda x: x.sum(-1), "gives a tensor [1, 2] where [1, 2, 4] is declared"),
        (lambda x: torch.cat((x, x), -1), "gives a tensor [1, 2, 8] where [1, 2, 4] is declared"),
        (lambda x: 5, "gives the int 5"),
        (lambda x: x.no_such_thing, "raises in its body AttributeError"),
    ],
)
@pytest.mark.parametrize("compile", [False, True])
def test_a_function_that_is_not_as_declared(body: Callable[..., Any], message: str, compile: bool) -> None:
    nestdsl.function(causal=True, name="odd")(body)
    program = "model m {\n  input vectors(4)\n  flow out = in -> odd -> linear(2)\n}\n"
    found = refused(lambda: nestdsl.parse(program).compile(compile=compile))
    assert found.code == "N0506"
    assert found.message.startswith("the function `odd` ") and message in found.message
    assert found.hint


@pytest.mark.parametrize("cls", [Scales, NoPair, Twice])
def test_levels_that_learn_from_surprise_are_held_to_it_as_well(cls: type[nn.Module]) -> None:
    class Learns(cls):  # type: ignore[misc,valid-type]
        def __init__(self, input_size: int, output_size: int) -> None:
            super().__init__(input_size, output_size)
            self.weight = nn.Parameter(torch.ones(output_size))

    nestdsl.kind(causal=True, name="odd", **SIZES, **(STATE if issubclass(cls, Keeps) else {}))(Learns)
    nest = nestdsl.parse("""
model m {
  input ids(8)
  level odd = odd { every 2 tokens  optimizer gd(step = 0.1) }
  flow out = in -> embedding(4) -> odd -> linear(8)
  train { optimizer adamw }
}
""")
    if cls is not Scales:
        assert refused(lambda: nest.compile(compile=False)).code == "N0506"
        return
    model = nest.compile(compile=False)
    ids = torch.randint(8, (2, 6))
    loss, _ = model.stream_loss(ids, ids)
    loss.backward()
    assert float(model.get_parameter("odd.layer.weight").grad.abs().sum()) > 0  # type: ignore[union-attr]


def test_a_state_may_be_one_number_for_each_sequence() -> None:
    class Counts(Plain):
        def init_state(self, batch: int, device: Any, dtype: Any) -> Any:
            return {"count": torch.zeros(batch, device=device, dtype=dtype)}

        def forward(self, x: Tensor, state: dict[str, Tensor]) -> Any:
            counts = state["count"][:, None] + torch.arange(1, x.shape[1] + 1)
            return counts[..., None] * x, {"count": counts[:, -1]}

    nestdsl.kind(causal=True, name="odd", state=lambda arguments, size, out: (("count", ()),))(Counts)
    program = PROGRAM.replace("linear(2)\n", "linear(2)\n  train { objective mse }\n")
    model = nestdsl.parse(program).compile(compile=False)
    x, y = torch.randn(3, 5, 4), torch.randn(3, 5, 2)
    whole, _ = model(x)
    _, state = model(x[:, :2])
    assert torch.allclose(whole[:, 2:], model(x[:, 2:], state)[0], atol=1e-6)
    assert model.reset_state(state)["odd"]["count"].tolist() == [0, 0, 0]
    _, state = model.stream_loss(x, y)
    assert torch.equal(model.stream_loss(x, y, state)[0], model.loss(x, y))


def test_a_kind_with_a_state_runs_compiled_as_it_is() -> None:
    nestdsl.kind(causal=True, name="odd", **STATE)(Keeps)
    nestdsl.function(causal=True, name="half")(lambda x: x / 2)
    nest = nestdsl.parse(PROGRAM.replace("in -> odd", "in -> half -> odd"))
    x = torch.randn(2, 6, 4)
    plain, compiled = (nest.compile(compile=one)(x) for one in (False, True))
    assert torch.allclose(plain[0], compiled[0], atol=1e-6)
