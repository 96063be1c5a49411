# ruff: noqa: E501 (the design's own lines)
"""Programs for the tests of this room: those of the language's design, and any that follow the grammar."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

from hypothesis import strategies as st

from nestdsl.diagnostics import Diagnostic
from nestdsl.source import Source, Span
from nestdsl.syntax.ast import Program
from nestdsl.syntax.parser import parse

HOPE = """\
# hope.nest: self-referential Titans, then a continuum memory system [Nested Learning, Eq. 94-97]
use std.titans
use std.optim

block hope_layer(heads = 4, segment = 512) {
  level titans = self_referential(heads)

  level cms[3] = mlp(expand = 4) {                  # cms[0] is the fastest
    every     segment * 4 ** index tokens
    optimizer gd(step = 1e-2)
  }

  flow h   = in + (in -> rms_norm -> titans)
  flow out = h + (h -> rms_norm -> cms)             # an array as a stage: in order, fastest first [Nested Learning, Eq. 70]
}

model hope(dim = 256, depth = 4, heads = 4, vocab = 256) {
  input ids(vocab)

  level embed = embedding(dim)
  level stack = hope_layer(heads) repeat depth
  level head  = linear(vocab)

  flow out = in -> embed -> stack -> rms_norm -> head

  train {
    objective cross_entropy
    every     1 step
    optimizer m3(lr = 3e-4)
  }
}
"""

OPTIMIZERS = """\
optimizer adamw(lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, decay = 0.01) {
  level m = ema(beta1) { learn grad }
  level v = ema(beta2) { learn grad * grad }
  flow update = -lr * (debias(m) / (sqrt(debias(v)) + eps) + decay * weight)
}

optimizer turned(lr = 2e-2, momentum = 0.95) {
  only matrices else adamw(lr = lr / 20)
  level m = ema(momentum) { learn grad   read before }
  flow update = -lr * newton_schulz(momentum * m + (1 - momentum) * grad)
}

optimizer m3(lr = 3e-4, fast = 0.95, slow = 0.9, second = 0.999, mix = 0.5, period = 16, eps = 1e-8) {
  level near = ema(fast)   { learn grad }
  level far  = ema(slow)   { learn grad        every period steps }     # a continuum memory of gradients [Nested Learning, Eq. 75]
  level var  = ema(second) { learn grad * grad }
  flow  dir    = newton_schulz(near) + mix * newton_schulz(far)
  flow  update = -lr * rms_match(dir / (sqrt(debias(var)) + eps))
}
"""

TITANS = """\
# std/titans.nest, after [Nested Learning, Eq. 83-93]
block self_referential(heads = 4, chunk = 16) {
  default { every 1 token, chunk chunk   objective l2   optimizer dgd(step = step, retain = retain)   init learned }

  flow x      = in -> conv(4) -> silu
  flow k      = x -> key   -> l2_normalize
  flow v      = x -> value -> rms_norm
  flow step   = x -> rate -> linear(heads) -> sigmoid
  flow retain = x -> keep -> linear(heads) -> sigmoid
  flow q      = x -> linear -> l2_normalize

  level key    = associative(heads) { learn k -> key(v) }        # each memory makes its own target
  level value  = associative(heads) { learn k -> value(v) }
  level rate   = associative(heads) { learn k -> rate(v) }
  level keep   = associative(heads) { learn k -> keep(v) }
  level memory = associative(heads) { learn k -> memory(v) }

  flow out = (memory(q) -> rms_norm) * silu(in -> linear) -> linear
}
"""

EVERYTHING = """\
use std.titans
use "blocks/mine.nest"
param width = 2 ** -1 * (3 - 4) / 5
param flag = true

