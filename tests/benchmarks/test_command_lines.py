"""Each module of the benchmarks that can be run says what it does, and refuses what it does not know."""

import runpy
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.filterwarnings("ignore:.*found in sys.modules.*:RuntimeWarning")
"""Other tests have imported some of them."""

ROOT = Path(__file__).resolve().parents[2]
RUN = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
    for path in (ROOT / "benchmarks").rglob("*.py")
    if '__name__ == "__main__"' in path.read_text("utf-8")
)


def run(
    module: str,
    arguments: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[object, str, str]:
    """Its exit status and what it writes, as `python -m` runs it."""
    monkeypatch.setattr(sys, "argv", ["", *arguments])
    with pytest.raises(SystemExit) as exit:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    return exit.value.code, *capsys.readouterr()


def test_there_are_some() -> None:
    assert {"benchmarks", "benchmarks.gradients", "benchmarks.worker", "benchmarks.learning.job"} < set(RUN)


@pytest.mark.parametrize("module", RUN)
def test_help_says_what_a_module_does(module: str, capsys, monkeypatch) -> None:
    status, out, err = run(module, ("--help",), capsys, monkeypatch)
    assert (status, err) == (0, "")
    usage, _, rest = out.partition("\n\n")
    assert usage.startswith(f"usage: python -m {module} ")
    described, _, options = rest.partition("options:")
    assert len(described) > 40
    assert "--help" in options


@pytest.mark.parametrize("module", RUN)
@pytest.mark.parametrize("unknown", [("--zzz",), ("1", "2", "3", "4"), ("zzz",)])
def test_unknown_arguments_are_refused(module: str, unknown: tuple[str, ...], capsys, monkeypatch) -> None:
    status, out, err = run(module, unknown, capsys, monkeypatch)
    assert (status, out) == (2, "")
    assert f"python -m {module}: error:" in err
