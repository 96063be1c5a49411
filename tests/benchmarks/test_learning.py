"""The comparison of how well blocks learn: its tasks, its loop, what is kept and how it is judged."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmarks.learning import job as one_run
from benchmarks.learning import jobs
from benchmarks.learning.__main__ import main
from benchmarks.learning.comparison import CRITERION, Setting, Side, judge
from benchmarks.learning.contenders import FAMILIES, ours, shipped
from benchmarks.learning.jobs import OURS, Job, key_of
from benchmarks.learning.learner import ModuleLearner
from benchmarks.learning.run import is_missing, run_all
from benchmarks.learning.store import FILE, Store
from benchmarks.learning.table import comparisons, recall
from benchmarks.learning.tasks import FAR, PAIRS, SYMBOLS, Bytes, Recall
from benchmarks.learning.training import Outcome, trained
from nestdsl.training.data.interface import NO_TARGET

GATED = next(family for family in FAMILIES if family.name == "gated_delta")
TRANSFORMER = FAMILIES[0]
RATES = (1e-3, 2e-3)


def outcome(figure: float, accuracy: float | None = None, parameters: int = 7) -> Outcome:
    return Outcome(figure, accuracy, 3, parameters, 1.5, ())


def sides(*figures: float) -> Side:
    return Side(tuple(outcome(figure) for figure in figures))


# --- tasks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [Recall(), Recall(filler=16), Recall(filler=FAR, varied=True)])
def test_each_answer_is_the_value_that_was_shown_with_its_key(task: Recall) -> None:
    inputs, targets = task.batch(3, 0)
    assert inputs.shape == targets.shape and len(inputs) == task.sequences
    for ids, asked in zip(inputs.tolist(), targets.tolist(), strict=True):
        shown: dict[int, int] = {}
        answered = 0
        for place, (token, target) in enumerate(zip(ids, asked, strict=True)):
            if token >= SYMBOLS:
                assert target == NO_TARGET
            elif token in shown:
                assert target == shown[token] and ids[place + 1] == target
                answered += 1
            else:
                assert target == NO_TARGET
                shown[token] = ids[place + 1]
                assert SYMBOLS <= shown[token] < 2 * SYMBOLS
        assert answered == len(shown) == task.pairs
        fillers = sum(token >= 2 * SYMBOLS for token in ids)
        assert 1 <= fillers <= FAR if task.varied else fillers == task.filler


def test_filler_stands_between_pairs_and_questions() -> None:
    inputs, _ = Recall(filler=16).batch(1, 0)
    is_filler = inputs >= 2 * SYMBOLS
    assert bool(is_filler[:, 2 * PAIRS : 2 * PAIRS + 16].all()) and int(is_filler.sum()) == 16 * len(inputs)


def test_keys_come_again_in_another_order() -> None:
    inputs, _ = Recall().batch(1, 0)
    shown, again = inputs[:, : 2 * PAIRS : 2], inputs[:, 2 * PAIRS :: 2]
    assert torch.equal(shown.sort(1).values, again.sort(1).values)
    assert bool((shown != again).any(1).all())


def test_recall_from_far_back_is_trained_at_all_distances_and_asked_at_the_longest() -> None:
    task = Recall(filler=FAR, varied=True)
    fillers = [task.batch(step, 0)[0].shape[1] - 4 * PAIRS for step in range(60)]
    assert min(fillers) < 8 and max(fillers) > FAR / 2
    assert 0.25 < sum(filler <= FAR**0.5 for filler in fillers) / len(fillers) < 0.75
    assert all(inputs.shape[1] == FAR + 4 * PAIRS for inputs, _ in task.held_out())


def test_a_step_and_a_seed_give_the_same_sequences_and_others_other_ones() -> None:
    for task in (Recall(), Bytes()):
        first = task.batch(1, 0)
        assert all(map(torch.equal, first, task.batch(1, 0)))
        assert not torch.equal(first[0], task.batch(2, 0)[0])
        assert not torch.equal(first[0], task.batch(1, 1)[0])


def test_held_out_sequences_are_seen_by_no_step() -> None:
    task = Recall()
    held_out = {tuple(row) for inputs, _ in task.held_out() for row in inputs.tolist()}
    assert len(held_out) == task.held_out_sequences
    for step in range(1, 20):
        assert held_out.isdisjoint(map(tuple, task.batch(step, 0)[0].tolist()))
    assert sum(len(inputs) for inputs, _ in Bytes().held_out()) == 32


# --- learning ------------------------------------------------------------------------------


class Cheat(nn.Module):
    """Knows the answers of recall without filler: looks the key up. `scale` is what it learns."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([1.0]))

    def forward(self, ids: Tensor) -> Tensor:
        same = (ids.unsqueeze(2) == ids.unsqueeze(1)).float().tril(-1)
        following = nn.functional.one_hot(ids.roll(-1, 1), Recall().vocabulary).float()
        return 10 * self.scale * (same @ following)


