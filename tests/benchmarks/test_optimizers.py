"""The comparison of optimizers: what it trains, and what it writes; no test looks at a time."""

from __future__ import annotations

import math
from dataclasses import replace
from xml.etree import ElementTree

import pytest

import nestdsl
from benchmarks.optimizers.__main__ import as_markdown, compare
from benchmarks.optimizers.curves import drawn
from benchmarks.optimizers.runs import CONTENDERS, SETTINGS, Contender, Run, Summary
from benchmarks.optimizers.timing import Times
from nestdsl.training.data.sources import read_data
from tests.docs.test_docs import ROOT


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda contender: contender.name)
def test_each_program_is_the_example_with_one_optimizer(contender: Contender) -> None:
    for rate in contender.rates:
        plan = nestdsl.parse(contender.program(rate)).plan
        program = plan.train.optimizer.program
        assert program is not None and program.name == contender.name.partition(",")[0]
        assert dict(program.parameters)["lr"] == rate


def test_every_rate_is_tried_with_every_seed() -> None:
    settings = replace(SETTINGS, steps=2, tokens=16, batch=2, held_out_sequences=2)
    (one,) = compare(["adamw"], read_data("stdlib"), settings, seeds=2)
    assert [len(one.runs[rate]) for rate in one.contender.rates] == [2, 2, 2]
    for runs in one.runs.values():
        assert all(len(run.losses) == 2 and math.isfinite(run.held_out) for run in runs)


def summary() -> Summary:
    runs = {
        3e-3: (Run((5.0, 4.0), 3.0), Run((5.0, 4.0), 3.2)),
        1e-2: (Run((5.0, 3.0), 2.0), Run((5.0, 3.5), 2.5)),
        3e-2: (Run((5.0,), math.inf), Run((5.0, 9.0), 8.0)),
    }
    return Summary(CONTENDERS[0], runs)


def test_the_best_rate_is_that_of_the_lowest_mean() -> None:
    one = summary()
    assert one.best_rate == 1e-2 and one.curve() == (5.0, (5.0 + 3.25) / 2)
    row = as_markdown([one], {"adamw": Times(0.02, 0.001)}, "heading").splitlines()[-1]
    assert row == (
        "| `adamw` | 0.003, 0.01, 0.03 | 3.100, **2.250**, diverges | 2.000 to 2.500 | 20.0 ms | 1.0 ms |"
    )


def test_the_picture_names_every_curve_once() -> None:
    text = drawn({"a": (3.0, 2.0), "b <c>": (3.0, 2.01)}, 2.0, 5.0, "steps", "loss")
    picture = ElementTree.fromstring(text)
    names = [part.text for part in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert names.count("a") == names.count("b <c>") == 1


def test_the_page_has_a_row_for_each() -> None:
    page = (ROOT / "docs" / "optimizers.md").read_text("utf-8")
    for contender in CONTENDERS:
        assert f"\n| `{contender.name}` |" in page, contender.name
