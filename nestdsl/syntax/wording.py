"""The words of messages: terminals of the grammar in the language's own terms, names in quotes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches

_SIGNS = {
    "ARROW": "`->`",
    "POWER": "`**`",
    "PLUS": "`+`",
    "MINUS": "`-`",
    "STAR": "`*`",
    "SLASH": "`/`",
    "EQUAL": "`=`",
    "COMMA": "`,`",
    "DOT": "`.`",
    "LPAR": "`(`",
    "RPAR": "`)`",
    "LSQB": "`[`",
    "RSQB": "`]`",
    "LBRACE": "`{`",
    "RBRACE": "`}`",
    "NAME": "a name",
    "NUMBER": "a number",
    "STRING": "a string",
    "_NL": "the end of the line",
}
_BEGIN_EXPRESSION = frozenset({"NAME", "NUMBER", "STRING", "TRUE", "FALSE", "LPAR", "MINUS"})
_OPERATORS = frozenset({"ARROW", "POWER", "PLUS", "MINUS", "STAR", "SLASH"})
_CLAUSES = frozenset(
    {"LEARN", "OBJECTIVE", "EVERY", "OPTIMIZER", "INIT", "RESET", "GRADIENT", "READ", "FROZEN"}
)
_STATEMENTS = frozenset({"LEVEL", "FLOW", "DEFAULT", "INPUT", "TRAIN", "ONLY"})
_DECLARATIONS = frozenset({"USE", "PARAM", "BLOCK", "OPTIMIZER", "MODEL"})
_GROUPS = (
    (_BEGIN_EXPRESSION, "NUMBER", "an expression"),
    (_OPERATORS, "PLUS", "an operator"),
    (_CLAUSES, "LEARN", "a clause"),
    (_STATEMENTS, "LEVEL", "a statement"),
    (_DECLARATIONS, "BLOCK", "a declaration"),
)
_NEVER_NAMED = frozenset({"BROKEN", "$END"})
_LESS_TELLING = frozenset({"LPAR", "LSQB", "DOT"})


def unquoted(text: str) -> str:
    """`text` not too long, and with `?` for what cannot be printed."""
    shown = "".join(character if character.isprintable() else "?" for character in text[:40])
    return shown + "..." if len(text) > 40 else shown


def code(text: str) -> str:
    """Code for a hint, which is to be pasted: on one line, and whole unless it is very long."""
    shown = "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))
    return shown if len(shown) <= 160 else shown[:160] + "..."


def quote(text: str) -> str:
    """`text` in back quotes, on one line and not too long."""
    return f"`{unquoted(text)}`"


def either(choices: Iterable[str]) -> str:
    """`a, b or c`"""
    listed = list(choices)
    if len(listed) < 2:
        return "".join(listed)
    return ", ".join(listed[:-1]) + " or " + listed[-1]


def expected(terminals: Collection[str]) -> str:
    """What these terminals are, in the words of the language: `an operator or the end of the line`."""
    left = set(terminals) - _NEVER_NAMED
    if "_NL" in left:
        left.discard("RBRACE")
    words: list[str] = []
    for members, sign_of_group, words_of_group in _GROUPS:
        if sign_of_group in left:
            left -= members
            words.append(words_of_group)
    if words or len(left) > 1:
        left -= _LESS_TELLING if left - _LESS_TELLING or words else set()
    words += [_SIGNS.get(name, f"`{name.lower()}`") for name in sorted(left)]
    return either(sorted(words, key=lambda word: word == "the end of the line"))


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `word` seems to mean, or None."""
    if len(word) > 40:
        return None
    found = get_close_matches(word.lower(), list(candidates), n=1, cutoff=0.7)
    return found[0] if found else None