block empty {}
block all(a, b = 2,) {
  level one = linear
  level two[a + 1] = mlp(4, expand = (in -> silu),) repeat b {
    learn x read before
    learn x -> y reset context
    objective lp(3)
    every 16
    every 1_000 tokens
    every 1 token, chunk 16 gradient truncated(4)
    init zeros init from one init from two[0] init from "w.safetensors:key"
    optimizer gd frozen
  }
  flow level = two[0](a) + -a ** 2 ** b
  default { }
}
model m { input ids(256)
  train { objective cross_entropy } }
"""
EVERYTHING = EVERYTHING.replace("two[0](a)", "two[0]")

DESIGN = {"hope": HOPE, "optimizers": OPTIMIZERS, "titans": TITANS, "everything": EVERYTHING}


def read(text: str) -> tuple[Program, tuple[Diagnostic, ...]]:
    return parse(Source(text))


def tree(text: str) -> Program:
    """The tree of a text that must be right."""
    program, found = read(text)
    assert not found, [diagnostic.message for diagnostic in found]
    return program


def statement(text: str):
    """The one statement of a body."""
    (block,) = tree("block b {\n" + text + "\n}").declarations
    (found,) = block.body
    return found


def expression(text: str):
    return statement(f"flow x = {text}").value


def clauses(text: str):
    return statement(f"level x = y {{ {text} }}").clauses


def shape(node):
    """A node without its spans, comparable by value."""
    if isinstance(node, tuple):
        return tuple(shape(part) for part in node)
    if is_dataclass(node) and not isinstance(node, Span):
        parts = (shape(getattr(node, field.name)) for field in fields(node) if field.name != "span")
        return (type(node).__name__, *parts)
    return (type(node).__name__, node)


# --- programs that follow the grammar, in any layout ---------------------------------------------

_GAP = st.sampled_from(["", "", " ", "  ", "\t"])
_SPACE = st.sampled_from([" ", " ", "   ", "\t"])
_SOFT = st.sampled_from(["", " ", " ", "\n", " # why\n  ", "\n\n    "])
_LINE = st.sampled_from(["\n", "\n", "\n\n", "  # a remark\n", "\n\n\n  # on its own\n", "\r\n", "\n   "])
_NAMES = st.sampled_from(
    ["x", "in", "level", "step", "chunk", "flow", "read", "init", "model", "tokens", "a_1", "from", "repeat"]
)
_PLAIN = st.sampled_from(["x", "in", "k", "grad", "step", "heads", "a_1"])
_LITERALS = st.sampled_from(["1", "0.5", "1e-3", "1_000", "2.5E+10", "true", "false", '"a b#c"', '""'])


@st.composite
def _expressions(draw, depth: int = 3) -> str:
    choice = draw(st.integers(0, 9 if depth else 1))
    inner = _expressions(depth=depth - 1) if depth else _PLAIN
    match choice:
        case 0 | 2:
            return draw(_PLAIN)
        case 1 | 3:
            return draw(_LITERALS)
        case 4:
            operator = draw(st.sampled_from(["+", "-", "*", "/", "**"]))
            return draw(inner) + draw(_GAP) + operator + draw(_SOFT) + draw(inner)
        case 5:
            return "-" + draw(_GAP) + draw(inner)
        case 6:
            return "(" + draw(_SOFT) + draw(inner) + draw(_SOFT) + ")"
        case 7:
            return draw(_PLAIN) + draw(_arguments(inner))
        case 8:
            return draw(_PLAIN) + "[" + draw(_SOFT) + draw(inner) + "]"
        case _:
            stages = draw(st.lists(inner, min_size=2, max_size=4))
            return "(" + (draw(_GAP) + "->" + draw(_SOFT)).join(stages) + ")"


@st.composite
def _arguments(draw, inner) -> str:
    parts = []
    for value in draw(st.lists(inner, max_size=3)):
        name = draw(_NAMES) + draw(_GAP) + "=" + draw(_SOFT) if draw(st.booleans()) else ""
        parts.append(name + value)
    end = draw(st.sampled_from(["", ","])) if parts else ""
    return "(" + draw(_SOFT) + ("," + draw(_SOFT)).join(parts) + end + draw(_SOFT) + ")"


@st.composite
def _clauses(draw) -> str:
    expressions = _expressions(depth=1)
    call = st.one_of(_PLAIN, st.builds(lambda name, rest: name + rest, _PLAIN, _arguments(expressions)))
    forms = st.sampled_from(
        [
            "learn {e}",
            "learn {e} -> {e}",
            "objective {c}",
            "every {e} tokens",
            "every {e}",
            "every {e} step,{g}chunk {e}",
            "optimizer {c}",
            "init {c}",
            "init from {n}",
            'init from "a.safetensors:b"',
            "init from {n}[{e}]",
            "reset context",
            "gradient {c}",
            "read {n}",
            "frozen",
        ]
    )
    text = "{" + draw(st.one_of(_GAP, _LINE))
    for form in draw(st.lists(forms, max_size=4)):
        while "{" in form:
            for mark, values in (("{e}", expressions), ("{c}", call), ("{n}", _PLAIN), ("{g}", _SOFT)):
                if mark in form:
                    form = form.replace(mark, draw(values), 1)
        text += form + draw(st.one_of(_SPACE, _LINE))
    return text + "}"


@st.composite
def _statements(draw) -> str:
    name, value = draw(_NAMES), draw(_expressions())
    match draw(st.integers(0, 5)):
        case 0 | 1:
            stages = draw(st.lists(_expressions(depth=1), max_size=3))
            return f"flow{draw(_SPACE)}{name}{draw(_GAP)}={draw(_SOFT)}" + "->".join([value, *stages])
        case 2:
            count = f"[{value}]" if draw(st.booleans()) else ""
            kind = draw(_PLAIN) + draw(st.one_of(st.just(""), _arguments(_expressions(depth=1))))
            repeat = f"{draw(_SPACE)}repeat {draw(_PLAIN)}" if draw(st.booleans()) else ""
            braces = draw(_GAP) + draw(_clauses()) if draw(st.booleans()) else ""
            return f"level {name}{count}{draw(_GAP)}={draw(_SOFT)}{kind}{repeat}{braces}"
        case 3:
            return draw(st.sampled_from(["default", "train"])) + draw(_GAP) + draw(_clauses())
        case 4:
            rest = draw(_PLAIN) + draw(st.one_of(st.just(""), _arguments(_expressions(depth=1))))
            return f"only{draw(_SPACE)}{draw(_PLAIN)}{draw(_SPACE)}else{draw(_SPACE)}{rest}"
        case _:
            return "input " + draw(_PLAIN) + draw(_arguments(_expressions(depth=1)))


@st.composite
def _declarations(draw) -> str:
    match draw(st.integers(0, 4)):
        case 0:
            return draw(st.sampled_from(["use std.titans", 'use "a b.nest"', "use a . b"]))
        case 1:
            return f"param {draw(_NAMES)}{draw(_GAP)}={draw(_SOFT)}{draw(_expressions())}"
        case _:
            keyword = draw(st.sampled_from(["block", "optimizer", "model"]))
            parameters = draw(st.sampled_from(["", "()", "(a)", "(a,b = 2)", "(\n  a = 1, # one\n  b,\n)"]))
            body = "".join(draw(_LINE) + text for text in draw(st.lists(_statements(), max_size=4)))
            return f"{keyword} {draw(_NAMES)}{parameters}{draw(_GAP)}{{{body}{draw(_LINE)}}}"


@st.composite
def programs(draw) -> str:
    """A program that follows the grammar, laid out at random."""
    text = draw(st.sampled_from(["", "# the first line\n", "\n\n", "\ufeff"]))
    for declaration in draw(st.lists(_declarations(), max_size=4)):
        text += declaration + draw(_LINE)
    return text + draw(st.sampled_from(["", "# the end", "\n"]))
