"""What the processor of this machine can do, asked without torch: `nestdsl compile` says it, too."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_FLAGS = ("flags", "Features")
"""What the list of instruction sets is called: on x86, on ARM."""
_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Instructions that multiply in bfloat16, by their names on Linux: two of x86, one of ARM."""
_WITHOUT_BFLOAT16 = frozenset({"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI"})
"""Limits that oneDNN, which multiplies for torch, can be given, and under which it uses none of them."""


@cache
def instruction_sets() -> frozenset[str] | None:
    """The names that Linux gives to what the processor can do; None where that cannot be asked."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in _FLAGS:
            return frozenset(value.split())
    return None


def has_bfloat16() -> bool | None:
    """Whether it multiplies in bfloat16 with instructions of its own; None where that cannot be asked."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or ""
    if limit.upper() in _WITHOUT_BFLOAT16:
        return False
    found = instruction_sets()
    return None if found is None else not found.isdisjoint(_BFLOAT16)


def description() -> str:
    """A text that differs between processors for which different machine code is made."""
    found = instruction_sets()
    return " ".join([platform.machine(), *(sorted(found) if found else [platform.processor()])])
