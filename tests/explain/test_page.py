"""What `explain` prints, for every example and for a program of each family of equations.

After a change write all pages anew and read the difference:

    NESTDSL_GOLDEN=write python -m pytest tests/explain
    git diff tests/explain/golden
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import nestdsl
from nestdsl.cli.main import main
from nestdsl.explain import as_latex, as_text, sections
from nestdsl.explain.latex import term as latex_term
from nestdsl.explain.unicode import term as unicode_term
from nestdsl.vocabulary.terms import (
    Apply,
    Hadamard,
    Negative,
    Number,
    Power,
    Product,
    Ratio,
    Root,
    Sum,
    Symbol,
    T,
    Term,
    Transpose,
    before,
)
from tests.invariants.programs import texts

HERE = Path(__file__).parent / "golden"
OWN = sorted(HERE.glob("*.nest"))
EXAMPLES = sorted((Path(__file__).parents[2] / "examples").rglob("*.nest"))


def compare(expected: Path, found: str) -> None:
    if os.environ.get("NESTDSL_GOLDEN") == "write":
        expected.write_text(found, encoding="utf-8")
    assert found == expected.read_text(encoding="utf-8")


@pytest.mark.parametrize("program", EXAMPLES + OWN, ids=lambda path: path.stem)
def test_page(program: Path) -> None:
    nest = nestdsl.load(program)
    compare(HERE / f"{program.stem}.txt", as_text(nest.nest_graph, nest.plan))


@pytest.mark.parametrize("program", OWN, ids=lambda path: path.stem)
def test_page_as_latex(program: Path) -> None:
    nest = nestdsl.load(program)
    compare(HERE / f"{program.stem}.tex", as_latex(nest.nest_graph, nest.plan))


@pytest.mark.parametrize("name", list(texts()))
def test_every_level_is_there_once_and_latex_is_well_formed(name: str) -> None:
    nest = nestdsl.parse(texts()[name])
    found = sections(nest.nest_graph, nest.plan)
    listed = [member.name for section in found for member in section.members]
    assert sorted(listed) == sorted(level.name for level in nest.levels)
    assert [section.rank for section in found] == sorted(section.rank for section in found)
    assert all(section.equations for section in found)
    page = as_latex(nest.nest_graph, nest.plan)
    assert page.isascii()
    plain = re.sub(r"\\[{}]", "", page)
    assert plain.count("{") == plain.count("}")
    assert page.count(r"\left") == page.count(r"\right")
    assert re.findall(r"\\begin{(.*?)}", page) == re.findall(r"\\end{(.*?)}", page)


K, S_LAST, RETAIN = Symbol("k").at(T), Symbol("S").at(before(T, 1)), Symbol("retain").at(T)


@pytest.mark.parametrize(
    ("term", "as_unicode", "in_latex"),
    [
        (S_LAST, "S_{t−1}", "S_{t - 1}"),
        (
            Transpose(Product((RETAIN, K))),
            "(retain_t k_t)ᵀ",
            r"\left(\mathit{retain}_{t}\, k_{t}\right)^{\top}",
        ),
        (Product((Sum((K, Negative(K))), K)), "(k_t − k_t) k_t", r"\left(k_{t} - k_{t}\right)\, k_{t}"),
        (Ratio(K, Product((K, K))), "k_t / (k_t k_t)", r"\frac{k_{t}}{k_{t}\, k_{t}}"),
        (Product((Ratio(K, Number(2)), K)), "(k_t / 2) k_t", r"\frac{k_{t}}{2}\, k_{t}"),
        (Sum((Negative(K), Number(-3))), "−k_t + (−3)", r"-k_{t} + \left(-3\right)"),
        (Power(Root(K), Number(2)), "(√k_t)²", r"\sqrt{k_{t}}^{2}"),
        (Product((Hadamard((K, K)), K)), "(k_t ⊙ k_t) k_t", r"\left(k_{t} \odot k_{t}\right)\, k_{t}"),
        (Symbol("v", (T,), "hat"), "v̂_t", r"\hat{v}_{t}"),
        (
            Apply(Symbol("gelu", mark="prime"), (K,)),
            "gelu′(k_t)",
            r"{\operatorname{gelu}}'\!\left(k_{t}\right)",
        ),
        (
            Apply(Symbol("conv"), (Symbol("x"),), (("width", Number(3)),), T),
            "conv(x; width = 3)_t",
            r"\operatorname{conv}\!\left(x;\, \mathit{width} = 3\right)_{t}",
        ),
        (Number(1e-8), "1e-08", "10^{-8}"),
        (Number(2.5e10), "2.5e+10", r"2.5 \cdot 10^{10}"),
    ],
)
def test_terms_as_text(term: Term, as_unicode: str, in_latex: str) -> None:
    assert (unicode_term(term), latex_term(term)) == (as_unicode, in_latex)


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    program = str(EXAMPLES[0])
    assert main(["explain", program, "--set", "heads=2"]) == 0
    assert "2 matrices 64 × 64" in capsys.readouterr().out
    assert main(["explain", program, "--latex"]) == 0
    assert r"\begin{align*}" in capsys.readouterr().out
    assert main(["explain", "N0302"]) == 0
    assert capsys.readouterr().out.startswith("# N0302")
    assert main(["explain", "missing.nest"]) == 1
    assert "N0003" in capsys.readouterr().err
    assert main(["explain", program, "--model", "other"]) == 1


def test_command_prefers_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "N0302").write_text("model m {\n  input vectors(2)\n  flow out = in -> linear\n}\n")
    monkeypatch.chdir(tmp_path)
    assert main(["explain", "N0302"]) == 0
    assert capsys.readouterr().out.startswith("m: ")


def test_names_never_mean_two_things() -> None:
    nest = nestdsl.parse("""
block part {
  flow S = in -> linear
  level memory = matrix { learn S -> (in -> linear)  every 1 token }
  flow out = memory(S) + memory(in)
}
model m {
  input vectors(4)
  level pair[2] = part
  flow out = in -> parallel(pair) -> linear
}
""")
    page = as_text(nest.nest_graph, nest.plan)
    assert "SS_t = SS_{t−1} + S_t (v_t − SS_{t−1}ᵀ S_t)ᵀ" in page
    assert "pair[0]_t + pair[1]_t" in page
    assert "y_t = SS_tᵀ S_t" in page and "y2_t = SS_tᵀ in_t" in page


def test_a_decay_of_each_channel_is_a_vector_and_the_state_says_what_it_holds() -> None:
    nest = nestdsl.parse(
        "model m { input vectors(8)\n level fast = linear { every 4 tokens  optimizer gd(step = 0.1) }\n"
        " level memory = matrix(2) { learn k -> in  every 1 token, chunk 1"
        "  optimizer dgd(step = 0.5, retain = keep, toward = init) }\n"
        " flow keep = in -> linear -> sigmoid\n flow k = in -> l2_normalize(2)\n"
        " flow out = memory(k) -> fast\n}"
    )
    text = as_text(nest.nest_graph, nest.plan)
    assert "(diag(keep_t) − step′_t k_t k_tᵀ) S_{t−1} + (I − diag(keep_t)) S_0" in text
    assert "retain = flow keep for each channel of the key" in text
    assert "in float32: what it knows now, its start\n" in text
    assert "in float32: its weights, the gradient that gathers\n" in text
