"""No text gives anything but a tree and diagnostics that point into it, in little time."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestdsl import limits
from nestdsl.source import Source
from nestdsl.syntax.ast import Program
from nestdsl.syntax.parser import parse
from tests.syntax.programs import DESIGN, programs, tree

TOKENS = (
    "use param block optimizer model level repeat flow default input train learn objective every chunk init "
    'from reset gradient read frozen true false x y ids 1 2.5 1e999 "s" " -> ** + - * / = , . ( ) [ ] { } '
    "# $ \u2192 ; 4x"
).split(" ")


def check(text: str) -> None:
    started = time.process_time()
    program, found = parse(Source(text))
    assert isinstance(program, Program)
    assert len(found) <= limits.MAX_DIAGNOSTICS + 2
    assert len(set(found)) == len(found)  # each mistake once: reading went on behind it
    for diagnostic in found:
        spans = [diagnostic.span, *(note.span for note in diagnostic.notes)]
        assert all(0 <= span.start <= span.end <= len(text) for span in spans)
        assert diagnostic.message
        assert diagnostic.hint
        assert "\n" not in diagnostic.message
        terminals = [name for name in ("LPAR", "_NL", "BROKEN", "$END", "RBRACE") if name not in text]
        assert not any(name in diagnostic.message for name in terminals)
    assert time.process_time() - started < 5


@given(st.text(max_size=300))
def test_any_text(text):
    check(text)


@given(st.binary(max_size=300))
def test_any_bytes(data):
    check(data.decode("latin-1"))


@given(st.lists(st.sampled_from([*TOKENS, "\n", "\n"]), max_size=80), st.booleans())
def test_any_tokens(tokens, in_body):
    text = " ".join(tokens)
    check("block b {\n" + text + "\n}" if in_body else text)


@given(programs())
def test_every_program_of_the_grammar_is_read(text):
    tree(text)


@given(
    st.one_of(st.sampled_from(sorted(DESIGN.values())), programs()),
    st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(["", "\n", "{", "}", *TOKENS])),
        min_size=1,
        max_size=5,
    ),
)
def test_any_change_of_a_program(text, changes):
    for where, removed, put in changes:
        start = int(where * len(text))
        text = text[:start] + put + text[start + removed :]
    check(text)


MEGABYTE = limits.MAX_FILE_BYTES
REPEATED = [
    "(",
    "{",
    "level a = \n",
    '"',
    " ",
    "}",
    "[",
    "-",
    "\n",
    "#\n",
    "\0",
    "x=",
    "{}",
    "use a\n",
    "2**",
]
HOSTILE = {
    **{repr(piece): (piece * MEGABYTE)[:MEGABYTE] for piece in REPEATED},
    "open blocks": "block a {\n" * 100_000,
    "lines that end too early": "block a {\n" + "flow x =\n" * 100_000,
    "arguments": "param x = f(" + "1," * 500_000,
    "a long pipe": "param x = " + "a->" * 300_000,
    "brackets": "param x = " + "(" * 1_000_000,
    "clauses": "block a {\n level x = y {" + "frozen " * 140_000,
    "a number": "param x = " + "1_" * 500_000 + "x",
    "ten megabytes": "a\n" * 5_000_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_megabyte_ends_soon(name):
    check(HOSTILE[name])
