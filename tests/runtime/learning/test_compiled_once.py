"""How often a model is compiled: once for each unit, however long the sequences are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.fx

import nestdsl
from nestdsl.runtime import compilation
from nestdsl.runtime.compilation import CompiledRun
from nestdsl.runtime.compile_progress import compiling_shown
from nestdsl.runtime.module import NestModule

PROGRAM = """
block memory {
  flow k = in -> key -> l2_normalize
  level key = matrix {
    learn k -> key(in)
    every 1 token, chunk 4
    optimizer dgd(step = 0.1, retain = 0.9, toward = init)
    gradient truncated(1)
  }
  level own = matrix {
    learn k -> in
    every 1 token, chunk 4
    optimizer momentum(step = 0.1)
    gradient truncated(1)
  }
  flow out = own(k)
}
block layer {
  level memory = memory
  level cms[2] = mlp(expand = 2) {
    every 8 * 2 ** index tokens
    optimizer gd(step = 0.5)
  }
  flow h = in + (in -> conv(3) -> memory)
  flow out = h + (h -> rms_norm -> cms)
}
model chain {
  input ids(11)
  level stack = layer repeat 2
  flow out = in -> embedding(8) -> stack -> linear(11)
}
"""


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[torch.fx.GraphModule]:
    """The graphs that are compiled from now on, which run as they are."""
    found: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., Any]:
        found.append(graph)
        return graph.forward

    monkeypatch.setattr(compilation, "_inductor", keep)
    return found


def model_of(program: str = PROGRAM) -> NestModule:
    return nestdsl.parse(program).compile()


ATTENTION = """
model chain {
  input ids(11)
  level attend = attention(2) { gradient truncated(1) }
  level cms = mlp(expand = 2) {
    every 8 tokens
    optimizer gd(step = 0.5)
  }
  flow x = in -> embedding(8)
  flow h = x + (x -> rms_norm -> attend)
  flow out = h -> cms -> linear(11)
}
"""


def stream(tokens: int) -> torch.Tensor:
    return torch.randint(11, (2, tokens), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("program", [PROGRAM, ATTENTION])
def test_training_compiles_each_unit_once_for_all_lengths(
    program: str, graphs: list[torch.fx.GraphModule]
) -> None:
    model, ids = model_of(program), stream(65)
    model.loss(ids[:, :8], ids[:, 1:9]).backward()
    first = len(graphs)
    assert first == sum(map(len, model.run.units.values()))  # type: ignore[attr-defined]
    for tokens in (16, 64):
        model.loss(ids[:, :tokens], ids[:, 1 : tokens + 1]).backward()
    assert len(graphs) == first
    model.zero_grad()
    plain = nestdsl.parse(program).compile(compile=False)
    for one in (model, plain):
        one.loss(ids[:, :27], ids[:, 1:28]).backward()
    for weight, same in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(weight.grad, same.grad, rtol=1e-4, atol=1e-6)


INSIDE = "block pair {\n  level a = linear\n  flow out = in -> a -> relu\n}\n" + PROGRAM.replace(
    "  flow h = in + (in -> conv(3)", "  level pair = pair\n  flow h = in + (in -> pair -> conv(3)"
)


@pytest.mark.parametrize("program", [PROGRAM, ATTENTION, INSIDE])
def test_each_unit_is_named_when_it_is_compiled(program: str, graphs: list[torch.fx.GraphModule]) -> None:
    model, ids, notes = model_of(program), stream(25), []
    assert isinstance(model.run, CompiledRun)
    with compiling_shown(model.run, notes.append):
        model.loss(ids[:, :8], ids[:, 1:9]).backward()
        count = model.run.unit_count
        names = [note.partition(": ")[2] for note in notes]
        assert [note.partition(": ")[0] for note in notes] == [
            f"compiling {number} of {count}" for number in range(1, count + 1)
        ]
        assert len(set(names)) == count == len(graphs)
        model.loss(ids[:, :24], ids[:, 1:25]).backward()
        assert len(notes) == count
        model.loss(ids[:1, :8], ids[:1, 1:9])
    assert notes[count:] == [f"compiling again, for other shapes: {name}" for name in names]
    model_of(program).loss(ids[:, :8], ids[:, 1:9])
    assert len(notes) == 2 * count  # nobody is told any more


@pytest.mark.parametrize("program", [PROGRAM, ATTENTION])
def test_reading_token_by_token_compiles_for_no_position(
    program: str, graphs: list[torch.fx.GraphModule]
) -> None:
    model, ids = model_of(program).eval(), stream(48)
    with torch.no_grad():
        _, state = model(ids[:, :12])
        for place in range(12, 18):
            _, state = model(ids[:, place : place + 1], state)
        first = len(graphs)
        for place in range(18, 40):
            _, state = model(ids[:, place : place + 1], state)
        assert len(graphs) == first
        whole, _ = nestdsl.parse(program).compile(compile=False).eval()(ids[:, :41])
        y, _ = model(ids[:, 40:41], state)
    torch.testing.assert_close(y, whole[:, -1:], rtol=1e-4, atol=1e-5)
