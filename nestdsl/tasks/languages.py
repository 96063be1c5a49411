"""The formal languages, and the strings of each to train on and to hold out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from random import Random

from nestdsl.tasks import strings
from nestdsl.tasks.strings import Draw, Label, String, Window

TRAINED, HELD_OUT = 10_000, 2_000
"""How many strings there are to train on, and in a held-out bin."""

SEED = 1
"""Of all draws: a task is always the same strings."""


@dataclass(frozen=True, slots=True)
class Language:
    """One language. `about` is what its strings are, and what is asked about every prefix.

    `near` is the window of training and of the first held-out bin, `far` that of the second. A
    language `is_sparse` if a window holds few strings: then training repeats them, and a bin is all
    there are.
    """

    name: str
    about: str
    symbols: tuple[str, ...]
    labels: tuple[str, ...]
    draw: Draw
    label: Label
    near: Window
    far: Window
    is_sparse: bool = False


@dataclass(frozen=True, slots=True)
class Strings:
    """`train` to train on; `bin0` from the same window, `bin1` longer. Where the language is not sparse,
    no string stands twice in all of them."""

    train: tuple[String, ...]
    bin0: tuple[String, ...]
    bin1: tuple[String, ...]


LANGUAGES = (
    Language(
        "parity",
        "zeros and an even number of ones; is it even so far?",
        ("0", "1"),
        ("odd", "even"),
        strings.parity,
        strings.parity_labels,
        Window(2, 50),
        Window(51, 100),
    ),
    Language(
        "aa",
        "(aa)*; is the number of a's even so far?",
        ("a",),
        ("odd", "even"),
        strings.repeated(0, 0),
        strings.whole_words(2),
        Window(2, 50),
        Window(52, 100),
        is_sparse=True,
    ),
    Language(
        "abab",
        "(abab)*; are there whole words so far?",
        ("a", "b"),
        ("part", "whole"),
        strings.repeated(0, 1, 0, 1),
        strings.whole_words(4),
        Window(2, 50),
        Window(51, 100),
        is_sparse=True,
    ),
    Language(
        "anbn",
        "n a's and n b's; what may come next?",
        ("a", "b"),
        ("a or b", "b", "end"),
        strings.counted(2),
        strings.counted_labels(2),
        Window(1, 50),
        Window(51, 100),
        is_sparse=True,
    ),
    Language(
        "anbncn",
        "n a's, n b's and n c's; what may come next?",
        ("a", "b", "c"),
        ("a or b", "b", "c", "end"),
        strings.counted(3),
        strings.counted_labels(3),
        Window(1, 50),
        Window(51, 100),
        is_sparse=True,
    ),
    Language(
        "shuffle2",
        "nested ( ) and [ ]; which of them are open?",
        ("(", ")", "[", "]"),
        ("none", "(", "[", "both"),
        strings.brackets,
        strings.open_brackets,
        Window(2, 50),
        Window(52, 100),
    ),
)


@lru_cache(maxsize=1)
def draw_strings(language: Language) -> Strings:
    """The strings of a language, always the same ones."""
    random = Random(SEED)
    if language.is_sparse:
        train = tuple(_drawn(language, language.near, random) for _ in range(TRAINED))
        return Strings(train, _all(language, language.near), _all(language, language.far))
    near = _distinct(language, language.near, TRAINED + HELD_OUT, random)
    random.shuffle(near)  # short strings are drawn early, long ones late
    far = _distinct(language, language.far, HELD_OUT, random)
    return Strings(tuple(near[:TRAINED]), tuple(near[TRAINED:]), tuple(far))


def _drawn(language: Language, window: Window, random: Random) -> String:
    while (string := language.draw(random, window)) is None:
        pass
    return string


def _distinct(language: Language, window: Window, count: int, random: Random) -> list[String]:
    """Different strings, in the order of their first draw."""
    found: dict[String, None] = {}
    while len(found) < count:
        found[_drawn(language, window, random)] = None
    return list(found)


def _all(language: Language, window: Window) -> tuple[String, ...]:
    """Every string of a sparse language in a window: its draws from windows that leave one choice."""
    sizes = (Window(size, size) for size in range(window.least, window.most + 1))
    found = (language.draw(Random(0), size) for size in sizes)
    return tuple(string for string in found if string is not None)
