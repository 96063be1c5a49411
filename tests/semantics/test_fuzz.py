"""Changed programs give an analysis, never an exception; what has no errors can always be compiled."""

import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from nestdsl.compiler import analyse
from nestdsl.diagnostics.render import render_github, render_json, render_text
from nestdsl.explain import as_latex, as_text
from nestdsl.graph.json import to_json
from nestdsl.graph.order import order
from nestdsl.graph.verify import verify
from nestdsl.plan.lower import lower
from nestdsl.plan.yaml import from_yaml, to_yaml
from nestdsl.render.views import VIEWS
from nestdsl.source import Source

ROOT = Path(__file__).parents[2]
EVERYTHING = """
param width = 8
param heads = width / 4
block two(x = width, y = x * 2) {
  flow a = in -> linear(y)
  flow out = concat(a, in) -> linear(x) -> layer_norm -> gelu
}
block memories(n = 2) {
  default { every 1 token, chunk 4  optimizer gd(step = s, retain = 0.9) objective dot
    init zeros  read before
  }
  flow s = in -> linear(n) -> sigmoid
  level m = matrix(n) { learn (in -> linear) -> in }
  level w = matrix(n) { learn in -> in  gradient stop  reset context  every 4 tokens, chunk 8 }
  level a = attention(n, window = 4)
  level c = attention(n) { learn in -> in }
  flow out = m(in) + w(in) + (in -> a) * c(in)
}
model one(dim = 8) {
  input vectors(dim)
  level s[2] = memories(n = 2 ** index) { every 2 steps  optimizer sgd(momentum = 0.9) }
  level r = two repeat 2 { frozen }
  level p[3] = mlp(hidden = 4 * (index + 1)) { every 2 ** index steps  optimizer muon(lr = 0.1) }
  level g = linear(bias = false) { every 4 steps  init normal(0.1) }
  flow h = in -> s[0] -> parallel(p) -> s[1]
  flow z = 2 * h - h / 3 + sqrt(4) ** 2 - exp(-h) -> g
  flow out = z -> r -> dropout(0.1)
  train { objective mse  every 2 steps  optimizer adamw(lr = 1e-3) }
}
"""
OPTIMIZERS = """
param share = 0.9
optimizer all(rate = linear(0.1, warmup = 2, steps = 9), keep = share, period = 2, kind = "sum") {
  only matrices else own(lr = rate, keep = keep / 2)
  level slow[2] = ema(1 - 0.1 ** (index + 1), reduce = "sum") {
    learn grad / step_count   every period steps   read before
  }
  level pairs = matrix(step = 0.1, retain = keep) { learn normalize(grad) -> outer(grad)  every 2 steps }
  level keys = associative(hidden = 4, step = 0.1) { learn grad -> weight }
  level plain = sum_of(0) { learn -grad }
  flow scale = sqrt(max(1, rows(weight) / columns(weight)))
  flow way = newton_schulz(debias(slow[0]) + slow[1], steps = 3) - matmul(pairs(grad), grad) / norm(grad)
  flow update = -rate * scale * (clip(way, 0.5) + (way -> keys) + rms_match(plain) ** 2)
}
optimizer own(lr = 0.1, keep = 0.5) {
  level m = ema(keep) { learn grad + n   read before }
  level n = ema(keep) { learn sign(m) - trace(outer(grad)) * grad }
  flow update = -lr * (m + debias(n))
}
model two(dim = 8) {
  input vectors(dim)
  level a = mlp { every 4 steps  optimizer all(period = 3) }
  level b = linear { optimizer own(lr = cosine(0.1)) }
  level c = linear { every 4 tokens  optimizer adamw(lr = 0.1) }
  level d = linear { optimizer m3(period = 4, lr = constant(0.1, warmup = 3)) }
  flow out = in -> a -> b -> c -> d -> linear
  train { objective mse  optimizer all }
}
"""
LIBRARY = [path.read_text("utf-8") for path in sorted((ROOT / "nestdsl/std").glob("*.nest"))]
LIBRARY_OF_OPTIMIZERS = tuple(text for text in LIBRARY if "\noptimizer" in text)
FOLDERS = ("examples", "tests/golden/good", "tests/golden/bad")
FILES = [path for folder in FOLDERS for path in sorted((ROOT / folder).glob("*.nest"))]
COMPLETE = [
    EVERYTHING,
    OPTIMIZERS,
    *(path.read_text("utf-8") for path in FILES if path.stem[:5] not in ("N0003", "N0004")),
]
TOKEN = re.compile(r'(?:"[^"\n]*"|[A-Za-z_]\w*|\d+(?:\.\d+)?(?:e-?\d+)?|->|\*\*|\S|\n)[ ]*')
NUMBERS = ["0", "1", "2", "3", "7", "16", "-1", "0.5", "1e-3", "1e30", "9223372036854775808", "1 / 0", "true"]
WORDS = [
    "\n",
    "-> silu\n",
    "[0]",
    "repeat 2",
    "{ frozen }",
    "{ every 2 steps }",
    *"""
    "s" "" true false in out index x h memory k v linear linear(4) mlp attention(2) matrix matrix(2)
    conv(4) rms_norm embedding(8) parallel concat l2_normalize(2) sigmoid silu stop sqrt exp
    softmax(4) dropout(0.5) debias newton_schulz learn surprise every token tokens step steps chunk
    optimizer gd dgd adamw sgd muon init zeros learned normal(0.1) from reset context parent never
    gradient through truncated(2) read after before anchor frozen objective l2 dot mse cross_entropy
    ema ema(0.9) sum_of sum_of(0) associative grad weight step_count update only matrices else optimizer
    normalize outer matmul transpose norm rms clip max sign cosine(0.1) linear(0.1) m[0] "sum" "mean"
    repeat level flow default input train use param block model -> + - * / ** = , ( ) [ ] { }
    """.split(),
]


