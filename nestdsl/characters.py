"""Characters as every terminal and every encoding can show them."""

from __future__ import annotations

import unicodedata

KEPT = "\n\t"
"""The control characters that text may have."""


def visible(text: str, keep: str = "\n") -> str:
    """The text with everything that does not print as its escape; the characters of `keep` stay."""
    if text.isprintable():
        return text
    return "".join(c if c in keep or c.isprintable() else escape(c) for c in text)


def without_controls(text: str) -> str:
    """The text with control characters as escapes, but for those of KEPT; odd spaces and the like stay."""
    return text if text.isprintable() else text.translate(_CONTROLS)


def escape(character: str) -> str:
    """
    >>> escape("\\x1b"), escape("\\u202e")
    ('\\\\x1b', '\\\\u202e')
    """
    return character.encode("unicode_escape").decode("ascii")


def in_ascii(text: str) -> str:
    """Our own signs as they are typed, all other characters that are not ASCII as escapes.

    >>> in_ascii("S → Ṡᵀ, é")
    'S -> S_dot^T, \\\\xe9'
    """
    return "".join(map(_in_ascii, text.replace("⁻¹", "^-1")))


def _in_ascii(character: str) -> str:
    if character.isascii():
        return character
    if character in _SIGNS:
        return _SIGNS[character]
    base, mark = unicodedata.normalize("NFD", character)[:1], unicodedata.normalize("NFD", character)[1:]
    if base.isascii() and mark in _SIGNS:
        return base + _SIGNS[mark]
    return escape(character)


_CONTROLS = {
    number: escape(chr(number)) for number in (*range(32), *range(127, 160)) if chr(number) not in KEPT
}

_SIGNS = {
    "→": "->", "←": "<-", "⇄": "<->", "…": "...", "–": "-", "−": "-", "─": "-", "━": "-", "×": "x", "·": "*",
    "±": "+-", "∼": "~", "⊙": ".*", "∘": "o", "≤": "<=", "≥": ">=", "√": "sqrt", "∂": "d", "∇": "grad ",
    "‖": "||", "⟨": "<", "⟩": ">", "⌊": "floor(", "⌋": ")", "′": "'", "½": "1/2", "¹": "^1", "²": "^2",
    "³": "^3", "⁻": "^-", "ᵀ": "^T", "Σ": "sum", "Π": "prod", "α": "alpha", "β": "beta", "γ": "gamma",
    "η": "eta", "λ": "lambda", "μ": "mu", "ξ": "xi", "σ": "sigma", "\u0302": "_hat", "\u0307": "_dot",
    "\ufffd": "?",
}  # fmt: skip
"""The signs of our own messages, tables and equations."""
