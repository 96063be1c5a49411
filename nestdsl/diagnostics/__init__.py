"""Diagnostics: what is wrong, where, and what to write instead."""

from nestdsl.diagnostics.codes import CODES, Code, Severity
from nestdsl.diagnostics.model import LIMIT, Diagnostic, Diagnostics, NestError, Note, TooManyError, fail

__all__ = [
    "CODES",
    "LIMIT",
    "Code",
    "Diagnostic",
    "Diagnostics",
    "NestError",
    "Note",
    "Severity",
    "TooManyError",
    "fail",
]
