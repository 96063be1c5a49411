"""An optimizer by its name, `std.optim:m3` or `mine.nest:three_speed`, with arguments from Python."""

from __future__ import annotations

import keyword
import os
import sys
from collections.abc import Mapping

from nestdsl.diagnostics import Diagnostics, NestError, fail
from nestdsl.graph.optimizer import OptimizerProgram
from nestdsl.limits import MAX_DIAGNOSTICS
from nestdsl.ranges import shown
from nestdsl.semantics.elaborate.optimizers.clause import OptimizerReader
from nestdsl.semantics.modules import read_modules
from nestdsl.semantics.names.lookup import find_optimizer, optimizer_names
from nestdsl.semantics.suggestions import argument_meant, did_you_mean, listed
from nestdsl.semantics.values.arithmetic import fold
from nestdsl.semantics.values.parameters import FileParameters
from nestdsl.semantics.within_limits import within_limits
from nestdsl.source import Source
from nestdsl.syntax import ast
from nestdsl.syntax.files import read_source
from nestdsl.syntax.parser import parse

LIBRARY = "std.optim"


def named_optimizer(name: str | os.PathLike[str]) -> NamedOptimizer:
    """The optimizer that `std.optim:m3` or `mine.nest:three_speed` names.

    Raises NestError: N0105 for a name of another form, N0101 if there is no such optimizer, and
    whatever is wrong with the file.
    """
    name = os.fspath(name)
    place, sign, optimizer = name.rpartition(":")
    if not sign:
        is_file = name.endswith(".nest") or name == LIBRARY
        hint = f"write `{name}:NAME`" if is_file else f"write `{LIBRARY}:{name}`"
        raise fail("N0105", f"`{name}` names no optimizer of a file", hint)
    is_library = place == LIBRARY
    return NamedOptimizer(Source(f"use {LIBRARY}\n", place) if is_library else read_source(place), optimizer)


class NamedOptimizer:
    """One optimizer of a source or of the library, which `program` elaborates with arguments.

    Raises NestError: N0101 if there is no such optimizer, and whatever is wrong with the source.
    """

    def __init__(self, source: Source, name: str) -> None:
        diagnostics = Diagnostics(most=MAX_DIAGNOSTICS)
        self.name = name
        with within_limits(diagnostics, source.span(0, len(source.text))):
            self._module = read_modules(source, diagnostics)
        if diagnostics.has_errors:
            raise NestError(diagnostics.in_order())
        if find_optimizer(self._module, name) is None:
            known = optimizer_names(self._module)
            hint = did_you_mean(name, known, f"the optimizers are {listed(known)}")
            raise fail("N0101", f"`{source.name}` has no optimizer `{name}`", hint)

    @property
    def parameters(self) -> list[str]:
        """The names of what it takes."""
        found = find_optimizer(self._module, self.name)
        assert found is not None
        return [parameter.name.text for parameter in found[1].parameters]

    @property
    def parameters_of_file(self) -> list[str]:
        """The parameters that its file declares."""
        return [name for name, declared in self._module.names.items() if isinstance(declared, ast.Param)]

    def program(self, arguments: Mapping[str, object]) -> OptimizerProgram:
        """The program with arguments: numbers, truths, or strings in the language (`linear(0.1, steps = 9)`).

        Raises NestError for arguments that the optimizer does not take.
        """
        diagnostics = Diagnostics(most=MAX_DIAGNOSTICS)
        call = self._call(arguments)
        parameters = FileParameters(diagnostics, {}, self._module)
        reader = OptimizerReader(
            self._module,
            parameters,
            lambda expression: fold(
                expression, lambda name: parameters.lookup(self._module, name, diagnostics), diagnostics
            ),
        )
        use = None
        with within_limits(diagnostics, call.span):
            use = reader.across(call)
        if use is None or diagnostics.has_errors:
            raise NestError(diagnostics.in_order())
        assert use.program is not None
        return use.program

    def written(self, arguments: Mapping[str, object]) -> str:
        """The call as a program would write it. Raises NestError for values that no program can have."""
        for name, value in arguments.items():
            if not isinstance(value, int | float | str):
                self._verify_name(name)
        given = ", ".join(f"{name} = {_written(name, value)}" for name, value in arguments.items())
        return f"{self.name}({given})"

    def _verify_name(self, name: str) -> None:
        """Reports a name before its value: `betas=(0.9, 0.95)` is meant for another."""
        known = self.parameters
        if name not in known:
            hint = argument_meant(name, known, f"its arguments are {listed(known)}")
            raise fail("N0103", f"`{self.name}` has no argument `{name}`", hint)

    def _call(self, arguments: Mapping[str, object]) -> ast.Call:
        """The call that a program would write, so that messages can show it."""
        text = f"model m {{ train {{ optimizer {self.written(arguments)} }} }}\n"
        program, mistakes = parse(Source(text, "<arguments>"))
        if mistakes:
            raise NestError(mistakes)
        (model,) = program.declarations
        assert isinstance(model, ast.Model) and isinstance(model.body[0], ast.Train)
        (clause,) = model.body[0].clauses
        assert isinstance(clause, ast.OptimizerClause)
        return clause.call


def _written(name: str, value: object) -> str:
    if not name.isidentifier() or keyword.iskeyword(name):
        raise fail("N0103", f"`{name}` is no name of an argument", "write `name = value`")
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float() if abs(value) <= sys.float_info.max:  # which what is not a number is not
            return repr(value)
        case str():
            return value
    raise fail(
        "N0203",
        f"`{name}` cannot be {shown(value)}",
        'write a finite number, true or false, or a schedule as a string: "cosine(3e-4, steps = 1000)"',
    )
