"""What the clauses of a level say, as far as they can be known at compile time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from nestdsl.diagnostics import Diagnostics
from nestdsl.graph.nodes import Init
from nestdsl.semantics.constants import UNKNOWN
from nestdsl.semantics.names.clauses import start_in_brackets
from nestdsl.semantics.suggestions import did_you_mean, listed
from nestdsl.semantics.synonyms import unit_meant
from nestdsl.semantics.values.arguments import bind, check_argument
from nestdsl.syntax import ast
from nestdsl.vocabulary.signatures import (
    GRADIENTS,
    OBJECTIVES_IN_CONTEXT,
    OBJECTIVES_TRAIN,
    READS,
    RESETS,
    STARTS,
    ArgumentSpec,
    Type,
)
from nestdsl.vocabulary.starts import ALWAYS_TRAINED, LEARNED
from nestdsl.vocabulary.timing import Gradient, ReadTime, Reset, Truncated, Unit

_UNITS = {"token": Unit.TOKEN, "tokens": Unit.TOKEN, "step": Unit.STEP, "steps": Unit.STEP}
_COUNT = ArgumentSpec("every", Type.WHOLE, minimum=1)
_CHUNK = ArgumentSpec("chunk", Type.WHOLE, minimum=1)
_EXPONENT = ArgumentSpec("p", Type.NUMBER, minimum=1.0)
_LAST = ArgumentSpec("n", Type.WHOLE, minimum=1)


def _unit_of(word: str) -> Unit | None:
    """The unit that a word names, by its own name or another."""
    meant = unit_meant(word)
    return _UNITS.get(word) or (_UNITS[meant] if meant else None)


def _written(every: ast.Every, count: str, unit: Unit) -> str:
    """The period as it is to be written, with its chunk."""
    chunk = f", chunk {every.chunk.span.text}" if every.chunk else ""
    return f"every {count} {unit.value}{'s' * (count != '1')}{chunk}"


Evaluate = Callable[[ast.Expression], object]


@dataclass(frozen=True, slots=True)
class ClauseReader:
    """Reads the clauses of one body; `evaluate` gives compile-time values, `knows` says which names mean
    something there."""

    diagnostics: Diagnostics
    evaluate: Evaluate
    knows: Callable[[str], bool] = lambda name: False

    # --- every -----------------------------------------------------------------------------

    def period(
        self, every: ast.Every, units: Sequence[Unit] = tuple(Unit), meant: Sequence[Unit] = ()
    ) -> tuple[int, Unit] | None:
        """The period of a level. It has one of `units`; hints name those that are `meant`."""
        meant = meant or units
        match every:
            case ast.Every(ast.Name(word), None) if not self.knows(word) and (named := _unit_of(word)):
                unit = named if named in meant else meant[0]
                self.diagnostics.report(
                    "N0401",
                    f"the number is missing: how many {unit.value}s a period has",
                    every.span,
                    f"write `{_written(every, '1', unit)}`",
                )
                return None
        unit = self._unit(every, units, meant)
        count = self._whole(_COUNT, every.count)
        return (count, unit) if count is not None and unit is not None else None

    def chunk(self, every: ast.Every) -> int | None:
        return None if every.chunk is None else self._whole(_CHUNK, every.chunk)

    def _unit(self, every: ast.Every, units: Sequence[Unit], meant: Sequence[Unit]) -> Unit | None:
        count = every.count.span.text
        choice = " or ".join(f"`{_written(every, count, unit)}`" for unit in meant)
        if every.unit is None:
            self.diagnostics.report(
                "N0401",
                "the unit is missing: a period counts tokens (in context) or steps (of the optimizer)",
                every.span,
                f"write {choice}",
            )
            return None
        unit = _UNITS.get(every.unit.text)
        if unit is None:
            other = _unit_of(every.unit.text)
            likely = other if other in meant else None
            like = did_you_mean(every.unit.text, _UNITS, f"write {choice}")
            self.diagnostics.report(
                "N0401",
                f"`{every.unit.text}` is not a unit of time",
                every.unit.span,
                f"write `{_written(every, count, likely)}`" if likely else like,
            )
        elif unit not in units:
            self.diagnostics.report(
                "N0405", f"a period in {unit.value}s has no meaning here", every.span, f"write {choice}"
            )
            return None
        return unit

    def _whole(self, spec: ArgumentSpec, expression: ast.Expression) -> int | None:
        value = self.evaluate(expression)
        if value is UNKNOWN or not check_argument(spec, value, expression.span, self.diagnostics):
            return None
        assert isinstance(value, int | float)
        return int(value)

    # --- the rest --------------------------------------------------------------------------

    def objective_in_context(self, objective: ast.Objective) -> tuple[str, float] | None:
        """The objective of a memory, and the exponent of `lp(p)` (2 for the others)."""
        name = self._choice(objective.call.function, OBJECTIVES_IN_CONTEXT, "objective", OBJECTIVES_TRAIN)
        bound = self._arguments(objective.call, (_EXPONENT,) if name == "lp" else ()) if name else None
        if name is None or bound is None:
            return None
        exponent = bound.get("p", 2.0)
        assert isinstance(exponent, float)
        return name, exponent

    def objective_of_training(self, objective: ast.Objective) -> str | None:
        name = self._choice(objective.call.function, OBJECTIVES_TRAIN, "objective", OBJECTIVES_IN_CONTEXT)
        return name if name and self._arguments(objective.call, ()) is not None else None

    def init(self, init: ast.Init) -> Init | None:
        """A start of a level's own; `starts.py` reads those `from` elsewhere.

        It is `trained` if it says so, by `learned` or by its meaning.
        """
        call = init.call
        assert call is not None
        if call.function.text != LEARNED or not call.arguments:
            return self._start(call, tuple(STARTS), "init")
        inner = self._inner_start(call)
        found = inner and self._start(inner, tuple(word for word in STARTS if word != LEARNED), LEARNED)
        return replace(found, trained=True) if found else None

    def _start(self, call: ast.Call, words: Sequence[str], where: str) -> Init | None:
        word = self._choice(call.function, words, where)
        if word is None:
            return None
        spec = STARTS[word]
        bound = self._arguments(call, (spec,) if spec else ())
        if bound is None:
            return None
        number = bound[spec.name] if spec else None
        assert number is None or isinstance(number, float)
        return Init(word, number, word in ALWAYS_TRAINED)

    def _inner_start(self, call: ast.Call) -> ast.Call | None:
        """The start in the brackets of `learned(...)`; reports what is none."""
        if inner := start_in_brackets(call):
            return inner
        self.diagnostics.report(
            "N0103",
            "`learned` takes one start, from which the outer levels train on",
            call.span,
            "write `learned`, or a start such as `learned(normal(0.02))` or `learned(identity)`",
        )
        return None

    def reset(self, reset: ast.Reset) -> Reset | None:
        name = self._choice(reset.name, RESETS, "reset")
        return None if name is None else Reset(name)

    def gradient(self, gradient: ast.Gradient) -> Gradient | None:
        name = self._choice(gradient.call.function, GRADIENTS, "gradient")
        bound = self._arguments(gradient.call, (_LAST,) if name == "truncated" else ()) if name else None
        if name is None or bound is None:
            return None
        last = bound.get("n")
        return Truncated(last) if isinstance(last, int) else Gradient.parse(name)

    def read(self, read: ast.Read) -> ReadTime | None:
        name = self._choice(read.name, READS, "read")
        return None if name is None else ReadTime(name)

    def _arguments(self, call: ast.Call, specs: Sequence[ArgumentSpec]) -> dict[str, object] | None:
        bound = bind(call, specs, f"`{call.function.text}`", self.evaluate, self.diagnostics)
        return None if bound is None else dict(bound)

    def _choice(
        self, name: ast.Name, choices: Sequence[str], what: str, elsewhere: Sequence[str] = ()
    ) -> str | None:
        if name.text in choices:
            return name.text
        if name.text in elsewhere:
            self.diagnostics.report(
                "N0104",
                f"`{what}` cannot be `{name.text}` here",
                name.span,
                "write " + " or ".join(f"`{choice}`" for choice in choices),
            )
            return None
        self.diagnostics.report(
            "N0101",
            f"`{what}` cannot be `{name.text}`",
            name.span,
            did_you_mean(name.text, choices, f"it is one of {listed(choices)}"),
        )
        return None
