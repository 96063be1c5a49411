"""What a name of a body means: first of its own names, then of its file, then of the library."""

from __future__ import annotations

from collections.abc import Iterator

from nestdsl.diagnostics import Diagnostics
from nestdsl.semantics.constants import UNKNOWN, Unknown
from nestdsl.semantics.modules import Module, from_library, library_module, like_in_library
from nestdsl.semantics.names.meanings import ConstantName, Meaning
from nestdsl.semantics.suggestions import did_you_mean
from nestdsl.semantics.synonyms import INPUTS, PHRASES, name_meant, number_meant
from nestdsl.syntax import ast
from nestdsl.vocabulary.signatures import LIBRARY, Place


class Names:
    """The names of one instance of a block or model; `own` are those of its body."""

    def __init__(self, module: Module, diagnostics: Diagnostics) -> None:
        self.module = module
        self.diagnostics = diagnostics
        self.own: dict[str, Meaning] = {}

    def find(self, name: str) -> tuple[Module, ast.Declaration] | None:
        """What the file declares or imports by a name. A model hides nothing: no body can use it."""
        found = self.module.find(name)
        if found and isinstance(found[1], ast.Model) and (name in LIBRARY.kinds or name in LIBRARY.functions):
            return None
        return found

    def is_declared(self, name: str) -> bool:
        """True if the file declares or imports the name, which then hides the library's."""
        return self.find(name) is not None

    def makes_levels(self, name: str) -> bool:
        """True for a kind or a block."""
        found = self.find(name)
        return isinstance(found[1], ast.Block) if found else name in LIBRARY.kinds

    def describe_name(self, name: str) -> str | None:
        """What a name of the file or library is, for messages; None if nothing has it."""
        found = self.find(name)
        if found:
            return {ast.Block: "a block", ast.Optimizer: "an optimizer", ast.Model: "a model"}.get(
                type(found[1]), "a parameter"
            )
        if name in LIBRARY.kinds:
            return "a kind of level"
        if name in LIBRARY.functions:
            return "a function"
        is_optimizer = name in LIBRARY.optimizers or name in library_module("optim").names
        return "an optimizer" if is_optimizer else None

    def unknown_name(self, name: ast.Name, *, is_value: bool = False, is_stage: bool = False) -> Unknown:
        """Reports a name that nothing has.

        With `is_value` it was to be a number or another value, with `is_stage` what a flow is piped into.
        """
        text = name.text
        if self.module.may_have(text):
            return UNKNOWN
        if is_value:
            values = [one for one, meaning in self.own.items() if isinstance(meaning, ConstantName)]
            values += [one for one, declared in self._declared() if isinstance(declared, ast.Param)]
            hint = PHRASES.get(text) or number_meant(text) or from_library(text) or did_you_mean(text, values)
            hint = hint or f"write a number, or declare it at the top: `param {text} = ...`"
        else:
            known = [*self._known_names()]
            hint = from_library(text) or name_meant(text, known) or PHRASES.get(text)
            hint = hint or (
                "did you mean `in`?" if text in INPUTS and not is_stage else did_you_mean(text, known)
            )
            hint = hint or like_in_library(text)
            python = ", or if Python declares it with `--import MODULE`" if is_stage else ""
            hint = hint or f"declare it with `flow` or `level`, or bring it in with `use`{python}"
        self.diagnostics.report("N0101", f"unknown name `{text}`", name.span, hint)
        return UNKNOWN

    def _declared(self) -> Iterator[tuple[str, ast.Declaration]]:
        yield from self.module.names.items()
        yield from ((name, declared) for name, (_, declared) in self.module.imported.items())

    def _known_names(self) -> Iterator[str]:
        yield from self.own
        yield from self.module.known_names()
        yield from (one.name for one in LIBRARY.functions.values() if one.place is not Place.OPTIMIZER)
        yield from LIBRARY.kinds


def optimizer_names(module: Module) -> list[str]:
    """The names of all optimizers for weights: of the program and of the library."""
    own = [name for name in module.known_names() if own_optimizer(module, name)]
    return [*own, *(name for name in library_module("optim").names if name not in own)]


def find_optimizer(module: Module, name: str) -> tuple[Module, ast.Optimizer] | None:
    """The declaration of an optimizer, and the file that has it."""
    return own_optimizer(module, name) or own_optimizer(library_module("optim"), name)


def own_optimizer(module: Module, name: str) -> tuple[Module, ast.Optimizer] | None:
    """The optimizer that a file declares or imports by a name."""
    found = module.find(name)
    return (found[0], found[1]) if found and isinstance(found[1], ast.Optimizer) else None
