"""What is inferred of a graph, before any check looks at it."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
from safetensors.numpy import save_file

from nestdsl.diagnostics import Diagnostic, Diagnostics
from nestdsl.graph.nest import NestGraph
from nestdsl.inference import infer
from nestdsl.semantics.phases import run_phases
from nestdsl.source import Source
from tests.semantics.programs import model


def inferred(text: str, *, weights: bool = True) -> tuple[NestGraph, tuple[Diagnostic, ...]]:
    program = run_phases(Source(text))
    assert not list(program.diagnostics)
    (graph,) = program.graphs.values()
    found = Diagnostics()
    infer(graph, found, weights=weights)
    return graph, found.in_order()


def test_the_size_of_every_flow_and_of_what_every_level_reads_and_makes() -> None:
    graph, found = inferred(
        model("level a = linear(3)\nflow h = in -> a\nflow out = concat(h, in) -> linear(5) -> silu")
    )
    assert found == ()
    assert (graph.sizes["in"], graph.sizes["h"], graph.sizes["out"]) == (8, 3, 5)
    assert graph.level_sizes == {"a": (8, 3), "out.linear": (11, 5)}


def test_a_memory_has_the_sizes_of_what_it_learns_or_else_of_what_it_reads() -> None:
    graph, found = inferred(
        model(
            "level a = matrix { learn in -> v  every 1 token }\nflow v = in -> linear(4)\n"
            "level b = associative { learn in -> b(in)  every 1 token }\nflow out = in -> a -> linear(8) -> b"
        )
    )
    assert found == ()
    assert (graph.level_sizes["a"], graph.level_sizes["b"]) == ((8, 4), (8, 8))


def test_flows_of_ids_are_no_vectors() -> None:
    text = "model m {\n input ids(11)\n flow h = in\n flow out = h -> embedding(4)\n}\n"
    graph, found = inferred(text)
    assert found == () and graph.ids == {"in", "h"}
    assert graph.level_sizes == {"out.embedding": (11, 4)}
    _, (only,) = inferred(text.replace("h -> embedding(4)", "h * 2"))
    assert only.code == "N0104"


def test_what_depends_on_an_unknown_size_has_none_and_is_not_told() -> None:
    graph, found = inferred(
        model("flow bad = in + (in -> linear(3))\nflow next = bad -> linear(2)\nflow out = bad * next")
    )
    assert [one.code for one in found] == ["N0201"]
    assert "bad" not in graph.sizes and "next" not in graph.sizes and graph.sizes["in"] == 8


def test_nothing_is_checked_that_a_size_does_not_need() -> None:
    """More weights than any machine holds have sizes like any other: `check_sizes` refuses them."""
    graph, found = inferred("model m {\n input vectors(2000000000)\n flow out = in -> linear(2000000000)\n}")
    assert found == () and graph.level_sizes["out.linear"] == (2_000_000_000, 2_000_000_000)


STORED = model('level a = linear(4) { init from "w.safetensors:layer" }\nflow out = in -> a')


def test_the_tensors_that_a_level_starts_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tensors = {"layer.weight": numpy.zeros((4, 8), "f4"), "layer.bias": numpy.zeros(4, "f4")}
    save_file(tensors, "w.safetensors")
    graph, found = inferred(STORED)
    assert found == ()
    assert graph.stored_weights == {"a": (("weight", "layer.weight"), ("bias", "layer.bias"))}


def test_files_need_not_be_there_for_weights_that_come_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, (only,) = inferred(STORED)
    assert only.code == "N0003"
    graph, found = inferred(STORED, weights=False)
    assert found == () and graph.stored_weights == {} and graph.sizes["out"] == 4
