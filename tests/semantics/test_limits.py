"""Every runaway program ends in one N0004, soon."""

import time

import pytest

from nestdsl import limits
from nestdsl.compiler import analyse
from nestdsl.syntax.files import read_source
from tests.semantics.programs import analysis, graph, model

SECONDS = 15  # two on an idle machine


def chain(depth: int, inside: str = "in -> b{next}") -> str:
    """Blocks b0 to b`depth`, each made of the next, and a model with the first."""
    blocks = [f"block b{n} {{ flow out = {inside.format(next=n + 1)} }}" for n in range(depth)]
    return model("flow out = in -> b0", "\n".join([*blocks, f"block b{depth} {{ flow out = in }}"]))


REPEATS = "block {name} {{ level x = {inner} repeat {n}\n flow out = in -> x }}"
EMPTY = "block {name} {{ flow out = in -> {inner} -> {inner} }}"
UNUSED = "\n".join(f"block b{n} {{ level x = linear repeat 9000\n flow out = in -> x }}" for n in range(1000))
HOSTILE = {
    "a power": "param x = 9 ** 9 ** 9",
    "a power of a power of a parameter": "param x = 99999\nparam y = x ** x\nparam z = y ** y ** y",
    "many copies": model("level a = linear repeat 1000000000\nflow out = in -> a"),
    "many models": "\n".join(model("flow out = in").replace("model m", f"model m{n}") for n in range(1001)),
    "a long array": model("level a[1000000000] = linear\nflow out = in -> a"),
    "an array of copies": model("level a[5000] = linear repeat 5000\nflow out = in -> a"),
    "nested repeats": model(
        "level x = b repeat 1000\nflow out = in -> x",
        REPEATS.format(name="a", inner="linear", n=1000) + "\n" + REPEATS.format(name="b", inner="a", n=1000),
    ),
    "nested repeats of nothing": model(
        "level x = b repeat 10000\nflow out = in -> x",
        "block e { flow out = in }\n"
        + REPEATS.format(name="a", inner="e", n=10000)
        + "\n"
        + REPEATS.format(name="b", inner="a", n=10000),
    ),
    "doubling": model(
        "flow out = in -> b25",
        "block b0 { flow out = in }\n"
        + "\n".join(EMPTY.format(name=f"b{n}", inner=f"b{n - 1}") for n in range(1, 26)),
    ),
    "blocks that nothing uses": UNUSED,
    "deep blocks": chain(limits.MAX_BLOCK_DEPTH + 5),
    "deep blocks and expressions": chain(25, "-(" * 45 + "in -> b{next}" + ")" * 45),
    "a chain of parameters": "\n".join(f"param p{n} = p{n + 1} + 1" for n in range(5000))
    + "\nparam p5000 = 1",
    "20,000 levels": model("\n".join(f"level x{n} = mlp" for n in range(20_000)) + "\nflow out = in"),
    "five models": "\n".join(
        model("level a = linear repeat 9999\nflow out = in -> a").replace("model m", f"model m{n}")
        for n in range(5)
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_it_ends(name):
    started = time.process_time()
    found = analysis(HOSTILE[name]).diagnostics
    assert time.process_time() - started < SECONDS
    assert {diagnostic.code for diagnostic in found} == {"N0004"}
    assert len(found) <= 2
    for diagnostic in found:
        assert (
            any(character.isdigit() for character in diagnostic.message) or "too deep" in diagnostic.message
        )


def test_just_under_the_limits():
    assert len(list(graph(chain(limits.MAX_BLOCK_DEPTH - 1)).scopes)) == limits.MAX_BLOCK_DEPTH + 1
    text = model("level a = linear repeat 2000\nflow out = in -> a")
    assert sum(level.kind == "linear" for level in graph(text).levels()) == 2000
    depth = limits.MAX_PARAMETER_DEPTH
    chained = "\n".join(f"param p{n} = p{n + 1} + 1" for n in range(depth)) + f"\nparam p{depth} = 1"
    assert analysis(chained).diagnostics == ()


def test_a_block_that_contains_itself():
    for blocks in (
        "block a { level x = a\n flow out = in -> x }",
        "block a { flow out = in -> a }",
        "block a { flow out = in -> b }\nblock b { level x[2] = a repeat 3\n flow out = in -> x }",
    ):
        (only,) = analysis(model("flow out = in -> a", blocks)).diagnostics
        assert only.code == "N0104"
        assert "contains itself" in only.message


def test_parameters_in_a_circle():
    circle = "\n".join(f"param p{n} = p{(n + 1) % 5} + 1" for n in range(5))
    (only,) = analysis(circle + model("flow out = in -> linear(p3)")).diagnostics
    assert only.code == "N0301"


def test_many_files(tmp_path):
    """Each uses the next two, so that there are very many ways but few files."""
    count = limits.MAX_MODULES + 50
    for n in range(count):
        uses = "".join(f'use "f{m}.nest"\n' for m in (n + 1, n + 2) if m < count)
        (tmp_path / f"f{n}.nest").write_text(f"{uses}block b{n} {{ flow out = in }}\n")
    started = time.process_time()
    found = analyse(read_source(tmp_path / "f0.nest")).diagnostics
    assert time.process_time() - started < SECONDS
    assert {diagnostic.code for diagnostic in found} == {"N0004"}
    assert str(limits.MAX_MODULES) in found[0].message


def test_many_files_in_a_circle(tmp_path):
    count = 150
    for n in range(count):
        (tmp_path / f"f{n}.nest").write_text(
            f'use "f{(n + 1) % count}.nest"\nblock b{n} {{ flow out = in }}\n'
        )
    (only,) = analyse(read_source(tmp_path / "f0.nest")).diagnostics
    assert only.code == "N0105"
    assert "circle" in only.message
