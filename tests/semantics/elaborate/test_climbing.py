"""N0306: whatever is said to climb does; what is known to descend is never said to."""

import random
import re
from pathlib import Path

import pytest
import torch

from nestdsl.compiler import analyse
from nestdsl.runtime.optimizer import naive
from nestdsl.runtime.optimizer.constants import parameters_at
from nestdsl.semantics.elaborate.optimizers.climbing import climbs
from nestdsl.semantics.elaborate.optimizers.named import NamedOptimizer
from nestdsl.semantics.modules import library_module
from nestdsl.source import Source
from nestdsl.syntax import ast
from tests.runtime.optimizer.programs import PROGRAMS

ROOT = Path(__file__).parents[3]
DOUBLING = (
    "weight - lr * grad",
    "-lr * grad + weight",
    "weight",
    "0 - (lr * grad - weight)",
    "(weight + weight * decay) - lr * grad",
)
MOVING = (
    "weight * decay - lr * grad",
    "lr * grad - weight",
    "-weight",
    "-lr * (grad + weight)",
    "2 - lr * grad",
)
CLIMBING = (
    "lr * grad",
    "lr * m",
    "grad",
    "-(-lr * grad)",
    "lr * debias(m) / (sqrt(debias(v)) + 1e-8)",
    "lr * (grad + decay * weight)",
    "lr * (grad - decay * weight)",
    "lr * sign(beta * m + (1 - beta) * grad)",
    "-lr * (0 - grad)",
    "(beta - 1) * -grad",
    "lr * rms_match(normalize(m)) * sqrt(max(1, rows(weight) / columns(weight)))",
    "lr * clip(grad, 1) / max(1, norm(grad))",
    "lr * tanh(grad) * step_count",
    "grad / abs(weight)",
    "lr * grad * weight ** 2",
    "lr * grad * grad * grad",
    "lr * own",
    "lr * far",
)
NOT_SHOWN = (
    "-lr * grad",
    "-lr * m",
    "lr * -sign(m)",
    "-lr * debias(m) / (sqrt(debias(v)) + 1e-8)",
    "-lr * decay * weight",
    "lr * weight",
    "lr * (grad - m)",
    "lr * grad * weight",
    "lr * grad * m",
    "lr * grad * grad",
    "lr * p(grad)",
    "lr * matmul(outer(grad), grad)",
    "(weight - lr * grad) - weight",
    "lr * (m - 2 * grad)",
    "lr * min(grad, m)",
    "negative * grad",
    "(beta - 1) * grad",
    "lr * opposite",
)
PROGRAM = """
optimizer o(lr = 0.1, beta = 0.9, decay = 0.01, negative = -0.1) {{
  level m = ema(beta) {{ learn grad }}
  level v = ema(0.99) {{ learn grad * grad }}
  level far = sum_of(beta) {{ learn normalize(grad) / 3  every 4 steps  read before }}
  level own = ema(beta) {{ learn grad + 0.5 * own  read before }}
  level opposite = ema(beta) {{ learn grad - opposite  read before }}
  level p = associative(hidden = 2) {{ learn grad -> weight }}
  flow update = {}
}}
"""


def warned(text: str) -> bool:
    found = [one for one in analyse(Source(text)).diagnostics if one.code != "N0304"]
    assert {one.code for one in found} <= {"N0306"}
    return bool(found)


@pytest.mark.parametrize("update", CLIMBING)
def test_climbing(update):
    # The third power climbs too, but through a product of flows.
    assert warned(PROGRAM.format(update)) or update.count("grad") == 3


@pytest.mark.parametrize("update", DOUBLING)
def test_the_weight_itself_is_not_added(update):
    assert warned(PROGRAM.format(update))


@pytest.mark.parametrize("update", MOVING)
def test_a_part_of_the_weight_may_be(update):
    messages = [one.message for one in analyse(Source(PROGRAM.format(update))).diagnostics]
    assert not any("has the weight itself in it" in one for one in messages)


@pytest.mark.parametrize("update", NOT_SHOWN)
def test_not_shown_to_climb(update):
    assert not warned(PROGRAM.format(update))


@pytest.mark.parametrize("parameter", ["lr", "lr = cosine(0.1)", "head_lr", "eps"])
def test_parameters_that_are_never_negative(parameter):
    name = parameter.split()[0]
    assert warned(f"optimizer o({parameter}) {{ flow update = {name} * grad }}")
    assert not warned(f"optimizer o({parameter}) {{ flow update = -{name} * grad }}")


