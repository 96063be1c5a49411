"""Plans altered in a place or two, drawn by seed, and what comes of each when it is read and run."""

import copy
import random
import re
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml

import nestdsl
from nestdsl.diagnostics import NestError
from nestdsl.plan.plan import Plan
from nestdsl.plan.yaml import from_yaml, to_yaml
from nestdsl.runtime.build import build
from nestdsl.runtime.step_levels import NonFiniteGradient, StepLevels, UntrainedLevelError
from nestdsl.vocabulary.signatures import LIBRARY
from tests.plan.hostile import NUMBERS, PROGRAM, Place

SMALL: dict[str, Any] = {"dim": 8, "depth": 1, "heads": 2, "vocab": 16, "size": 8, "period": 4, "segment": 4}
"""Sizes for the examples' parameters of these names."""
SECONDS = 5
_EXAMPLES = Path(__file__).parents[2] / "examples"
_WORDS = (
    "in_", "out", "grad", "weight", "step_count", "update", "none", "constant", "add", "multiply", "divide",
    "power", "negate", "learn", "answer", "bias", "debias", "through", "stop", "truncated(1)", "truncated(3)",
    "number", "in × out", "1 × in", "out × 1", "l2", "dot", "lp", "gd", "dgd", "momentum", "dgd_momentum",
    "before", "after", "anchor", "step", "token", "cosine", "linear", "mean", "sum", "ids", "vectors", "mse",
    "cross_entropy", "context", "parent", "never", "surprise", "nothing", "every token", "every read",
    "every 2 steps", "side by side", "one running product", "zeros", "identity", "learned", "orthogonal",
    "call", "read", "recall", "peek", "read_start", "columns", "run_block", "cast", "round", "x\ny", "",
)  # fmt: skip
_ODD = (*NUMBERS, 2, 3, 0.5, 10**8, 10**12, 1e-320, [], {}, [1], ["in_"], {"a": 1}, False)

Form = tuple[object, ...]
"""A place with `#` for each number of a list: what stands there is alike in all plans."""


def plans() -> list[dict[str, Any]]:
    """The plans of all examples and of the hostile program, small, as plain data."""
    found = [nestdsl.parse(PROGRAM)]
    for path in sorted(_EXAMPLES.rglob("*.nest")):
        header = re.search(r"^model \w+\((.*?)\)", path.read_text("utf-8"), re.MULTILINE)
        assert header is not None
        names = re.findall(r"(\w+) =", header[1])
        if path.parent != _EXAMPLES:  # whose number of heads is no parameter: 4
            names = ["dim", "depth"]
        found.append(nestdsl.load(path, **{name: SMALL[name] for name in names if name in SMALL}))
    return [yaml.load(to_yaml(nest.plan), yaml.CSafeLoader) for nest in found]


def _walk(data: object, place: Place = ()) -> Iterator[tuple[Place, object]]:
    yield place, data
    parts = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for step, part in parts:
        yield from _walk(part, (*place, step))


def _form(place: Place) -> Form:
    return tuple("#" if isinstance(step, int) else step for step in place)


