"""An update falls into as few stages as it can: what runs together, and what is kept between."""

from __future__ import annotations

from nestdsl.graph.optimizer import chain
from nestdsl.runtime.optimizer.decay import split_decay
from nestdsl.runtime.optimizer.lines import due_lines, steps_of
from nestdsl.runtime.optimizer.stages import Copy, Elementwise, Stage, Whole, is_elementwise, stages_of
from nestdsl.semantics.elaborate.optimizers.named import named_optimizer
from tests.runtime.optimizer.programs import PROGRAMS, program


def stages(name: str, step_count: int = 2, text: str | None = None) -> tuple[Stage, ...]:
    """The stages of the matrices' update number `step_count`."""
    whole = named_optimizer(name).program({}) if name.startswith("std.") else program(name, text)
    one, decay = split_decay(chain(whole, is_matrix=True)[-1])
    return stages_of(steps_of(one, due_lines(one, step_count), decays=decay is not None))


def test_elementwise_programs_are_one_stage() -> None:
    for name in "sgd momentum nesterov adam adamw adamw_matrix adagrad rmsprop lion".split():
        (only,) = stages(f"std.optim:{name}")
        assert isinstance(only, Elementwise)
        assert only.stores[0][0].startswith(("@", "weight"))
        assert all(where != result for where, result in only.stores), name
        assert is_elementwise(named_optimizer(f"std.optim:{name}").program({}))


def test_muon_is_momentum_then_newton_schulz_then_the_weight() -> None:
    before, between, after = stages("std.optim:muon")
    assert isinstance(before, Elementwise)
    assert isinstance(between, Whole)
    assert isinstance(after, Elementwise)
    assert [step.function for step in between.steps] == ["newton_schulz"]
    assert set(before.reads) == {"grad", "@m"}
    assert len(before.stores) == 2
    assert set(after.tensors) == {"weight", between.steps[0].results[0]}


def test_the_slow_memory_is_made_orthogonal_where_it_moves() -> None:
    moving, resting = stages("std.optim:m3", 16), stages("std.optim:m3", 17)

    def products(found: tuple[Stage, ...]) -> int:
        steps = [step for stage in found if isinstance(stage, Whole) for step in stage.steps]
        return sum(step.function == "newton_schulz" for step in steps)

    assert (products(moving), products(resting)) == (2, 1)


def test_a_state_is_written_after_all_have_read_it() -> None:
    """`late` reads its memory as it was before its move, in a stage after the one that moves it."""
    for step_count in (3, 4, 6):
        written: set[str] = set()
        for stage in stages("late", step_count):
            match stage:
                case Elementwise():
                    assert not written & set(stage.reads)
                    written |= {where for where, name in stage.stores if where != name}
                case Whole():
                    read = {one for step in stage.steps for one in step.operands if isinstance(one, str)}
                    assert not written & read
                case Copy():
                    written |= {where for where, _ in stage.writes}


def test_every_state_is_written_once() -> None:
    for name in PROGRAMS:
        for step_count in range(2, 9):
            writes = []
            for stage in stages(name, step_count):
                if isinstance(stage, Elementwise):
                    writes += [where for where, result in stage.stores if where != result]
                elif isinstance(stage, Copy):
                    writes += [where for where, _ in stage.writes]
            assert len(writes) == len(set(writes))
            assert "weight" in writes