def tokens(text: str) -> list[str]:
    return TOKEN.findall(re.sub(r"#.*", "", text))


@st.composite
def changed_programs(draw: st.DrawFn, of: tuple[str, ...] = ()) -> str:
    """A program with one to three of its tokens removed, doubled, exchanged or replaced."""
    found = tokens(draw(st.sampled_from(of or COMPLETE + LIBRARY)))
    for _ in range(draw(st.integers(1, 3))):
        place, other = (draw(st.integers(0, len(found) - 1)) for _ in range(2))
        numbers = [place for place, token in enumerate(found) if token[0].isdigit()] or [place]
        match draw(st.integers(0, 6)):
            case 0 if len(found) > 3:
                del found[place]
            case 1:
                found.insert(place, found[other])
            case 2:
                found[place], found[other] = found[other], found[place]
            case 3:
                found[place] = found[other]
            case 4:
                found[place] = draw(st.sampled_from(WORDS)) + " "
            case _:
                found[draw(st.sampled_from(numbers))] = draw(st.sampled_from(NUMBERS)) + " "
    return "".join(found)


def check(text: str) -> None:
    analysis = analyse(Source(text))
    for diagnostic in analysis.diagnostics:
        assert diagnostic.message
        assert diagnostic.hint or diagnostic.code == "N0001"
    for render in (render_text, render_json, render_github):
        render(analysis.diagnostics)
    if analysis.has_errors or len(analysis.graphs) != 1:
        return
    graph = analysis.graph()
    verify(graph)
    to_json(graph)
    plan = lower(graph, "<text>")
    assert [level.rank for level in plan.levels] == sorted(level.rank for level in plan.levels)
    assert sum(len(rank.levels) for rank in order(graph)) == len(plan.levels)
    assert from_yaml(to_yaml(plan)) == plan
    assert as_text(graph, plan) and as_latex(graph, plan)
    for view in VIEWS.values():
        assert view(graph, True).source


def test_the_programs_themselves():
    for text in COMPLETE + LIBRARY:
        check(text)
    for text in (EVERYTHING, OPTIMIZERS):
        assert not analyse(Source(text)).has_errors


@settings(max_examples=250)
@given(changed_programs())
def test_any_change_of_a_program(text):
    check(text)


@settings(max_examples=250)
@given(changed_programs((OPTIMIZERS, *LIBRARY_OF_OPTIMIZERS)))
def test_any_change_of_an_optimizer(text):
    check(text)


@settings(max_examples=100)
@given(st.data())
def test_a_change_of_a_number_alone(data):
    """Most of these pass every check, so that what comes after is tried too."""
    found = tokens(data.draw(st.sampled_from([EVERYTHING, OPTIMIZERS, *COMPLETE])))
    numbers = [place for place, token in enumerate(found) if token[0].isdigit()] or [0]
    found[data.draw(st.sampled_from(numbers))] = data.draw(st.sampled_from(NUMBERS)) + " "
    check("".join(found))
