"""`--set NAME=VALUE`: what an argument of the command line says, and how messages speak of it.

An argument is no file and has no lines: what is wrong with it is told with the argument as it was written.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from nestdsl.diagnostics import Diagnostic, NestError, fail
from nestdsl.limits import MAX_SETTING
from nestdsl.source import Source
from nestdsl.syntax import ast
from nestdsl.syntax.parser import parse
from nestdsl.syntax.wording import code

_BEFORE = "param "
"""What makes a declaration of `NAME=VALUE`."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One `--set NAME=VALUE`: the argument as it was written, and its parts."""

    written: str
    name: str
    value: ast.Expression

    @property
    def shown(self) -> str:
        """The option as messages show it."""
        return f"--set {code(self.written)}"

    @property
    def value_text(self) -> str:
        """The value in the words of the language."""
        return self.value.span.text

    def told(self, diagnostic: Diagnostic) -> Diagnostic:
        """A mistake in the value, told with the argument and not with a place."""
        return replace(diagnostic, message=f"{self.shown}: {diagnostic.message}", span=None, notes=())


def read_settings(arguments: Iterable[str]) -> dict[str, Setting]:
    """The settings of a command line by name.

    Raises NestError: N0106 for an argument that is not NAME=VALUE, and for a name that is set twice;
    N0001, N0002 or N0004 for a value that cannot be read.
    """
    found: dict[str, Setting] = {}
    for argument in arguments:
        setting = _read(argument)
        if setting.name in found:
            message = f"{found[setting.name].shown} and {setting.shown} set `{setting.name}` twice"
            raise fail("N0106", message, "leave one of them out")
        found[setting.name] = setting
    return found


def _read(argument: str) -> Setting:
    shown = f"--set {code(argument)}"
    if len(argument) > MAX_SETTING:
        message = (
            f"{shown[:60]}...: a setting has at most {MAX_SETTING:,} characters; this has {len(argument):,}"
        )
        raise fail("N0004", message, "write the value into the program")
    name, sign, value = argument.partition("=")
    name = name.strip()
    if not sign:
        example = name if name.isidentifier() else "dim"
        raise fail(
            "N0106", f"{shown} is not NAME=VALUE", f"write `--set {example}=64`, with a value of your own"
        )
    if not (name.isidentifier() and name.isascii()):
        what = f"{code(name)!r} is not a name" if name else "the name is missing"
        raise fail(
            "N0001", f"{shown}: {what}", "write the name of a parameter before `=`, as in `--set dim=64`"
        )
    if not value.strip():
        raise fail("N0001", f"{shown}: the value is missing", f"write it after `=`, as in `--set {name}=64`")
    if value.lstrip().startswith("=") or _is_assignment(value):
        raise fail("N0001", f"{shown}: `=` stands twice", f"write one name and one value: `--set {name}=64`")
    program, mistakes = parse(Source(f"{_BEFORE}{argument}\n", "--set"))
    if mistakes:
        raise NestError(_of_argument(one, shown, name) for one in mistakes)
    declared = program.declarations[0] if len(program.declarations) == 1 else None
    if not isinstance(declared, ast.Param):
        raise fail("N0106", f"{shown} holds more than one value", "write a `--set` for each")
    return Setting(argument, declared.name.text, declared.value)


def _of_argument(mistake: Diagnostic, shown: str, name: str) -> Diagnostic:
    """A mistake of syntax in an argument, which has no lines and no comments."""
    speaks_of_files = "line" in mistake.hint or "comment" in mistake.hint
    hint = f"write one value, as in `--set {name}=64`" if speaks_of_files else mistake.hint
    return replace(mistake, message=f"{shown}: {mistake.message}", span=None, notes=(), hint=hint)


def _is_assignment(value: str) -> bool:
    """Whether a value is itself `NAME=VALUE`, and not a call with arguments by name."""
    first, sign, _ = value.partition("=")
    return bool(sign) and not any(mark in first for mark in '("\n')