def test_a_parameter_that_nobody_knows():
    assert not warned("optimizer o(factor) { flow update = factor * grad }")


def own_optimizers():
    for path in sorted([*(ROOT / "examples").rglob("*.nest"), *(ROOT / "tests/golden/good").glob("*.nest")]):
        yield path.name, path.read_text("utf-8")
    for number, text in enumerate(
        re.findall(r"```nest\n(.*?)```", (ROOT / "docs/language.md").read_text(), re.S)
    ):
        yield f"docs {number}", text
    yield from PROGRAMS.items()


@pytest.mark.parametrize(("name", "text"), list(own_optimizers()))
def test_no_false_alarm(name, text):
    assert "N0306" not in {one.code for one in analyse(Source(text)).diagnostics}


def test_no_false_alarm_in_the_library():
    names = [name for name, one in library_module("optim").names.items() if isinstance(one, ast.Optimizer)]
    assert len(names) > 10
    for name in names:
        text = f"model m {{\n input vectors(8)\n flow out = in -> linear\n train {{ optimizer {name} }}\n}}"
        assert not warned(text)
        turned = library_text(name)
        assert "update = -lr" not in turned


def library_text(name: str) -> str:
    """The library, with the update of one of its optimizers turned around."""
    text = (ROOT / "nestdsl/std/optim.nest").read_text("utf-8")
    (body,) = re.findall(rf"^optimizer {name}\(.*?^}}", text, re.S | re.M)
    return body.replace("flow update = -lr", "flow update = lr")


SHOWN_IN_THE_LIBRARY = (
    "sgd momentum nesterov adam adamw adamw_matrix adagrad rmsprop lion muon m3 m3_paper".split()
)


@pytest.mark.parametrize("name", [*SHOWN_IN_THE_LIBRARY, "preconditioned_momentum"])
def test_the_library_turned_around_climbs(name):
    assert warned(library_text(name))


OF_ONE = ("sign", "tanh", "normalize", "rms_match", "abs", "relu", "stop", "exp")


def drawn(draw: random.Random, depth: int) -> str:
    """An expression of the shape of the weight."""
    if depth == 0:
        return draw.choice(("grad", "weight", "m", "v", "own", "far", "opposite", "grad"))
    inner, other = drawn(draw, depth - 1), drawn(draw, draw.randrange(depth))
    number = draw.choice(
        ("lr", "2", "-1", "beta", "(1 - beta)", "negative", "norm(grad)", "rows(weight)", "0.5")
    )
    return draw.choice(
        (
            f"-({inner})",
            f"{number} * ({inner})",
            f"({inner}) / (1 + {other} ** 2)",
            f"({inner}) + ({other})",
            f"({inner}) - ({other})",
            f"({inner}) * ({other})",
            f"{draw.choice(OF_ONE)}({inner})",
            f"{draw.choice(('max', 'min', 'clip'))}({inner}, {draw.choice(('0.5', '1', other))})",
            f"({inner}) ** 2",
        )
    )


def test_what_is_shown_to_climb_climbs():
    """With the same gradient at each step and no weight decay, every element moves with the gradient."""
    draw = random.Random(12)
    shown = 0
    for _ in range(250):
        update = drawn(draw, draw.randrange(1, 5))
        analysis = analyse(Source(PROGRAM.format(update)))
        if analysis.has_errors:
            continue
        program = NamedOptimizer(Source(PROGRAM.format(update)), "o").program({})
        assert climbs(program, {}) <= ("N0306" in {one.code for one in analysis.diagnostics})
        if "N0306" not in {one.code for one in analysis.diagnostics}:
            continue
        shown += 1
        gradient = torch.tensor([[1.0, -2.0, 0.5], [-0.1, 3.0, -1.0]], dtype=torch.float64)
        weight = torch.zeros_like(gradient)  # which adds nothing of its own
        memory = naive.initial_memory(program, weight)
        for step_count in (1, 2, 3, 4, 5):
            parameters = parameters_at((program,), {}, step_count, 100)
            moved, memory = naive.apply(program, parameters, gradient, memory, weight)
            if "weight" not in update:
                assert (moved * gradient >= 0).all(), update
    assert shown > 12
