"""Bodies that run in pieces read a single token as a whole, wherever in a chunk it stands."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nestdsl.runtime import compilation
from nestdsl.runtime.block import Block
from nestdsl.runtime.compilation import CompiledRun, compiled_run
from nestdsl.runtime.module import NestModule
from nestdsl.runtime.program import Program
from nestdsl.runtime.run import PLAIN
from nestdsl.runtime.state import POSITION
from tests.invariants.programs import nest, texts
from tests.invariants.test_invariants import close, model_of, sample


def steps(model: NestModule) -> set[str]:
    return {program.name for program in compiled_run(model).steps}


def traced(model: NestModule, seen: list[str]) -> CompiledRun:
    """A run that notes the bodies that are handed a single token."""

    def step(program: Program) -> Any:
        def call(block: Block, x: torch.Tensor, state: Any) -> Any:
            assert x.shape[1] == 1
            seen.append(program.name)
            return block.run_by(PLAIN, x, state)

        return call

    return CompiledRun({}, {program: step(program) for program in compiled_run(model).steps})


NAMES = sorted(name for name in texts() if steps(nest(name).compile(compile=False)))


def test_the_copies_that_hold_a_loop_are_read_whole() -> None:
    assert {"linear_self_reference", "self_referential", "hope"} <= set(NAMES)
    assert steps(nest("self_referential").compile(compile=False)) == {"hope_layer"}
    assert not steps(nest("matrix_exact").compile(compile=False)), "this is one unit anyway"
    assert not steps(nest("attention").compile(compile=False)), "what it keeps grows"


@pytest.mark.parametrize("learn", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_token_by_token_is_what_a_whole_pass_gives(name: str, learn: bool) -> None:
    model, seen = model_of(name), []
    learn = learn and model.plan.input.takes == "ids"
    x = sample(model, batch=2, tokens=21)
    with torch.no_grad():
        wanted, after = model(x, learn=learn)
        model.run = traced(model, seen)
        state, parts = None, []
        for token in x.split((1,) * 9 + (3,) + (1,) * 9, dim=1):
            y, state = model(token, state, learn=learn)
            parts.append(y)
    close(torch.cat(parts, dim=1), wanted)
    assert len(seen) >= 18
    assert state is not None and _places(state) == _places(after)


def _places(state: Any) -> Any:
    """Where the loops stand, at each place of a state."""
    if isinstance(state, dict):
        found = {key: _places(part) for key, part in state.items()}
        found[POSITION] = state[POSITION].tolist() if POSITION in state else None
        return {key: part for key, part in found.items() if part not in (None, {}, [])}
    if isinstance(state, list):
        return [_places(part) for part in state]
    return None


def test_a_pass_with_a_gradient_runs_in_pieces() -> None:
    model, seen = model_of("linear_self_reference"), []
    model.run = traced(model, seen)
    model(sample(model, batch=2, tokens=1))
    assert not seen


def test_a_graph_serves_every_place_of_a_chunk_but_no_other_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graphs: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(compilation, "_inductor", keep)
    model = nest("linear_self_reference").compile(compile=True).eval()
    x, counts = sample(model, batch=1, tokens=20), []
    with torch.no_grad():
        for kind in (torch.float32, torch.float64):
            model.to(kind)
            state = None
            for token in x.split(1, dim=1):
                y, state = model(token, state)
            counts.append(len(graphs))
        model.run = PLAIN
        close(y[:, -1], model(x)[0][:, -1])
    assert counts == [1, 2]
