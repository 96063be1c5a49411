"""A run that has been trained for a while, for tests that do something to its folder."""

import shutil
from pathlib import Path

import pytest

from nestdsl.training.data.text import ByteData, read_text
from nestdsl.training.loop import start
from nestdsl.training.progress import Reporter
from tests.training.altered import SETTINGS
from tests.training.models import tiny_model


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run after 6 of 8 steps; its text lies beside it."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 40)
    data = read_text(str(folder / "text.txt"))
    start(tiny_model(), data, folder / "run", SETTINGS, Reporter(), until=6)
    return folder / "run"


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy of that run, to be changed."""
    return shutil.copytree(whole, tmp_path / "run")


@pytest.fixture(scope="session")
def data(whole: Path) -> ByteData:
    """What that run is trained on."""
    return read_text(str(whole.parent / "text.txt"))
