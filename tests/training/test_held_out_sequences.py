"""A run measures as many held-out sequences as it is told, and so does what goes on with it."""

from __future__ import annotations

from pathlib import Path

import nestdsl
from nestdsl.training import checkpoint
from nestdsl.training.loop import resume, train
from nestdsl.training.settings import Settings
from tests.training.models import tiny_model


def test_a_run_measures_as_many_held_out_sequences_as_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 40)
    text = str(tmp_path / "text.txt")
    model = tiny_model()
    result = train(
        model, text, 1, tmp_path / "run", batch=2, tokens=8, held_out_sequences=2, keep=5, quiet=True
    )
    few = nestdsl.measure(model, text, batch=2, tokens=8, sequences=2)
    assert result.after == few != nestdsl.measure(model, text, batch=2, tokens=8, sequences=3)
    saved = checkpoint.load(tmp_path / "run").settings
    assert saved == Settings(steps=1, batch=2, tokens=8, held_out_sequences=2, keep=5)
    assert resume(model, out=tmp_path / "run", steps=2, quiet=True).before == result.before
    assert checkpoint.load(tmp_path / "run").settings.held_out_sequences == 2
