"""A help can be followed: what it says to write leads to no second error at that place.

`newcomers.txt` has what people write who come from elsewhere, and what they are led to. `followed.py` is the
reader who does what a help says, and nothing else.
"""

from __future__ import annotations

import random
import re
from functools import cache
from pathlib import Path

import pytest

from nestdsl.compiler import analyse
from nestdsl.diagnostics import Diagnostic
from nestdsl.source import Source
from tests.hints.contexts import CONTEXTS
from tests.hints.followed import readings

TABLE = Path(__file__).with_name("newcomers.txt")
_LINE = re.compile(r"(\w+): (.*?)  (==>|\.\.>)  (.*)")


def _plain(text: str) -> str:
    return re.sub(
        r"\\(?:n|t|r|\\|u[0-9a-f]{4})", lambda one: one.group().encode().decode("unicode_escape"), text
    )


def _cases(arrow: str) -> list[tuple[str, str, str]]:
    lines = TABLE.read_text("utf-8").splitlines()
    found = [match for line in lines if not line.startswith("#") and (match := _LINE.fullmatch(line))]
    assert len(found) == sum(bool(line) and not line.startswith("#") for line in lines)
    return [(match[1], _plain(match[2]), _plain(match[4])) for match in found if match[3] == arrow]


FOLLOWED, PROSE = _cases("==>"), _cases("..>")


def errors(text: str) -> list[Diagnostic]:
    return [one for one in analyse(Source(text)).diagnostics if one.is_error]


def changed(before: str, after: str) -> tuple[int, int]:
    """Where the second text differs from the first."""
    short = min(len(before), len(after))
    start = next((at for at in range(short) if before[at] != after[at]), short)
    left = short - start
    end = next((at for at in range(left) if before[-1 - at] != after[-1 - at]), left)
    return start, len(after) - end


def errors_at(found: list[Diagnostic], start: int, end: int) -> list[str]:
    return [one.message for one in found if one.span and one.span.start <= end and one.span.end >= start]


def test_the_table_is_wide():
    assert len(FOLLOWED) > 250
    assert len(PROSE) < len(FOLLOWED) / 4
    assert {context for context, _, _ in FOLLOWED} == {*CONTEXTS}


@pytest.mark.parametrize(("context", "written", "fixed"), FOLLOWED)
def test_a_help_can_be_followed(context, written, fixed):
    text, wanted = (CONTEXTS[context].replace("@", one) for one in (written, fixed))
    first, *others = errors(text)
    assert wanted in list(readings(text, first)), (first.message, first.hint)
    left = errors(wanted)
    assert errors_at(left, *changed(text, wanted)) == []
    assert len(left) <= max(len(others), 1)


@pytest.mark.parametrize(("context", "written", "said"), PROSE)
def test_a_help_that_cannot_know_says_what_there_is(context, written, said):
    first, *_ = errors(CONTEXTS[context].replace("@", written))
    assert said in first.hint


@pytest.mark.parametrize("context", CONTEXTS)
def test_the_contexts_are_right_programs(context):
    right = {"body": "flow k = x", "out": "x", "level": "every 4 steps", "train": "objective mse"}
    right |= {"memory": "learn k -> v   every 1 token", "optimizer": "flow g = grad", "update": "flow g = mo"}
    right |= {"file": "model m { input vectors(8)   }".replace("   ", "\n  flow out = in\n")}
    assert errors(CONTEXTS[context].replace("@", right[context])) == []


# --- several habits at once -----------------------------------------------------------------------------


@cache
def _lines_that_end_well() -> list[str]:
    """Lines of bodies that following the helps makes right: of one line, and with a name to be replaced."""
    found = []
    for context, written, fixed in FOLLOWED:
        is_line = context == "body" and "\n" not in written + fixed and re.search(r"\bk\b", fixed)
        if is_line and not errors(CONTEXTS["body"].replace("@", fixed)):
            found.append(written)
    return found


@pytest.mark.parametrize("seed", range(40))
def test_several_habits_are_led_out_one_by_one(seed):
    """A program with four foreign lines becomes right step by step, without an error where a help led."""
    chosen = random.Random(seed).sample(_lines_that_end_well(), 4)
    lines = [re.sub(r"\bk\b", f"k{place}", line) for place, line in enumerate(chosen)]
    text = CONTEXTS["body"].replace("@", "\n  ".join(lines))
    steps = 0
    while (found := errors(text)) and steps < 12:
        steps += 1
        # Errors that the first hides may appear, but not where it was.
        led = (one for one in readings(text, found[0]) if not errors_at(errors(one), *changed(text, one)))
        text = min(led, key=lambda one: len(errors(one)), default="")
        assert text, (found[0].message, found[0].hint)
    assert not found, lines


# --- all other helps --------------------------------------------------------------------------------------

BAD = sorted((Path(__file__).parent.parent / "golden" / "bad").glob("*.nest"))
LEADS_ON = {
    "no tensor of `parts/tiny.safetensors` is `layers.0.mpl` or begins with it": "the key is right then, and "
    "the weights under it are those of another kind",
}
"""Mistakes whose help is right, and where there is a second one."""


def _led(path: Path, source: Source, diagnostic: Diagnostic, others: set[str]) -> bool | None:
    """Whether some reading of a help leads to no error at its place but `others`, which may stand between
    two places that it changes; None if it cannot be followed."""
    texts = list(readings(source.text, diagnostic))
    for text in texts:
        after = analyse(Source(text, path.name, path)).diagnostics
        own = [one for one in after if one.is_error and one.span and one.span.source.text == text]
        if others.issuperset(errors_at(own, *changed(source.text, text))):
            return True
    return False if texts else None


def test_the_helps_of_all_wrong_programs_can_be_followed():
    """Not of newcomers alone: each help of each program in `tests/golden/bad` that has code to paste."""
    led: list[bool] = []
    for path in BAD:
        try:
            source = Source(path.read_text("utf-8"), path.name, path)
        except UnicodeDecodeError:
            continue
        found = analyse(source).diagnostics
        for diagnostic in found:
            if diagnostic.message in LEADS_ON:
                continue
            is_led = _led(path, source, diagnostic, {one.message for one in found if one is not diagnostic})
            assert is_led is not False, (path.name, diagnostic.message, diagnostic.hint)
            led += [True] * (is_led is not None)
    assert len(led) > 120


@pytest.mark.parametrize("seed", range(20))
def test_a_mutated_foreign_line_has_a_code_a_place_and_what_to_do(seed):
    """Six hundred lines with a few characters changed: none is met with a traceback, or without a help."""
    drawn = random.Random(seed)
    for _ in range(30):
        context, written, _ = drawn.choice(FOLLOWED + PROSE)
        line = list(written)
        for _ in range(drawn.randint(1, 4)):
            place = drawn.randrange(len(line) + 1)
            line[place : place + drawn.randint(0, 2)] = drawn.choice(
                ["", *".,:;=-><|@{}()[]\"'\\#/*$ \n0a\u2192"]
            )
        text = CONTEXTS[context].replace("@", "".join(line))
        for found in errors(text):
            assert found.hint, found.message
            assert found.span is not None
            assert 0 <= found.span.start <= found.span.end <= len(text)
            list(readings(text, found))
