"""A plan from outside is data: whatever text or number stands in it, no code of another is run.

What is tried: every form of place in a plan, with texts that end a comment, a string, a line or a call in
Python, C++ or Triton, and with numbers that no program gives.
"""

import ast
import random

import pytest
import torch
import yaml

from nestdsl.diagnostics import NestError
from nestdsl.plan.plan import Plan
from nestdsl.plan.verify import verify
from nestdsl.plan.wellformed import OddPlanError
from nestdsl.plan.yaml import from_yaml
from nestdsl.records import MismatchError, typed
from nestdsl.runtime.build import build
from nestdsl.runtime.python_source import python_source
from nestdsl.runtime.step_levels import NonFiniteGradient, StepLevels
from tests.plan.hostile import MARK, NUMBERS, PAYLOADS, changed, one_of_each, plan_data

DATA = plan_data()


def read(data: dict) -> Plan | None:
    """What `from_yaml` makes of plain data; None where it is refused."""
    try:
        plan = typed(data, Plan, "plan")
        verify(plan)
    except (MismatchError, OddPlanError) as error:
        refusal = str(error)
    else:
        return plan
    assert refusal.isprintable() and len(refusal) < 400
    return None


def outline(text: str) -> list[str]:
    """The shape of generated Python without its names and constants. Fails where hostile text is code."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        for name in ("id", "attr", "name", "arg", "module"):
            assert MARK not in str(getattr(node, name, ""))
    return [type(node).__name__ for node in ast.walk(tree)]


PLAIN = read(DATA)
assert PLAIN is not None
OUTLINE = outline(python_source(PLAIN))


@pytest.mark.parametrize("seed", range(3))
def test_no_text_of_a_plan_is_code(seed: int) -> None:
    draws = random.Random(seed)
    accepted = 0
    for place in one_of_each(DATA, (str,), seed):
        plan = read(changed(DATA, place, draws.choice(PAYLOADS)))
        if plan is not None:
            accepted += 1
            try:
                text = python_source(plan)
            except NestError:  # a kind or a function that is not known here
                continue
            assert outline(text) == OUTLINE, place
    assert accepted > 5, "texts that are only shown may be anything"


@pytest.mark.parametrize(
    "payload", [text for text in PAYLOADS if not text.isidentifier() or MARK not in text]
)
def test_what_does_not_come_through_the_door_is_not_code_either(payload: str) -> None:
    """The generated module by itself, of plans that nobody has verified."""
    for place in one_of_each({"bodies": DATA["bodies"], "model": DATA["model"]}, (str,), 0):
        try:
            plan = typed(changed(DATA, place, payload), Plan, "plan")
            outline(python_source(plan))
        except (NestError, MismatchError, KeyError, ValueError):
            continue


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_a_plan_with_one_odd_value_trains_or_is_refused(seed: int) -> None:
    """Of 40 × 60 altered plans, those that are read can be built and move; none is a way out of its text."""
    draws = random.Random(seed)
    places = one_of_each(DATA, (str, int, float, bool), seed)
    for place in draws.sample(places, 60):
        plan = read(changed(DATA, place, draws.choice((*PAYLOADS, *NUMBERS, "good_name"))))
        if plan is None:
            continue
        try:
            model = build(plan, compile=False)
        except NestError:
            continue
        ids = torch.randint(16, (2, 16))
        model.loss(ids, ids).backward()
        try:
            StepLevels(model).step(1)
        except NonFiniteGradient:  # of an odd number, as training says with N0505
            continue


@pytest.mark.parametrize("number", NUMBERS)
def test_odd_numbers_are_refused_or_harmless(number: object) -> None:
    for place in one_of_each(DATA, (int, float), 1):
        read(changed(DATA, place, number))


def test_the_door_is_where_plans_are_read() -> None:
    text = yaml.safe_dump(changed(DATA, ("bodies", 0, "levels", 0, "attribute"), "x\nimport os"))
    with pytest.raises(NestError, match="N0502"):
        from_yaml(text)
    assert from_yaml(yaml.safe_dump(DATA, sort_keys=False)) == PLAIN


def test_blocks_in_blocks_without_end_are_refused() -> None:
    data = plan_data()
    last = data["bodies"][0]["name"]
    for number in range(3000):
        inner = {
            "name": f"in_{number}", "block": "inner", "input_size": 8, "output_size": 8, "levels": [],
            "blocks": [{"name": "b", "attribute": "b", "bodies": [last], "repeated": False}],
            "instructions": [{"type": "run_block", "result": "b", "block": "b", "flow": "in_"}],
            "output": "b",
        }  # fmt: skip
        data["bodies"].insert(-1, inner)
        last = inner["name"]
    data["bodies"][-1]["blocks"][0]["bodies"] = [last]
    assert read(data) is None


def test_lines_without_end_are_refused() -> None:
    data = plan_data()
    lines = data["bodies"][-1]["instructions"]
    wide, name = [], lines[-1]["result"]
    for number in range(60):
        operands = [name, name]
        wide.append({"type": "call", "result": f"w{number}", "function": "concat", "operands": operands})
        name = f"w{number}"
    data["bodies"][-1]["instructions"] = [*lines, *wide]
    assert read(data) is None
    line = {"type": "call", "function": "negate", "operands": ["in_"]}
    data["bodies"][-1]["instructions"] = [
        *lines,
        *({"result": f"n{number}", **line} for number in range(30_000)),
    ]
    assert read(data) is None


def test_a_plan_that_doubles_itself_is_refused() -> None:
    """Forty bodies, each with two copies of the one before: 2 ** 40 levels."""
    data = plan_data()
    inner = data["bodies"][0]
    last = inner["name"]
    for number in range(40):
        two = {
            "name": f"double_{number}", "block": "double", "input_size": 8, "output_size": 8, "levels": [],
            "blocks": [{"name": "b", "attribute": "b", "bodies": [last, last], "repeated": True}],
            "instructions": [{"type": "run_block", "result": "b", "block": "b", "flow": "in_"}],
            "output": "b",
        }  # fmt: skip
        data["bodies"].insert(-1, two)
        last = two["name"]
    data["bodies"][-1]["blocks"][0]["bodies"] = [last]
    with pytest.raises(NestError, match="more levels than a program may have"):
        from_yaml(yaml.safe_dump(data))
