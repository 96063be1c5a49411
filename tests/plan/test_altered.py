"""A plan is read through one door: whatever is altered in it, it is refused by a code, or its model trains.

Altered are the plans of all examples, which are small here: values of other types, other numbers and words,
what stands in the same place of another plan, fields and items that are gone, doubled or elsewhere, and one
name put for another everywhere.
"""

import random
import resource
import sys
from collections import Counter
from typing import Any

import pytest
import yaml

from nestdsl.diagnostics import NestError
from nestdsl.plan.yaml import from_yaml
from tests.plan.altered import Alterations, as_text, outcome
from tests.plan.hostile import plan_data

MEBIBYTES = 512
"""By how much the memory of this process may grow at most."""


@pytest.fixture(scope="module")
def alterations() -> Alterations:
    return Alterations()


def memory() -> int:
    """The most mebibytes that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> (20 if sys.platform == "darwin" else 10)


def tried(alterations: Alterations, seed: int, count: int) -> Counter[str]:
    """How often each outcome is that of altered plans."""
    outcomes: Counter[str] = Counter()
    before = memory()
    for data, done in alterations.draw(seed, count):
        try:
            outcomes[outcome(data)] += 1
        except Exception as error:
            raise AssertionError(f"not refused: {done}") from error
        assert memory() - before < MEBIBYTES, done
    return outcomes


@pytest.mark.parametrize("seed", range(8))
def test_an_altered_plan_is_refused_by_a_code_or_trains(alterations: Alterations, seed: int) -> None:
    outcomes = tried(alterations, seed, 64)
    assert outcomes["runs"] >= 2, "what is only shown may be altered"
    assert outcomes["N0502"] >= 24


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
def test_many_altered_plans_are_refused_by_a_code_or_train(alterations: Alterations, seed: int) -> None:
    tried(alterations, seed, 256)


def test_all_plans_train_as_they_are(alterations: Alterations) -> None:
    for data in alterations.plans:
        assert outcome(data) == "runs"


def test_any_text_is_read_or_refused_by_a_code() -> None:
    """Characters of a plan's text that are gone, or others in their place, as a broken file has them."""
    draws, text = random.Random(0), as_text(plan_data())
    others = (
        "",
        "x",
        ": ",
        "- ",
        "[",
        "{",
        "\n",
        "'",
        '"',
        "\t",
        "&a ",
        "*a",
        "!!",
        "|",
        "? ",
        "---\n",
        "1e5",
        "\0",
    )
    outcomes: Counter[str] = Counter()
    for _ in range(400):
        start = draws.randrange(len(text))
        broken = text[:start] + draws.choice(others) + text[start + draws.choice((0, 1, 5, 50)) :]
        try:
            from_yaml(broken)
            outcomes["read"] += 1
        except NestError as error:
            outcomes[error.diagnostics[0].code] += 1
    assert outcomes["read"], "what is only shown may be broken"
    assert outcomes.keys() == {"read", "N0502"}


def line(**fields: Any) -> dict[str, Any]:
    return {"result": "huge", "function": "power", "operands": [10, 10**8], **fields}


def test_a_power_that_no_memory_holds_does_not_hang() -> None:
    data = plan_data()
    program = data["train"]["optimizer"]["program"]
    program["lines"] += [
        line(shape="constant"),
        {**line(operands=["huge", "rate"], shape="constant"), "result": "far"},
    ]
    assert outcome(data) == "runs"
    program["lines"][-1]["shape"] = "weight"
    assert outcome(data) == "N0502"
    data = plan_data()
    data["bodies"][-1]["instructions"].append({"type": "call", **line()})
    assert outcome(data) == "N0502"


def part(data: Any, path: str) -> Any:
    """What stands in a plan under `one/two`: fields, and items of lists by their names or results."""
    for step in path.split("/"):
        if isinstance(data, list):
            names = ("attribute", "result", "name", "parameter")
            data = next(one for one in data if step in (one.get(name) for name in names))
        else:
            data = data[step]
    return data