class Alterations:
    """Draws altered plans from those of all programs."""

    def __init__(self) -> None:
        self.draws = random.Random()
        self.plans = plans()
        self.places: list[dict[Form, list[Place]]] = []
        self.alike: dict[Form, list[object]] = defaultdict(list)
        words = {*_WORDS, *LIBRARY.kinds, *LIBRARY.functions}
        self.words = sorted(words)
        for plan in self.plans:
            forms: dict[Form, list[Place]] = defaultdict(list)
            for place, value in _walk(plan):
                if place:
                    forms[_form(place)].append(place)
                    self.alike[_form(place)].append(value)
            self.places.append(forms)

    def draw(self, seed: int, count: int) -> Iterator[tuple[dict[str, Any], str]]:
        """So many altered plans, as plain data, each with what was done to it in words."""
        self.draws = random.Random(seed)
        for _ in range(count):
            yield self._one()

    def _one(self) -> tuple[dict[str, Any], str]:
        """A plan altered in one place, or now and then in two."""
        number = self.draws.randrange(len(self.plans))
        data = copy.deepcopy(self.plans[number])
        done = [self._altered(data, number) for _ in range(self.draws.choice((1, 1, 1, 2)))]
        return data, f"plan {number} ({data.get('model')!a}): {'; '.join(done)}"

    def _altered(self, data: dict[str, Any], number: int) -> str:
        """Alters data in one place; gives what was done."""
        before, forms = copy.deepcopy(data), self.places[number]
        while True:
            place = self.draws.choice(forms[self.draws.choice(list(forms))])
            try:
                done = self._alter(data, number, place)
            except (LookupError, TypeError, AttributeError):  # what was there is altered already
                continue
            if done and not _is_same(data, before):
                return f"{'.'.join(map(str, place))}: {done}"

    def _alter(self, data: dict[str, Any], number: int, place: Place) -> str:
        """Alters data in one place; gives what was done, or nothing if it has no meaning there."""
        draws = self.draws
        holder: Any = data
        for step in place[:-1]:
            holder = holder[step]
        step: Any = place[-1]
        value = holder[step]
        match draws.randrange(9):
            case 8 if isinstance(value, str | int | float) and not isinstance(value, bool):
                others = [one for _, one in _walk(self.plans[number]) if type(one) is type(value)]
                other = draws.choice((draws.choice(others), draws.choice(self.alike[_form(place)])))
                _everywhere(data, value, other)
                return f"{str(value)[:80]!a} -> {str(other)[:80]!a} everywhere"
            case 0:
                holder[step] = copy.deepcopy(draws.choice(_ODD))
            case 1:
                holder[step] = draws.choice(self.words)
            case 2 | 3:
                holder[step] = copy.deepcopy(draws.choice(self.alike[_form(place)]))
            case 4 if isinstance(value, str):
                others = [one for _, one in _walk(self.plans[number]) if isinstance(one, str)]
                holder[step] = draws.choice(others)
            case 4 if isinstance(value, int | float) and not isinstance(value, bool):
                holder[step] = draws.choice((value + 1, value - 1, 2 * value, -value, float(value)))
            case 5 if isinstance(holder, dict):
                alike = self.alike[_form(place[:-1])] if place[:-1] else self.plans
                other = draws.choice(alike)
                missing = [key for key in other if key not in holder] if isinstance(other, dict) else []
                if not missing or draws.randrange(2):
                    del holder[step]
                    return "removed"
                key = draws.choice(missing)
                holder[key] = copy.deepcopy(other[key])  # type: ignore[index]
                return f"with {key} {str(holder[key])[:60]!a}"
            case 6 if isinstance(value, list) and value:
                return _rearrange(value, draws)
            case 7 if isinstance(holder, list):
                return _rearrange(holder, draws)
            case 7 if isinstance(value, list) and place[0] == "bodies" and value:
                other = draws.choice(("instructions", "loop", "after"))
                holder.setdefault(other, []).insert(0, value.pop(draws.randrange(len(value))))
                return f"one moved to {other}"
            case _:
                return ""
        return f"{str(value)[:80]!a} -> {str(holder[step])[:80]!a}"


def _everywhere(data: Any, value: object, other: object) -> None:
    """Puts another value wherever this one stands, and as a key of mappings."""
    for step, part in list(data.items() if isinstance(data, dict) else enumerate(data)):
        if isinstance(part, dict | list):
            _everywhere(part, value, other)
        elif type(part) is type(value) and part == value:
            data[step] = other
        if isinstance(data, dict) and step == value and isinstance(other, str | int | float):
            data[other] = data.pop(step)


def _is_same(one: object, other: object) -> bool:
    """Whether data is the same, and of the same types: 1, 1.0 and true differ."""
    return repr(one) == repr(other)


def _rearrange(items: list[Any], draws: random.Random) -> str:
    one, two = draws.randrange(len(items)), draws.randrange(len(items))
    match draws.randrange(6):
        case 0:
            items.clear()
            return "emptied"
        case 1:
            items += copy.deepcopy(items)
            return "doubled"
        case 2:
            items.reverse()
            return "reversed"
        case 3:
            del items[one]
            return f"without item {one}"
        case 4:
            items.insert(two, copy.deepcopy(items[one]))
            return f"item {one} once more, at {two}"
        case _:
            items[one], items[two] = items[two], items[one]
            return f"items {one} and {two} swapped"


def as_text(data: dict[str, Any]) -> str:
    """The YAML of a plan that is plain data."""
    return yaml.dump(data, Dumper=yaml.CSafeDumper, sort_keys=False)


def outcome(data: dict[str, Any]) -> str:
    """The code by which a plan is refused, or `runs` if its model can be trained by one step.

    Raises whatever else comes of it, and TimeoutError after `SECONDS`.
    """
    text = as_text(data)
    with _in_time(SECONDS):
        try:
            plan = from_yaml(text)
            model = build(plan, compile=False)
        except NestError as error:
            return error.diagnostics[0].code
        model.loss(*_batch(plan)).backward()
        try:
            StepLevels(model, run_steps=8).step(1)
        except (NonFiniteGradient, UntrainedLevelError):  # N0505 and N0305, when training
            pass
    return "runs"


def _batch(plan: Plan) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets, two sequences of 16 tokens."""
    size, most = plan.input.size, plan.output_size
    is_ids, is_choice = plan.input.takes == "ids", plan.train.objective == "cross_entropy"
    inputs = torch.randint(min(size, 16), (2, 16)) if is_ids else torch.randn(2, 16, size)
    return inputs, torch.randint(min(most, 16), (2, 16)) if is_choice else torch.randn(2, 16, most)


@contextmanager
def _in_time(seconds: float) -> Iterator[None]:
    """Raises TimeoutError for what takes longer."""

    def late(*_: object) -> None:
        raise TimeoutError(f"it takes more than {seconds} s")

    before, began = signal.signal(signal.SIGALRM, late), time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    if time.monotonic() - began > seconds:
        raise TimeoutError(f"it takes more than {seconds} s")
