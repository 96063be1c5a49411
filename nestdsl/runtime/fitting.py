"""Whether tensors from outside are what a model reads, and what its loss compares with: N0501 if not."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nestdsl.diagnostics import NestError, fail
from nestdsl.plan.plan import Plan

NO_TARGET = -100
"""The id where there is no target."""


def verify_input(model: nn.Module, plan: Plan, x: Tensor) -> None:
    """N0501 unless x is what `input` says: ids [batch, tokens], vectors [batch, tokens, size].

    Looking at values would make a pass wait for a GPU: the range of ids is verified on the CPU only.
    """
    if not isinstance(x, Tensor):
        raise _unlike(plan, f"is given {_article(type(x).__name__)}", _reads(plan), "make it a torch tensor")
    size = plan.input.size
    _verify_dense(plan, x, "is given")
    if not torch.compiler.is_compiling() and 0 in x.shape[:2]:
        what = "no sequence" if x.shape[0] == 0 else "no token"
        raise _unlike(plan, f"is given {what}: {_shown(x)}", _reads(plan), "give at least one token")
    if plan.input.takes == "ids":
        if x.dtype not in (torch.int64, torch.int32) or x.ndim != 2:
            hint = "give ids with `.long()`" if x.ndim == 2 else "give one row of ids for each sequence"
            raise _unlike(plan, f"is given {_shown(x)}", _reads(plan), hint)
        if _is_readable(x):
            lowest, highest = (int(bound) for bound in x.aminmax())
            if lowest < 0 or highest >= size:
                odd = lowest if lowest < 0 else highest
                hint = f"bring ids below {size}, or write `input ids({max(highest, 0) + 1})`"
                raise _unlike(plan, f"is given the id {odd}", _reads(plan), hint)
    elif not x.is_floating_point() or x.ndim != 3 or x.shape[-1] != size:
        hint = (
            f"give vectors of {size}, or write `input vectors({x.shape[-1]})`"
            if x.is_floating_point() and x.ndim == 3
            else "give one vector of floating-point numbers for each token"
        )
        raise _unlike(plan, f"is given {_shown(x)}", _reads(plan), hint)
    _verify_place(model, plan, x)


def verify_learning(plan: Plan, *, is_split: bool) -> None:
    """Raises NestError N0501 for a model that cannot learn from surprise while it reads, or for rows that
    stand at different places of a period (is_split)."""
    if is_split:
        raise fail(
            "N0501",
            "rows that have read different parts of a period cannot learn together while they read",
            "take them apart with `take_rows`, and read each group by itself",
        )
    if plan.input.takes != "ids":
        raise fail(
            "N0501",
            "a model of vectors cannot learn while it reads: what it should predict is not in its input",
            "use `loss(inputs, targets)`, or read without `learn`",
        )


def verify_targets(plan: Plan, inputs: Tensor, targets: Tensor) -> None:
    """Raises NestError N0501 unless targets have a place for each of the inputs, as the objective compares
    them: ids [batch, tokens] below `output`, or -100 for none; vectors [batch, tokens, output]."""
    batch, tokens = inputs.shape[:2]
    size = plan.output_size
    is_choice = plan.train.objective == "cross_entropy"
    shape = (batch, tokens) if is_choice else (batch, tokens, size)
    wanted = (
        f"int64 {list(shape)} from 0 to {size - 1}, {NO_TARGET} for none"
        if is_choice
        else f"floating-point numbers {list(shape)}"
    )
    wanted = f"`objective {plan.train.objective}` compares with {wanted}"
    if not isinstance(targets, Tensor):
        what = f"has {_article(type(targets).__name__)} for targets"
        raise _unlike(plan, what, wanted, "make it a torch tensor")
    _verify_dense(plan, targets, "has targets")
    is_right = targets.dtype == torch.int64 if is_choice else targets.is_floating_point()
    if not is_right or targets.shape != shape:
        hint = "give one target for each token of the inputs" if is_right else "convert them"
        raise _unlike(plan, f"has targets {_shown(targets)}", wanted, hint)
    if targets.device != inputs.device:
        what = f"has inputs on `{inputs.device}` and targets on `{targets.device}`"
        raise _unlike(plan, what, "both stand on one device", "move them with `.to(device)`")
    if is_choice and _is_readable(targets):
        lowest, highest = (int(bound) for bound in targets.aminmax())
        if lowest < 0 and bool(((targets < 0) & (targets != NO_TARGET)).any()):
            odd = int(targets[(targets < 0) & (targets != NO_TARGET)][0])
            raise _unlike(
                plan, f"has the target {odd}", wanted, f"write {NO_TARGET} where there is no target"
            )
        if highest >= size:
            hint = f"let the last level before `out` be `linear({highest + 1})`"
            raise _unlike(plan, f"has the target {highest}", wanted, hint)


def _verify_dense(plan: Plan, x: Tensor, what: str) -> None:
    if x.layout is not torch.strided:
        layout = _name(x.layout)
        raise _unlike(
            plan, f"{what} {layout} {_shown(x)}", "tensors are dense", "convert it with `.to_dense()`"
        )


def _verify_place(model: nn.Module, plan: Plan, x: Tensor) -> None:
    first = next(model.parameters(), None)
    if first is None:
        return
    if x.device != first.device:
        what = f"is given a tensor on `{x.device}`"
        raise _unlike(plan, what, f"its weights are on `{first.device}`", f'move it: `.to("{first.device}")`')
    if not x.is_floating_point() or x.dtype == first.dtype or torch.is_autocast_enabled(x.device.type):
        return
    # Some weights of a model may be of another type than the rest, as those that learn in context are.
    known = dict.fromkeys(weight.dtype for weight in model.parameters())
    if x.dtype not in known:
        name = _name(first.dtype)
        raise _unlike(
            plan, f"is given {_shown(x)}", f"its weights are {name}", f"convert it: `.to(torch.{name})`"
        )


def _is_readable(x: Tensor) -> bool:
    """Whether values are at hand: not on a GPU, and not while something is compiled."""
    return x.device.type == "cpu" and x.numel() > 0 and not torch.compiler.is_compiling()


def _reads(plan: Plan) -> str:
    if plan.input.takes == "ids":
        return f"it reads int64 [batch, tokens] from 0 to {plan.input.size - 1}"
    return f"it reads floating-point numbers [batch, tokens, {plan.input.size}]"


def _unlike(plan: Plan, given: str, wanted: str, hint: str) -> NestError:
    return fail("N0501", f"model `{plan.model}` {given}; {wanted}", hint=hint)


def _shown(x: Tensor) -> str:
    return f"{_name(x.dtype)} {list(x.shape)}"


def _name(kind: torch.dtype | torch.layout) -> str:
    return str(kind).removeprefix("torch.")


def _article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} `{word}`"
