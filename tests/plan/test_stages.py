"""What of a body runs chunk by chunk: only what lies between a memory's own reads and its next state."""

from __future__ import annotations

import nestdsl
from nestdsl.plan.instructions import Call, Instruction, Learn, Peek, Read, Recall, part_of
from nestdsl.plan.lower import lower
from nestdsl.plan.plan import Body
from tests.invariants.programs import nest
from tests.plan.test_plan import plan_of
from tests.semantics.programs import model


def targets(lines: tuple[Instruction, ...]) -> list[str]:
    return [part_of(line) or (line.function if isinstance(line, Call) else "") for line in lines]


def self_referential(name: str) -> Body:
    plan = lower(nest(name).nest_graph, name, sharing=False)
    return next(body for body in plan.bodies if body.block == "self_referential")


def test_what_needs_no_chunk_runs_over_the_whole_pass() -> None:
    body = self_referential("self_matrix_dgd")
    assert targets(body.instructions) == ["x_conv", "silu", "q_linear", "l2_normalize"]
    assert {type(line) for line in body.loop} == {Peek, Learn, Recall, Read, Call}
    assert set(targets(body.after)) == {"out_rms_norm", "out_linear", "silu", "multiply", "out_linear_2"}
    assert body.chunk_tokens == 8


def test_a_body_without_self_reference_has_one_stage() -> None:
    (body,) = plan_of(model("flow out = in -> linear -> silu")).bodies
    assert (body.chunk_tokens, body.loop, body.after) == (0, (), ())


def test_a_memory_read_for_the_loop_is_in_the_loop() -> None:
    text = """
    level plain = matrix(2) { learn in -> in  every 1 token, chunk 4 }
    level other = matrix(2) { learn in -> in  every 1 token, chunk 4 }
    level own = matrix(2) { learn k -> own(in)  every 1 token, chunk 4 }
    flow k = in -> own -> plain -> l2_normalize(2)
    flow out = (in -> own) + (in -> other)
    """
    (body,) = nestdsl.parse(model(text)).compile(compile=False, sharing=False).plan.bodies
    assert "plain" in targets(body.loop) and "own" in targets(body.loop)
    assert "other" not in targets(body.loop)
