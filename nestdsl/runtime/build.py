"""Plan → modules: one `Block` for each copy of a body, its levels as the modules of their kinds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import nn

from nestdsl.diagnostics import NestError, fail
from nestdsl.memory import fits_memory
from nestdsl.plan.cost import BYTES, least_weights
from nestdsl.plan.instructions import Call
from nestdsl.plan.plan import BlockPlan, Body, Plan, Sharing
from nestdsl.runtime.arguments import with_precise_arguments
from nestdsl.runtime.block import Block
from nestdsl.runtime.compilation import can_compile, compiled_run
from nestdsl.runtime.compile_cache import use_compile_cache
from nestdsl.runtime.compile_regions import regions
from nestdsl.runtime.construction import class_of, constructor_arguments, parents_first, plastic_arguments
from nestdsl.runtime.functions import FUNCTIONS
from nestdsl.runtime.kinds import SideBySide
from nestdsl.runtime.kinds.matrix import Matrix
from nestdsl.runtime.learning.plastic import Plastic
from nestdsl.runtime.memory import require_memory
from nestdsl.runtime.module import NestModule
from nestdsl.runtime.ops.linear_memory import fla
from nestdsl.runtime.program import Program, program_of
from nestdsl.runtime.python_parts import constructed, verify_weights
from nestdsl.runtime.run import PLAIN
from nestdsl.runtime.stored import load_weights
from nestdsl.vocabulary.extension import PYTHON_FUNCTIONS, PYTHON_KINDS


def build(
    plan: Plan,
    seed: int = 0,
    compile: bool = True,
    device: torch.device | str = "cpu",
    *,
    load: bool = True,
    kernels: bool = True,
) -> NestModule:
    """The model of a plan, with weights drawn from a seed, or from the files that the plan names.

    Same plan, same seed, same model. With `compile`, whole passes run through torch.compile;
    where that cannot work, a warning says why and the model runs as it is. `load=False` leaves the
    files alone, for a model whose weights come from elsewhere. With `kernels`, memories on a GPU run by
    flash-linear-attention where it is installed and computes what they do.
    """
    device = torch.device(device)
    what, hint = f"the model `{plan.model}`", "make it smaller, with `--set` for instance"
    # Copies of a level may be larger than the first, whose costs the plan has.
    least = max(plan.costs.parameter_bytes, BYTES * least_weights(plan))
    require_memory(least, device, what, hint)
    with fits_memory(what, hint):
        model = _with_weights(plan, seed, load=load).to(device)
        _verify_declarations(model)
    _freeze(model)
    use_compile_cache(compiles=False)  # torch makes the folder for operators of its users, too
    if kernels and device.type == "cuda" and fla.is_installed():
        use_kernels(model)
    model.run = compiled_run(model) if compile and can_compile(device) else PLAIN
    return model


def use_kernels(model: nn.Module) -> None:
    """Lets the memories that flash-linear-attention computes run by it; printing the model shows which."""
    for part in model.modules():
        if isinstance(part, Matrix):
            part.use_kernels()


def _with_weights(plan: Plan, seed: int, *, load: bool) -> NestModule:
    exact = with_precise_arguments(plan)
    programs = {body.name: program_of(body, regions(body, exact)) for body in exact.bodies}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = NestModule(programs[plan.root.name], plan)
        _fill(model, programs)
    if load:
        load_weights(model, plan.weights)
    return model


def _fill(block: Block, programs: Mapping[str, Program]) -> None:
    """Gives a block its levels and the blocks within it. The order is that in which weights are drawn."""
    body = block.program.body
    _verify_functions(body)
    for level in parents_first(body):
        sizes = level.input_size, level.output_size
        make = partial(class_of(level), *sizes, **constructor_arguments(level, body))
        layer = constructed(level, make) if level.kind in PYTHON_KINDS else make()
        if level.surprise is not None:
            parent = getattr(block, level.surprise.parent) if level.surprise.parent else None
            layer = Plastic(layer, parent=parent, **plastic_arguments(level))
        setattr(block, level.attribute, layer)
    for shared in body.shared:
        if shared.form is Sharing.SIDE_BY_SIDE:
            members = (getattr(block, name) for name in shared.members)
            setattr(block, shared.attribute, SideBySide(*members))
    for part in body.blocks:
        setattr(block, part.attribute, _copies(part, programs))


def _copies(block: BlockPlan, programs: Mapping[str, Program]) -> nn.Module:
    copies: list[Block] = []
    for name in block.bodies:
        copies.append(Block(programs[name]))
        _fill(copies[-1], programs)
    return nn.ModuleList(copies) if block.repeated else copies[0]


def _verify_functions(body: Body) -> None:
    for line in body.lines:
        if (
            isinstance(line, Call)
            and line.function not in FUNCTIONS
            and line.function not in PYTHON_FUNCTIONS
        ):
            raise fail(
                "N0502",
                f"this plan has the function `{line.function}`, which is not known here",
                "declare the function with `nestdsl.function` before the plan is built",
            )


def _verify_declarations(model: NestModule) -> None:
    """Raises NestError N0506 if what Python has added is other than it declares: its weights, and what it
    makes of one short sequence. A kind may need longer ones, so another length is tried before it is refused.
    """
    bodies = [module for module in model.modules() if isinstance(module, Block)]
    levels = [
        (declared, getattr(block, declared.attribute))
        for block in bodies
        for declared in block.program.body.levels
    ]
    own = [(declared, level) for declared, level in levels if declared.kind in PYTHON_KINDS]
    for declared, level in own:
        verify_weights(declared, level.layer if isinstance(level, Plastic) else level)
    lines = [line for block in bodies for line in block.program.body.lines]
    if not own and not any(isinstance(line, Call) and line.function in PYTHON_FUNCTIONS for line in lines):
        return
    try:
        _read_once(model, 2)
    except NestError as error:
        try:
            _read_once(model, 256)
        except NestError:
            raise error from error.__cause__


def _read_once(model: NestModule, tokens: int) -> None:
    """One pass of one sequence that leaves nothing behind."""
    device, given = (
        next((weight.device for weight in model.parameters()), torch.device("cpu")),
        model.plan.input,
    )
    ids = torch.zeros(1, tokens, dtype=torch.int64, device=device)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            model.run_by(
                PLAIN, ids if given.takes == "ids" else torch.ones(1, tokens, given.size, device=device), None
            )
    finally:
        model.train(was_training)


def _freeze(model: NestModule) -> None:
    """Weights of frozen levels need no gradient."""
    for level in model.plan.levels:
        if level.frozen:
            for parameter in model.level_parameters(level).values():
                parameter.requires_grad_(False)
