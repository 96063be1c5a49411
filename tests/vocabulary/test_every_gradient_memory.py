"""Every memory of gradients is one declaration and one rule; all other files know what these say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

import nestdsl
from nestdsl.explain import sections
from nestdsl.plan.yaml import from_yaml, to_yaml
from nestdsl.render.nesting import nesting
from nestdsl.runtime.optimizer.gradient_memories import RULES
from nestdsl.runtime.optimizer.stages import is_elementwise
from nestdsl.vocabulary.gradient_memories import GRADIENT_MEMORIES, MemoryKind
from nestdsl.vocabulary.shapes import SQUARE, WEIGHT
from tests.runtime.optimizer.programs import program, run_fast, run_naive
from tests.vocabulary.test_every_kind import compared

ROOT = Path(nestdsl.__file__).parent
NAMES = {kind.name for kind in GRADIENT_MEMORIES}
OF_KINDS = {"matrix", "associative"}
"""Names of kinds of levels too, whose own test knows them."""

every_memory = pytest.mark.parametrize("kind", GRADIENT_MEMORIES, ids=lambda kind: kind.name)


def own(kind_name: str) -> set[str]:
    rooms = ("vocabulary/gradient_memories", "runtime/optimizer/gradient_memories")
    return {f"{room}/{kind_name}.py" for room in rooms}


def test_no_file_but_its_own_two_knows_one_by_its_name() -> None:
    allowed = set().union(*(own(name) for name in NAMES))
    found = {}
    for path in ROOT.rglob("*.py"):
        place = path.relative_to(ROOT).as_posix()
        names = NAMES if "optimizer" in place else NAMES - OF_KINDS
        known = {one for one in compared(path.read_text("utf-8")) if one[1] in names}
        if known and place not in allowed:
            found[place] = known
    assert found == {}


@every_memory
def test_it_has_a_file_here_and_a_rule_there(kind: MemoryKind) -> None:
    assert all((ROOT / place).is_file() for place in own(kind.name))
    assert RULES[kind.name].kind == kind.name
    assert (RULES[kind.name].answer is not None) == bool(kind.answer)


def text(kind: MemoryKind, *, read: str = "m", period: int = 1) -> str:
    given = ", ".join("0.5" for rate in kind.rates if rate.default is None)
    learned = kind.example.format(flow="grad")
    return (
        "optimizer o(lr = 0.1) {\n  only matrices else sgd(lr = lr)\n"
        f"  level m = {kind.name}({given}) {{ learn {learned}  every {period} steps }}\n"
        f"  flow update = -lr * (grad + {read})\n}}\n"
    )


def reads(kind: MemoryKind) -> list[str]:
    """How its lines can read it, each of the shape of the weight."""
    answers = {None: [], WEIGHT: ["m(grad)"], SQUARE: ["matmul(m(grad), grad)"]}[kind.answer]
    return [*answers, *([] if kind.is_network else ["m"]), *(["debias(m)"] if kind.is_average else [])]


@every_memory
@pytest.mark.parametrize("period", [1, 2])
def test_its_steps_are_its_equation(kind: MemoryKind, period: int) -> None:
    torch.manual_seed(0)
    weights = [torch.randn(3, 5, dtype=torch.float64) for _ in range(2)]
    gradients = [[torch.randn_like(weight) for weight in weights] for _ in range(5)]
    for read in reads(kind):
        made = program("o", text(kind, read=read, period=period))
        assert is_elementwise(made) == kind.is_elementwise
        fast, naive = run_fast(made, weights, gradients), run_naive(made, weights, gradients)
        for one, other in zip(fast, naive, strict=True):
            assert torch.isfinite(one).all()
            assert_close(one, other)


@every_memory
def test_it_is_checked_planned_explained_and_drawn(kind: MemoryKind) -> None:
    model = (
        "model m() {\n  input vectors(4)\n  flow out = in -> linear(4) -> linear(4)\n"
        "  train { objective mse  optimizer o(lr = 0.1) }\n}\n"
    )
    nest = nestdsl.parse(text(kind, read=reads(kind)[0]) + model)
    assert from_yaml(to_yaml(nest.plan)) == nest.plan
    pages = sections(nest.nest_graph, nest.plan)
    [section] = [one for one in pages if [member.name for member in one.members] == ["@train.o.m"]]
    assert section.kind == kind.name
    assert dict(section.equations)["update"]
    assert ("read" in dict(section.equations)) == (kind.answered is not None)
    assert {"memory", "context flow", "objective", "start"} <= {row.label for row in section.rows}
    assert nest.explain().latex
    assert kind.name in nesting(nest.nest_graph, optimizers=True).source


@every_memory
def test_the_docs_say_it_with_its_rates_and_options(kind: MemoryKind) -> None:
    lines = (ROOT.parent / "docs/language.md").read_text("utf-8").splitlines()
    [row] = [line for line in lines if line.startswith(f"| `{kind.name}(")]
    given = row.split("|")[1]
    assert [one.name for one in (*kind.options, *kind.rates) if one.name not in given] == []
