"""The phases of semantics: from a source to the graph of each of its models, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nestdsl.diagnostics import Diagnostics
from nestdsl.graph.nest import NestGraph
from nestdsl.limits import MAX_DIAGNOSTICS
from nestdsl.semantics.complete.models import complete_model
from nestdsl.semantics.elaborate.models import elaborate_models
from nestdsl.semantics.modules import read_modules
from nestdsl.semantics.names.program import declare_program
from nestdsl.semantics.values.overrides import Override
from nestdsl.semantics.values.parameters import evaluate_parameters
from nestdsl.semantics.within_limits import within_limits
from nestdsl.source import Source


@dataclass(slots=True)
class Elaboration:
    """What a source says: a graph for each of its models, and what is wrong with it."""

    source: Source
    graphs: dict[str, NestGraph] = field(default_factory=dict)
    diagnostics: Diagnostics = field(default_factory=lambda: Diagnostics(most=MAX_DIAGNOSTICS))


def run_phases(
    source: Source, overrides: Mapping[str, Override] | None = None, model: str | None = None
) -> Elaboration:
    """Elaborates every model of a source, or the one named, phase by phase.

    `overrides` set parameters of the model or of the file. Blocks that no model uses are tried
    with their defaults, so that their mistakes are found too.
    """
    result = Elaboration(source)
    diagnostics = result.diagnostics
    with within_limits(diagnostics, source.span(0, len(source.text))):
        module = read_modules(source, diagnostics)
        program = declare_program(module, model, diagnostics)
        parameters = evaluate_parameters(program, overrides or {}, diagnostics)
        for elaborated in elaborate_models(program, parameters):
            graph = complete_model(elaborated)
            if elaborated.model is not None:
                result.graphs[elaborated.model.name.text] = graph
    return result