def test_recall_ends_early_once_it_is_solved() -> None:
    end = trained(ModuleLearner(Cheat(), 1e-3), Recall(), seed=0, steps=10, measure_every=2)
    assert end.accuracy == 1.0 and end.step == 2 and end.curve == ((2, 1.0),)
    assert end.held_out < 0.1 and end.parameters == 1 and end.score == -1.0


def test_a_model_that_diverges_has_lost() -> None:
    class Broken(Cheat):
        def forward(self, ids: Tensor) -> Tensor:
            return super().forward(ids) * math.inf

    end = trained(ModuleLearner(Broken(), 1e-3), Recall(), seed=0, steps=3)
    assert end.held_out == math.inf and end.accuracy == 0.0 and end.step == 1


def test_only_matrices_decay() -> None:
    module = nn.Linear(4, 4)
    learner = ModuleLearner(module, 1e-3)
    decays = {
        len(group["params"][0].shape): group["weight_decay"] for group in learner._optimizer.param_groups
    }
    assert decays == {2: 0.1, 1: 0.0}


def test_our_rates_are_those_of_the_example_times_a_factor() -> None:
    task = Recall(pairs=2)
    nest = shipped(TRANSFORMER.path, task.vocabulary, 1)
    moved = []
    for factor in (1.0, 2.0):
        learner = ours(nest, seed=0, factor=factor)
        before = [weight.detach().clone() for weight in learner.model.parameters()]
        learner.learn(*task.batch(1, 0), 1, 1.0)
        weights = learner.model.parameters()
        moved.append(torch.cat([(a - b).flatten() for a, b in zip(weights, before, strict=True)]))
    torch.testing.assert_close(moved[1], 2 * moved[0], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_each_example_takes_the_sizes_of_the_comparison(family) -> None:
    plan = shipped(family.path, 80, 1).plan
    assert plan.input.size == plan.output_size == 80


# --- what is kept, and judged --------------------------------------------------------------


def setting(task: str = "bytes", seeds: int = 2) -> Setting:
    return Setting(task, 2, 0, 4, seeds, RATES)


def filled(store: Store, mine: tuple[float, ...], theirs: dict[tuple[float, int], float]) -> None:
    (reference,) = TRANSFORMER.references
    one = setting()
    for job, figure in zip(one.ours(TRANSFORMER), mine, strict=True):
        store.add(job, outcome(figure))
    for (rate, seed), figure in theirs.items():
        store.add(replace(one.search(TRANSFORMER, reference)[0], rate=rate, seed=seed), outcome(figure))


def test_runs_are_made_once_and_read_again(tmp_path: Path) -> None:
    job = Job("transformer", OURS, "recall", 1, 0, 1, 1.0, 0)
    store = Store(tmp_path)
    assert run_all([job, job], store, processes=1) == []
    end = store.get(job)
    assert end is not None and end.step == 1
    with (tmp_path / FILE).open("a") as file:
        file.write('{"key": "cut o')
    again = Store(tmp_path)
    assert again.get(job) == end and run_all([job], again, processes=1) == []
    assert len((tmp_path / FILE).read_text().splitlines()) == 2


def test_a_run_that_fails_is_a_note_and_is_not_kept(tmp_path: Path) -> None:
    job = Job("transformer", "no such reference", "recall", 1, 0, 1, 1.0, 0)
    with pytest.raises(KeyError):
        key_of(job)
    job = Job("transformer", OURS, "recall", 1, -1, 1, 1.0, 0)
    (fault,) = run_all([job], store := Store(tmp_path), processes=1)
    assert "failed" in fault and store.get(job) is None


def test_what_determines_a_run_is_in_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job("transformer", OURS, "recall", 1, 0, 1, 1.0, 0)
    keys = {
        key_of(job),
        *(key_of(replace(job, **change)) for change in ({"seed": 1}, {"rate": 2.0}, {"layers": 2})),
    }
    assert len(keys) == 4 and key_of(job) in keys
    monkeypatch.setattr(jobs, "_nest", lambda *_: shipped(GATED.path, 80, 1))
    assert key_of(job) not in keys


def test_the_best_rate_is_the_one_to_repeat(tmp_path: Path) -> None:
    store, one = Store(tmp_path), setting()
    (reference,) = TRANSFORMER.references
    assert one.best(TRANSFORMER, reference, store) == []
    filled(store, (2.0, 2.1), {(RATES[0], 0): 3.0, (RATES[1], 0): 2.5})
    assert [(job.rate, job.seed) for job in one.best(TRANSFORMER, reference, store)] == [
        (RATES[1], 0),
        (RATES[1], 1),
    ]


def test_behind_is_more_than_the_spread_over_seeds() -> None:
    assert judge(sides(2.0, 2.1), sides(2.2, 2.21)) == "ahead"
    assert judge(sides(2.0, 2.1), sides(1.96, 2.06)) == "level"
    assert judge(sides(2.2, 2.21), sides(2.0, 2.1)) == "behind"
    assert judge(sides(math.inf, 2.0), sides(3.0, 3.0)) == "behind"
    assert judge(sides(3.0, 3.0), sides(math.inf, math.inf)) == "ahead"
    right = Side((outcome(9.0, accuracy=0.9),))
    assert judge(right, Side((outcome(0.1, accuracy=0.5),))) == "ahead"


def test_whoever_has_solved_recall_is_level() -> None:
    """A run ends where it is measured at 0.99; how much more it has there says nothing."""
    solved = Side((outcome(9.0, accuracy=0.991), outcome(9.0, accuracy=0.991)))
    assert judge(solved, Side((outcome(9.0, accuracy=1.0), outcome(9.0, accuracy=1.0)))) == "level"
    assert judge(solved, Side((outcome(9.0, accuracy=0.98), outcome(9.0, accuracy=0.98)))) == "ahead"


def test_the_table_says_who_is_behind(tmp_path: Path) -> None:
    store = Store(tmp_path)
    filled(store, (2.6, 2.7), {(RATES[0], 0): 3.0, (RATES[1], 0): 2.5, (RATES[1], 1): 2.52})
    text = comparisons([TRANSFORMER], [setting()], store)
    row = text.splitlines()[2]
    assert row == (
        "| transformer | bytes, 2 layers | transformers, Llama | 7, 7 | 0.001: 3.000, **0.002: 2.500** | "
        "2.510 (2.500 to 2.520) | 2.650 (2.600 to 2.700) | **behind** | 2, 2 |"
    )
    assert "0 ahead, 0 level, 1 behind." in text


def test_recall_is_reached_with_every_seed_at_every_size(tmp_path: Path) -> None:
    store, sizes = Store(tmp_path), [Setting("recall", *size, 4, 2) for size in CRITERION]
    for one in sizes:
        for job in one.ours(GATED):
            store.add(job, outcome(1.0, accuracy=0.96))
    assert "reached |" in recall([GATED], sizes, store) and "1 of 1 reached." in recall([GATED], sizes, store)
    store.add(sizes[-1].ours(GATED)[-1], outcome(1.0, accuracy=0.94))
    text = recall([GATED], sizes, store)
    assert "missed |" in text and "**0.96 (3), 0.94 (3)**" in text


def test_a_peer_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.learning.run.find_spec", lambda name: None)
    (reference,) = TRANSFORMER.references
    assert is_missing(reference.key) == "transformers" and is_missing(OURS) == ""
    text = comparisons([TRANSFORMER], [setting()], Store(tmp_path))
    assert "not installed" in text and "1 not measured." in text


def test_a_table_of_nothing_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page, out = tmp_path / "page.md", tmp_path / "none"
    page.write_text("kept")
    given = ["learning", "--show", "--out", str(out), "--markdown", str(page)]
    monkeypatch.setattr("sys.argv", given)
    assert main() == 1
    assert "nothing has been run" in capsys.readouterr().err
    assert page.read_text() == "kept" and not out.exists()


@pytest.mark.parametrize("given", [("--filler", "-5"), ("--steps", "0"), ("--layers", "0")])
def test_sizes_that_make_no_run_are_refused(
    given: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["job", "--program", str(GATED.path), "--task", "recall", *given])
    with pytest.raises(SystemExit):
        one_run.main()
    assert "is less than" in capsys.readouterr().err
