"""Everything public, given what it does not take: a coded error that names it, never a traceback."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

import nestdsl
from nestdsl.compiler import analyse
from nestdsl.vocabulary.extension import PYTHON_FUNCTIONS, PYTHON_KINDS
from nestdsl.vocabulary.signatures import LIBRARY

PROGRAM = """
param dim = 8
model m {
  input ids(256)
  flow out = in -> embedding(dim) -> linear(256)
}
"""


class NoPath:
    """A path that names none."""

    def __fspath__(self) -> Any:
        return 5


ODD: tuple[Any, ...] = (
    None, True, 5, -1, 10**400, 1.5, "x", b"x", [], {}, object(), numpy.zeros(3), numpy.zeros(()), int,
    torch.zeros(3), torch.zeros(()), torch.zeros((), device="meta"), torch.zeros(2, 2).to_sparse(), NoPath(),
    lambda *_: 0,
)  # fmt: skip
QUICK: dict[str, Any] = {"steps": 1, "batch": 1, "tokens": 4, "quiet": True, "held_out_sequences": 1}
Call = Callable[[Any], object]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("arguments")
    (place / "m.nest").write_text(PROGRAM)
    (place / "text.txt").write_text("hello world " * 200)
    model = nestdsl.load(place / "m.nest").compile(compile=False)
    nestdsl.train(model, str(place / "text.txt"), out=place / "run", **QUICK)
    return place


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(folder)
    tables: tuple[dict[str, Any], ...] = (LIBRARY.kinds, LIBRARY.functions, PYTHON_KINDS, PYTHON_FUNCTIONS)
    before = [dict(table) for table in tables]
    yield
    for table, old in zip(tables, before, strict=True):
        table.clear()
        table.update(old)


def each(call: Callable[..., object], names: str, **given: Any) -> dict[str, Call]:
    """The call with each of these arguments odd and the others as given."""
    return {name: lambda odd, name=name: call(**{**given, name: odd}) for name in names.split()}


def programs() -> dict[str, Call]:
    nest = nestdsl.load("m.nest")
    return {
        "load": nestdsl.load,
        "load model": lambda odd: nestdsl.load("m.nest", model=odd),
        "load dim": lambda odd: nestdsl.load("m.nest", dim=odd),
        "parse": nestdsl.parse,
        "parse model": lambda odd: nestdsl.parse(PROGRAM, model=odd),
        "Nest": nestdsl.Nest,
        "Nest sharing": lambda odd: nestdsl.Nest(analyse(nest.source), sharing=odd),
        **each(nest.render, "view optimizers"),
        "save": lambda odd: nest.render().save(odd),
        **each(nest.compile, "device compile seed sharing kernels", compile=False),
        "Diagnostic code": lambda odd: nestdsl.Diagnostic(odd, "message"),
        **each(nestdsl.Diagnostic, "message span hint notes severity", code="N0104", message="message"),
        "NestError": nestdsl.NestError,
        "NestError of one": lambda odd: nestdsl.NestError([odd]),
    }


def models() -> dict[str, Call]:
    model = nestdsl.parse(PROGRAM.replace("-> linear", "-> conv(2) -> linear")).compile(compile=False)
    ids = torch.zeros(1, 2, dtype=torch.int64)
    _, state = model(ids)
    return {
        **each(nestdsl.NestModule, "program plan", program=model.program, plan=model.plan),
        **each(model, "x state targets learn stream", x=ids),
        "join_states": model.join_states,
        "join_states of one": lambda odd: model.join_states([state, odd]),
        "detach_state": model.detach_state,
        "reset_state": model.reset_state,
        "init_state": model.init_state,
        "level_parameters": model.level_parameters,
        "fix_precision": model.fix_precision,
        **{
            f"{name} {one}": call
            for name, calls in {
                "loss": each(model.loss, "inputs targets", inputs=ids, targets=ids),
                "stream_loss": each(
                    model.stream_loss, "inputs targets state", inputs=ids, targets=ids, state=state
                ),
                "take_rows": each(model.take_rows, "state rows", state=state, rows=torch.tensor([0])),
                "reset_rows": each(model.reset_rows, "state rows", state=state, rows=torch.tensor([True])),
            }.items()
            for one, call in calls.items()
        },
    }


def runs() -> dict[str, Call]:
    number = itertools.count()
    model = nestdsl.load("m.nest").compile(compile=False)

    def train(**given: Any) -> object:
        return nestdsl.train(**{"out": f"new-{next(number)}", **given})

    names = (
        "model data out steps batch tokens seed warmup final_rate clip evaluate_every checkpoint_every "
        "held_out_sequences keep until start_from quiet"
    )
    few = {"model": model, "data": "text.txt", "batch": 1, "tokens": 4, "sequences": 1}
    makers = {
        "train": each(train, names, model=model, data="text.txt", **QUICK),
        "resume": each(nestdsl.resume, "model data out steps keep until quiet", out="run", quiet=True),
        "measure": each(nestdsl.measure, "model data batch tokens sequences", **few),
        "evaluate": each(nestdsl.evaluate, "model data batch tokens sequences", **few),
        "generate": each(
            lambda **given: list(nestdsl.generate(**given)),
            "model prompt tokens temperature top_k seed learn",
            model=model,
            prompt="ab",
            tokens=1,
        ),
        "restore": each(nestdsl.restore, "folder device compile", folder="run", compile=False),
    }
    return {f"{name} {one}": call for name, calls in makers.items() for one, call in calls.items()}


def muon() -> Any:
    """An optimizer whose weights have gradients."""
    layer = torch.nn.Linear(2, 2)
    layer(torch.ones(1, 2)).sum().backward()
    return nestdsl.optimizer("std.optim:muon", layer.parameters(), compile=False)


def of_group(key: str) -> Call:
    def call(odd: Any) -> None:
        made = muon()
        made.param_groups[0][key] = odd
        made.step()

    return call


def changed(change: Callable[[Any, Any], object]) -> Call:
    """An optimizer of which something is changed between two updates."""

    def call(odd: Any) -> None:
        made = muon()
        made.step()
        change(made, odd)
        made.step()

    return call


def of_state(*place: Any) -> Call:
    """Loading a state in which an odd value stands at a place."""

    def call(odd: Any) -> None:
        made = muon()
        made.step()
        state = made.state_dict()
        inner = state
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = odd
        muon().load_state_dict(state)

    return call


def optimizers() -> dict[str, Call]:
    def make(params: Any, name: str = "std.optim:muon", **arguments: Any) -> object:
        return nestdsl.optimizer(name, params, **{"compile": False, **arguments})

    weights = list(torch.nn.Linear(2, 2).parameters())
    own = {key: lambda odd, key=key: make([{"params": weights, key: odd}]) for key in ("lr", "matrices")}
    state = muon()
    state.step()
    memory = next(name for name in state.state_dict()["state"][0] if name != "step_count")
    return {
        **{
            f"optimizer {name}": call
            for name, call in each(make, "name params compile steps lr momentum", params=weights).items()
        },
        "one of params": lambda odd: make([odd]),
        "a named one": lambda odd: make([("weight", odd)]),
        "params of a group": lambda odd: make([{"params": odd}]),
        "one of a group": lambda odd: make([{"params": [odd]}]),
        "key of a group": lambda odd: make([{odd if odd.__hash__ else 5: 1, "params": weights}]),
        **{f"{name} given to a group": call for name, call in own.items()},
        **{
            f"{key} set": of_group(key) for key in "lr momentum adamw_lr eps matrices bfloat16 params".split()
        },
        **{
            f"{key} set later": changed(lambda made, odd, key=key: made.param_groups[0].update({key: odd}))
            for key in "lr matrices bfloat16 params".split()
        },
        "groups set": changed(lambda made, odd: setattr(made, "param_groups", odd)),
        "a group set": changed(lambda made, odd: made.param_groups.__setitem__(0, odd)),
        "a group put in": changed(lambda made, odd: made.param_groups.append(odd)),
        "state set": changed(lambda made, odd: made.state.update(dict.fromkeys(made.state, odd))),
        "step": lambda odd: muon().step(odd),
        "add_param_group": lambda odd: muon().add_param_group(odd),
        "load_state_dict": lambda odd: muon().load_state_dict(odd),
        "state": of_state("state"),
        "groups": of_state("param_groups"),
        "one group": of_state("param_groups", 0),
        **{f"saved {key}": of_state("param_groups", 0, key) for key in "lr params matrices bfloat16".split()},
        "state of a weight": of_state("state", 0),
        "its count": of_state("state", 0, "step_count"),
        "its memory": of_state("state", 0, memory),
    }


class Kept(torch.nn.Module):
    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()

    def init_state(self, batch: int, device: Any, dtype: Any) -> dict[str, torch.Tensor]:
        return {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def extensions() -> dict[str, Call]:
    def kind(**given: Any) -> object:
        nestdsl.kind(**{"causal": True, "name": "kept", **given})(Kept)
        return nestdsl.parse("model m {\n  input vectors(2)\n  flow out = in -> kept\n}").compile(
            compile=False
        )

    def function(**given: Any) -> object:
        nestdsl.function(**{"causal": True, "name": "same", **given})(lambda x: x)
        return nestdsl.parse("model m {\n  input vectors(2)\n  flow out = in -> same\n}").compile(
            compile=False
        )

    kinds, functions = (
        each(kind, "causal name output_size parameters state flops"),
        each(function, "causal name output_size"),
    )
    return {
        "kind": nestdsl.kind(causal=True),
        "function": nestdsl.function(causal=True),
        **{f"kind {name}": call for name, call in kinds.items()},
        **{f"function {name}": call for name, call in functions.items()},
    }


@pytest.mark.parametrize("make", [programs, models, runs, optimizers, extensions])
def test_what_nothing_takes_is_a_coded_error(make: Callable[[], dict[str, Call]]) -> None:
    refused, faults = 0, []
    for place, call in make().items():
        for odd in ODD:
            try:
                call(odd)
            except nestdsl.NestError as error:
                refused += 1
                faults += [f"{place} of {odd!r}: no hint: {error}"] * any(
                    not one.hint for one in error.diagnostics
                )
            except Exception as error:  # noqa: BLE001  whatever it is, it is a fault
                faults.append(f"{place} of {odd!r}: {type(error).__name__}: {error}")
    assert not faults
    assert refused > 20


@pytest.mark.parametrize(
    ("call", "code", "message", "hint"),
    [
        (
            lambda model: nestdsl.train(model, data=numpy.zeros(3)),  # type: ignore[arg-type]
            "N0104", "`data` is a value of type `ndarray`", "the name of a text file, a folder",
        ),
        (
            lambda model: nestdsl.train(model, data=torch.zeros(3)),  # type: ignore[arg-type]
            "N0104", "`data` is a value of type `Tensor`", "give the name of a text file",
        ),
        (
            lambda model: nestdsl.train("m.nest"),  # type: ignore[arg-type]
            "N0104", "`model` of nestdsl.train is the str 'm.nest'", "nestdsl.train(nest.compile(), ...)",
        ),
        (
            lambda model: nestdsl.resume("run"),  # type: ignore[arg-type]
            "N0104", "`model` of nestdsl.resume is the str 'run'", "nestdsl.resume(out='run')",
        ),
        (lambda model: nestdsl.restore(5), "N0104", "is the int 5", "the folder of a run"),  # type: ignore[arg-type]
        (lambda model: nestdsl.load("m.nest", dim=[8]), "N0203", "`dim` is a value of type", "a number"),
        (lambda model: of_group("lr")("x"), "N0104", "`lr` of a group is the str 'x'", "give a number"),
        (lambda model: of_group("lr")(float("nan")), "N0203", "`lr` of a group is nan", "a finite number"),
        (lambda model: muon().step(5), "N0104", "`closure` is the int 5", "a function"),
        (
            lambda model: nestdsl.optimizer("std.optim:adamw", []),
            "N0104", "`params` holds no parameters", "model.parameters()",
        ),
        (
            lambda model: nestdsl.optimizer("std.optim:adamw", [next(model.parameters()) * 2]),
            "N0104", "torch refuses these parameters", "each once",
        ),
        (
            lambda model: muon().load_state_dict(muon().state_dict() | {"param_groups": []}),
            "N0502", "0 groups of parameters, and this optimizer has 1", "state_dict()",
        ),
    ],
)  # fmt: skip
def test_a_message_names_the_argument_its_type_and_what_to_give(
    call: Callable[[Any], object], code: str, message: str, hint: str
) -> None:
    model = nestdsl.load("m.nest").compile(compile=False)
    with pytest.raises(nestdsl.NestError) as raised:
        call(model)
    (found,) = raised.value.diagnostics
    assert found.code == code
    assert message in found.message
    assert hint in found.hint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda made: made.param_groups[0]["params"].pop(), "`params` of a group are others than those"),
        (lambda made: made.param_groups[0].update(matrices=False), "`matrices` of a group was True when"),
        (lambda made: made.param_groups.pop(), "`param_groups` has 0 groups, and this optimizer was given 1"),
        (
            lambda made: made.param_groups.append({}),
            "`param_groups` has 2 groups, and this optimizer was given",
        ),
    ],
)
def test_what_memories_were_made_for_cannot_change(change: Call, message: str) -> None:
    with pytest.raises(nestdsl.NestError, match=f"N0405.*{message}"):
        changed(lambda made, odd: change(made))(None)


def test_a_state_of_other_matrices_is_refused() -> None:
    weights = list(torch.nn.Linear(2, 2).parameters())
    none = nestdsl.optimizer("std.optim:muon", [{"params": weights, "matrices": False}], compile=False)
    with pytest.raises(nestdsl.NestError, match=r"N0502.*saved with `matrices` False, and here it is True"):
        muon().load_state_dict(none.state_dict())


def test_memories_that_are_no_numbers_are_refused() -> None:
    for change in (torch.Tensor.to_sparse, lambda one: one.to(torch.complex64), lambda one: one.to("meta")):
        made = muon()
        made.step()
        state = made.state_dict()
        kept = state["state"][0]
        kept.update({name: change(one) for name, one in kept.items() if name != "step_count"})
        with pytest.raises(nestdsl.NestError, match=r"N0502.*no dense tensor of real numbers"):
            muon().load_state_dict(state)


def test_a_number_that_is_gone_from_a_group() -> None:
    made = muon()
    del made.param_groups[0]["lr"]
    with pytest.raises(nestdsl.NestError, match=r"N0103.*`lr` of a group is gone"):
        made.step()


def test_a_learning_rate_may_be_a_number_of_numpy_or_a_tensor() -> None:
    for rate in (numpy.float32(0.5), torch.tensor(0.5), 1):
        of_group("lr")(rate)


READS = {"ids": (torch.int64, (), "embedding(8)"), "vectors": (torch.float32, (8,), "linear(8)")}
"""What a model takes, with the type and the size of it, and a level that reads it."""


def reading(name: str) -> Any:
    body = f"input {name}(8)\n  flow out = in -> {READS[name][2]} -> linear(4)\n  train {{ objective mse }}"
    return nestdsl.parse(f"model m {{\n  {body}\n}}").compile(compile=False)


@pytest.mark.parametrize("name", READS)
def test_batches_and_sequences_of_nothing_are_refused(name: str) -> None:
    dtype, size, _ = READS[name]
    model = reading(name)
    for batch, tokens, what in ((0, 3, "no sequence"), (2, 0, "no token")):
        x = torch.zeros(batch, tokens, *size, dtype=dtype)
        y = torch.zeros(batch, tokens, 4)
        for call in (
            lambda x=x: model(x),
            lambda x=x: model(x, model.init_state(2)),
            lambda x=x, y=y: model.loss(x, y),
            lambda x=x, y=y: model.stream_loss(x, y),
        ):
            with pytest.raises(nestdsl.NestError, match=rf"N0501.*{what}"):
                call()


@pytest.mark.parametrize("name", READS)
def test_sparse_tensors_are_refused(name: str) -> None:
    dtype, size, _ = READS[name]
    model = reading(name)
    dense, y = torch.zeros(2, 3, *size, dtype=dtype), torch.zeros(2, 3, 4)
    for call in (
        lambda: model(dense.to_sparse()),
        lambda: model.loss(dense.to_sparse(), y),
        lambda: model.loss(dense, y.to_sparse()),
    ):
        with pytest.raises(nestdsl.NestError, match=r"(?s)N0501.*sparse.*to_dense"):
            call()


def test_rows_of_states_are_those_that_there_are() -> None:
    model = nestdsl.parse(PROGRAM.replace("-> linear", "-> conv(2) -> linear")).compile(compile=False)
    _, state = model(torch.zeros(2, 3, dtype=torch.int64))
    for call, message in (
        (lambda: model.take_rows(state, torch.tensor([0, 2])), "the number 2, and the state has 2 rows"),
        (lambda: model.take_rows(state, torch.tensor([-1])), "the number -1"),
        (lambda: model.take_rows(state, torch.tensor([True, False])), "is bool"),
        (lambda: model.reset_rows(state, torch.tensor([True])), "is for 1 rows, and the state has 2"),
        (lambda: model.reset_rows(state, torch.tensor([1, 0])), "is int64"),
        (lambda: model.detach_state({}), "the state has no"),
    ):
        with pytest.raises(nestdsl.NestError, match=f"N0501.*{message}"):
            call()


def test_a_loss_without_targets_is_refused() -> None:
    """`forward` without them gives outputs."""
    model = nestdsl.load("m.nest").compile(compile=False)
    ids = torch.zeros(1, 2, dtype=torch.int64)
    for call in (model.loss, model.stream_loss):
        with pytest.raises(nestdsl.NestError, match=r"N0104.*`targets` is None"):
            call(ids, None)
