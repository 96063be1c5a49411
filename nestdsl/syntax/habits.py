"""What people bring along from other languages, inside a statement that begins well.

Each function knows one habit: it gives the diagnostic with what to write here, or None. A hint that begins
with `write` and code gives what takes the place of the text that the diagnostic underlines.
"""

from __future__ import annotations

from collections.abc import Callable

from nestdsl.diagnostics import Diagnostic
from nestdsl.syntax import absent, call_habits, clause_habits, name_habits
from nestdsl.syntax.mistakes import Here
from nestdsl.syntax.prefixes import prefix
from nestdsl.syntax.signs import foreign_operator

_HABITS: tuple[Callable[[Here], Diagnostic | None], ...] = (
    prefix,
    name_habits.annotation_of,
    name_habits.type_before_name,
    clause_habits.equal,
    clause_habits.pair,
    clause_habits.chunk,
    foreign_operator,
    name_habits.dashed_name,
    name_habits.quoted_name,
    name_habits.parameters_of_flow,
    absent.named_input,
    clause_habits.settings,
    clause_habits.period_in_parentheses,
    clause_habits.keyword_as_value,
    clause_habits.truth_of_frozen,
    clause_habits.clauses_without_braces,
    call_habits.named_pair,
    call_habits.point_first,
    call_habits.two_values,
    call_habits.other_brackets,
    call_habits.count_of_array,
    call_habits.copies,
    absent.condition,
    absent.word_of_code,
    absent.several_flows,
    absent.function,
    absent.product,
    absent.list_of_flows,
    call_habits.without_parentheses,
)
"""In the order in which they are asked: the first that knows the mistake answers."""


def explain(here: Here) -> Diagnostic | None:
    """N0001 for a habit of another language; None if the mistake is no such thing."""
    return next((found for habit in _HABITS if (found := habit(here)) is not None), None)
