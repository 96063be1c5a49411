"""Every word and sign, repeated in every place of a program: read once, however often it stands there."""

import time

import pytest

from nestdsl import limits
from nestdsl.source import Source
from nestdsl.syntax.parser import parse
from tests.counting import calls_of

PLACES = {
    "top": "{}",
    "value": "param x = {}\nparam y = 2\n",
    "parameters": "block b({}) {{ }}",
    "default": "block b(x = {}) {{ }}",
    "body on one line": "block b {{ {} }}",
    "body": "block b {{\n{}\n}}\n",
    "flow": "block b {{\n flow x = {}\n flow y = in\n}}\n",
    "clauses": "block b {{\n level x = y {{ {} }}\n}}\n",
    "argument": "model m {{\n flow out = in -> mlp(expand = {})\n}}\n",
    "use": "use {}\n",
    "open bracket": "block b {{\n level x = f({}",
    "period": "block b {{ level x = y {{ every {} }} }}",
    "train": "model m {{ train {{ {} }} }}",
}
SIGNS = "{ } {} ( ) () [ ] [] -> ** + - * / // = , . $ x 1 1. true ->silu x, x= x=1, f( a[ -(".split(" ")
PIECES = (
    *SIGNS,
    *('"', '""', "\u00e9", "\0"),
    *(
        "x ",
        "1 ",
        "-> ",
        "\n",
        "#\n",
        "# x\n",
        "// x\n",
        "\t",
        "\r",
        "}\n{",
        "{\n",
        "}\n",
        " {\n }\n",
        "(\n",
        ")\n",
    ),
    *(
        "use a\n",
        "use std.hope\n",
        "param x = 1\n",
        "block b {\n",
        "block b {}\n",
        "model m {\n",
        "optimizer o {\n",
    ),
    *("optimizer o(x) ", "level x = y\n", "level x = y {", "level x = y {}\n", "level x = y { frozen }\n"),
    *(
        "flow x = 1\n",
        "flow x = \n",
        "flow x = (\n",
        "flow x = in ->\n",
        "flow ",
        "input ids(4)\n",
        "default {",
    ),
    *("default {}\n", "train {", "train {}\n", "only ", "only matrices else x\n", "frozen ", "every 1 step "),
    *(
        "every 1\n",
        "learn x\n",
        "learn x -> y ",
        "init from x ",
        "init ",
        "optimizer x ",
        "reset x ",
        "chunk 1,",
    ),
    *("true ", "x -> (", "x\n", "= 1\n", "-> x\n", "    flow x = 1\n"),
)
FEW = 300
LONG = 100_000
SECONDS = 4  # one on an idle machine


def work(text: str) -> int:
    """How many calls of functions the reading of a text makes."""
    return calls_of(lambda: parse(Source(text)))


def text(place: str, piece: str, characters: int) -> str:
    return PLACES[place].format(piece * (characters // len(piece)))


@pytest.mark.parametrize("place", PLACES)
def test_the_work_grows_no_faster_than_the_text(place):
    pieces = PIECES[sorted(PLACES).index(place) % 5 :: 5]
    for piece in pieces:
        few, many = work(text(place, piece, FEW)), work(text(place, piece, 4 * FEW))
        # Below the number of mistakes after which reading stops, each costs the same.
        assert many <= 4.6 * few + 4000, piece


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_it_ends_soon(place):
    for piece in PIECES:
        started = time.process_time()
        _, found = parse(Source(text(place, piece, LONG)))
        assert time.process_time() - started < SECONDS, piece
        assert len(found) <= limits.MAX_DIAGNOSTICS + 2
