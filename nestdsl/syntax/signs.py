"""Signs that mean nothing here: those of other languages, of word processors, and what stands for them."""

from __future__ import annotations

import re
import unicodedata

from nestdsl.diagnostics import Diagnostic
from nestdsl.syntax.lines import Place, begins_line, line_end
from nestdsl.syntax.mistakes import Here, syntax
from nestdsl.syntax.wording import quote, unquoted

_CHOICES = (
    "there are no comparisons: `sign`, `relu`, `abs` and `sigmoid` tell values apart, and in an optimizer "
    "`max`, `min` and `clip` too"
)
_ONCE = "a flow is computed once, and never changed: `=` gives it its whole value"
_ONE_LINE = "a statement ends with its line"

# Of several signs, the longest first: each with what to write, or with a sentence that says what there is.
_FOREIGN = {
    "<=>": _CHOICES,
    "->>": "write `->`",
    "=>": "write `->`",
    "|>": "write `->`",
    ">>": "write `->`",
    "~>": "write `->`",
    "<-": "write `=`",
    ":=": "write `=`",
    "+=": "write `=`: a flow is computed once, and never changed",
    "-=": _ONCE,
    "*=": _ONCE,
    "/=": _ONCE,
    "::": "write `.`",
    "==": _CHOICES,
    "!=": _CHOICES,
    ">=": _CHOICES,
    "<=": _CHOICES,
    "&&": "there are no conditions: multiply values of 0 and 1",
    "||": "there are no conditions: add values of 0 and 1",
}
_SPACED_ARROW = re.compile(r"-[ \t]+>")

# Characters that people type, or that word processors put in, for something the language has.
_MEANT = {
    "\u2192": "write `->`",
    "\u21d2": "write `->`",
    "\u27f6": "write `->`",
    "\u279c": "write `->`",
    "\u21a6": "write `->`",
    "\u25b6": "write `->`",
    "|": "write `->` or `+`: the first pipes a flow into a stage, the second adds two",
    ">": _CHOICES,
    "<": _CHOICES,
    "\u2264": _CHOICES,
    "\u2265": _CHOICES,
    "\u2260": _CHOICES,
    "\u00d7": "write `*`",
    "\u00b7": "write `*`",
    "\u2217": "write `*`",
    "\u2212": "write `-`",
    "\u2010": "write `-`",
    "\u2013": "write `-`",
    "\u2014": "write `-`",
    "\u00f7": "write `/`",
    "\u2215": "write `/`",
    "^": "write `**`",
    ":": "write `=`",
    "%": "there is no remainder: compute with `/`, or begin a comment with `#`",
    "!": "remove it: there are no conditions",
    "&": "remove it: there are no conditions and no references",
    "?": "remove it: there are no conditions",
    "\\": "end the line with an operator, such as the `->` of the next, or write brackets: then it goes on",
    "@": "remove it, or begin a comment with `#`",
}
_QUOTES = {"'": "'", "\u2018": "\u2019", "\u2019": "\u2019", "\u201c": "\u201d", "\u201d": "\u201d", "`": "`"}
_BEGIN_COMMENTS = "%!;"
_NUMBER_LIKE = re.compile(r"[0-9][A-Za-z0-9_.]*")
_COUNTED = re.compile(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z_][A-Za-z0-9_]*)")


def foreign_operator(here: Here) -> Diagnostic | None:
    """N0001 for an operator of another language, such as `=>`, `:=` or `==`, that the mistake is part of."""
    text, mistake = here.text, here.mistake
    spaced = _SPACED_ARROW.match(text, here.before_start) if here.line.before == "-" else None
    if spaced and mistake.text == "" and text[mistake.start] == ">":
        return _no_meaning(here, spaced.start(), spaced.end(), "write `->`")
    for sign, hint in _FOREIGN.items():
        for place in range(len(sign)):
            start = mistake.start - place
            if not text.startswith(sign, max(0, start)) or (place and here.line.before != sign[:place]):
                continue
            if sign == "==" and place:
                hint = "write `=`"  # `lr == 1`: the first `=` was right
            if sign[1:] == "=" and sign[0] in "+-*/" and (place or "EQUAL" not in here.accepts):
                hint = _ONCE
            return _no_meaning(here, start, start + len(sign), hint)
    return None


