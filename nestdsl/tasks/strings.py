"""Strings of formal languages: how they are drawn, and the label of every prefix.

After the generators of Bhattamishra et al. 2020 and the protocol of Irie et al. 2023. A symbol and a
label are numbers; `languages.py` says what they stand for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

String = tuple[int, ...]
"""The symbols of one string, or the labels of its prefixes."""


@dataclass(frozen=True, slots=True)
class Window:
    """The least and the most of a string, both included: of its length, or of a counted letter."""

    least: int
    most: int

    def __contains__(self, size: int) -> bool:
        return self.least <= size <= self.most

    def draw(self, random: Random) -> int:
        return random.randint(self.least, self.most)


Draw = Callable[[Random, Window], String | None]
"""One attempt at a string of a window; None where it is to be tried again."""

Label = Callable[[String], String]
"""The label of each prefix."""


def parity(random: Random, window: Window) -> String | None:
    """Zeros and ones, each with probability p = L / (2 (1 + L)), L the middle of the window, until the end,
    which has the probability 1 - 2 p; one more 1 if their number is odd. No string if it does not fit."""
    middle = (window.least + window.most) // 2
    either = middle / (1 + middle)  # 2 p
    string: list[int] = []
    while (toss := random.random()) < either:
        if len(string) == window.most:
            return None
        string.append(int(toss >= either / 2))
    if sum(string) % 2:
        string.append(1)
    return tuple(string) if len(string) in window else None


def parity_labels(string: String) -> String:
    """1 where the number of ones so far is even.

    >>> parity_labels((0, 1, 0, 1, 1, 1))
    (1, 0, 0, 1, 0, 1)
    """
    odd, labels = 0, []
    for symbol in string:
        odd ^= symbol
        labels.append(1 - odd)
    return tuple(labels)


def repeated(*word: int) -> Draw:
    """Whole words: a length drawn evenly from the window and rounded down."""

    def draw(random: Random, window: Window) -> String | None:
        string = word * (window.draw(random) // len(word))
        return string if len(string) in window else None

    return draw


def whole_words(length: int) -> Label:
    """1 where the prefix is made of whole words of this length.

    >>> whole_words(2)((0, 0, 0, 0))
    (0, 1, 0, 1)
    """
    return lambda string: tuple(int(end % length == 0) for end in range(1, len(string) + 1))


def counted(letters: int) -> Draw:
    """n of each letter, one letter after the other; the window is that of n, which is drawn evenly."""

    def draw(random: Random, window: Window) -> String:
        count = window.draw(random)
        return tuple(letter for letter in range(letters) for _ in range(count))

    return draw


def counted_labels(letters: int) -> Label:
    """What may come next: 0 after the first letter, which may come again or be followed by the second;
    then the number of the letter that is due, and `letters` at the end.

    >>> counted_labels(3)((0, 0, 0, 1, 1, 1, 2, 2, 2))
    (0, 0, 0, 1, 1, 2, 2, 2, 3)
    """

    def label(string: String) -> String:
        count = len(string) // letters
        labels = [0] * count
        for letter in range(1, letters):
            labels += [letter] * (count - 1) + [letter + 1]
        return tuple(labels)

    return label


def brackets(random: Random, window: Window) -> String | None:
    """Nested brackets of two pairs, () as 0 1 and [] as 2 3:
    S -> ( S ) or [ S ], together with probability 1/2; S S with 1/4; nothing with 1/4."""
    string: list[int] = []
    waiting: list[int | None] = [None]  # what is still to be written, the next last; None is an S
    while waiting:
        if (part := waiting.pop()) is not None:
            string.append(part)
            continue
        toss = random.random()
        if toss < 0.5:
            opening = 2 * random.randrange(2)
            waiting += (opening + 1, None, opening)
        elif toss < 0.75:
            waiting += (None, None)
        if len(string) + sum(part is not None for part in waiting) > window.most or len(waiting) > 4096:
            return None
    return tuple(string) if len(string) in window else None


def open_brackets(string: String) -> String:
    """Which brackets are open, each pair counted by itself: 1 for (, 2 for [, 3 for both.

    >>> open_brackets((0, 2, 3, 0, 1, 1))
    (1, 3, 1, 1, 1, 0)
    """
    depth, labels = [0, 0], []
    for symbol in string:
        depth[symbol // 2] += 1 - 2 * (symbol % 2)
        labels.append(int(depth[0] > 0) + 2 * int(depth[1] > 0))
    return tuple(labels)
