"""The DOT text of whole pictures, compared with files; `UPDATE_GOLDEN=1` writes them anew."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from nestdsl.compiler import analyse
from nestdsl.graph.nest import NestGraph
from nestdsl.render.views import VIEWS
from nestdsl.source import Source
from nestdsl.syntax.files import read_source
from tests.render.programs import OPTIMIZERS, SELF_REFERENCE

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "dot"
PROGRAMS = ("hope", "transformer", "self_reference")


def graph_of(name: str) -> NestGraph:
    if name == "self_reference":
        return analyse(Source(SELF_REFERENCE)).graph()
    if name == "optimizers":
        return analyse(Source(OPTIMIZERS)).graph()
    return analyse(read_source(str(ROOT / "examples" / f"{name}.nest"))).graph()


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", [*PROGRAMS, "optimizers"])
def test_dot_text_is_as_it_was(name: str, view: str) -> None:
    drawn = VIEWS[view](graph_of(name), name == "optimizers").source
    golden = GOLDEN / f"{name}.{view}.dot"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(drawn, encoding="utf-8")
    assert drawn == golden.read_text(encoding="utf-8")


def test_dot_text_does_not_depend_on_the_hash_seed() -> None:
    """No set is iterated on the way to the text."""
    script = (
        "import sys; from nestdsl.api import load; nest = load(sys.argv[1]); "
        "print(nest.render('nesting').dot, nest.render('flow').dot)"
    )
    program = str(ROOT / "examples" / "hope.nest")
    texts = {
        subprocess.run(
            [sys.executable, "-c", script, program],
            env=os.environ | {"PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in random.Random(0).sample(range(1000), 2)
    }
    assert len(texts) == 1
