"""Every number of the language, made as large as it can be written: a limit with a code, or a plan."""

import pytest

from nestdsl.compiler import analyse
from nestdsl.limits import MAX_NUMBERS, MAX_SIZE
from nestdsl.plan.lower import lower
from nestdsl.plan.yaml import from_yaml, to_yaml
from nestdsl.source import Source
from nestdsl.vocabulary.kinds import KINDS
from nestdsl.vocabulary.signatures import LIBRARY, Takes, count

LARGE = ("1e308", "1e100", "2**63", "2**62", "2**40", "1e18", "9007199254740993", "2147483648", "2147483647")
CLAUSES = (
    "every {} steps",
    "every {} tokens  optimizer gd(step = 0.1)",
    "every 4 tokens  optimizer gd(step = 0.1)  gradient truncated({})",
    "init normal({})",
    "optimizer adamw(lr = {})",
    "optimizer adamw(lr = cosine(0.1, warmup = 3, steps = {}))",
    "optimizer dmgd(hidden = {})",
)
MEMORY_CLAUSES = ("every {} tokens", "every 1 token, chunk {}", "every 1 token  objective lp({})")
NEEDED = {"conv": {"width": "2"}, "embedding": {"dim": "8"}}


def programs(number: str):
    yield f"model m {{\n input ids({number})\n flow out = in -> embedding(4) -> linear(4)\n}}"
    yield f"model m {{\n input vectors({number})\n flow out = in -> linear(4)\n}}"
    yield f"model m {{\n input vectors({number})\n flow out = in -> silu\n}}"
    for kind in KINDS:
        reads = "ids" if kind.takes is Takes.IDS else "vectors"
        for argument in kind.arguments:
            given = {**NEEDED.get(kind.name, {}), argument.name: number}
            call = f"{kind.name}({', '.join(f'{name} = {value}' for name, value in given.items())})"
            for clauses in ("", "{ learn in -> in  every 1 token }")[: 1 + kind.is_memory]:
                body = f"level l = {call} {clauses}\n flow out = in -> l -> linear(4)"
                yield f"model m {{\n input {reads}(8)\n {body}\n}}"
    for function in LIBRARY.functions.values():
        for argument in function.arguments:
            call = f"{function.name}({argument.name} = {number})"
            yield f"model m {{\n input vectors(8)\n flow out = in -> {call}\n}}"
    for clause in CLAUSES:
        level = f"level l = linear {{ {clause.format(number)} }}"
        yield f"model m {{\n input vectors(8)\n {level}\n flow out = in -> l -> linear(4)\n}}"
    for clause in MEMORY_CLAUSES:
        level = f"level l = matrix {{ learn in -> in  {clause.format(number)} }}"
        yield f"model m {{\n input vectors(8)\n {level}\n flow out = in -> l -> linear(4)\n}}"
    for level in (f"l[{number}] = linear", f"l = linear repeat {number}"):
        yield f"model m {{\n input vectors(8)\n level {level}\n flow out = in -> l\n}}"


@pytest.mark.parametrize("number", LARGE)
def test_large_numbers_everywhere(number):
    limited = 0
    for text in programs(number):
        analysis = analyse(Source(text))
        if analysis.has_errors:
            limited += any(one.code == "N0004" for one in analysis.diagnostics)
            assert all(one.hint and len(one.message) < 300 for one in analysis.diagnostics), text
            continue
        graph = analysis.graph()
        plan = lower(graph, "<text>")
        assert from_yaml(to_yaml(plan)) == plan
        assert all(size <= MAX_SIZE for size in graph.sizes.values())
        for level in graph.levels():
            if level.id in graph.level_sizes:
                kind, sizes = LIBRARY.kinds[level.kind], graph.level_sizes[level.id]
                for shapes in (kind.parameters, kind.state):
                    assert count(shapes(dict(level.arguments), *sizes)) <= MAX_NUMBERS
    assert limited


def test_products_and_sums_of_sizes():
    sides = "\n".join(f" flow f{i + 1} = concat(f{i}, f{i})" for i in range(200))
    (only,) = analyse(
        Source(f"model m {{\n input vectors(8)\n flow f0 = in\n{sides}\n flow out = f200\n}}")
    ).diagnostics
    assert only.code == "N0004" and f"{MAX_SIZE:,}" in only.message
    (only,) = analyse(
        Source("model m {\n input vectors(2000000000)\n flow out = in -> linear(2000000000)\n}")
    ).diagnostics
    assert only.code == "N0004" and "weights" in only.message
    for expand in ("1e300", "1e308", "1e17"):
        (only,) = analyse(
            Source(f"model m {{\n input vectors(8)\n flow out = in -> mlp(expand = {expand})\n}}")
        ).diagnostics
        assert only.code in ("N0004", "N0203")
