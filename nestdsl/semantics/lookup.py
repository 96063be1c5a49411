"""What the names of one body mean: its parameters, flows and levels, then the file's, then the library's."""

from __future__ import annotations

from collections.abc import Iterator

from nestdsl.diagnostics import Note
from nestdsl.graph.nodes import Flow, Scope
from nestdsl.library.signatures import LIBRARY, Place
from nestdsl.semantics.clauses import Clauses, collect
from nestdsl.semantics.modules import Module, from_library, library_module, like_in_library, report_twice
from nestdsl.semantics.names import did_you_mean
from nestdsl.semantics.parameters import FileParameters
from nestdsl.semantics.scope import ConstantName, FlowName, LevelName, Meaning, Poisoned, Shared
from nestdsl.semantics.synonyms import INPUTS, PHRASES, name_meant, number_meant
from nestdsl.semantics.values import UNKNOWN, Constant, Unknown, fold
from nestdsl.source import Span
from nestdsl.syntax import ast


class Lookup:
    """The names of one instance of a block or model."""

    def __init__(
        self,
        shared: Shared,
        module: Module,
        parameters: FileParameters,
        scope: Scope,
        values: dict[str, Constant | Unknown],
        input_id: str,
    ) -> None:
        self.shared = shared
        self.module = module
        self.parameters = parameters
        self.scope = scope
        self.diagnostics = shared.diagnostics
        self.prefix = f"{scope.id}." if scope.id else ""
        self.declared_prefix = f"{scope.declared}." if scope.declared else ""
        self._names: dict[str, Meaning] = {name: ConstantName(value) for name, value in values.items()}
        self._names["in"] = FlowName(input_id)
        self._spans: dict[str, Span] = {}
        self._index: int | None = None
        self._default: Clauses = {}

    @property
    def index(self) -> int | None:
        """Which element of an array is elaborated; None outside of arrays."""
        return self._index

    def _declare_names(self, statements: tuple[ast.Statement, ...]) -> None:
        default: ast.Default | None = None
        for statement in statements:
            match statement:
                case ast.Flow(name, value, span):
                    if self._is_new(name, value=value):
                        self._names[name.text] = FlowName(self.prefix + name.text)
                        self.shared.graph.add(Flow(self.prefix + name.text, self.scope.id, name.text, span))
                case ast.Level(name):
                    if self._is_new(name, is_level=True):
                        self._names[name.text] = LevelName((), False)
                case ast.Broken(str() as name, _) if name not in self._names:
                    self._names[name] = Poisoned()
                case ast.Default(clauses, span):
                    if default is not None:
                        self.diagnostics.report(
                            "N0102",
                            "`default` is said twice",
                            span,
                            "put all clauses into one",
                            (Note("it was said here first", default.span),),
                        )
                    else:
                        default = statement
                        self._default = collect(clauses, self.diagnostics)
        if default is not None:
            self._check_default(default, statements)

    def _check_default(self, default: ast.Default, statements: tuple[ast.Statement, ...]) -> None:
        """N0405 for a `default` that nobody hears, or that says what each level must say itself."""
        learn = self._default.pop("learn", None)
        if learn is not None:
            self.diagnostics.report(
                "N0405",
                "`learn` has no meaning in `default`, which speaks of the levels that say `learn`",
                learn.span,
                "say it at each level",
            )
        clauses = [
            clause
            for statement in statements
            if isinstance(statement, ast.Level)
            for clause in statement.clauses
        ]
        is_unread = any(isinstance(one, ast.Broken) for one in (*statements, *clauses))
        if not is_unread and not any(isinstance(clause, ast.Learn) for clause in clauses):
            self.diagnostics.report(
                "N0405",
                "`default` speaks of the levels that say `learn`, and no level of this body does",
                default.span,
                "say its clauses at the levels that they are meant for, or remove it",
            )

    def _is_new(self, name: ast.Name, is_level: bool = False, value: ast.Expression | None = None) -> bool:
        """Reports a name that is taken. `value` is that of a flow."""
        if name.text == "in":
            self.diagnostics.report(
                "N0102",
                "`in` is already what the body reads",
                name.span,
                "give it another name",
            )
            return False
        if is_level and name.text == "out":
            self.diagnostics.report(
                "N0104",
                "`out` is what the body gives: a flow, not a level",
                name.span,
                "give the level another name, and read it: `flow out = in -> name`",
            )
            self._names["out"] = Poisoned()
            return False
        if name.text in self._spans:
            report_twice(self.diagnostics, name, self._spans[name.text], value)
            return False
        if isinstance(self._names.get(name.text), ConstantName):
            self.diagnostics.report(
                "N0102",
                f"`{name.text}` is already a parameter of this body",
                name.span,
                "give one of them another name",
            )
            return False
        self._spans[name.text] = name.span
        return True

    def meaning(self, name: str) -> Meaning | None:
        """What a name means here: of this body, or a parameter of the file."""
        if name in self._names:
            return self._names[name]
        if name == "index" and self._index is not None:
            return ConstantName(self._index)
        found = self.find(name)
        if found and isinstance(found[1], ast.Param):
            return ConstantName(self.parameters.value(found[0], found[1]))
        if found is None and name in self.module.broken:
            return Poisoned()
        return None

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
            values = [one for one, meaning in self._names.items() if isinstance(meaning, ConstantName)]
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
            hint = hint or "declare it with `flow` or `level`, or bring it in with `use`"
        self.diagnostics.report("N0101", f"unknown name `{text}`", name.span, hint)
        return UNKNOWN

    def _declared(self) -> Iterator[tuple[str, ast.Declaration]]:
        yield from self.module.names.items()
        yield from ((name, declared) for name, (_, declared) in self.module.imported.items())

    def _known_names(self) -> Iterator[str]:
        yield from self._names
        yield from self.module.known_names()
        yield from (one.name for one in LIBRARY.functions.values() if one.place is not Place.OPTIMIZER)
        yield from LIBRARY.kinds

    def constant(self, expression: ast.Expression) -> Constant | Unknown:
        """The value of an expression of parameters and numbers."""
        return fold(expression, self._constant_name, self.diagnostics)

    def _constant_name(self, name: ast.Name) -> Constant | Unknown:
        match self.meaning(name.text):
            case ConstantName(value):
                return value
            case FlowName() | LevelName():
                self.diagnostics.report(
                    "N0104",
                    f"`{name.text}` is no compile-time value",
                    name.span,
                    "a number, a parameter or arithmetic on them is needed here",
                )
                return UNKNOWN
            case Poisoned():
                return UNKNOWN
        thing = self.describe_name(name.text)
        if thing:
            self.diagnostics.report(
                "N0104",
                f"`{name.text}` is {thing}, not a value",
                name.span,
                "a number, a parameter or arithmetic on them is needed here",
            )
            return UNKNOWN
        return self.unknown_name(name, is_value=True)

    def unknown_flow(self) -> FlowName:
        """A flow without source, which stands where a mistake was reported."""
        id = f"{self.prefix}?"
        if id not in self.shared.graph:
            self.shared.graph.add(Flow(id, self.scope.id, "?", self.scope.span))
        return FlowName(id)
