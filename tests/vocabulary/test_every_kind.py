"""Every kind is one declaration and one module; all other files know what these say, never its name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

import nestdsl
from nestdsl.explain import sections
from nestdsl.plan.yaml import from_yaml, to_yaml
from nestdsl.render.nesting import nesting
from nestdsl.runtime.kinds import LAYERS, MEMORIES, Start
from nestdsl.vocabulary.kinds import KINDS
from nestdsl.vocabulary.signatures import STARTS, Kind, Takes
from nestdsl.vocabulary.terms import Equation, Symbol, T
from tests.explain.evaluate import Recurrence

ROOT = Path(nestdsl.__file__).parent
NAMES = {kind.name for kind in KINDS}
ARGUMENTS = {"dim": 8, "width": 3, "rank": 2}
"""Values for arguments that have no default."""

OTHER_MEANINGS = {
    "runtime/ops/linear_memory": {"matrix": "the name of a tensor in a state"},
    "runtime/optimizer/constants.py": {"linear": "the shape of a schedule"},
    "semantics/elaborate/optimizers": {"linear": "the shape of a schedule"},
    "plan/verify_program.py": {"linear": "the shape of a schedule"},
}
OF_OPTIMIZERS = "gradient_memories/"
"""There `matrix` and `associative` are memories of gradients, which have a registry of their own."""

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def compared(text: str) -> Iterator[tuple[int, str]]:
    """Line and text of each string that is compared with, matched, a key of a table, or listed to look in."""

    def strings(*nodes: ast.AST | None) -> Iterator[tuple[int, str]]:
        for node in nodes:
            for one in ast.walk(node) if node is not None else ():
                if isinstance(one, ast.Constant) and isinstance(one.value, str):
                    yield one.lineno, one.value

    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Compare(left, _, others):
                yield from strings(left, *others)
            case ast.MatchValue(value) | ast.Subscript(slice=value):
                yield from strings(value)
            case ast.Dict(keys):
                yield from strings(*keys)
            case ast.Tuple(parts) | ast.Set(parts) | ast.List(parts):
                yield from strings(*(part for part in parts if isinstance(part, ast.Constant)))


def by_name(path: Path) -> set[tuple[int, str]]:
    """The places of a file that know a kind by its name."""
    inside = path.relative_to(ROOT).as_posix()
    allowed = {name for place, names in OTHER_MEANINGS.items() if inside.startswith(place) for name in names}
    if OF_OPTIMIZERS in inside:
        allowed |= {"matrix", "associative"}
    return {one for one in compared(path.read_text("utf-8")) if one[1] in NAMES - allowed}


def test_no_file_but_its_own_two_knows_a_kind_by_its_name() -> None:
    own = {f"{room}/kinds/{kind.name}.py" for kind in KINDS for room in ("vocabulary", "runtime")}
    shared = {"runtime/kinds/side_by_side.py"}  # memories of the kind `matrix`, joined
    files = [path for path in ROOT.rglob("*.py") if path.relative_to(ROOT).as_posix() not in own | shared]
    assert len(files) > 150
    found = {path.relative_to(ROOT).as_posix(): places for path in files if (places := by_name(path))}
    assert found == {}


@pytest.mark.parametrize(
    "text",
    [
        'x.kind == "mlp"',
        'x.kind not in ("mlp",)',
        'KINDS = ["mlp", other]',
        'match kind:\n  case "mlp" | "conv":\n    pass',
        'table = {"mlp": 1}',
        'LIBRARY.kinds["mlp"]',
    ],
)
def test_each_way_to_know_it_is_seen(text: str) -> None:
    assert "mlp" in {name for _, name in compared(text)}


@every_kind
def test_it_has_a_file_here_and_a_module_there(kind: Kind) -> None:
    assert (ROOT / f"vocabulary/kinds/{kind.name}.py").is_file()
    module = (LAYERS | MEMORIES)[kind.name]
    assert module.kind == kind.name
    assert module.__module__ == f"nestdsl.runtime.kinds.{kind.name}"
    assert kind.is_memory == (kind.name in MEMORIES)


def call(kind: Kind) -> str:
    given = (f"{spec.name} = {ARGUMENTS[spec.name]}" for spec in kind.arguments if spec.name in ARGUMENTS)
    return f"{kind.name}({', '.join(given)})"


def program(kind: Kind) -> str:
    reads = "ids(11)" if kind.takes is Takes.IDS else "vectors(8)"
    objective = "mse" if kind.takes is Takes.VECTORS else "cross_entropy"
    last = " -> linear(11)" if kind.takes is Takes.IDS else ""
    return (
        f"model m() {{\n  input {reads}\n  level l = {call(kind)}\n  flow out = in -> l{last}\n"
        f"  train {{ objective {objective}  optimizer adamw(lr = 0.001) }}\n}}\n"
    )


@every_kind
def test_it_is_checked_planned_run_explained_and_drawn(kind: Kind) -> None:
    nest = nestdsl.parse(program(kind))
    assert [level.kind for level in nest.plan.levels if level.name == "l"] == [kind.name]
    assert from_yaml(to_yaml(nest.plan)) == nest.plan
    model = nest.compile(compile=False).double()
    is_of_ids = kind.takes is Takes.IDS
    x = torch.randint(11, (2, 5)) if is_of_ids else torch.randn(2, 5, 8, dtype=torch.float64)
    y = model(x)[0]
    assert y.shape == (2, 5, 11 if is_of_ids else 8)
    assert torch.isfinite(y).all()
    [section] = [
        one
        for one in sections(nest.nest_graph, nest.plan)
        if [member.name for member in one.members] == ["l"]
    ]
    assert section.kind == kind.name
    assert ("start" in {row.label for row in section.rows}) == (kind.begins is not None)
    assert dict(section.equations)["read"]
    page = nest.explain()
    assert f"({kind.name})" in str(page) and page.latex
    assert kind.name in nesting(nest.nest_graph).source


@every_kind
def test_the_docs_say_it_with_all_its_arguments(kind: Kind) -> None:
    lines = (ROOT.parent / "docs/language.md").read_text("utf-8").splitlines()
    [row] = [line for line in lines if line.startswith("| `") and f"`{kind.name}`" in line.split("|")[1]]
    missing = [spec.name for spec in kind.arguments if spec.name not in row and spec.name != "causal"]
    assert missing == []


def _column(x: Tensor) -> Tensor:
    return x[:, None]


WEIGHTS = {
    "embedding": lambda own: {("W", ()): own["weight"]},
    "linear": lambda own: {("W", ()): own["weight"], ("b", ()): _column(own["bias"])},
    "mlp": lambda own: {
        (letter, (part,)): own[f"{part}.{name}"] if name == "weight" else _column(own[f"{part}.{name}"])
        for part in ("up", "down")
        for letter, name in (("W", "weight"), ("b", "bias"))
    },
    "low_rank": lambda own: {("A", ()): own["down.weight"], ("B", ()): own["up.weight"]},
    "conv": lambda own: {
        ("b", ()): _column(own["bias"]),
        **{("w", (j,)): own["weight"][:, -1 - j, None] for j in range(own["weight"].shape[1])},
    },
    "rms_norm": lambda own: {("w", ()): _column(own["weight"])},
    "layer_norm": lambda own: {("w", ()): _column(own["weight"]), ("b", ()): _column(own["bias"])},
    "matrix": lambda own: {("W", ()): own["weight"][0]},
    "associative": lambda own: {("W", (1,)): own["outer"][0].mT, ("W", (2,)): own["inner"][0].mT},
}
"""The weights of a module by symbol and index of its equation."""


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.equation], ids=lambda kind: kind.name)
def test_its_equation_is_what_its_module_computes(kind: Kind) -> None:
    torch.manual_seed(0)
    given = {spec.name: ARGUMENTS.get(spec.name, spec.default) for spec in kind.arguments}
    named = {name: value for name, value in given.items() if name in ARGUMENTS}
    inputs = 11 if kind.takes is Takes.IDS else 8
    module = LAYERS[kind.name](inputs, 8, **named).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
        tokens = 5
        x = torch.randint(11, (1, tokens)) if inputs == 11 else torch.randn(1, tokens, 8, dtype=torch.float64)
        made = (
            module(x, module.init_state(1, dtype=torch.float64))[0] if kind.keeps_state(given) else module(x)
        )
        own = dict(module.named_parameters())
        values: dict[tuple[str, str], dict[tuple, object]] = {
            ("x", ""): {(t,): x[0, t] if x.ndim == 2 else _column(x[0, t]) for t in range(tokens)},
            ("up", ""): {(): "up"},
            ("down", ""): {(): "down"},
        }
        assert kind.name in WEIGHTS, "add its weights by the symbols of its equation to WEIGHTS"
        for (letter, index), value in WEIGHTS[kind.name](own).items():
            values.setdefault((letter, ""), {})[index] = value
        functions = {
            "row": lambda table, number: _column(table[number]),
            "mean": lambda v: v.mean(),
        }
        assert kind.equation is not None
        equation = Equation(Symbol("y").at(T), kind.equation(given, True))
        recurrence = Recurrence((equation,), values, functions)
        for t in range(3, tokens):  # a convolution of three looks two tokens back
            torch.testing.assert_close(recurrence.symbol(Symbol("y").at(T), {"t": t})[:, 0], made[0, t])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.name in LAYERS], ids=lambda kind: kind.name)
def test_its_module_has_the_weights_and_the_starts_that_it_declares(kind: Kind) -> None:
    given = {spec.name: ARGUMENTS.get(spec.name, spec.default) for spec in kind.arguments}
    named = {name: value for name, value in given.items() if name in ARGUMENTS}
    made = LAYERS[kind.name](8, 8, **named)
    shapes = {name: tuple(weight.shape) for name, weight in made.named_parameters()}
    assert shapes == dict(kind.parameters(given, 8, 8))
    numbers = {word: 0.5 for word, spec in STARTS.items() if spec}
    for word in kind.starts:
        started = LAYERS[kind.name](8, 8, **named, init=Start(word, numbers.get(word)))
        assert all(torch.isfinite(weight).all() for weight in started.parameters())
    assert kind.equation is not None, "its page shows no equation"
    assert kind.flops({**given}, 8, 8) > 0 or kind.takes is Takes.IDS, "its operations count as none"
