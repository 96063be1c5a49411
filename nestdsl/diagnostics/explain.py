"""The page of a diagnostic code: what it means, why, an example and its cure."""

from __future__ import annotations

from difflib import get_close_matches
from importlib.resources import files

from nestdsl.diagnostics.codes import CODES
from nestdsl.diagnostics.model import fail


def explain(code: str) -> str:
    """The page of a code as Markdown. Raises NestError (N0101) if there is no such code.

    >>> explain("n0301").splitlines()[0]
    '# N0301: cycle of reads'
    """
    name = code.strip().upper()
    if name not in CODES:
        near = get_close_matches(name, CODES, n=1)
        hint = f"did you mean `{near[0]}`?" if near else "codes look like `N0301`"
        raise fail("N0101", f"no diagnostic has the code `{code}`", hint)
    return files("nestdsl.diagnostics").joinpath("pages", f"{name}.md").read_text(encoding="utf-8")
