"""The printed equations of optimizers are those that the runtime computes: both are run, and must agree."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import nestdsl
from nestdsl.explain import descent
from nestdsl.explain.descent import Clock
from nestdsl.explain.drivers import Driver, chain
from nestdsl.graph.optimizer import OptimizerProgram
from nestdsl.graph.optimizer import chain as programs_of
from nestdsl.runtime.optimizer import functions, naive
from nestdsl.runtime.optimizer.constants import parameters_at
from nestdsl.vocabulary.terms import Equation, Number, Symbol, T
from tests.explain.evaluate import Recurrence

UPDATES = 13

LIBRARY = (
    "sgd(lr = 0.1, decay = 0.1)",
    "sgd(lr = 0.1, momentum = 0.9, decay = 0.1)",
    "momentum(lr = 0.1)",
    "nesterov(lr = 0.1, decay = 0.1)",
    "adam(lr = 0.1, eps = 1e-3, decay = 0.1)",
    "adamw(lr = 0.1, beta1 = 0.8, beta2 = 0.9, eps = 1e-3, decay = 0.1)",
    "adamw_matrix(lr = 0.1, beta1 = 0.8, beta2 = 0.9, eps = 1e-3, decay = 0.1)",
    "adagrad(lr = 0.1)",
    "rmsprop(lr = 0.1, momentum = 0.9)",
    "lion(lr = 0.1, decay = 0.1)",
    "muon(lr = 0.1, decay = 0.1)",
    "preconditioned_momentum(lr = 0.1)",
    "delta_momentum(lr = 0.1)",
    "dmgd(lr = 0.1, hidden = 5, retain = 0.9)",
    "dgd(lr = 0.1)",
    "m3(lr = 0.1, period = 4)",
    "m3_paper(lr = 0.1, period = 4)",
    "adamw(lr = cosine(0.1, warmup = 3, steps = 9, floor = 0.1))",
    "muon(lr = 0.1, adamw_lr = linear(0.1, steps = 9))",
)

FUNCTIONS = {
    name: functions.FUNCTIONS[name]
    for name in ("newton_schulz", "normalize", "rms", "mean", "rms_match", "silu", "clip")
}

OWN = """
optimizer own(a = 0.9, period = 3) {
  level slow = ema(a, reduce = "sum") { learn grad * step_count  every period steps  read before }
  level pairs = matrix(step = 0.1, retain = a) { learn normalize(grad) -> outer(grad)  every 2 steps }
  level keys = associative(hidden = 4, step = 0.1, retain = 0.9) { learn grad -> weight  every 2 steps }
  level quick = sum_of(0) { learn 2 * grad  every 2 steps }
  flow size = sqrt(rows(weight) * columns(weight))
  flow both = debias(slow) + matmul(pairs(grad), grad) - keys(grad) / max(norm(grad), 0.5)
  flow update = -0.1 * clip(both, 0.7) * size - quick / (1 + abs(grad)) ** 2 + matmul(outer(pairs), grad)
}
"""


def program_of(optimizer: str, head: str = "") -> OptimizerProgram:
    text = "model m() {\n input vectors(4)\n flow out = in -> linear\n train { optimizer %s } }"
    found = nestdsl.parse(f"{head}\n{text % optimizer}").nest_graph.train.optimizer.program
    assert found is not None
    return found


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def equations_of(driver: Driver, clock: Clock) -> list[Equation]:
    writer = driver.writer(clock)
    found = [writer.update()]
    for memory in driver.program.memories:
        update, read = writer.memory(memory)
        found += [*update, *read]
    return [*found, *writer.where()]


def both_ways(program: OptimizerProgram, clock: Clock, is_matrix: bool, shape: tuple[int, int]) -> None:
    """Runs an optimizer by the runtime's naive form, and by its equations."""
    programs = programs_of(program, is_matrix=is_matrix)
    driver = list(chain(program, clock))[len(programs) - 1]
    weight = drawn(*shape)
    memory = naive.initial_memory(programs[-1], weight)
    gradients = {clock.period * (n + 1): drawn(*shape, seed=n + 1) for n in range(UPDATES)}
    given: dict = {("W", ""): {(0,): weight, (): weight}, ("G", ""): {(i,): g for i, g in gradients.items()}}
    numbers = {n: parameters_at(programs, {}, n, 40) for n in range(1, UPDATES + 1)}
    for name, value in numbers[1].items():
        given[name, ""] = {(): value} | {(clock.period * n,): one[name] for n, one in numbers.items()}
    for one in driver.program.memories:
        given[one.name, ""] = {(0,): torch.zeros_like(weight)}
        if one.kind == "associative":
            given[one.name, ""] = {
                (1, 0): memory[f"{one.name}.outer"],
                (2, 0): memory[f"{one.name}.inner"],
            }
    recurrence = Recurrence(equations_of(driver, clock), given, FUNCTIONS)
    for n in range(1, UPDATES + 1):
        change, memory = naive.apply(programs[-1], numbers[n], gradients[clock.period * n], memory, weight)
        weight = weight + change
        found = recurrence.value(Symbol("W").at(clock.index), {clock.index.name: clock.period * n})
        torch.testing.assert_close(found, weight, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("clock", [Clock(descent.STEP, 1), Clock(descent.STEP, 4), Clock(T, 4)], ids=str)
@pytest.mark.parametrize("optimizer", LIBRARY)
def test_the_library(optimizer: str, clock: Clock) -> None:
    program = program_of(optimizer)
    both_ways(program, clock, is_matrix=True, shape=(2, 3))
    if program.otherwise is not None:
        both_ways(program, clock, is_matrix=False, shape=(1, 3))


@pytest.mark.parametrize("period", [1, 2])
@pytest.mark.parametrize("shape", [(3, 2), (2, 5)])
def test_an_optimizer_with_everything(period: int, shape: tuple[int, int]) -> None:
    both_ways(program_of("own", OWN), Clock(descent.STEP, period), is_matrix=True, shape=shape)


def test_the_iterations_of_newton_schulz() -> None:
    program = program_of("muon")
    (driver, _) = chain(program, Clock(descent.STEP, 1))
    (line,) = (one for one in program.lines if one.function == "newton_schulz")
    writer = driver.writer(Clock(descent.STEP, 1))
    _, _, equations = writer.iterated(line)
    start = drawn(2, 3)
    recurrence = Recurrence(equations, {("nesterov", ""): {(1,): start}, ("i", ""): {(): 1}})
    found = recurrence.value(Symbol("X").at(Number(5)), {})
    torch.testing.assert_close(found, functions.newton_schulz(start), rtol=1e-9, atol=1e-9)
