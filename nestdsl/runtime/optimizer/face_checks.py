"""What users give to an optimizer of theirs: parameters, groups of them, and saved states."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from nestdsl.diagnostics import NestError, fail
from nestdsl.given import require_bool, wrong_type
from nestdsl.graph.optimizer import OptimizerProgram
from nestdsl.plan.precision import precisions_of
from nestdsl.ranges import shown
from nestdsl.runtime.optimizer.groups import Driven
from nestdsl.runtime.optimizer.memories import STEP_COUNT
from nestdsl.semantics.suggestions import listed
from nestdsl.vocabulary.functions import AUTO

PARAMS, MATRICES, BFLOAT16 = "params", "matrices", "bfloat16"
"""Keys of a group: its parameters, and what is ours beside the numbers of the program. `matrices`: whether
its 2-D parameters are matrices. `bfloat16`: whether `newton_schulz` is in bfloat16 (or else in float32) where
the program leaves that to the machine."""

_AS_MADE = "the parameters that it was made with, in a list"
_MOVED = "optimizers of the language move dense, real parameters by dense gradients"
_ADD = "and add others with `add_param_group`"
_GIVE_PARAMS = "parameters, such as `model.parameters()`, or a list of groups: `[{'params': …, 'lr': 1e-3}]`"


def listed_params(params: object) -> list[Any]:
    """Parameters or groups as a list. Raises NestError N0104 for anything else, and if there are none."""
    if isinstance(params, Tensor):
        raise wrong_type("`params`", params, _GIVE_PARAMS)
    found = _each_of("`params`", params, _GIVE_PARAMS)
    if not found:
        raise fail("N0104", "`params` holds no parameters", f"give {_GIVE_PARAMS}")
    for one in found:
        if not isinstance(one, Mapping) and not _is_parameter(one):
            raise wrong_type("one of `params`", one, _GIVE_PARAMS)
    return found


def verify_group(group: object) -> None:
    """Raises NestError N0103 or N0104 for what is no group of parameters, with numbers of its own."""
    if not isinstance(group, dict):
        raise wrong_type("a group of parameters", group, "a dict: `{'params': …, 'lr': 1e-3}`")
    if PARAMS not in group:
        raise fail("N0103", f"a group has no `{PARAMS}`", "give a dict: `{'params': …, 'lr': 1e-3}`")
    for name, value in group.items():
        if not isinstance(name, str):
            raise wrong_type("a key of a group", name, "the name of an argument, as a string")
        if name not in (PARAMS, "param_names") and not isinstance(value, int | float | str):
            raise wrong_type(_of_group(name), value, "a number, True or False, or a schedule as a string")
    require_bool(_of_group(MATRICES), group.get(MATRICES, True))


def group_params(group: Mapping[str, Any]) -> Any:
    """The parameters of a group, in a list; a single one as it is. Raises NestError N0104 for others."""
    params = group[PARAMS]
    if isinstance(params, Tensor | set):  # torch takes the one, and says why it takes no set
        return params
    found = _each_of(_of_group(PARAMS), params, "a list of parameters")
    for one in found:
        if not _is_parameter(one):
            raise wrong_type(f"one of {_of_group(PARAMS)}", one, "parameters of a model")
    return found


def _each_of(what: str, given: object, give: str) -> list[Any]:
    """What an iterable holds. Raises NestError N0104 for others, such as an array without dimensions."""
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise wrong_type(what, given, give)
    try:
        each = iter(given)
    except TypeError as error:
        raise wrong_type(what, given, give) from error
    return list(each)


def refused(error: Exception) -> NestError:
    """N0104 for parameters that torch does not take, such as one that is given twice."""
    return fail("N0104", f"torch refuses these parameters: {error}", f"give {_GIVE_PARAMS}, each once")


def number_of(group: Mapping[str, Any], name: str) -> float:
    """A number of a group as it is now. Raises NestError N0103, N0104 or N0203 where it is none any more."""
    if name not in group:
        raise fail("N0103", f"{_of_group(name)} is gone", f"put it back: `group['{name}'] = …`")
    value = group[name]
    if not (isinstance(value, Real) and not isinstance(value, bool)) and not _is_number_tensor(value):
        raise wrong_type(_of_group(name), value, "a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise fail("N0203", f"{_of_group(name)} is {shown(value)}", "give a finite number")
    return number


def _is_number_tensor(value: object) -> bool:
    return isinstance(value, Tensor) and value.numel() == 1 and _has_numbers(value)


def _has_numbers(tensor: Tensor) -> bool:
    """Whether a tensor is real and dense, and not on `meta`, where there are shapes alone."""
    return tensor.layout is torch.strided and not tensor.is_complex() and not tensor.is_meta


def verify_groups(groups: object, count: int) -> None:
    """Raises NestError N0104 or N0405 unless these are the groups of an optimizer that has so many."""
    if not isinstance(groups, list):
        raise wrong_type("`param_groups`", groups, f"the list of groups as it was, {_ADD}")
    for group in groups:
        if not isinstance(group, dict):
            raise wrong_type("one of `param_groups`", group, f"the list of groups as it was, {_ADD}")
    if len(groups) != count:
        raise fail(
            "N0405",
            f"`param_groups` has {len(groups)} groups, and this optimizer was given {count}",
            f"leave the list as it was, {_ADD}",
        )


def verify_same(group: Mapping[str, Any], weights: Sequence[Tensor], matrices: bool | None) -> None:
    """Raises NestError N0405 if a group has other parameters than when its memories were made, or, unless
    `matrices` is None, another choice of what matrices are."""
    now = group.get(PARAMS)
    if not isinstance(now, list | tuple):
        raise wrong_type(_of_group(PARAMS), now, _AS_MADE)
    if len(now) != len(weights) or any(one is not other for one, other in zip(now, weights, strict=True)):
        what = f"{_of_group(PARAMS)} are others than those that its memories were made for"
        raise fail("N0405", what, f"leave them as they were, {_ADD}; or make a new optimizer")
    require_bool(_of_group(MATRICES), group.get(MATRICES))
    if matrices is not None and group[MATRICES] is not matrices:
        raise fail(
            "N0405",
            f"{_of_group(MATRICES)} was {matrices} when its memories were made, and cannot become "
            f"{group[MATRICES]}",
            "give it to the group when the optimizer is made",
        )


def verify_precision(program: OptimizerProgram, group: Mapping[str, Any]) -> None:
    """Raises N0104 if a group chooses a precision where there is none to choose, or with a bad value."""
    if BFLOAT16 not in group:
        return
    if AUTO not in precisions_of(program):
        raise fail(
            "N0104",
            f"a group has `{BFLOAT16}`, and `{program.name}` leaves no precision to the machine",
            "leave it out: the program names the precision itself, or makes no matrix orthogonal",
        )
    require_bool(_of_group(BFLOAT16), group[BFLOAT16])


def verify_weights(group: Mapping[str, Any]) -> None:
    """Raises NestError N0104 or N0501 for parameters that no optimizer of the language moves."""
    weights = group.get(PARAMS)
    if not isinstance(weights, list | tuple):
        raise wrong_type(_of_group(PARAMS), weights, _AS_MADE)
    for weight in weights:
        if not isinstance(weight, Tensor):
            raise wrong_type(f"one of {_of_group(PARAMS)}", weight, _AS_MADE)
        if weight.is_complex() or weight.layout is not torch.strided:
            raise fail("N0501", f"a parameter is {'complex' if weight.is_complex() else 'sparse'}", _MOVED)


def verify_gradients(weights: Sequence[Tensor]) -> None:
    """Raises NestError N0501 for a sparse gradient."""
    for weight in weights:
        if (grad := weight.grad) is not None and grad.layout is not torch.strided:
            raise fail("N0501", "a parameter has a sparse gradient", _MOVED)


def verify_saved_groups(state_dict: object, groups: Sequence[Mapping[str, Any]]) -> None:
    """Raises NestError N0104 or N0502 unless a state dict has a state for groups as these are."""
    if not isinstance(state_dict, dict):
        raise wrong_type("`state_dict`", state_dict, "what `state_dict()` of such an optimizer gave")
    state, saved = state_dict.get("state"), state_dict.get("param_groups")
    if not isinstance(state, dict) or not isinstance(saved, list | tuple):
        raise _no_state("it has no `state` and `param_groups`")
    if len(saved) != len(groups):
        raise _no_state(f"it has {len(saved)} groups of parameters, and this optimizer has {len(groups)}")
    for number, (one, own) in enumerate(zip(saved, groups, strict=True)):
        params = one.get(PARAMS) if isinstance(one, dict) else None
        if not isinstance(params, list | tuple) or not all(isinstance(name, int | str) for name in params):
            raise _no_state(f"group {number} lists no parameters")
        if len(params) != len(own[PARAMS]):
            raise _no_state(
                f"group {number} has {len(params)} parameters, and that of this optimizer {len(own[PARAMS])}"
            )
        require_bool(_of_group(MATRICES), one.get(MATRICES, True))


def verify_state(one: Driven, saved: Any) -> None:
    """Raises N0502 if what was saved is not what is remembered of such a weight here."""
    if saved is None:
        return
    if not isinstance(saved, dict):
        raise _no_state(f"it has {shown(saved)} for what is remembered of a weight")
    if not saved:
        return
    names = {name for name in saved if name != STEP_COUNT}
    if names != one.state.keys():
        raise fail(
            "N0502",
            f"this is the state of another optimizer: it remembers {listed(sorted(map(str, names)))} of a "
            "weight",
            f"this one remembers {listed(sorted(one.state))}; a state fits the text that it was saved with",
        )
    count = saved.get(STEP_COUNT)
    if not _is_count(count):
        raise _no_state(f"its `{STEP_COUNT}` of a weight is {shown(count)}")
    for name, tensor in one.state.items():
        if not isinstance(saved[name], Tensor):
            raise _no_state(f"its `{name}` of a weight is {shown(saved[name])}, and no tensor")
        if not _has_numbers(saved[name]):
            raise _no_state(f"its `{name}` of a weight is no dense tensor of real numbers")
        if saved[name].shape != tensor.shape:
            raise fail(
                "N0502",
                f"this is the state of other weights: `{name}` is {list(saved[name].shape)} there, and here "
                f"{list(tensor.shape)}, of a weight {list(one.weight.shape)}",
                "give the optimizer the parameters of the model that it was saved with, in their order",
            )


def _is_count(count: object) -> bool:
    if isinstance(count, Tensor):
        return _is_number_tensor(count) and 0 <= float(count) < math.inf
    return isinstance(count, int) and not isinstance(count, bool) and 0 <= count < 2**63


def _no_state(why: str) -> NestError:
    hint = "give what `state_dict()` of an optimizer of the same parameters gave"
    return fail("N0502", f"this is not the state of such an optimizer: {why}", hint)


def _is_parameter(one: object) -> bool:
    """A tensor, or one with its name, as `model.named_parameters()` gives them."""
    is_named = isinstance(one, tuple) and len(one) == 2 and isinstance(one[0], str)
    return isinstance(one[1] if is_named else one, Tensor)  # type: ignore[index]


def _of_group(name: str) -> str:
    return f"`{name}` of a group"
