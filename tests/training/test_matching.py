"""Which level of a changed program is which: stages are put in and taken out, in every program of ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

import nestdsl
from nestdsl.compiler import analyse
from nestdsl.diagnostics import NestError
from nestdsl.graph.nest import NestGraph
from nestdsl.plan.lower import lower
from nestdsl.runtime.module import NestModule
from nestdsl.source import Source
from nestdsl.syntax import ast
from nestdsl.syntax.parser import parse
from nestdsl.training import checkpoint
from nestdsl.training.donor import take_weights
from nestdsl.training.matching import Match, match, stages_of
from nestdsl.vocabulary.signatures import LIBRARY

ROOT = Path(nestdsl.__file__).parents[1]
SMALL = {"dim": 8, "depth": 2, "heads": 2, "vocab": 16, "size": 8}


def programs() -> Iterator[tuple[str, str]]:
    """Every example, and every block of the library in a model of its own."""
    for path in sorted((ROOT / "examples").rglob("*.nest")):
        yield path.stem, path.read_text("utf-8")
    for path in sorted((ROOT / "nestdsl/std").glob("*.nest")):
        text = path.read_text("utf-8")
        for name in re.findall(r"^block (\w+)", text, re.M):
            model = f"\nmodel whole {{\n  input vectors(8)\n  level l = {name}(2) repeat 2\n"
            if name == "cms_level":
                model = model.replace(f"{name}(2)", name)
            yield f"std.{path.stem}:{name}", f"{text}{model}  flow out = in -> l\n}}\n"


PROGRAMS = dict(programs())


def stages(text: str) -> list[ast.Expression]:
    """The stages of flows that are kinds with weights, in the order of the text; each follows a `->`."""
    found: dict[int, ast.Expression] = {}

    def walk(node: object) -> None:
        if isinstance(node, ast.Pipe):
            for stage in node.stages[1:]:
                name = stage.function.text if isinstance(stage, ast.Call) else getattr(stage, "text", "")
                if name in LIBRARY.kinds:
                    found[stage.span.start] = stage
        if isinstance(node, tuple):
            for part in node:
                walk(part)
        elif hasattr(node, "__dataclass_fields__") and not isinstance(node, Source):
            for field in node.__dataclass_fields__:
                if field != "span":
                    walk(getattr(node, field))

    walk(parse(Source(text))[0])
    return [found[start] for start in sorted(found)]


@dataclass(frozen=True)
class Change:
    """A text with something put in (or taken out, where `length` is negative) at a place."""

    text: str
    place: int
    length: int

    def now_at(self, start: int) -> int:
        return start + self.length if start >= self.place else start


def changes(text: str) -> Iterator[Change]:
    for stage in stages(text):
        place = stage.span.start
        for added in ("rms_norm", "linear", "linear(bias = false)", "low_rank(2)", "gelu"):
            yield Change(f"{text[:place]}{added} -> {text[place:]}", place, len(f"{added} -> "))
        if stage.span.text in ("rms_norm", "linear", "mlp"):
            arrow = text.rindex("->", 0, place)
            end = stage.span.end
            yield Change(text[:arrow] + text[end:], arrow, arrow - end)


def graph_of(text: str) -> NestGraph | None:
    parts = parse(Source(text))[0].declarations
    declared = {one.name.text for part in parts if isinstance(part, ast.Model) for one in part.parameters}
    found = analyse(Source(text), {name: value for name, value in SMALL.items() if name in declared})
    return None if any(one.is_error for one in found.diagnostics) else found.graph()


def places(graph: NestGraph, text: str) -> dict[str, int]:
    """Where each level of the program's own text stands, by its name."""
    return {
        level.id: level.span.start
        for level in graph.levels()
        if not level.owner and level.span.source.text == text
    }


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_stage_is_taken_for_another(name: str) -> None:
    text = PROGRAMS[name]
    before = graph_of(text)
    assert before is not None
    there, old = stages_of(lower(before, "m.nest")), places(before, text)
    assert match(there, there) == Match({one: one for one in there})
    for change in changes(text):
        after = graph_of(change.text)
        if after is None:
            continue  # such as a stage whose size the next one needs
        here, new = stages_of(lower(after, "m.nest")), places(after, change.text)
        found = match(there, here)
        for own, other in found.names.items():
            if own in new and other in old and not found.undecided:
                assert new[own] == change.now_at(old[other]), (change.text, own, other)
        if not found.undecided and change.length > 0:  # nothing was taken out, so that all are found
            assert set(found.names.values()) == set(there), change.text


TWO = """
model m(dim = 8) {{
  input ids(256)
{levels}  flow out = in -> embedding(dim) -> {first} -> {second} -> linear(256)
}}
"""


def model_of(levels: str = "", first: str = "linear -> gelu", second: str = "linear -> tanh") -> NestModule:
    text = TWO.format(levels=levels, first=first, second=second)
    return nestdsl.parse(text).compile(compile=False, seed=len(text))


def checkpoint_of(model: NestModule, tmp_path: Path) -> checkpoint.Checkpoint:
    (tmp_path / "text.bin").write_bytes(bytes(n % 11 for n in range(400)))
    run = tmp_path / "run"
    nestdsl.train(model, tmp_path / "text.bin", 1, run, batch=1, tokens=4, quiet=True)
    return checkpoint.load(run)


def test_a_stage_that_moved_keeps_its_weights_and_what_differs_is_told(tmp_path: Path) -> None:
    """A named level takes the place of the first `linear`, so that the second has its name now."""
    donor = checkpoint_of(model_of(first="linear -> gelu -> low_rank(2)"), tmp_path)
    here = model_of(
        "  level new = linear { init normal(0.1) }\n",
        "linear -> gelu -> low_rank(2) -> new",
        "linear -> relu",
    )
    taken = take_weights(here, donor)
    for name in ("out_linear", "out_linear_2"):
        assert torch.equal(here.get_parameter(f"{name}.weight"), donor.weights[f"{name}.weight"])
    assert taken.own_starts == ("new",)
    assert (taken.levels, taken.tensors) == (5, 9)
    assert taken.remarks == (
        "`out.linear_2` reads new(low_rank(…)), there low_rank(gelu(…))",
        "`out.linear_3` reads relu(linear(…)), there tanh(linear(…))",
    )
    assert "as they say themselves start `new`" in str(taken)


def test_the_weights_of_a_stage_go_to_no_stranger_of_its_name_and_shape(tmp_path: Path) -> None:
    donor = checkpoint_of(model_of(), tmp_path)
    replaced = model_of("  level new = linear { init normal(0.1) }\n", "new -> gelu")
    with pytest.raises(NestError, match=r"the donor has `out\.linear`, and this program has no such level"):
        take_weights(replaced, donor)
    assert not torch.equal(replaced.get_parameter("out_linear.weight"), donor.weights["out_linear.weight"])
    with pytest.raises(NestError, match="are alike, and it cannot be told which of them is which"):
        take_weights(model_of(first="linear -> linear -> gelu"), donor)


def test_other_arguments_of_the_same_shapes_are_told(tmp_path: Path) -> None:
    donor = checkpoint_of(model_of(first="attention(2)", second="mlp"), tmp_path)
    here = model_of(first="attention(4)", second='mlp(activation = "silu")')
    assert set(take_weights(here, donor).remarks) >= {
        "`out.mlp` has activation = silu, there gelu",
        "`out.attention` has heads = 4, there 2",
    }
