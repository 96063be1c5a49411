"""The examples of the pages of `explain`, for tests that read or run them."""

import re
from dataclasses import dataclass

_FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Fence:
    """A fenced example: its language (nest or console), `error` or `ok`, and its text."""

    language: str
    outcome: str
    text: str


def fences(page: str) -> tuple[Fence, ...]:
    """All fences of a page, in order."""
    found = []
    for match in _FENCE.finditer(page):
        language, _, outcome = match["info"].partition(" ")
        found.append(Fence(language, outcome, match["text"]))
    return tuple(found)
