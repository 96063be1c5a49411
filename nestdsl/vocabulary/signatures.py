"""What programs can name: kinds, functions, optimizers and the words of clauses.

No torch here: `check`, `fmt`, `render` and `explain` read these tables; `runtime/` implements them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nestdsl.vocabulary.arguments import REQUIRED, Arguments, ArgumentSpec, Shapes, Type, Value, count
from nestdsl.vocabulary.functions import FUNCTIONS
from nestdsl.vocabulary.kinds import KINDS
from nestdsl.vocabulary.optimizers import OPTIMIZERS
from nestdsl.vocabulary.starts import STARTS
from nestdsl.vocabulary.timing import GRADIENTS, ReadTime, Reset
from nestdsl.vocabulary.types import Function, Kind, Memory, OptimizerSignature, Place, Takes

OBJECTIVES_IN_CONTEXT = ("l2", "dot", "lp")
OBJECTIVES_TRAIN = ("cross_entropy", "mse")
RESETS = tuple(reset.value for reset in Reset)
READS = tuple(time.value for time in ReadTime)


@dataclass(slots=True)
class Library:
    """The kinds, functions and optimizers that programs can name. Python may add to it."""

    kinds: dict[str, Kind] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    optimizers: dict[str, OptimizerSignature] = field(default_factory=dict)

    def memory(self, kind: str) -> Memory | None:
        """The form of a kind of memory; None for other kinds, and for one that is not declared here."""
        found = self.kinds.get(kind)
        return None if found is None else found.memory


LIBRARY = Library(
    {kind.name: kind for kind in KINDS},
    {function.name: function for function in FUNCTIONS},
    {optimizer.name: optimizer for optimizer in OPTIMIZERS},
)

__all__ = [
    "GRADIENTS",
    "LIBRARY",
    "OBJECTIVES_IN_CONTEXT",
    "OBJECTIVES_TRAIN",
    "READS",
    "REQUIRED",
    "RESETS",
    "STARTS",
    "ArgumentSpec",
    "Arguments",
    "Function",
    "Kind",
    "Library",
    "Memory",
    "OptimizerSignature",
    "Place",
    "Shapes",
    "Takes",
    "Type",
    "Value",
    "count",
]
