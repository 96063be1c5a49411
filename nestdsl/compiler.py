"""From a source to checked graphs: parse, elaborate, infer, check. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nestdsl.checks import run_checks
from nestdsl.checks.relocate_diagnostics import relocate_diagnostics
from nestdsl.diagnostics import Diagnostic, Diagnostics, NestError, TooManyError, fail
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.verify import verify
from nestdsl.inference import infer
from nestdsl.limits import MAX_DIAGNOSTICS
from nestdsl.semantics.phases import run_phases
from nestdsl.semantics.suggestions import listed
from nestdsl.semantics.values.overrides import Override
from nestdsl.source import Source
from nestdsl.syntax import ast
from nestdsl.syntax.parser import parse


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything that one run finds: a graph for each model, and all diagnostics in order."""

    source: Source
    graphs: dict[str, NestGraph]
    diagnostics: tuple[Diagnostic, ...]

    @property
    def has_errors(self) -> bool:
        return any(diagnostic.is_error for diagnostic in self.diagnostics)

    def graph(self) -> NestGraph:
        """The graph of the only model, ready to lower.

        Raises NestError with every diagnostic if there are errors, or if there is not one model.
        """
        if self.has_errors:
            raise NestError(self.diagnostics)
        if not self.graphs:
            raise fail("N0101", f"{self.source.name} declares no model", self._without_model())
        if len(self.graphs) > 1:
            raise fail(
                "N0103",
                f"`{self.source.name}` declares the models {listed(self.graphs)}",
                f"say which: `{self.source.name}:{next(iter(self.graphs))}`, `--model` or `model=`",
            )
        (graph,) = self.graphs.values()
        graph.prune()
        verify(graph)
        return graph

    def _without_model(self) -> str:
        """What to do with a file that declares no model: it may hold optimizers alone."""
        declared = parse(self.source)[0].declarations
        own = next((one.name.text for one in declared if isinstance(one, ast.Optimizer)), None)
        if own is None:
            return "write `model NAME(...) { ... }`"
        name = f"{self.source.name}:{own}"
        return (
            "it has optimizers alone: `check`, `compile`, `explain`, `render` and `bench` take one as "
            f"`{name}`, "
            f'and `nestdsl.optimizer("{name}", ...)` uses it in any PyTorch project'
        )


def analyse(
    source: Source,
    overrides: Mapping[str, Override] | None = None,
    model: str | None = None,
    *,
    weights: bool = True,
) -> Analysis:
    """Elaborates a source and runs every check; mistakes are collected, never raised.

    Without `weights`, the files that levels start from are not looked at: for a model whose weights come
    from elsewhere.
    """
    elaboration = run_phases(source, overrides, model)
    diagnostics = elaboration.diagnostics
    is_whole = not diagnostics.has_errors
    try:
        for graph in elaboration.graphs.values():
            found = Diagnostics(most=MAX_DIAGNOSTICS)
            try:
                infer(graph, found, weights=weights)
                run_checks(graph, found, whole=is_whole)
            finally:
                diagnostics.extend(found)
    except TooManyError:
        pass  # which is reported
    relocated = relocate_diagnostics(diagnostics, elaboration.graphs.values(), source)
    return Analysis(source, elaboration.graphs, relocated.in_order())
