"""Diagnostics: what is wrong, where, and what to write instead."""

from nestdsl.diagnostics.codes import CODES, Code, Severity
from nestdsl.diagnostics.model import Diagnostic, Diagnostics, NestError, Note, fail

__all__ = ["CODES", "Code", "Diagnostic", "Diagnostics", "NestError", "Note", "Severity", "fail"]
