"""When a level moves, is read and starts again are values: their words are read at the edge alone."""

from __future__ import annotations

from pathlib import Path

import pytest

import nestdsl
from nestdsl.plan.plan import Sharing
from nestdsl.records import MismatchError, plain, typed
from nestdsl.vocabulary.shapes import NUMBER, WEIGHT, MatrixShape, Shape
from nestdsl.vocabulary.timing import (
    STOP,
    THROUGH,
    Every,
    EveryRead,
    Frequency,
    Gradient,
    Never,
    ReadTime,
    Reset,
    Truncated,
    Unit,
)
from tests.vocabulary.test_every_kind import compared

ROOT = Path(nestdsl.__file__).parent
WORDS = {one.value for kind in (Unit, Reset, ReadTime, Sharing) for one in kind}
WORDS |= {"through", "stop", "truncated", "every read"}
EDGES = {
    "vocabulary/timing.py": WORDS,
    "plan/plan.py": WORDS,
    "semantics/values/clauses.py": {"token", "step", "truncated"},  # words of a program
    "syntax/": WORDS,
    "semantics/synonyms.py": WORDS,  # what other programs call them
}
OTHER_MEANINGS = {
    "step": "an argument of optimizers in context, and a count",
    "context": "a name of sections, of lines, and of a model's arguments",
    "stop": "a function of flows",
    "parent": "the name of a field",
    "after": "a field of plans",
    "token": "a kind of word in the syntax",
    "anchor": "a tensor in the state of a memory",
    "before": "the figures before the first step",
}
RULES = ("runtime/ops/", "runtime/kinds/")
"""There they are arguments of torch modules and functions, of types that list them: `Literal["after", …]`."""
OF_MEMORIES = {"plan/verify_levels.py", "plan/collapse.py"}
"""There they are looked up in the options that such a module is built with."""


def test_no_other_file_reads_their_words() -> None:
    found = {}
    for path in ROOT.rglob("*.py"):
        place = path.relative_to(ROOT).as_posix()
        if place.startswith(RULES) or place in OF_MEMORIES:
            continue
        allowed = {word for edge, words in EDGES.items() if place.startswith(edge) for word in words}
        known = {(line, word) for line, word in compared(path.read_text("utf-8")) if word in WORDS - allowed}
        if known := {one for one in known if one[1] not in OTHER_MEANINGS}:
            found[place] = known
    assert found == {}


@pytest.mark.parametrize(
    ("hint", "value", "text"),
    [
        (Gradient, THROUGH, "through"),
        (Gradient, STOP, "stop"),
        (Gradient, Truncated(4), "truncated(4)"),
        (Frequency, EveryRead(), "every read"),
        (Frequency, Never(), "never"),
        (Frequency, Every(1, 1, Unit.TOKEN), "every token"),
        (Frequency, Every(1, 16, Unit.STEP), "every 16 steps"),
        (Frequency, Every(5, 1, Unit.STEP), "5 times a step"),
        (Frequency, Every(5, 3, Unit.TOKEN), "5 times in 3 tokens"),
        (Reset, Reset.PARENT, "parent"),
        (ReadTime, ReadTime.ANCHOR, "anchor"),
        (Sharing, Sharing.ONE_PRODUCT, "one running product"),
        (Shape, NUMBER, "number"),
        (Shape, WEIGHT, "weight"),
        (Shape, MatrixShape("in", "out"), "in × out"),
    ],
)
def test_each_is_its_text_in_a_file_and_back(hint: type, value: object, text: str) -> None:
    assert plain(value, hint) == text == str(value)
    assert typed(text, hint, "here") == value


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (Gradient, "truncated(0)"),
        (Gradient, "truncated(-1)"),
        (Gradient, "Through"),
        (Gradient, 4),
        (Frequency, "every 1 tokens"),
        (Frequency, "1 times a step"),
        (Frequency, "every 0 steps"),
        (Frequency, "every 16 weeks"),
        (Frequency, None),
        (Reset, "Never"),
        (ReadTime, ["after"]),
        (Shape, "out × hidden"),
        (Shape, "out × in"),
        (Shape, "a number"),
    ],
)
def test_any_other_text_is_refused_with_its_place(hint: type, text: object) -> None:
    with pytest.raises(MismatchError, match=r"^here "):
        typed(text, hint, "here")
