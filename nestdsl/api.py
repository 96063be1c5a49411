"""The Python face of the compiler: a program, loaded and checked, as one object."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import networkx

from nestdsl.compiler import Analysis, analyse
from nestdsl.diagnostics import Diagnostic, fail
from nestdsl.given import described, path_text, require_bool, require_text, wrong_type
from nestdsl.graph.nest import NestGraph
from nestdsl.plan.lower import lower
from nestdsl.plan.plan import OrderedLevel, Plan
from nestdsl.semantics.constants import Constant
from nestdsl.source import Source
from nestdsl.syntax.files import read_source

if TYPE_CHECKING:
    import torch

    from nestdsl.explain import Explanation
    from nestdsl.render.notebook import Picture
    from nestdsl.runtime.module import NestModule


class Nest:
    """One model of a program that has passed every check; `load` and `parse` make one."""

    def __init__(self, analysis: Analysis, *, sharing: bool = True) -> None:
        if not isinstance(analysis, Analysis):
            raise wrong_type("`analysis` of nestdsl.Nest", analysis, _FROM_A_PROGRAM)
        require_bool("`sharing`", sharing)
        self.source: Source = analysis.source
        self.nest_graph: NestGraph = analysis.graph()
        self.diagnostics: tuple[Diagnostic, ...] = analysis.diagnostics
        """The warnings; a program with errors is no Nest."""
        self.sharing = sharing
        """Whether memories that can work as one do, in the plan and in what is compiled from it."""

    def __repr__(self) -> str:
        return f"<Nest {self.nest_graph.name} from {self.source.name}: {len(self.levels)} levels>"

    @property
    def graph(self) -> networkx.MultiDiGraph[str]:
        """Levels, flows and what passes between them; `nestdsl.graph.nodes` says what the attributes are."""
        return self.nest_graph.networkx

    @cached_property
    def plan(self) -> Plan:
        """The compiled model as frozen data: all that building it needs, and no torch.

        `model` is its name, `input` what it reads, `output_size` the size of what it gives, and `train` its
        objective and optimizer. `bodies` holds each distinct block once, with its levels and the
        instructions that it runs; `root` is the outermost. `levels` lists every declared level, the fastest
        first; `clock` the periods in tokens and in steps; `costs` parameters, bytes of state, and operations
        for one token. `weights` names the tensors of `init from`.
        `nestdsl.plan.yaml.to_yaml(plan)` writes it, as `nestdsl compile FILE --emit plan` does.
        """
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

        require_text("`view`", view, "the name of a view: nesting or flow")
        require_bool("`optimizers`", optimizers)
        return picture(self.nest_graph, view, optimizers=optimizers)

    def explain(self) -> Explanation:
        """Every level, the fastest first, with its update equation: what `nestdsl explain` prints.

        It shows itself as text in a notebook and when printed; `.latex` is the same for papers.
        """
        from nestdsl.explain import Explanation

        return Explanation(self.nest_graph, self.plan)

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
        is not there, or for a bad seed, N0104 for an argument of another type.
        """
        from nestdsl.ranges import require_seed
        from nestdsl.runtime.build import build
        from nestdsl.training.device import usable_device

        for name, value in (("compile", compile), ("kernels", kernels)):
            require_bool(f"`{name}`", value)
        if sharing is not None:
            require_bool("`sharing`", sharing)
        require_seed(seed)
        plan = self.plan
        if sharing is not None and sharing != self.sharing:
            plan = lower(self.nest_graph, self.source.name, sharing=sharing)
        return build(plan, seed=seed, compile=compile, device=usable_device(device), kernels=kernels)


def load(path: str | os.PathLike[str], /, *, model: str | None = None, **parameters: Constant) -> Nest:
    """Reads, checks and elaborates a program's file; parameters override those it declares.

    Raises NestError with `.diagnostics` if anything is wrong. `model` chooses one of several.
    """
    file = path_text("`path`", path, "the path of a `.nest` file, as a string or a path")
    _verify(model, parameters)
    place, sign, name = file.rpartition(":")
    if sign and os.path.isfile(place) and not os.path.exists(file):
        hint = f'write `nestdsl.load("{place}", model="{name}")`; `nestdsl.optimizer` takes FILE:NAME'
        raise fail("N0003", f"there is no file `{file}`", hint)
    return Nest(analyse(read_source(file), parameters, model))


def parse(text: str, /, *, model: str | None = None, **parameters: Constant) -> Nest:
    """Like `load`, for the text of a program; such a text can `use` the library only."""
    require_text("`text`", text, "the text of a program; `nestdsl.load` reads a file")
    _verify(model, parameters)
    return Nest(analyse(Source(text), parameters, model))


def _verify(model: object, parameters: Mapping[str, object]) -> None:
    """Raises NestError N0104 for what is no name of a model, N0203 for what is no value of a parameter."""
    if model is not None:
        require_text("`model`", model, "the name of a model")
    for name, value in parameters.items():
        if not isinstance(value, Constant):
            what = f"the parameter `{name}` is {described(value)}"
            raise fail("N0203", what, "give a number, True or False, or a string")


_FROM_A_PROGRAM = "a program to `nestdsl.load` or `nestdsl.parse`, which make a Nest"
