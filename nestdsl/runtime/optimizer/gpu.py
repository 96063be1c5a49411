"""Elementwise stages as Triton kernels: what `cpp.py` does on a CPU, on a GPU.

One launch moves all tensors of an update. The table of their addresses, with the numbers from outside, is
copied to the device for each update; which block belongs to which tensor stays there.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from contextlib import nullcontext
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from nestdsl.runtime.compile_cache import cache_is_written, use_compile_cache
from nestdsl.runtime.optimizer.addresses import addresses_of, sizes_of
from nestdsl.runtime.optimizer.expressions import TRITON, Line, written
from nestdsl.runtime.optimizer.groups import Tensors
from nestdsl.runtime.optimizer.stages import Elementwise

_BLOCK = 1024
"""How many elements of a tensor one program of the grid moves."""
_ALIGNMENT = 16
"""To how many bytes addresses are aligned where elements are read several at a time."""

_TYPES = {
    torch.float32: "tl.float32",
    torch.float64: "tl.float64",
    torch.bfloat16: "tl.bfloat16",
    torch.float16: "tl.float16",
}

_PRELUDE = """\
import triton
import triton.language as tl
from triton.language.extra import libdevice

T = tl.constexpr({kind})


@triton.jit
def larger(x, y):
    return tl.maximum(x, y, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def smaller(x, y):
    return tl.minimum(x, y, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def sign(x):
    return tl.where(x != x, x, (x > 0).to(T) - (x < 0).to(T))


@triton.jit
def tanh(x):
    falling = tl.exp(-2 * tl.abs(x))
    return sign(x) * (1 - falling) / (1 + falling)


@triton.jit
def softplus(x):
    return tl.where(x > 20, x, tl.log(1 + tl.exp(smaller(x, 20.0))))


@triton.jit
def update(table, block_items, block_numbers, sizes, items, BLOCK: tl.constexpr, ALIGNED: tl.constexpr):
    item = tl.load(block_items + tl.program_id(0))
    number = tl.load(block_numbers + tl.program_id(0))
    places = number * BLOCK + tl.arange(0, BLOCK)
    size = tl.load(sizes + item)
"""


class TritonKernel:
    """A stage as a Triton kernel. Computes in `kind`; `types` are those of its tensors."""

    def __init__(self, stage: Elementwise, types: tuple[torch.dtype, ...], kind: torch.dtype) -> None:
        self._update = _loaded(source(stage, types, kind))

    def __call__(
        self, tensors: Sequence[Tensors], numbers: Sequence[Tensor], given: Sequence[float], items: int
    ) -> None:
        device = tensors[0].device if isinstance(tensors[0], Tensor) else tensors[0][0].device
        sizes, block_items, block_numbers = _blocks(sizes_of(tensors, items), device)
        if not len(block_items):
            return
        table = addresses_of(tensors, items)
        is_aligned = all(address % _ALIGNMENT == 0 for address in table)
        table.extend([number.data_ptr() for number in numbers])
        table.frombytes(array("d", given).tobytes())
        on_device = torch.frombuffer(table, dtype=torch.int64)
        if device.type == "cuda":
            on_device = on_device.pin_memory().to(device, non_blocking=True)
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            self._update[(len(block_items),)](
                on_device, block_items, block_numbers, sizes, items, BLOCK=_BLOCK, ALIGNED=is_aligned
            )


def source(stage: Elementwise, types: tuple[torch.dtype, ...], kind: torch.dtype) -> str:
    """The Python of a stage, in which Triton kernels are written, with variables of our own naming: none of
    a program's text is in it."""
    kernel = written(stage, TRITON)
    names, places = kernel.names, kernel.places
    behind = f"{len(stage.tensors)} * items"
    text = []
    for index, (name, type) in enumerate(zip(stage.tensors, types, strict=True)):
        place = places[name]
        pointer = f"tl.load(table + {index} * items + item).to(tl.pointer_type({_TYPES[type]}))"
        text += [
            f"{place} = {pointer}",
            "if ALIGNED:",
            f"    {place} = tl.multiple_of({place}, 16)",
        ]
    for index, name in enumerate(stage.numbers):
        pointer = f"tl.load(table + {behind} + {index}).to(tl.pointer_type(T))"
        text.append(f"{names[name]} = tl.load({pointer} + item)")
    for index, one in enumerate(stage.given, len(stage.numbers)):
        bits = f"tl.load(table + {behind} + {index})"
        text.append(f"{names[one]} = {bits}.to(tl.float64, bitcast=True).to(T)")
    reads = [(names[one], places[one]) for one in stage.reads]
    stores = [(places[where], names[name]) for where, name in stage.stores]
    text.append("if (number + 1) * BLOCK <= size:")
    text += [f"    {line}" for line in _body(reads, kernel.lines, stores, "")]
    text.append("else:")
    rest = _body(reads, kernel.lines, stores, ", mask=inside")
    text += [f"    {line}" for line in ("inside = places < size", *rest)]
    return "\n".join([_PRELUDE.format(kind=_TYPES[kind]).rstrip(), *(f"    {line}" for line in text), ""])


def _body(
    reads: list[tuple[str, str]], lines: list[Line], stores: list[tuple[str, str]], mask: str
) -> list[str]:
    """What is done with a block; without a mask several elements are read at a time."""
    return [
        *(f"{name} = tl.load({place} + places{mask}).to(T)" for name, place in reads),
        *(f"{result} = {value}" for result, value in lines),
        *(f"tl.store({place} + places, {name}{mask})" for place, name in stores),
    ]


@lru_cache(maxsize=256)
def _loaded(text: str) -> Any:
    from torch._inductor.codecache import PyCodeCache

    use_compile_cache()
    # Triton reads the source of its kernels from their files.
    with cache_is_written():
        return PyCodeCache.load(text).update


@lru_cache(maxsize=64)
def _blocks(sizes: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The sizes of items; of each block its item, and its number among the item's."""
    counts = [-(-size // _BLOCK) for size in sizes]
    tables = (
        list(sizes),
        [item for item, count in enumerate(counts) for _ in range(count)],
        [number for count in counts for number in range(count)],
    )
    found = [torch.tensor(table, dtype=torch.int64, device=device) for table in tables]
    return found[0], found[1], found[2]
