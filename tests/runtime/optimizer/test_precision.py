"""The precision of `newton_schulz`: what the machine is fast at, unless the program says it."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import nestdsl
from nestdsl import processor
from nestdsl.diagnostics import NestError
from nestdsl.runtime.learning.optimizers import ContextOptimizer
from nestdsl.runtime.optimizer import precision as precisions
from nestdsl.runtime.optimizer.functions import newton_schulz
from nestdsl.runtime.optimizer.precision import fast_precision, has_fast_bfloat16, with_precision
from nestdsl.vocabulary.functions import AUTO
from tests.runtime.optimizer.programs import program, run_fast, run_naive, start

CPU = torch.device("cpu")
BOTH = ("bfloat16", "float32")
ORTHOGONAL = """
optimizer orthogonal(lr = 0.1) {
  only matrices else plain(lr = lr)
  level m = ema(0.9) { learn newton_schulz(grad) }
  flow update = -lr * (newton_schulz(m, steps = 3) + newton_schulz(grad, precision = "float32"))
}
optimizer plain(lr = 0.1) { flow update = -lr * grad }
"""
Machine = Callable[[str], None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Makes this machine one that is fast in a precision."""

    def set_to(precision: str) -> None:
        monkeypatch.setattr(precisions, "has_fast_bfloat16", lambda device: precision == "bfloat16")

    return set_to


def matrices(count: int = 4) -> list[Tensor]:
    generator = torch.Generator().manual_seed(count)
    return [torch.randn(6 + index, 5, generator=generator) for index in range(count)]


@pytest.mark.parametrize("chosen", BOTH)
def test_the_function_takes_what_the_machine_is_fast_at(machine: Machine, chosen: str) -> None:
    machine(chosen)
    (x,) = matrices(1)
    assert fast_precision([CPU]) == chosen
    assert torch.equal(newton_schulz(x), newton_schulz(x, precision=chosen))
    assert not torch.equal(newton_schulz(x, precision="bfloat16"), newton_schulz(x, precision="float32"))
    assert newton_schulz(x.double()).dtype == torch.float64
    assert_close(newton_schulz(x.double()), newton_schulz(x.double(), precision="float32"), rtol=0, atol=0)


@pytest.mark.parametrize("chosen", BOTH)
def test_both_choices_are_what_a_program_can_say_itself(machine: Machine, chosen: str) -> None:
    """Bit by bit, fast and naive, and what is written explicitly stays."""
    said = program(
        "orthogonal",
        ORTHOGONAL.replace("(grad)", f'(grad, precision = "{chosen}")').replace(
            "steps = 3", f'steps = 3, precision = "{chosen}"'
        ),
    )
    left = program("orthogonal", ORTHOGONAL)
    weights, gradients = start(steps=5, dtype=torch.float32, scale=1.0)
    pairs = [(w, [step[i] for step in gradients]) for i, w in enumerate(weights) if w.ndim == 2]
    weights = [weight for weight, _ in pairs]
    gradients = [list(step) for step in zip(*(of for _, of in pairs), strict=True)]
    machine(chosen)
    wanted = run_fast(said, weights, gradients)
    assert_close(run_fast(left, weights, gradients), wanted, rtol=0, atol=0)
    machine({"bfloat16": "float32", "float32": "bfloat16"}[chosen])
    kept = with_precision(left, chosen)
    assert_close(run_fast(kept, weights, gradients), wanted, rtol=0, atol=0)
    assert_close(run_naive(kept, weights, gradients), run_naive(said, weights, gradients), rtol=0, atol=0)
    assert any(not torch.equal(a, b) for a, b in zip(run_fast(left, weights, gradients), wanted, strict=True))
    assert with_precision(said, "float32") == said and with_precision(left, AUTO) == left


@pytest.mark.parametrize("chosen", BOTH)
def test_levels_that_learn_in_context_take_the_same_choice(machine: Machine, chosen: str) -> None:
    machine({"bfloat16": "float32", "float32": "bfloat16"}[chosen])
    weight, gradient = torch.stack(matrices(1) * 2), torch.stack(matrices(1) * 2) ** 2
    found = {}
    for precision in (chosen, AUTO):
        moved = ContextOptimizer({}, program("orthogonal", ORTHOGONAL), precision=precision)
        found[precision] = moved.change(gradient, moved.initial_memory(weight), weight)[0]
    said = ContextOptimizer({}, with_precision(program("orthogonal", ORTHOGONAL), chosen))
    assert torch.equal(found[chosen], said.change(gradient, said.initial_memory(weight), weight)[0])
    assert not torch.equal(found[chosen], found[AUTO])


