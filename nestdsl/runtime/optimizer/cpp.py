"""Elementwise stages as C++: one loop over all elements of all tensors, which reads and writes each once.

The tensors of an update are a table of addresses, so that one call moves any number of them, of any sizes,
where they are. The graphs of torch.compile take no such tables: they name each tensor, and take a minute to
compile for two hundred. It is its tool that calls the C++ compiler here, and keeps on disk what it has built.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate

import torch
from torch import Tensor

from nestdsl.runtime.compile_cache import cache_is_written, use_compile_cache
from nestdsl.runtime.optimizer.addresses import addresses_of, sizes_of
from nestdsl.runtime.optimizer.expressions import C_LIKE, written
from nestdsl.runtime.optimizer.groups import Tensors
from nestdsl.runtime.optimizer.stages import Elementwise

_BLOCK = 4096
"""How many elements of a tensor a thread moves before the next ones."""
_WORTH_A_THREAD = 1 << 15
"""How many elements at least are worth another thread."""

_TYPES = {
    torch.float32: "float",
    torch.float64: "double",
    torch.bfloat16: "c10::BFloat16",
    torch.float16: "c10::Half",
}

_PRELUDE = """\
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

using T = {kind};

inline T sign(T x) {{ return x != x ? x : T((x > 0) - (x < 0)); }}
inline T sigmoid(T x) {{ return 1 / (1 + std::exp(-x)); }}
inline T softplus(T x) {{ return x > 20 ? x : std::log1p(std::exp(x)); }}
inline T silu(T x) {{ return x / (1 + std::exp(-x)); }}
inline T gelu(T x) {{ return x * (1 + std::erf(x * T(0.7071067811865476))) / 2; }}
inline T relu(T x) {{ return x < 0 ? T(0) : x; }}
inline T larger(T x, T y) {{ return x > y || x != x ? x : y; }}
inline T smaller(T x, T y) {{ return x < y || x != x ? x : y; }}

extern "C" void update(int64_t items, const int64_t* first_blocks, const int64_t* sizes, void* const* tensors,
                       const void* const* numbers, const double* given, int32_t threads) {{
"""

_LOOP = """\
  #pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (int64_t block = 0; block < first_blocks[items]; block++) {
    const int64_t item = std::upper_bound(first_blocks, first_blocks + items, block) - first_blocks - 1;
    const int64_t begin = (block - first_blocks[item]) * BLOCK;
    const int64_t end = std::min<int64_t>(begin + BLOCK, sizes[item]);
"""


class CppKernel:
    """A stage as a compiled loop. Computes in `kind`; `types` are those of its tensors."""

    def __init__(self, stage: Elementwise, types: tuple[torch.dtype, ...], kind: torch.dtype) -> None:
        self._update = _compiled(source(stage, types, kind))

    def __call__(
        self, tensors: Sequence[Tensors], numbers: Sequence[Tensor], given: Sequence[float], items: int
    ) -> None:
        sizes, first_blocks = _blocks(sizes_of(tensors, items))
        addresses = addresses_of(tensors, items)
        of_numbers = array("Q", [number.data_ptr() for number in numbers])
        tables = (first_blocks, sizes, addresses, of_numbers, array("d", given))
        threads = min(torch.get_num_threads(), max(1, first_blocks[-1] * _BLOCK // _WORTH_A_THREAD))
        self._update(items, *(table.buffer_info()[0] for table in tables), threads)


def source(stage: Elementwise, types: tuple[torch.dtype, ...], kind: torch.dtype) -> str:
    """The C++ of a stage, with variables of our own naming: none of a program's text is in it."""
    kernel = written(stage, C_LIKE)
    names, places = kernel.names, kernel.places
    text = [f"  const T {names[one]} = given[{index}];" for index, one in enumerate(stage.given)]
    text.append(_LOOP.replace("BLOCK", str(_BLOCK)).rstrip())
    for index, (name, type) in enumerate(zip(stage.tensors, types, strict=True)):
        pointer, address = f"{_TYPES[type]}*", f"tensors[{index} * items + item]"
        text.append(f"    {pointer} __restrict {places[name]} = static_cast<{pointer}>({address});")
    text += [
        f"    const T {names[name]} = static_cast<const T*>(numbers[{index}])[item];"
        for index, name in enumerate(stage.numbers)
    ]
    text += ["    #pragma omp simd", "    for (int64_t i = begin; i < end; i++) {"]
    text += [f"      const T {names[name]} = static_cast<T>({places[name]}[i]);" for name in stage.reads]
    text += [f"      const T {result} = {value};" for result, value in kernel.lines]
    text += [f"      {places[where]}[i] = {names[name]};" for where, name in stage.stores]
    return "\n".join([_PRELUDE.format(kind=_TYPES[kind]), *text, "    }", "  }", "}", ""])


@lru_cache(maxsize=256)
def _compiled(text: str) -> Callable[..., None]:
    from torch._inductor.codecache import CppCodeCache

    use_compile_cache()
    # The loop is marked for vectorizing, which this flag of torch's, for all of its own loops, would undo.
    flags = ("-ftree-loop-vectorize", "-fno-math-errno", "-ffp-contract=fast")
    with cache_is_written():
        library = CppCodeCache.load(text, extra_flags=flags, needs_vec_isa=False, kernel_needs_vec_isa=False)
    update = library.update
    update.argtypes = [ctypes.c_int64, *[ctypes.c_void_p] * 5, ctypes.c_int32]
    update.restype = None
    return update


@lru_cache(maxsize=64)
def _blocks(sizes: tuple[int, ...]) -> tuple[array[int], array[int]]:
    """The sizes of items, and the number of the first block of each, with that of all blocks at the end."""
    blocks = accumulate((-(-size // _BLOCK) for size in sizes), initial=0)
    return array("q", sizes), array("q", blocks)
