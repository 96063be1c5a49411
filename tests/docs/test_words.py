"""Words that only we used do not come back: each has a plain one, and messages, docs and code have that."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import nestdsl

ROOT = Path(nestdsl.__file__).parents[1]
PLAIN = {
    r"solved anew|re-solved": "recomputed at every token",
    r"said twice|says twice": "given twice",
    r"said in two ways": "given in two ways",
    r"no compile-time value": "not a compile-time constant",
    r"[Mm]ended": "fixed, corrected",
    r"nothing is wrong": "no problems found",
    r"in the one way": "formatted",
    r"\banew\b": "again, from the start",
    r"\[[ET]\d+[^\]]*\]": "the paper's name and its equation: [Titans, Eq. 13]",
    r"FACTS|\(X\d+\)": "what the project contains",
}
PLACES = (
    ("nestdsl", "*.py"),
    ("nestdsl", "*.md"),
    ("nestdsl", "*.nest"),
    ("docs", "*.md"),
    ("examples", "*.nest"),
)
FILES = [path for folder, pattern in PLACES for path in sorted((ROOT / folder).rglob(pattern))]
FILES.append(ROOT / "README.md")


@pytest.mark.parametrize("word", PLAIN)
def test_a_private_word_does_not_come_back(word: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in FILES
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if re.search(word, line)
    ]
    assert found == [], f"say instead: {PLAIN[word]}"
