"""What an optimizer keeps has the same names whatever else is put into its body, taken out or moved."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import nestdsl
from nestdsl.graph.optimizer import OptimizerProgram, chain
from nestdsl.graph.optimizer_slots import slots
from nestdsl.semantics.elaborate.optimizers.named import NamedOptimizer
from nestdsl.source import Source

ROOT = Path(nestdsl.__file__).parents[1]


def bodies() -> Iterator[tuple[str, str]]:
    for path in [ROOT / "nestdsl/std/optim.nest", *sorted((ROOT / "examples/optimizers").glob("*.nest"))]:
        text = path.read_text("utf-8")
        for name in re.findall(r"^optimizer (\w+)", text, re.M):
            yield name, text
    yield "far", FAR


FAR = """
optimizer far(lr = 0.1, long = 0.99) {
  level slow = ema(long) { learn grad  every 4 steps }
  level slower = sum_of(0.5) { learn slow  every 8 steps }
  flow z = normalize(slow) + rms_match(slow)
  flow direction = z + tanh(slower) * exp(slow)
  flow update = -lr * (grad + direction)
}
"""
BODIES = dict(bodies())


def kept(name: str, text: str) -> list[set[tuple[str, str]]]:
    """What is kept for each weight by each program of a chain: names and shapes."""
    program: OptimizerProgram = NamedOptimizer(Source(text), name).program({})
    return [{(one.name, one.shape) for one in slots(part)} for part in chain(program, is_matrix=False)]


def statements(name: str, text: str) -> tuple[str, list[str], str]:
    """The text before the statements of a body, these, and the text after."""
    begin = re.search(rf"^optimizer {name}\(.*?\) \{{\n", text, re.M | re.S)
    assert begin
    end = text.index("\n}", begin.end())
    return text[: begin.end()], text[begin.end() : end].split("\n"), text[end:]


@pytest.mark.parametrize("name", BODIES)
def test_no_harmless_edit_renames_what_is_kept(name: str) -> None:
    text = BODIES[name]
    wanted = kept(name, text)
    before, lines, after = statements(name, text)
    whole = [line for line in lines if re.match(r"  (level|flow) .*[^{,(]$", line)]
    line = "  flow spare = tanh(grad) * 2"
    for place in range(len(lines) + 1):
        is_inside = place < len(lines) and not re.match(r"  [a-z#]", lines[place])
        if not is_inside:
            edited = "\n".join((*lines[:place], line, *lines[place:]))
            assert kept(name, f"{before}{edited}{after}") == wanted
    if len(whole) == len(lines):  # each statement in one line: flows and levels may stand in any order
        edited = "\n".join(reversed(lines))
        assert kept(name, f"{before}{edited}{after}") == wanted
    renamed = re.sub(r"\b(direction|scale|g|z)\b", r"\1_of_mine", "\n".join(lines))
    assert kept(name, f"{before}{renamed}{after}") == wanted
    longer = "\n".join(
        re.sub(r"^  flow update = (.*)$", r"  flow all = \1\n  flow update = all", one) for one in lines
    )
    assert kept(name, f"{before}{longer}{after}") == wanted


def test_kept_results_are_named_by_what_they_are() -> None:
    [names] = kept("far", FAR)
    assert {name for name, _ in names} == {
        "slow",
        "slow.gathered",
        "slower",
        "slower.gathered",
        "normalize(slow) + rms_match(slow)",
        "tanh(slower)",
        "exp(slow)",
        "normalize(slow) + rms_match(slow) + tanh(slower) * exp(slow)",
    }
    [others] = kept("far", FAR.replace("exp(slow)", "sigmoid(slow)"))
    new = {name.replace("exp(slow)", "sigmoid(slow)") for name, _ in names}
    assert {name for name, _ in others} == new
