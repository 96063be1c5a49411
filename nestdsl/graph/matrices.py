"""Which weights of a level are matrices of hidden levels, as `only matrices` means them."""

from __future__ import annotations

from dataclasses import dataclass

from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import EdgeType, Flow, Level, Operation, Read
from nestdsl.vocabulary.signatures import LIBRARY


@dataclass(frozen=True, slots=True)
class Weights:
    """What the weights of a level are."""

    matrices: bool
    others: bool


def weights_of(graph: NestGraph, level: Level) -> Weights:
    """Whether a level has matrices, and other weights.

    Those of the level that makes the model's output are none, and neither are stacks for several heads.
    """
    kind = LIBRARY.kinds[level.kind]
    shapes = kind.parameters(dict(level.arguments), 1, 1)
    is_hidden = kind.has_matrices and level.id != output_level(graph)
    flat = [len(shape) == 2 for _, shape in shapes]
    return Weights(is_hidden and any(flat), not is_hidden or not all(flat))


def output_level(graph: NestGraph) -> str | None:
    """The level whose read is the model's output, directly or through functions of one flow."""
    id: str | None = "out" if "out" in graph else None
    while id is not None:
        match graph.networkx.nodes[id].get("node"):
            case Flow():
                id = graph.source(id, EdgeType.READ)
            case Operation(operands=operands):
                flows = [operand for operand in operands if isinstance(operand, str)]
                id = flows[0] if len(flows) == 1 else None
            case Read(level=level):
                return level
            case _:
                return None
    return None
