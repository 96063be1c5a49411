"""The formal languages against their definitions."""

import itertools
import re

import pytest

from nestdsl.tasks.languages import HELD_OUT, LANGUAGES, TRAINED, draw_strings
from nestdsl.tasks.strings import Window

BY_NAME = {language.name: language for language in LANGUAGES}
NAMES = tuple(BY_NAME)
COUNTED = {"anbn": 2, "anbncn": 3}


def written(name: str, string: tuple[int, ...]) -> str:
    return "".join(BY_NAME[name].symbols[symbol] for symbol in string)


def answers(name: str, string: tuple[int, ...]) -> list[str]:
    """The labels of all prefixes, in words, from what the language asks about the written prefix."""
    text = written(name, string)
    found = []
    for end in range(1, len(text) + 1):
        prefix = text[:end]
        match name:
            case "parity":
                found.append("even" if prefix.count("1") % 2 == 0 else "odd")
            case "aa":
                found.append("even" if end % 2 == 0 else "odd")
            case "abab":
                found.append("whole" if re.fullmatch("(abab)+", prefix) else "part")
            case "anbn" | "anbncn":
                counts = [prefix.count(letter) for letter in "abc"[: COUNTED[name]]]
                if counts[1] == 0:
                    found.append("a or b")
                else:
                    due = [letter for letter, count in zip("abc", counts, strict=False) if count < counts[0]]
                    found.append(due[0] if due else "end")
            case "shuffle2":
                round_, square = (prefix.count(one) - prefix.count(other) for one, other in ("()", "[]"))
                found.append(["none", "(", "[", "both"][(round_ > 0) + 2 * (square > 0)])
    return found


def is_member(name: str, text: str) -> bool:
    match name:
        case "parity":
            return text.count("1") % 2 == 0
        case "aa":
            return bool(re.fullmatch("(aa)+", text))
        case "abab":
            return bool(re.fullmatch("(abab)+", text))
        case "anbn" | "anbncn":
            letters = "abc"[: COUNTED[name]]
            return text == "".join(letter * (len(text) // len(letters)) for letter in letters)
        case _:
            while (shorter := text.replace("()", "").replace("[]", "")) != text:
                text = shorter
            return not text


@pytest.mark.parametrize("name", NAMES)
def test_strings_belong_to_the_language_and_their_labels_answer_its_question(name) -> None:
    language, strings = BY_NAME[name], draw_strings(BY_NAME[name])
    for part in (strings.train[:300], strings.bin0[:50], strings.bin1[:50]):
        for string in part:
            assert is_member(name, written(name, string))
            labels = language.label(string)
            assert [language.labels[label] for label in labels] == answers(name, string)


@pytest.mark.parametrize("name", NAMES)
def test_strings_are_in_their_window(name) -> None:
    language, strings = BY_NAME[name], draw_strings(BY_NAME[name])
    for part, window in (
        (strings.train, language.near),
        (strings.bin0, language.near),
        (strings.bin1, language.far),
    ):
        assert all(len(string) // COUNTED.get(name, 1) in window for string in part)
    assert len(strings.train) == TRAINED == 10_000


def test_dense_languages_repeat_no_string() -> None:
    for name in ("parity", "shuffle2"):
        strings = draw_strings(BY_NAME[name])
        every = [*strings.train, *strings.bin0, *strings.bin1]
        assert len(set(every)) == len(every) == TRAINED + 2 * HELD_OUT


def test_sparse_languages_hold_out_every_string_there_is() -> None:
    lengths = {
        "aa": (range(2, 51, 2), range(52, 101, 2)),
        "abab": (range(4, 49, 4), range(52, 101, 4)),
        "anbn": (range(2, 101, 2), range(102, 201, 2)),
        "anbncn": (range(3, 151, 3), range(153, 301, 3)),
    }
    for name, (near, far) in lengths.items():
        strings = draw_strings(BY_NAME[name])
        assert [len(string) for string in strings.bin0] == list(near)
        assert [len(string) for string in strings.bin1] == list(far)
        assert set(strings.train) == set(strings.bin0)


def test_parity_draws_as_the_generator_says() -> None:
    """L = 26 for lengths from 2 to 50, so a string ends at any symbol with probability 1 - 26/27."""
    language = BY_NAME["parity"]

    class Tosses:
        def __init__(self, *values: float) -> None:
            self.values = iter(values)

        def random(self) -> float:
            return next(self.values)

    either = 26 / 27
    zero, one, end = either / 2 - 1e-9, either / 2, either
    window = language.near
    assert language.draw(Tosses(zero, one, one, end), window) == (0, 1, 1)
    assert language.draw(Tosses(zero, one, end), window) == (0, 1, 1)  # one more 1
    assert language.draw(Tosses(zero, end), window) is None  # too short
    assert language.draw(Tosses(*[zero] * 50, end), window) == (0,) * 50
    assert language.draw(Tosses(*[zero] * 49, one, end), window) is None  # the last 1 does not fit
    assert language.draw(Tosses(*[zero] * 51), window) is None
    assert language.draw(Tosses(*[one] * 2, end), Window(3, 9)) is None


def test_a_task_is_always_the_same_strings() -> None:
    language = BY_NAME["parity"]
    first = draw_strings(language)
    draw_strings.cache_clear()
    assert draw_strings(language) == first


def test_both_held_out_bins_of_parity_have_short_and_long_strings() -> None:
    strings = draw_strings(BY_NAME["parity"])
    lengths = {len(string) for string in strings.bin0}
    assert set(range(8, 51)) <= lengths  # a bin of what was drawn last would have no short ones
    assert {len(string) for string in strings.bin1} == set(range(51, 101))


def test_names_symbols_and_labels() -> None:
    assert len(set(NAMES)) == len(NAMES) == 6
    for language, other in itertools.pairwise(LANGUAGES):
        assert language.symbols and len(set(language.labels)) == len(language.labels) >= 2
        assert language.about != other.about
