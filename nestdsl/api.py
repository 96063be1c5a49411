"""The Python face of the compiler: a program, loaded and checked, as one object."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

import networkx

from nestdsl.compiler import Analysis, analyse
from nestdsl.diagnostics import Diagnostic, fail
from nestdsl.graph.nest import NestGraph
from nestdsl.plan.lower import lower
from nestdsl.plan.plan import OrderedLevel, Plan
from nestdsl.semantics.constants import Constant
from nestdsl.source import Source
from nestdsl.syntax.files import read_source

if TYPE_CHECKING:
    import torch

    from nestdsl.render.notebook import Picture
    from nestdsl.runtime.module import NestModule


class Nest:
    """One model of a program that has passed every check."""

    def __init__(self, analysis: Analysis, *, sharing: bool = True) -> None:
        self.source: Source = analysis.source
        self.nest_graph: NestGraph = analysis.graph()
        self.diagnostics: tuple[Diagnostic, ...] = analysis.diagnostics
        """The warnings; a program with errors is no Nest."""
        self.sharing = sharing
        """Whether memories that can work as one do, in the plan and in what is compiled from it."""

    def __repr__(self) -> str:
        return f"<Nest {self.nest_graph.name} from {self.source.name}: {len(self.levels)} levels>"

    @property
    def graph(self) -> networkx.MultiDiGraph:
        """Levels, flows and what passes between them; `nestdsl.graph.nodes` says what the attributes are."""
        return self.nest_graph.networkx

    @cached_property
    def plan(self) -> Plan:
        """The whole compiled model as frozen data."""
        return lower(self.nest_graph, self.source.name, sharing=self.sharing)

    @property
    def levels(self) -> tuple[OrderedLevel, ...]:
        """Every declared level, the fastest first, with its kind, period, unit, optimizer and sizes."""
        return self.plan.levels

    def render(self, view: str = "nesting", *, optimizers: bool = False) -> Picture:
        """A picture, `nesting` or `flow`: it shows itself in a notebook, and `.save("x.svg")` writes it.

        `optimizers` draws the levels of optimizers too: memories of gradients, faster than what they drive.
        """
        from nestdsl.render.notebook import picture

        return picture(self.nest_graph, view, optimizers=optimizers)

    def compile(
        self,
        device: torch.device | str = "cpu",
        *,
        compile: bool = True,
        seed: int = 0,
        sharing: bool | None = None,
        kernels: bool = True,
    ) -> NestModule:
        """The model as a torch.nn.Module with weights drawn from `seed`; `compile=False` runs it eagerly.

        `sharing=False` lets each memory work by itself where several could work as one: the same
        weights, results and gradients, to compare with. On a GPU, memories run by the kernels of
        flash-linear-attention where that is installed and computes what they do, unless `kernels=False`.

        Raises NestError: N0503 if the memory of this machine cannot hold it, N0203 for a device that
        is not there, or for a bad seed.
        """
        from nestdsl.ranges import require_seed
        from nestdsl.runtime.build import build
        from nestdsl.training.device import usable_device

        require_seed(seed)
        plan = self.plan
        if sharing is not None and sharing != self.sharing:
            plan = lower(self.nest_graph, self.source.name, sharing=sharing)
        return build(plan, seed=seed, compile=compile, device=usable_device(device), kernels=kernels)


def load(path: str | os.PathLike[str], /, *, model: str | None = None, **parameters: Constant) -> Nest:
    """Reads, checks and elaborates a program's file; parameters override those it declares.

    Raises NestError with `.diagnostics` if anything is wrong. `model` chooses one of several.
    """
    _require_name(model)
    place, sign, name = os.fsdecode(path).rpartition(":")
    if sign and os.path.isfile(place) and not os.path.exists(path):
        hint = f'write `nestdsl.load("{place}", model="{name}")`; `nestdsl.optimizer` takes FILE:NAME'
        raise fail("N0003", f"there is no file `{os.fsdecode(path)}`", hint)
    return Nest(analyse(read_source(os.fsdecode(path)), parameters, model))


def parse(text: str, /, *, model: str | None = None, **parameters: Constant) -> Nest:
    """Like `load`, for the text of a program; such a text can `use` the library only."""
    _require_name(model)
    if not isinstance(text, str):
        raise TypeError(f"nestdsl.parse takes the text of a program, not {type(text).__name__}")
    return Nest(analyse(Source(text), parameters, model))


def _require_name(model: object) -> None:
    if model is not None and not isinstance(model, str):
        raise TypeError(f"`model` is the name of a model, not {type(model).__name__}")
