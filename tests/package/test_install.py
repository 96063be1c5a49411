"""A wheel and an editable install both find the grammar, the library and the pages of `explain`."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import lark
import pytest

CHECKOUT = Path(__file__).parents[2]
DEPENDENCIES = Path(lark.__file__).parents[1]

# Run without `site`: an editable install's .pth is not read, so only what is named can be found.
LOADS_ITS_FILES = """
import nestdsl
from importlib.resources import files
from nestdsl.diagnostics.explain import explain
from nestdsl.source import Source
from nestdsl.syntax.parser import parse

program, diagnostics = parse(Source("param depth = 2\\n"))
assert len(program.declarations) == 1, program
assert not list(diagnostics), list(diagnostics)
assert explain("N0301").startswith("# N0301"), explain("N0301")
assert any(file.name.endswith(".nest") for file in files("nestdsl").joinpath("std").iterdir())
print(*nestdsl.__path__)
"""


@pytest.fixture(scope="module")
def unpacked_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what a wheel, built here without a network, would install."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    subprocess.run([*build, "--wheel-dir", str(folder), str(CHECKOUT)], check=True)
    (wheel,) = folder.glob("nestdsl-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def run_outside(code: str, *paths: Path, cwd: Path) -> str:
    """What `code` prints in a Python that finds modules only in `paths` and the dependencies."""
    environment: Mapping[str, str] = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        "PYTHONPATH": os.pathsep.join(map(str, (*paths, DEPENDENCIES))),
    }
    done = subprocess.run(
        [sys.executable, "-S", "-W", "error", "-c", code],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_wheel_holds_what_the_program_reads(unpacked_wheel: Path) -> None:
    package = unpacked_wheel / "nestdsl"
    for name in ("grammars/nest.lark", "grammars/nest.tables.json"):
        assert (package / name).read_text() == (CHECKOUT / name).read_text()
    assert (package / "py.typed").exists()
    for folder, pattern in (("std", "*.nest"), ("diagnostics/pages", "*.md")):
        expected = {path.name for path in (CHECKOUT / "nestdsl" / folder).glob(pattern)}
        assert expected
        assert {path.name for path in (package / folder).glob(pattern)} == expected
    assert {path.name for path in unpacked_wheel.iterdir()} == {"nestdsl", "nestdsl-0.1.0.dist-info"}


def test_wheel_loads_its_files(unpacked_wheel: Path, tmp_path: Path) -> None:
    found = run_outside(LOADS_ITS_FILES, unpacked_wheel, cwd=tmp_path)
    assert found == str(unpacked_wheel / "nestdsl")


def test_editable_install_loads_its_files(tmp_path: Path) -> None:
    found = run_outside(LOADS_ITS_FILES, CHECKOUT, cwd=tmp_path)
    assert found == str(CHECKOUT / "nestdsl")
