"""Habits in clauses: `objective = mse`, `learn k, v`, `chunk 8`, `optimizer adamw lr = 1e-3`."""

from __future__ import annotations

import re

from nestdsl.diagnostics import Diagnostic
from nestdsl.syntax.lines import CLAUSE_WORDS, Place, line_end
from nestdsl.syntax.mistakes import WORD, Here, syntax
from nestdsl.syntax.wording import code, quote

_WITHOUT_EQUAL = frozenset((*CLAUSE_WORDS, "input", "default", "train"))
_VALUE = r"(?:\d[\w.]*+(?:(?<=[eE])[+-]\d++)?|[A-Za-z_]\w*+)"
_SIDE_BY_SIDE = re.compile(rf"({_VALUE})[ \t]*(?:,|=>?|:|to\b)[ \t]*({_VALUE})")
_REVERSED = re.compile(rf"({_VALUE})[ \t]+(?:from|for)[ \t]+({_VALUE})")
_IN_PARENTHESES = re.compile(rf"\([ \t]*{_SIDE_BY_SIDE.pattern}[ \t]*\)")
_CHUNK = re.compile(r"(?:in[ \t]++)?chunks?[ \t]*+(?:[=:][ \t]*+)?(\w++)|(\d++)[ \t]++chunks?")
_KEYWORDS = "|".join(CLAUSE_WORDS)
# Possessive, so that what does not match costs no more than what does.
_SETTING = rf"([A-Za-z_]\w*+)[ \t]*+(?:[=:][ \t]*+)?({_VALUE})"
_SETTINGS = re.compile(rf"\{{?[ \t]*+{_SETTING}((?:[ \t]*+(?:,[ \t]*+)?{_SETTING})*+)[ \t]*+\}}?")


def equal(here: Here) -> Diagnostic | None:
    """`objective = cross_entropy`, `every: 4 steps`, `chunk = 4`"""
    start, word = here.mistake.start, here.line.before
    is_keyword = word == here.statement and word in _WITHOUT_EQUAL
    if here.place is Place.PROGRAM or here.text[start : start + 1] not in ("=", ":"):
        return None
    if not (is_keyword or (word == "chunk" and here.statement == "every")):
        return None
    if here.text.startswith(":", start) and word in ("default", "train"):
        return None
    what = "a statement" if word in ("input", "default", "train") else "a clause"
    rest = __rest_of_clause(here, start + 1)
    message = f"{what} has no `{here.text[start]}`: `{word}` stands right before what it says"
    settings = _SETTINGS.fullmatch(rest) if rest.startswith("{") else None
    written = [f"{word} {rest}"]
    if word == "chunk":
        written = [f", chunk {rest}"]
    elif word == "frozen":
        written = ["frozen"]
    elif word == "every" and re.fullmatch(r"\w+", rest):
        written = [f"every {rest} steps", f"every {rest} tokens"]
    elif word == "optimizer" and settings:
        written = [f"optimizer adamw({_arguments(rest)})"]
    hint = "write " + " or ".join(f"`{code(one.rstrip())}`" for one in written)
    return syntax(message, here.span(start, start + 1), hint)


def __rest_of_clause(here: Here, start: int) -> str:
    """What the clause at hand says, on one line: up to the next clause on its line."""
    rest = here.text[start : max(start, min(here.line.last_end, line_end(here.text, start)))]
    if here.place is Place.CLAUSES and not rest.lstrip().startswith("{"):
        rest = re.split(rf"\s(?=(?:{_KEYWORDS})\b)", rest, maxsplit=1)[0]
    return " ".join(rest.split())


def pair(here: Here) -> Diagnostic | None:
    """`learn k, v`, `learn (k, v)`, `learn k: v`, `learn k to v`"""
    if here.statement != "learn" or here.place is not Place.CLAUSES:
        return None
    begin = here.first + len("learn")
    begin += len(here.text[begin:]) - len(here.text[begin:].lstrip(" \t"))
    reverse = _REVERSED.match(here.text, begin)
    found = reverse or _IN_PARENTHESES.match(here.text, begin) or _SIDE_BY_SIDE.match(here.text, begin)
    if found is None or not found.start() < here.mistake.start < found.end():
        return None
    space = " " * (here.text[begin - 1] == "n")
    key, value = found.group(2, 1) if reverse else found.group(1, 2)
    return syntax(
        "a memory learns a value for each key: `->` stands between them",
        here.span(*found.span()),
        f"write `{space}{key} -> {value}`",
    )


