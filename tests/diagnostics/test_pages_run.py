"""The examples of the pages, through the compiler: the wrong one shows its code, the right one nothing."""

import pytest

from nestdsl.checks import run_checks
from nestdsl.diagnostics import CODES, Diagnostic
from nestdsl.diagnostics.explain import explain
from nestdsl.inference import infer
from nestdsl.semantics.phases import run_phases
from nestdsl.source import Source
from tests.diagnostics.fences import Fence, fences

EXAMPLES = {
    (code, fence.outcome): fence
    for code in sorted(CODES)
    for fence in fences(explain(code))
    if fence.language == "nest"
}


def check(example: Fence) -> tuple[Diagnostic, ...]:
    program = run_phases(Source(example.text))
    if not program.diagnostics.has_errors:
        for graph in program.graphs.values():
            infer(graph, program.diagnostics)
            run_checks(graph, program.diagnostics)
    return program.diagnostics.in_order()


@pytest.mark.parametrize("code", sorted({code for code, _ in EXAMPLES}))
def test_examples_say_what_their_page_says(code: str) -> None:
    assert {diagnostic.code for diagnostic in check(EXAMPLES[code, "error"])} == {code}
    assert check(EXAMPLES[code, "ok"]) == ()


@pytest.mark.parametrize("code", sorted({code for code, _ in EXAMPLES}))
def test_every_mistake_shown_has_a_place_and_a_hint(code: str) -> None:
    for diagnostic in check(EXAMPLES[code, "error"]):
        assert diagnostic.span is not None, diagnostic
        assert diagnostic.hint, diagnostic
