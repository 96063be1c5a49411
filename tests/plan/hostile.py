"""Plans with something hostile in one place: every text and every number of a plan, one at a time."""

import copy
import random
from collections.abc import Iterator

import yaml

import nestdsl
from nestdsl.plan.yaml import to_yaml

MARK = "pwned"
PAYLOADS = (
    f"x\n{MARK}()",
    f"x\r{MARK}()",
    f"x\x0b{MARK}()",
    f"x\x0c{MARK}()",
    f"x\x85{MARK}()",
    f"x\u2028{MARK}()",
    f'x"""\n{MARK}()\n"""',
    f"x'); {MARK}(); ('",
    f'x"); {MARK}(); ("',
    f"x; {MARK}()",
    f"x */ {MARK}() /*",
    f"{MARK}\\",
    f"{{{MARK}()}}",
    f"__import__('os').system('{MARK}')",
    f"x.{MARK}",
    f"__{MARK}__",
    "class",
    "self",
    "forward",
    "",
    "\x1b[2J" + MARK,
    MARK * 20_000,
)
NUMBERS = (
    -1,
    0,
    2**70,
    -(2**70),
    1.5,
    -0.0,
    1e308,
    float("inf"),
    float("-inf"),
    float("nan"),
    True,
    None,
    "1",
)

PROGRAM = """
optimizer all(rate = linear(0.1, warmup = 2), keep = 0.9, period = 2) {
  only matrices else own(lr = rate)
  level slow[2] = ema(1 - 0.1 ** (index + 1), reduce = "sum") { learn grad  every period steps  read before }
  level pairs = matrix(step = 0.1, retain = keep) { learn normalize(grad) -> outer(grad) }
  level keys = associative(hidden = 4, step = 0.1) { learn grad -> weight }
  flow way = newton_schulz(debias(slow[0]) + slow[1]) - matmul(pairs(grad), grad) + clip(grad, 0.5)
  flow update = -rate * (way + (grad -> keys) + silu(grad) * tanh(grad) ** 2)
}
optimizer own(lr = 0.1) {
  level m = ema(0.9) { learn grad }
  flow update = -lr * debias(m) / (sqrt(m * m) + 1e-8)
}
block memories(n = 2) {
  flow k = in -> linear -> l2_normalize(n)
  level m = matrix(n) { learn k -> in  every 1 token, chunk 4  optimizer dgd(momentum = 0.5) }
  level w = matrix(n) { learn k -> w(in)  every 1 token, chunk 4  init learned(uniform(0.1)) }
  level v = matrix(n) { learn k -> v(in)  every 1 token, chunk 4  init identity }
  level a = attention(n, window = 4)
  flow out = m(k) + w(k) + v(k) + (in -> a -> conv(3)) * spread(1, -0.5, size = 8)
}
model whole(dim = 8) {
  input ids(16)
  level embed = embedding(dim)
  level stack = memories repeat 2
  level slow = mlp(hidden = 4) { init scaled(0.5)  every 8 tokens  optimizer sgd(lr = 0.1)
    gradient truncated(2) }
  level head = linear(16) { init orthogonal }
  flow out = in -> embed -> stack -> slow -> dropout(0.1) -> head
  train { objective cross_entropy  optimizer all }
}
"""


def plan_data() -> dict:
    """A plan in which nearly every part of the format occurs, as plain data."""
    return yaml.safe_load(to_yaml(nestdsl.parse(PROGRAM).plan))


Place = tuple[object, ...]


def places(data: object, kinds: tuple[type, ...], place: Place = ()) -> Iterator[Place]:
    """Where values of these kinds stand; a key of a mapping has `(key,)` as its last step."""
    if isinstance(data, dict):
        for key, part in data.items():
            if str in kinds:
                yield (*place, (key,))
            yield from places(part, kinds, (*place, key))
    elif isinstance(data, list):
        for number, part in enumerate(data):
            yield from places(part, kinds, (*place, number))
    elif type(data) in kinds:
        yield place


def changed(data: dict, place: Place, value: object) -> dict:
    """The plan with another value, or another key, at one place."""
    new = copy.deepcopy(data)
    inner = new
    for step in place[:-1]:
        inner = inner[step]  # type: ignore[index]
    last = place[-1]
    if isinstance(last, tuple):
        inner[value] = inner.pop(last[0])  # type: ignore[index, attr-defined]
    else:
        inner[last] = value  # type: ignore[index]
    return new


def one_of_each(data: dict, kinds: tuple[type, ...], seed: int) -> list[Place]:
    """One place of each form, such as the result of any line of any body, drawn by a seed."""
    draws = random.Random(seed)
    forms: dict[tuple[object, ...], list[Place]] = {}
    for place in places(data, kinds):
        form = tuple("#" if isinstance(step, int) else step for step in place)
        forms.setdefault(form, []).append(place)
    return [draws.choice(found) for found in forms.values()]