def unreadable(here: Here) -> Diagnostic:
    """N0001 or N0002 for a character that begins no word, number or sign."""
    text, start = here.text, here.mistake.start
    character = text[start]
    number = _NUMBER_LIKE.match(text, start)
    if number:
        return _no_number(here, number)
    if character == '"':
        span = here.span(start, line_end(text, start))
        return Diagnostic("N0002", "this string is not closed", span, 'end it with `"` on the same line')
    if character in _QUOTES:
        return _quoted(here)
    if begins_line(text, start) and character in _BEGIN_COMMENTS:
        return _no_meaning(here, start, start + 1, "write `#`: it begins a comment")
    if begins_line(text, start) and character == "@":
        return _no_meaning(here, start, line_end(text, start), "remove it: nothing is decorated")
    if character == ";":
        return _semicolon(here)
    if character in _MEANT:
        return _no_meaning(here, start, start + 1, _MEANT[character])
    if character == "\u00a0":
        hint = "write ` `: this one is a no-break space"
        return _no_meaning(here, start, start + 1, hint)
    plain = unicodedata.normalize("NFKC", character)
    if plain == " ":
        message = f"the character U+{ord(character):04X} has no meaning here"
        return syntax(message, here.span(start, start + 1), "write ` `, an ordinary space")
    if plain != character and len(plain) == 1 and plain.isascii() and plain.isprintable():
        return _no_meaning(here, start, start + 1, f"write `{plain}`: this one is of full width")
    span = here.span(start, start + 1)
    if character.isalpha():
        message = f"{quote(character)} cannot stand in a name"
        return syntax(message, span, "names have the letters a to z and A to Z, digits and `_`")
    if not character.isprintable():
        return syntax(f"the character U+{ord(character):04X} has no meaning here", span, "remove it")
    return _no_meaning(here, start, start + 1, "remove it, or begin a comment with `#`")


def _no_meaning(here: Here, start: int, end: int, hint: str) -> Diagnostic:
    return syntax(f"{quote(here.text[start:end])} has no meaning here", here.span(start, end), hint)


def _no_number(here: Here, number: re.Match[str]) -> Diagnostic:
    """`4steps`, `2x`, `0x10`"""
    message = f"{quote(number.group())} is neither a number nor a name"
    hint = "a number is `12`, `0.5` or `1e-3`; a name begins with a letter"
    counted = _COUNTED.fullmatch(number.group())
    if counted and here.place is Place.CLAUSES and here.line.before == "every":
        hint = f"write `{counted[1]} {counted[2]}`"
    elif counted and here.line.before == "repeat":
        hint = f"write `{counted[1]}`"
    elif (
        counted
        and here.statement == "flow"
        and not re.match(r"[eE][0-9]*$|[xXbBoO][0-9A-Fa-f]+$", counted[2])
    ):
        hint = f"write `{counted[1]} * {counted[2]}`"
    return syntax(message, here.span(*number.span()), hint)


def _quoted(here: Here) -> Diagnostic:
    """A string, or a name, in other quotation marks than `"`."""
    text, start = here.text, here.mistake.start
    closing = text.find(_QUOTES[text[start]], start + 1, line_end(text, start))
    if closing < 0:
        return _no_meaning(here, start, start + 1, 'write `"` around a string')
    inner = text[start + 1 : closing]
    is_name = text[start] == "`" and inner.isidentifier()
    if '"' in inner or "`" in inner:
        return _no_meaning(here, start, start + 1, 'write `"` around a string')
    hint = f"write `{inner}`" if is_name else f'write `"{unquoted(inner)}"`'
    return _no_meaning(here, start, closing + 1, hint)


def _semicolon(here: Here) -> Diagnostic:
    start = here.mistake.start
    if here.line.enclosing is not None:
        return _no_meaning(here, start, start + 1, "write `,`")
    rest = here.text[start + 1 : line_end(here.text, start)].split("#")[0].strip()
    if here.place is Place.CLAUSES or rest in ("", "}"):
        return _no_meaning(here, start, start + 1, f"remove it: {_ONE_LINE}")
    return _no_meaning(here, start, start + 1, f"write what follows on a line of its own: {_ONE_LINE}")
