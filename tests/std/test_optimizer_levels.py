"""What the compiler knows of the optimizers of the library: their levels, and what they take now and then."""

from __future__ import annotations

import re

import pytest

import nestdsl
from nestdsl.graph.optimizer import OptimizerProgram
from nestdsl.semantics.modules import library_module

NAMES = tuple(library_module("optim").names)


def program(call: str) -> OptimizerProgram:
    """The program of an optimizer that trains one layer."""
    nest = nestdsl.parse(
        "model small(size = 4) { input vectors(size)\n"
        "  flow out = in -> linear(size, bias = false) -> linear\n"
        f"  train {{ objective mse  optimizer {call} }} }}"
    )
    found = nest.plan.train.optimizer.program
    assert found is not None
    return found


@pytest.mark.parametrize("name", NAMES)
def test_each_compiles_with_what_it_says_by_itself(name: str) -> None:
    assert program(name + "()").name == name


def learns(optimizer: str, own: str = "") -> dict[str, str]:
    """What each memory learns, by its name."""
    nest = nestdsl.parse(
        f"{own}\nmodel small {{ input vectors(4)\n  flow out = in -> linear(4) -> linear(4)\n"
        f"  train {{ objective mse  optimizer {optimizer} }} }}"
    )
    inside = {level.name.removeprefix(f"@train.{optimizer}."): level for level in nest.levels if level.owner}
    return {name: level.learns for name, level in inside.items() if level.kind != "newton_schulz"}


def test_levels_say_what_they_learn() -> None:
    assert learns("adamw") == {"m": "grad", "v": "grad * grad"}
    assert learns("rmsprop") == {"v": "g * g"}
    assert learns("delta_momentum") == {"m": "normalize(grad) -> -norm(grad) / step"}
    assert learns("dmgd")["m"] == "unit -> grad / (sqrt(debias(v)) + eps)"
    found = learns("m3")
    assert (found["near"], found["far"], found["v"]) == ("g", "g", "grad * grad")


@pytest.mark.parametrize(
    "said",
    [
        "-(grad - 2 * (weight / (3 - step_count)) ** -2) ** 2 / max(1, -grad)",
        'newton_schulz(grad * 0.5, steps = 3, precision = "float32") - (1 - grad)',
        "grad - weight - grad * weight / 3",
        "clip(grad, 0.1) / (weight / grad)",
        "normalize(grad) -> outer(grad, weight)",
        "grad -> outer(keys(grad))",
    ],
)
def test_what_a_memory_learns_is_told_as_the_program_tells_it(said: str) -> None:
    kind = "matrix" if "->" in said else "ema(0.9)"
    own = (
        "optimizer own() {\n only matrices else sgd\n level keys = associative { learn grad -> grad }\n"
        f" level m = {kind} {{ learn {said} }}\n flow update = m + keys(grad)\n}}"
    )
    assert learns("own", own)["m"] == said


@pytest.mark.parametrize("name", NAMES)
def test_each_has_a_rate_and_says_what_it_is(name: str) -> None:
    assert "lr" in dict(program(name + "()").parameters)
    text = library_module("optim").source.text
    assert re.search(rf"^#.*\noptimizer {name}\(", text, re.MULTILINE), name


@pytest.mark.parametrize("name", ["m3", "m3_paper"])
def test_the_slow_memory_of_m3_and_its_orthogonalisation_have_its_period(name: str) -> None:
    found = program(f"{name}(period = 8)")
    assert {memory.name: memory.period for memory in found.memories} == {"near": 1, "far": 8, "v": 1}
    taken = {line.operands: line.period for line in found.lines if line.function == "newton_schulz"}
    assert taken == {("near",): 1, ("far",): 8}


def test_a_memory_may_learn_from_one_that_is_declared_after_it() -> None:
    nest = nestdsl.parse(
        "optimizer turned(lr = 0.1) {\n"
        "  level m = sum_of(0.5) { learn grad / sqrt(v) }\n"
        "  level v = ema(0.9) { learn grad * grad }\n"
        "  flow update = -lr * m\n}\n"
        "model small { input vectors(4)\n  flow out = in -> linear(4)\n"
        "  train { objective mse  optimizer turned } }"
    )
    inner = [level.name for level in nest.plan.levels if level.owner]
    assert sorted(name.rpartition(".")[2] for name in inner) == ["m", "v"]
