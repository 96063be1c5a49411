"""Whether what the methods of a model are given can be that, beside the tensors that it reads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nestdsl.diagnostics import NestError, fail
from nestdsl.given import wrong_type
from nestdsl.ranges import require_whole
from nestdsl.runtime.state import State

_LIST = "a list of states, such as `[first, second]`"


def require_batch(batch: int) -> None:
    """Raises NestError N0202 unless it is a number of sequences; a symbolic one is."""
    if not isinstance(batch, torch.SymInt):
        require_whole("batch", batch)


def require_targets(targets: object) -> None:
    """Raises NestError N0104 for None, for which `forward` gives outputs and no loss."""
    if targets is None:
        raise wrong_type("`targets`", targets, "a tensor of what the model should give for each token")


def listed_states(states: object) -> Sequence[State]:
    """The states to be joined. Raises NestError N0104 for anything but a list or tuple of at least one."""
    if not isinstance(states, list | tuple):
        raise wrong_type("`states`", states, _LIST)
    if not states:
        raise fail("N0104", "`states` holds no state", f"give {_LIST}")
    return states


def verify_numbers(rows: Tensor, count: int) -> None:
    """Raises NestError N0501 unless rows [any] holds numbers of `count` rows.

    Looking at values would make it wait for a GPU: their range is verified on the CPU only.
    """
    wanted = f"a tensor int64 [any] with numbers from 0 to {count - 1}, each that of a row"
    _verify_vector(rows, (torch.int64, torch.int32), wanted)
    if rows.device.type == "cpu" and rows.numel() and not torch.compiler.is_compiling():
        lowest, highest = (int(bound) for bound in rows.aminmax())
        if lowest < 0 or highest >= count:
            odd = lowest if lowest < 0 else highest
            raise _odd(f"has the number {odd}, and the state has {count} rows", wanted)


def verify_mask(rows: Tensor, count: int) -> None:
    """Raises NestError N0501 unless rows [count] is a truth value for each row."""
    wanted = f"a tensor bool [{count}], True for each row that begins a context"
    _verify_vector(rows, (torch.bool,), wanted)
    if rows.shape[0] != count:
        raise _odd(f"is for {rows.shape[0]} rows, and the state has {count}", wanted)


def _verify_vector(rows: object, types: tuple[torch.dtype, ...], wanted: str) -> None:
    if not isinstance(rows, Tensor):
        raise wrong_type("`rows`", rows, wanted)
    if rows.layout is not torch.strided or rows.dtype not in types or rows.ndim != 1:
        kind = str(rows.dtype).removeprefix("torch.")
        raise _odd(f"is {kind} {list(rows.shape)}", wanted)


def _odd(what: str, wanted: str) -> NestError:
    return fail("N0501", f"`rows` {what}", f"give {wanted}")
