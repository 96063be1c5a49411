"""The cost of a check grows no faster than the program, whatever is repeated or nested in it."""

import time

import pytest

from nestdsl import limits
from nestdsl.compiler import analyse
from nestdsl.diagnostics import Diagnostic
from nestdsl.diagnostics.render import render_text
from nestdsl.semantics.modules import library_declarations
from nestdsl.source import Source
from tests.counting import calls_of
from tests.semantics.adversarial import PROGRAMS

FEW = 40
FEW_MISTAKES = limits.MAX_DIAGNOSTICS + 10
"""Of what is wrong with each of them: beyond that number nothing more is looked for."""
SECONDS = 6  # one on an idle machine


@pytest.fixture(scope="module", autouse=True)
def library():
    """What is read once for all programs is read before anything is counted."""
    library_declarations()


def check(text: str) -> tuple[Diagnostic, ...]:
    found = analyse(Source(text)).diagnostics
    render_text(found)
    return found


def work(text: str) -> int:
    """How many calls of functions, Python's own included, a check makes: the same at each run."""
    return calls_of(lambda: check(text))


@pytest.mark.parametrize("name", PROGRAMS)
def test_three_times_the_text_is_no_more_than_three_times_the_work(name):
    make = PROGRAMS[name]
    check(make(2))
    count = FEW_MISTAKES if "unknown" in name or "not there" in name else FEW
    few, many = work(make(count)), work(make(3 * count))
    assert many <= 3.3 * few + 4000


def diagnosed(found: tuple[Diagnostic, ...]) -> None:
    counted = [one for one in found if one.is_error and one.code != "N0004"]
    assert len(counted) <= limits.MAX_DIAGNOSTICS
    for one in found:
        assert one.message and one.hint
        assert len(one.message) < 5000


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_it_ends_soon_at_the_limits(name):
    """As large as a file may be, and a little larger."""
    make = PROGRAMS[name]
    each = (len(make(200)) - len(make(100))) / 100
    for count in (5000, int(limits.MAX_FILE_BYTES / max(1, each) * 0.99)):
        text = make(count)
        started = time.process_time()
        found = check(text)
        assert time.process_time() - started < SECONDS
        diagnosed(found)


@pytest.mark.parametrize(
    "name",
    [name for name in PROGRAMS if name.startswith("text: ") and ("brace" in name or "comment" in name)],
)
def test_a_long_text_is_read_once(name):
    """What the number of calls does not show: patterns that go through the text again and again."""
    text = PROGRAMS[name](20_000)
    started = time.process_time()
    diagnosed(check(text))
    assert time.process_time() - started < SECONDS
