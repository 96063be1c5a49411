"""A body in pieces: what stands around loops and repeats is compiled, and nothing else changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from functorch.compile import make_boxed_func, min_cut_rematerialization_partition
from torch._dynamo.backends.common import aot_autograd

from nestdsl.runtime.block import Block
from nestdsl.runtime.compilation import WHOLE, CompiledRun, compiled_run
from nestdsl.runtime.module import NestModule
from nestdsl.runtime.program import Program
from nestdsl.runtime.run import PLAIN, run_region
from tests.invariants.programs import nest


def units(model: NestModule) -> set[str]:
    return {f"{program.name}.{name}" for program, own in compiled_run(model).units.items() for name in own}


def test_everything_around_loops_and_repeats_is_a_unit() -> None:
    model = nest("self_referential").compile(compile=False)
    assert units(model) == {
        "self_referential.part", "self_referential.loop", "self_referential.part_2",
        "hope_layer.part", "hope_layer.part_2", "cms_level.body", "cms_level_2.body",
        "hope.part",
    }  # fmt: skip


def test_a_model_without_loops_is_one_unit() -> None:
    assert units(nest("matrix_exact").compile(compile=False)) == {"memory_model.body"}


def traced(model: NestModule, seen: list[tuple[str, int]]) -> CompiledRun:
    """A run that notes what it was handed instead of compiling it."""

    def unit(program: Program, name: str) -> Any:
        def whole(block: Block, x: torch.Tensor, state: Any) -> Any:
            seen.append((name, x.shape[1]))
            return block.run_by(PLAIN, x, state)

        def one(block: Block, flows: Any, state: Any, **known: bool) -> Any:
            (region,) = (region for region in program.regions if region.name == name)
            seen.append((name, flows[0].shape[1]))
            return run_region(block, program, region, flows, state, **known)

        return whole if name == WHOLE else one

    units = compiled_run(model).units.items()
    return CompiledRun({program: {name: unit(program, name) for name in own} for program, own in units})


@pytest.mark.parametrize("tokens", [3, 8, 16, 37])
def test_only_chunks_of_steady_lengths_are_compiled(tokens: int) -> None:
    model = nest("self_matrix_dgd").compile(compile=False).double()
    x = torch.randint(11, (2, tokens))
    wanted, seen = model(x)[0], []
    model.run = traced(model, seen)
    torch.testing.assert_close(model(x)[0], wanted, rtol=0, atol=0)
    assert {length for name, length in seen if name == "loop"} <= {1, 2, 4, 8}
    assert sum(length for name, length in seen if name == "part") >= 2 * tokens


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_two_layer_memories_with_the_same_key_have_one_factorisation_where_compiled() -> None:
    """What is computed twice in one graph is made once; so they need no plan to share it."""
    inverses: list[int] = []

    def count(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        inverses.append(sum("unit_lower_inverse" in str(node.target) for node in graph.graph.nodes))
        return make_boxed_func(graph.forward)

    backend = aot_autograd(
        fw_compiler=count, bw_compiler=count, partition_fn=min_cut_rematerialization_partition
    )
    block = nest("self_associative_dgd").compile(compile=False).get_submodule("stack.0")
    assert isinstance(block, Block)
    state = block.initial(2, torch.device("cpu"), torch.float32)
    (region,) = (region for region in block.program.regions if region.is_loop)
    own = {name: state[name] for name in region.stateful}
    x = torch.randn(2, 8, 16, requires_grad=True)
    loop = torch.compile(run_region, fullgraph=True, dynamic=False, backend=backend)
    (made,), _ = loop(block, block.program, region, (x, x), own, True)
    made.sum().backward()
    assert inverses[0] == 1


@pytest.mark.slow
def test_a_chunk_is_compiled_once_whatever_the_number_of_tokens() -> None:
    model, eager = (nest("linear_self_reference").compile(compile=how) for how in (True, False))
    torch._dynamo.utils.counters.clear()
    graphs = []
    for tokens in (32, 64):
        x = torch.randint(11, (2, tokens))
        for _ in range(2):
            y, _ = model(x)
            y.square().sum().backward()
        torch.testing.assert_close(y, eager(x)[0], rtol=1e-4, atol=1e-4)
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    whole = sum(map(len, compiled_run(model).units.values())) - 1
    assert graphs == [whole + 1, 2 * whole + 1]
