"""What is asked of the processor without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nestdsl import processor

X86 = "processor : 0\nmodel name : {name}\nflags : fpu sse2 avx2{more}\n\nprocessor : 1\nflags : fpu\n"
ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd{more}\nCPU part\t: 0xd0c\n"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def set_to(text: str | None) -> None:
        file = tmp_path / "cpuinfo"
        if text is not None:
            file.write_text(text, encoding="utf-8")
        monkeypatch.setattr(processor, "_CPUINFO", file)
        processor.instruction_sets.cache_clear()

    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    yield set_to
    processor.instruction_sets.cache_clear()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (X86.format(name="AMD EPYC 7B13", more=""), False),
        (X86.format(name="avx512_bf16 in its name only", more=" avx512f avx512_vnni"), False),
        (X86.format(name="AMD EPYC 9654", more=" avx512f avx512_bf16"), True),
        (X86.format(name="Intel Xeon", more=" amx_bf16 amx_tile"), True),
        (ARM.format(more=""), False),
        (ARM.format(more=" bf16 i8mm"), True),
        ("hart : 0\nisa : rv64imafdc\n", None),
        ("", None),
        (None, None),
    ],
)
def test_bfloat16_in_hardware(machine, text: str | None, found: bool | None) -> None:
    machine(text)
    assert processor.has_bfloat16() is found


@pytest.mark.parametrize(
    ("limit", "found"), [("AVX2", False), ("avx512_core", False), ("ALL", True), ("", True)]
)
def test_a_limit_of_onednn_counts(machine, monkeypatch: pytest.MonkeyPatch, limit: str, found: bool) -> None:
    machine(X86.format(name="AMD EPYC 9654", more=" avx512_bf16"))
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert processor.has_bfloat16() is found


def test_processors_for_which_other_code_is_made_differ(machine) -> None:
    found = []
    for text in (X86.format(name="a", more=""), X86.format(name="a", more=" avx512f"), ARM.format(more="")):
        machine(text)
        found.append(processor.description())
    assert len(set(found)) == 3


@pytest.mark.parametrize(("limit", "says"), [("AVX2", "float32"), (None, "")])
def test_compile_says_which_precision_without_torch(limit: str | None, says: str) -> None:
    """As a real process; without a limit it says what this machine has."""
    text = (
        "import os, sys\n"
        f"limit = {limit!r}\n"
        "os.environ.pop('DNNL_MAX_CPU_ISA', None), os.environ.pop('ONEDNN_MAX_CPU_ISA', None)\n"
        "if limit: os.environ['ONEDNN_MAX_CPU_ISA'] = limit\n"
        "from nestdsl.cli.main import main\n"
        "status = main(['compile', 'std.optim:m3'])\n"
        "assert 'torch' not in sys.modules\n"
        "sys.exit(status)\n"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    (line,) = (line for line in done.stdout.splitlines() if "newton_schulz in" in line)
    has = {True: "bfloat16 on this", False: "float32 on this", None: "measures"}[processor.has_bfloat16()]
    assert line.startswith("precision         m3: newton_schulz in ")
    assert (f"in {says} on this processor" if says else has) in line
