"""What a reader does who follows a help to the letter: the texts that a program may become.

A help that begins with `write` and code, or asks `did you mean`, gives what takes the place of the text that
is underlined. Where the code is a whole clause or statement, it takes the place of the one that is underlined
in part; where it is a name, that of the first word. `remove it` and `leave it out` remove what is underlined.
Code with `...` in it is a form to fill in, and nothing to paste.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from nestdsl.diagnostics import Diagnostic

_CODES = re.compile(r"`([^`]*)`")
_LISTED = re.compile(
    r"(?:write|did you mean|comments begin with) (?:either )?`[^`]*`(?:(?:,| or|, or) `[^`]*`)*"
)


def codes(hint: str) -> list[str]:
    """The code at the head of a help that is meant to be pasted, each choice of several."""
    if re.match(r"did you mean `[^`]*` and", hint):
        return []  # two things are meant by one
    listed = _LISTED.match(hint)
    found = _CODES.findall(listed.group()) if listed else []
    return [one for one in found if "..." not in one]


def readings(text: str, diagnostic: Diagnostic) -> Iterator[str]:
    """Each text that the help, followed to the letter, can lead to; none for a help in prose."""
    span, hint = diagnostic.span, diagnostic.hint
    if span is None or span.source.text != text:
        return
    start, end = span.start, span.end
    line = _line_end(text, end)
    if re.match(r"remove (?:it|what follows|them)\b|leave (?:it|this|them) out\b", hint):
        yield text[:start] + text[end:]
        if comma := re.compile(r"[ \t]*,[ \t]*").match(text, end):
            yield text[:start] + text[comma.end() :]
        if hint.startswith("remove what follows"):
            yield text[:start].rstrip() + text[line:]
    if hint.startswith("write it on a line of its own"):
        yield text[:start] + "\n" + text[start:]
    if hint.startswith("write what follows on a line of its own"):
        yield text[:start] + "\n" + text[end:]
    if hint.startswith("write `{` here, and `}` after its last line"):
        yield _with_braces(text, start, end)
        return
    if needed := re.search(r"It needs `(.*)` at the top", hint):
        yield from (f"{needed[1]}\n{text[:start]}{code}{text[end:]}" for code in codes(hint))
        return
    if "at the top" in hint:
        yield from (f"{code}\n{text}" for code in codes(hint))
        return
    missing = re.match(r"write the missing `([)\]}]+)`(?: before (.*))?", hint)
    if missing and missing[2] == "`{`":
        brace = text.index("{", start)
        yield f"{text[:brace].rstrip()}{missing[1]} {text[brace:]}"
        return
    if missing:
        yield text[:line] + missing[1] + text[line:]
        yield text + missing[1]
        last = max((note.span.start for note in diagnostic.notes), default=len(text))
        yield text[:last] + missing[1] + "\n" + text[last:]
    for code in codes(hint):
        if re.match(r"write `[^`]*` here", hint):
            yield text[:start] + code + " " + text[start:]
            yield f"{text[:end]} {code}{text[end:]}"
        yield text[:start] + code + text[end:]
        yield from _words(text, start, end, code)
        yield from _statements(text, start, end, code)
        yield from _around(text, start, end, code)


def _line_end(text: str, offset: int) -> int:
    found = text.find("\n", offset)
    return len(text) if found < 0 else found


def _words(text: str, start: int, end: int, code: str) -> Iterator[str]:
    """The name, or the value, of an argument that is underlined as a whole."""
    written = text[start:end]
    if name := re.match(r"\w[\w.]*", written):
        yield text[:start] + code + text[start + name.end() :]
    if value := re.match(r"\w+\s*=\s*", written):
        yield text[: start + value.end()] + code + text[end:]
    if quoted := re.search(r'"[^"]*"', written):
        yield text[: start + quoted.start()] + code + text[start + quoted.end() :]
        inside = text[start + quoted.start() : start + quoted.end()].rpartition(":")[0]
        yield text[: start + quoted.start()] + f'{inside}:{code}"' + text[start + quoted.end() :]
    if keyword := re.match(r"use\s+", written):
        yield text[: start + keyword.end()] + code + text[end:]


def _statements(text: str, start: int, end: int, code: str) -> Iterator[str]:
    """The clause or statement around what is underlined that begins with the same word as the code."""
    word = re.match(r",?\s*(\w+)", code)
    if word is None:
        return
    begin = text.rfind("\n", 0, start) + 1
    for found in reversed([*re.finditer(rf",?\s*\b{word[1]}\b", text[begin : max(end, start + 1)])]):
        first = begin + found.start() + (0 if code.startswith(",") else len(found.group()) - len(word[1]))
        for stop in sorted(
            {end, *(m.end() for m in re.compile(r"\S+").finditer(text, end, _line_end(text, end)))}
        ):
            yield text[:first] + code + text[stop:]


def _around(text: str, start: int, end: int, code: str) -> Iterator[str]:
    """What is written with more around it: `(a -> b) + c` for `a -> b + c`."""
    bare = re.sub(r"[\s()]", "", code)
    for first in range(start, max(-1, start - 200), -1):
        if re.sub(r"[\s()]", "", text[first:end]) == bare:
            yield text[:first] + code + text[end:]


def _with_braces(text: str, start: int, end: int) -> str:
    """A body by its indentation."""
    begin = text.rfind("\n", 0, start) + 1
    own = len(text[begin:]) - len(text[begin:].lstrip(" \t"))
    last = _line_end(text, end)
    offset = last
    while offset < len(text):
        stop = _line_end(text, offset + 1)
        line = text[offset + 1 : stop]
        if line.strip() and len(line) - len(line.lstrip(" \t")) <= own:
            break
        if line.strip():
            last = stop
        offset = stop
    closing = "" if text[last + 1 :].lstrip().startswith("}") and own == 0 else "\n" + " " * own + "}"
    return text[:start] + " {" + text[end:last] + closing + text[last:]