MEMORIES, WHOLE = "bodies/memories", "bodies/whole"
PROGRAM = "train/optimizer/program"
FAULTS: dict[str, tuple[str, str, object, str]] = {
    "a layer with state": (f"{MEMORIES}/levels/a_query", "stateful", True, "keeps state is odd"),
    "a convolution without": (f"{MEMORIES}/levels/out_conv", "stateful", False, "keeps state is odd"),
    "a memory without": (f"{MEMORIES}/levels/m", "stateful", False, "keep no state is odd"),
    "no memory": (f"{MEMORIES}/levels/a_query", "association", True, "is no memory"),
    "an argument less": (f"{MEMORIES}/levels/out_conv", "arguments", {"width": 3}, "does not say `bias`"),
    "two alternatives": (f"{MEMORIES}/levels/a/arguments", "segment", 4, "both window and segment"),
    "later tokens": (f"{MEMORIES}/levels/a/arguments", "causal", False, "reads later tokens"),
    "odd heads": (f"{MEMORIES}/levels/a/arguments", "heads", 8, "odd number"),
    "three heads": (f"{MEMORIES}/levels/m/arguments", "heads", 3, "3 heads do not divide"),
    "no rule": (f"{MEMORIES}/levels/m", "options", {}, "does not say its chunk and gradient"),
    "a rule of a layer": (f"{MEMORIES}/levels/a_query", "options", {"period": 2}, "options of a memory"),
    "one for true": (f"{MEMORIES}/levels/w/options", "anchored", 1, "is no such word"),
    "a gradient twice": (f"{MEMORIES}/levels/m", "gradient", "stop", "given in two ways"),
    "a parent that is not there": (f"{WHOLE}/levels/slow/surprise", "parent", "embed_2", "no such parent"),
    "itself as parent": (f"{WHOLE}/levels/slow/surprise", "parent", "slow", "from itself"),
    "another's parent": (f"{WHOLE}/levels/slow/surprise", "parent", "embed", "another's parent"),
    "never reset": (f"{WHOLE}/levels/slow/surprise", "reset", "never", "goes on is given in two ways"),
    "a period of its own": (f"{WHOLE}/levels/slow/surprise", "period_tokens", 3, "`slow` moves is given in"),
    "other factors": (f"{MEMORIES}/after/m_context", "factors", {"step": 1.0}, "other factors"),
    "nobody's context": (f"{MEMORIES}/after/out_1", "context", "product_context", "what is not there"),
    "an idle level": (f"{MEMORIES}/after/a_key", "level", "a_query", "nothing reads `a_key`"),
    "an idle flow": (f"{MEMORIES}/after/out", "operands", ["out_3", "out_8"], "makes what nothing reads"),
    "a chunk of none": (MEMORIES, "chunk_tokens", 3, "the chunks of `memories`"),
    "no chunks": (MEMORIES, "chunk_tokens", 0, "the chunks of `memories`"),
    "a memory alone": (f"{MEMORIES}/shared/product", "members", ["w"], "too few|keep no state"),
    "a stranger": (f"{MEMORIES}/shared/product", "members", ["w", "a"], "which memories|is odd"),
    "another source": (f"{MEMORIES}/shared/product", "source", "m", "no such memory"),
    "vectors": ("input", "takes", "vectors", "reads vectors, not ids"),
    "other inputs": ("input", "size", 17, "another size"),
    "other outputs": ("", "output_size", 17, "another size"),
    "a nobody's memory": ("levels/embed", "owner", "@train", "1 modules"),
    "another kind": ("levels/embed", "kind", "linear", "kind of `embed` is given in two ways"),
    "another size": ("levels/embed", "output_size", 4, "given in two ways"),
    "an association": ("levels/embed", "learns", "l2: key -> value", "what `embed` learns"),
    "a rule for steps": ("levels/embed", "optimizer", {"name": "gd", "arguments": {}}, "has no program"),
    "another clock": ("clock", "segment_tokens", 3, "its clock"),
    "other costs": ("costs", "parameters", 1, "its costs"),
    "hidden weights": (f"{WHOLE}/levels/slow/arguments", "hidden", 10**8, "more weights than it says"),
    "a hidden state": (f"{MEMORIES}/levels/a/arguments", "window", 10**8, "keeps more than it says"),
    "a hidden memory": (f"{PROGRAM}/memories/keys/options", "hidden", 10**8, "keep more than it says"),
    "another shape": (f"{PROGRAM}/lines/way.9", "shape", "constant", "`way.9` .* another shape"),
    "shapes that differ": (f"{PROGRAM}/lines/way.7", "operands", ["way.5", "pairs.learn.1"], "differ"),
    "no value": (f"{PROGRAM}/lines/update.4", "operands", ["keys"], "no value by itself"),
    "no decay": (f"{PROGRAM}/memories/slow[1]/arguments", "decay", 1e308, "not between 0 and 1"),
    "a decay to come": (f"{PROGRAM}/memories/pairs/arguments", "retain", "update.9", "an operand"),
    "another average": (f"{PROGRAM}/lines/way.2", "operands", ["slow[1]", "way.1"], "no moving average"),
    "a number": (PROGRAM, "update", "update.1", "not the weight's shape"),
    "a floor above": (f"{PROGRAM}/schedules/rate", "floor", 2.0, "floor"),
}  # fmt: skip
"""Where a plan is altered: the field, its new value, and what the refusal says."""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(fault: str) -> None:
    path, name, value, message = FAULTS[fault]
    data = plan_data()
    (part(data, path) if path else data)[name] = value
    with pytest.raises(NestError, match=message) as found:
        from_yaml(as_text(data))
    assert found.value.diagnostics[0].code == "N0502"


def test_what_runs_chunk_by_chunk_is_what_must() -> None:
    data = plan_data()
    body = part(data, MEMORIES)
    body["instructions"] += body["loop"]
    body["loop"] = []
    with pytest.raises(NestError, match="what runs chunk by chunk"):
        from_yaml(as_text(data))


def test_a_block_runs_once() -> None:
    data = plan_data()
    lines = part(data, WHOLE)["instructions"]
    number = next(number for number, one in enumerate(lines) if one["type"] == "run_block")
    once_more = {**lines[number], "result": "again", "flow": lines[number]["result"]}
    lines.insert(number + 1, once_more)
    for later in lines[number + 2 :]:
        if later.get("flow") == lines[number]["result"]:
            later["flow"] = "again"
    with pytest.raises(NestError, match="runs 2 times in a pass"):
        from_yaml(as_text(data))


def test_the_order_of_mappings_means_nothing() -> None:
    text = yaml.safe_dump(plan_data())  # sorted by key
    assert outcome(yaml.safe_load(text)) == "runs"
