"""`make demo`, with a `nestdsl` that only keeps to the rule that a folder takes one run."""

import shutil
import subprocess
from pathlib import Path

import pytest

from nestdsl.training import checkpoint, metrics

ROOT = Path(__file__).parents[2]
FILES = (checkpoint.FILE, "checkpoint-300.safetensors", metrics.FILE, checkpoint.PLAN_FILE)
COMMAND = """#!/bin/sh
[ "$1" = train ] || exit 0
for file in FILES; do [ ! -e "run/$file" ] || exit 1; done
mkdir -p run && cd run && touch FILES
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_a_second_demo_starts_from_a_clean_folder(tmp_path) -> None:
    command = tmp_path / "nestdsl"
    command.write_text(COMMAND.replace("FILES", " ".join(FILES)))
    command.chmod(0o755)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("kept")
    make = ["make", "-f", str(ROOT / "Makefile"), "demo", f"BIN={tmp_path}", "READY=", "DEMO_OUT=run"]
    for _ in range(2):
        done = subprocess.run(make, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + done.stdout
    assert {path.name for path in (tmp_path / "run").iterdir()} == {*FILES, "mine.txt"}
