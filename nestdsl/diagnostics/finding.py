"""What is known of a mistake, as renderers show it; `model.py` makes Diagnostics of it."""

from __future__ import annotations

from dataclasses import dataclass

from nestdsl.diagnostics.codes import Severity
from nestdsl.source import Span


@dataclass(frozen=True, slots=True)
class Note:
    """A second place that explains a diagnostic, such as the first of two definitions."""

    message: str
    span: Span


@dataclass(frozen=True, slots=True)
class Finding:
    """The fields of a Diagnostic, which says what they mean."""

    code: str
    message: str
    span: Span | None = None
    hint: str = ""
    notes: tuple[Note, ...] = ()
    severity: Severity | None = None

    @property
    def is_error(self) -> bool:
        """Whether it is an error, which stops what was asked for, and no warning."""
        return self.severity is Severity.ERROR
