"""Whether a tensor that was read is of the form of the one that takes its values."""

from __future__ import annotations

from torch import Tensor


def difference(name: str, given: Tensor | None, wanted: Tensor) -> str:
    """How a tensor, by its name, differs in type or shape from the one it is for; empty if it does not."""
    if given is None:
        return f"`{name}` is missing"
    there, here = _form(given), _form(wanted)
    return f"`{name}` is {there} there and {here} here" if there != here else ""


def _form(tensor: Tensor) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}".removeprefix("torch.")
