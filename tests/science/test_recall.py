"""What was shown once is found again: each block recalls pairs of a key and a value, as its example ships it.

Slow: each run trains a model of 64 features, for at most 600 steps. `python -m benchmarks.learning --task
recall` makes the whole table: every number of layers and fillers, three seeds.
"""

from __future__ import annotations

import pytest

from benchmarks.learning import training
from benchmarks.learning.comparison import RECALLED
from benchmarks.learning.contenders import FAMILIES, Family, ours, shipped
from benchmarks.learning.jobs import STEPS
from benchmarks.learning.tasks import Recall

# `self_referential` takes about as long as all of these; the table has it.
RECALLING = [one for one in FAMILIES if one.recalls and one.name != "self_referential"]


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "filler"), [(1, 0), (2, 16)])
@pytest.mark.parametrize("family", RECALLING, ids=lambda family: family.name)
def test_eight_pairs_are_recalled(
    family: Family, layers: int, filler: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The easiest and the hardest setting of the criterion, with one seed."""
    monkeypatch.setattr(training, "SOLVED", RECALLED)  # what comes after would only cost time
    task = Recall(filler=filler)
    learner = ours(shipped(family.path, task.vocabulary, layers), seed=0)
    found = training.trained(learner, task, 0, STEPS["recall"])
    assert found.accuracy is not None and found.accuracy >= RECALLED, found.curve
