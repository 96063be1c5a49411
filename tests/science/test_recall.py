"""What was shown once is found again: each block recalls pairs of a key and a value, as its example ships it.

Slow: each run trains a model of 64 features, for at most 1,000 steps. `python -m benchmarks.learning --task
recall` makes the whole table: every number of layers and fillers, three seeds.
"""

from __future__ import annotations

from typing import Literal

import pytest

from benchmarks.learning import training
from benchmarks.learning.comparison import RECALLED
from benchmarks.learning.contenders import FAMILIES, Family, ours, shipped
from benchmarks.learning.jobs import STEPS, task_of
from benchmarks.learning.tasks import FAR

# `self_referential` takes about as long as all of these; the table has it.
RECALLING = [one for one in FAMILIES if one.recalls and one.name != "self_referential"]


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "filler"), [(1, 0), (2, 16)])
@pytest.mark.parametrize("family", RECALLING, ids=lambda family: family.name)
def test_eight_pairs_are_recalled(
    family: Family, layers: int, filler: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The easiest and the hardest setting of the criterion, with one seed."""
    check(family, "recall", layers, filler, monkeypatch)


@pytest.mark.slow
def test_hope_recalls_pairs_from_512_tokens_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained over 1 to 512 tokens of filler, though gradients look back 64 tokens only."""
    (hope,) = (family for family in FAMILIES if family.name == "hope")
    check(hope, "far", 1, FAR, monkeypatch)


def check(
    family: Family, name: Literal["recall", "far"], layers: int, filler: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "SOLVED", RECALLED)  # what comes after would only cost time
    task = task_of(name, filler)
    learner = ours(shipped(family.path, task.vocabulary, layers), seed=0)
    found = training.trained(learner, task, 0, STEPS[name])
    assert found.accuracy is not None and found.accuracy >= RECALLED, found.curve