def chunk(here: Here) -> Diagnostic | None:
    """`learn k -> v  chunk 8`: a chunk belongs to `every`."""
    if here.place is not Place.CLAUSES:
        return None
    found = _CHUNK.match(here.text, here.mistake.start)
    if found is None:
        return None
    size, span = found[1] or found[2], here.span(*found.span())
    if "COMMA" in here.accepts:
        return syntax("missing `,` before `chunk`", span, f"write `, chunk {size}`")
    if here.line.before == "," and "CHUNK" in here.accepts:
        return syntax(
            f"expected `chunk` after `,`, found {quote(here.mistake.text)}", span, f"write `chunk {size}`"
        )
    return syntax("`chunk` belongs to a period", span, f"write `every 1 token, chunk {size}`")


def settings(here: Here) -> Diagnostic | None:
    """`optimizer adamw lr = 1e-3`, `optimizer adamw { lr = 1e-3 }`, `model m dim = 8 {`"""
    if here.mistake.text == "(" or not ("LPAR" in here.accepts or here.mistake.text == "{"):
        return None
    if here.place is Place.PROGRAM:
        if here.statement not in ("block", "model", "optimizer") or here.mistake.kind != "NAME":
            return None
    elif here.statement != "optimizer" or here.place is not Place.CLAUSES:
        return None
    found = _SETTINGS.match(here.text, here.mistake.start)
    if found is None or found[1] in CLAUSE_WORDS or not WORD.fullmatch(here.line.before):
        return None
    end = found.end()
    following = re.search(rf"\b(?:{_KEYWORDS})\b", found.group())
    if following:
        end = found.start() + following.start()
    arguments = _arguments(here.text[found.start() : end])
    span = here.span(here.before_start, end)
    return syntax("arguments stand in parentheses", span, f"write `{here.line.before}({arguments})`")


def _arguments(text: str) -> str:
    return ", ".join(f"{name} = {value}" for name, value in re.findall(_SETTING, text))


def period_in_parentheses(here: Here) -> Diagnostic | None:
    """`every(4 steps)`"""
    found = re.compile(r"every[ \t]*\([ \t]*(\w+)[ \t]+([A-Za-z]+)[ \t]*\)").match(here.text, here.first)
    if found is None or here.place is not Place.CLAUSES:
        return None
    message = "a period stands without parentheses"
    return syntax(message, here.span(*found.span()), f"write `every {found[1]} {found[2]}`")


def keyword_as_value(here: Here) -> Diagnostic | None:
    """`learn k ->  every 1 token`: what follows an operator is read as a part of the expression."""
    if here.place is not Place.CLAUSES or here.line.before not in CLAUSE_WORDS:
        return None
    operator = re.search(r"(->|\*\*|[-+*/])[ \t]*$", here.text[here.first : here.before_start])
    if operator is None:
        return None
    start = here.first + operator.start()
    sign = operator[1]
    span = here.span(start, start + len(sign))
    return syntax(f"expected an expression after `{sign}`", span, f"write it, or remove the `{sign}`")


def truth_of_frozen(here: Here) -> Diagnostic | None:
    """`frozen true`"""
    if here.line.before != "frozen" or here.mistake.kind not in ("TRUE", "FALSE"):
        return None
    hint = "remove it: `frozen` stands alone"
    return syntax("`frozen` has no value", here.span(here.mistake.start, here.mistake.end), hint)


def clauses_without_braces(here: Here) -> Diagnostic | None:
    """`level a = linear every 4 steps`"""
    if here.statement != "level" or "LBRACE" not in here.accepts or here.line.enclosing is not None:
        return None
    found = re.compile(rf",?[ \t]*(?=({_KEYWORDS})\b)").match(here.text, here.mistake.start)
    if found is None:
        return None
    end = line_end(here.text, here.mistake.start)
    clauses = here.text[found.end() : end].split("#")[0].rstrip()
    if not clauses or "{" in clauses or "}" in clauses:
        return None
    span = here.span(here.mistake.start, found.end() + len(clauses))
    return syntax("the clauses of a level stand in `{ }`", span, f"write `{{ {code(clauses)} }}`")
