"""Diagnostics: what is wrong, where, and what to write instead."""

from nestdsl.diagnostics.codes import CODES, Code, Severity
from nestdsl.diagnostics.errors import NestError, fail
from nestdsl.diagnostics.model import LIMIT, Diagnostic, Diagnostics, Note, TooManyError

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
