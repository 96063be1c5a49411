"""The benchmark table: what it measures, claims and writes; no test looks at a time."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.__main__ import BEGIN, END, write_between_marks
from benchmarks.measure import measure
from benchmarks.model import Claim, Contender, Figure, Row, Work, judge
from benchmarks.programs import program
from benchmarks.rows import ROWS
from benchmarks.run import _watched, run_row
from benchmarks.table import Result, as_json, as_markdown, as_text, from_json
from benchmarks.transformer import Transformer, equal_transformer
from benchmarks.worker import SAID
from nestdsl.runtime.optimizer import precision


def figure(name: str, seconds: float, peak: float | None = None) -> Figure:
    return Figure(name, seconds, (seconds,), 3.0, peak)


def test_contenders_take_turns_and_the_first_run_is_no_time() -> None:
    ran: list[str] = []

    def contender(name: str) -> Contender:
        def prepare() -> Work:
            ran.append(f"build {name}")
            return lambda: ran.append(name)

        return Contender(name, prepare, share=0.5)

    ticks = iter(range(100))
    figures = measure([contender("a"), contender("b")], 2, 60.0, clock=lambda: float(next(ticks)))
    assert ran == ["build a", "a", "build b", "b", "a", "b", "a", "b"]
    assert [one.times for one in figures] == [(2.0, 2.0), (2.0, 2.0)]


def test_every_contender_runs_once_at_least() -> None:
    (only,) = measure([Contender("a", lambda: lambda: None)], 5, 0.0)
    assert len(only.times) == 1
    (first,) = measure([Contender("a", lambda: lambda: None)], 0, 0.0)
    assert first.times == () and first.seconds == first.compile_seconds


def test_claims_are_ratios_in_the_direction_that_they_name() -> None:
    claims = (
        Claim("ours", "theirs", at_least=2),
        Claim("ours", "theirs", at_most=1.2, measured="memory"),
        Claim("ours", at_most=1, measured="compile"),
        Claim("ours", "absent", at_least=1),
    )
    row = Row("key", "work", claims, lambda quick: (), {})
    figures = {"ours": figure("ours", 1.0, 11.0), "theirs": figure("theirs", 2.5, 10.0)}
    judged = judge(row, figures)
    assert [one.ratio for one in judged] == [2.5, 1.1, 3.0, None]
    assert [one.holds for one in judged] == [True, True, False, None]
    result = Result("key", "work", tuple(figures.values()), judged, ("absent was left out",))
    text, page = as_text([result], 140), as_markdown([result], "Made here.")
    assert "2.50×" in text and "missed" in text and "absent was left out" in text
    assert page.count("| work |") == 5 and "≤ 1 s" in page
    assert json.loads(as_json([result], "Made here."))["rows"][0]["judged"][0]["holds"] is True
    assert from_json(as_json([result], "Made here.")) == [result]


def test_the_table_of_a_page_is_replaced_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n", encoding="utf-8")
    write_between_marks(page, "new\n")
    assert page.read_text(encoding="utf-8") == f"before\n\n{BEGIN}\nnew\n{END}\n\nafter\n"
    page.write_text("no marks", encoding="utf-8")
    with pytest.raises(SystemExit, match="no place for the table"):
        write_between_marks(page, "new\n")


def test_rows_have_names_of_their_own_and_say_what_they_compare() -> None:
    assert len({row.key for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert row.contenders.__doc__
        names = {contender.name for contender in row.contenders(True)}
        assert {name for claim in row.claims for name in (claim.ours, claim.theirs) if name} <= names
        assert set(row.peers) <= names


def test_the_equal_transformer_has_as_many_parameters() -> None:
    plan = program("hope", dim=64).plan
    model = equal_transformer(plan.costs.parameters, 256, 64, 4, 4, compile=False)
    count = sum(weight.numel() for weight in model.parameters())
    assert count == pytest.approx(plan.costs.parameters, rel=2e-3)


def test_the_transformer_decodes_what_it_reads() -> None:
    torch.manual_seed(0)
    model = Transformer(11, 16, 2, 2, 32, compile=False)
    ids = torch.arange(6).reshape(1, 6)
    caches = [(torch.zeros(1, 2, 6, 8), torch.zeros(1, 2, 6, 8)) for _ in range(2)]
    with torch.no_grad():
        tokens = [model.decode(ids[:, t : t + 1], caches, t) for t in range(6)]
        torch.testing.assert_close(torch.cat(tokens, 1), model(ids))


def test_what_is_done_is_said_before_it_is_done() -> None:
    said: list[str] = []

    def prepare() -> Work:
        said.append("built")
        return lambda: said.append("ran")

    measure([Contender("a", prepare), Contender("b", prepare)], 1, 5.0, say=said.append)
    wanted = ["preparing 1 of 2: a", "built", "ran", "preparing 2 of 2: b", "built", "ran"]
    assert said == [*wanted, "timing, up to 1 rounds of up to 5 s in all", "ran", "ran"]


def test_a_worker_is_heard_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    code = f"import sys; print({SAID!r} + 'one', 'noise', sep=chr(10), file=sys.stderr); sys.exit(3)"
    assert _watched([sys.executable, "-c", code], dict(os.environ)) == (3, "noise")
    assert capfd.readouterr().err == "one\n"


@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_muon_runs_in_the_precision_of_each(has_bfloat16: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda device: has_bfloat16)
    (row,) = (row for row in ROWS if row.key == "optimizer_muon")
    torchs, ours, m3 = row.contenders(False)
    assert torchs.precision == "bfloat16" and ours.precision == m3.precision
    assert ours.precision == ("bfloat16" if has_bfloat16 else "float32")
    # 26, 20 and 30 matrices of 200: what takes torch minutes is left out, and counted.
    assert torchs.share == 1 if has_bfloat16 else 0.02 < torchs.share < 0.04
    assert ours.share == m3.share == 1
    figures = {
        one.name: replace(figure(one.name, 1.0), precision=one.precision) for one in (torchs, ours, m3)
    }
    result = Result(row.key, row.title, tuple(figures.values()), judge(row, figures), ())
    page = as_markdown([result], "")
    assert f"nestdsl, muon ({ours.precision})" in page and "torch, Muon (bfloat16)" in page
    assert from_json(as_json([result], "")) == [result]


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_every_row_runs(row: Row) -> None:
    """At tiny sizes, in its own processes; peers that are not installed are left out and named."""
    result = run_row(row, quick=True, threads=1, seconds=1.0, cpu_time=True)
    assert all(note.endswith("is not installed") for note in result.notes), result.notes
    assert any(one.name.startswith("nestdsl") for one in result.figures)
