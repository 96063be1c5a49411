"""Did-you-mean: the nearest known name to one that is not known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from nestdsl.limits import MAX_GUESSES, MAX_LISTED
from nestdsl.semantics.synonyms import ARGUMENTS, NEEDLESS_ARGUMENTS, name_meant


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like this one, if any is near enough."""
    known = list(known)
    alike = [one for one in known if one.casefold() == name.casefold()]
    if len(known) > MAX_GUESSES:
        # Comparing takes its time: where there is so much, look among what begins alike.
        alike_in = [one for one in known if one[:1] == name[:1] and abs(len(one) - len(name)) <= 3]
        known = alike_in[:MAX_GUESSES]
    matches = alike or get_close_matches(name, known, n=1, cutoff=0.6)
    return matches[0] if matches else None


def argument_meant(name: str, known: Sequence[str], otherwise: str) -> str:
    """A hint that names the arguments which other libraries call so, the nearest one, or `otherwise`."""
    meant = [synonym for synonym in ARGUMENTS.get(name, ()) if synonym in known]
    if meant:
        return f"did you mean {listed(meant)}?"
    return NEEDLESS_ARGUMENTS.get(name) or did_you_mean(name, known, otherwise)


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """A hint that names what another library calls so, the nearest known name, or `otherwise`."""
    known = list(known)
    same = name_meant(name, known)
    if same:
        return same
    match = nearest(name, known)
    return f"did you mean `{match}`?" if match else otherwise


def listed(names: Iterable[str]) -> str:
    """Names in a sentence: `a`, `b` and `c`."""
    quoted = [f"`{name}`" for name in names]
    if len(quoted) > MAX_LISTED:
        return f"{', '.join(quoted[:MAX_LISTED])} and {len(quoted) - MAX_LISTED:,} more"
    if len(quoted) < 2:
        return "".join(quoted)
    return f"{', '.join(quoted[:-1])} and {quoted[-1]}"