@pytest.mark.parametrize("known", [True, False])
def test_the_processor_is_asked(monkeypatch: pytest.MonkeyPatch, known: bool) -> None:
    monkeypatch.setattr(processor, "has_bfloat16", lambda: known)
    monkeypatch.setattr(precisions, "_seconds", lambda *_: pytest.fail("nothing needs to be measured"))
    assert has_fast_bfloat16.__wrapped__(CPU) is known


@pytest.mark.parametrize(("seconds", "fast"), [((1.0, 2.0), True), ((2.0, 1.0), False)])
def test_what_nobody_says_is_measured(
    monkeypatch: pytest.MonkeyPatch, seconds: tuple[float, float], fast: bool
) -> None:
    monkeypatch.setattr(processor, "has_bfloat16", lambda: None)
    times = dict(zip((torch.bfloat16, torch.float32), seconds, strict=True))
    monkeypatch.setattr(precisions, "_seconds", lambda device, kind: times[kind])
    assert has_fast_bfloat16.__wrapped__(CPU) is fast


def test_a_product_is_really_timed() -> None:
    assert all(0 < precisions._seconds(CPU, kind) < 60 for kind in (torch.bfloat16, torch.float32))


@pytest.mark.parametrize(("capability", "fast"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_a_gpu_is_asked(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], fast: bool) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.version, "hip", None)
    device = torch.device("cuda", 0)
    assert has_fast_bfloat16.__wrapped__(device) is fast
    monkeypatch.setattr(torch.version, "hip", "6.0")
    assert has_fast_bfloat16.__wrapped__(device) is True


# --- as a torch.optim.Optimizer --------------------------------------------------------------


def layer() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(8, 6)


def muon(model: nn.Module, **group: object) -> torch.optim.Optimizer:
    groups = [{"params": list(model.parameters()), **group}]
    return nestdsl.optimizer("std.optim:muon", groups, lr=0.1, compile=False)


def moved(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> list[Tensor]:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for weight in model.parameters():
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()
    return [weight.detach().clone() for weight in model.parameters()]


def saved_and_read(state: dict) -> dict:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)


@pytest.mark.parametrize("chosen", BOTH)
def test_a_state_keeps_the_precision_on_another_machine(machine: Machine, chosen: str) -> None:
    machine(chosen)
    whole, parts = layer(), layer()
    wanted = moved(whole, muon(whole), range(6))
    begun = muon(parts)
    assert begun.param_groups[0]["bfloat16"] is (chosen == "bfloat16")
    moved(parts, begun, range(3))
    state = saved_and_read(begun.state_dict())
    machine({"bfloat16": "float32", "float32": "bfloat16"}[chosen])
    other = muon(parts)
    assert other.param_groups[0]["bfloat16"] is (chosen != "bfloat16")
    other.load_state_dict(state)
    assert_close(moved(parts, other, range(3, 6)), wanted, rtol=0, atol=0)
    own = layer()
    assert not torch.equal(moved(own, muon(own), range(6))[0], wanted[0])


def test_copies_keep_it(machine: Machine) -> None:
    machine("float32")
    model = layer()
    optimizer = muon(model)
    machine("bfloat16")
    for other in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):  # noqa: S301  # our own
        assert other.param_groups[0]["bfloat16"] is False
        other.step()


def test_a_group_may_choose(machine: Machine) -> None:
    machine("bfloat16")
    mine, theirs = layer(), layer()
    found = moved(mine, muon(mine, bfloat16=False), range(3))
    machine("float32")
    assert_close(found, moved(theirs, muon(theirs), range(3)), rtol=0, atol=0)


def test_a_state_that_says_nothing_takes_the_choice_of_this_machine(machine: Machine) -> None:
    machine("float32")
    model = layer()
    state = muon(model).state_dict()
    del state["param_groups"][0]["bfloat16"]
    optimizer = muon(model)
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["bfloat16"] is False
    moved(model, optimizer, range(2))


def test_wrong_choices_are_refused(machine: Machine, tmp_path) -> None:
    machine("float32")
    model = layer()
    with pytest.raises(NestError, match=r"(?s)N0104.*`bfloat16` of a group is the str 'float32'.*True or"):
        muon(model, bfloat16="float32")
    with pytest.raises(NestError, match=r"N0104.*`adamw` leaves no precision"):
        nestdsl.optimizer("std.optim:adamw", [{"params": model.parameters(), "bfloat16": True}])
    optimizer = muon(model)
    state = optimizer.state_dict()
    state["param_groups"][0]["bfloat16"] = 1
    with pytest.raises(NestError, match=r"(?s)N0104.*`bfloat16` of a group is the int 1.*True or False"):
        optimizer.load_state_dict(state)
    optimizer.param_groups[0]["bfloat16"] = True
    with pytest.raises(NestError, match=r"N0405.*was False when the optimizer was made"):
        moved(model, optimizer, range(1))
