"""The programs whose invariants are tested: every example, and one memory for each way to say it."""

from __future__ import annotations

from pathlib import Path

import nestdsl

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.nest"))

_MEMORY = """
model memory_model(dim = 16, heads = 2) {{
  input {input}
  flow x = in -> {first}
  flow k = x -> linear -> l2_normalize(heads)
  flow v = x -> linear
  flow q = x -> linear -> l2_normalize(heads)
  flow step = x -> linear(heads) -> sigmoid
  flow retain = sigmoid((x -> linear(heads)) + 3)
  level memory = matrix(heads) {{
    learn k -> v
    {clauses}
  }}
  flow out = x + (q -> memory) -> linear(11)
  train {{ objective {objective} }}
}}
"""

CLAUSES = {
    "exact": "every 1 token",
    "delta": "every 1 token, chunk 8  optimizer gd(step = step)  init zeros",
    "gated": "every 1 token, chunk 16  optimizer gd(step = step, retain = retain)  init learned",
    "first": "every 1 token, chunk 16  optimizer gd(step = step, retain = retain, forget_first = true)",
    "before": "every 1 token, chunk 8  optimizer gd(step = step, retain = retain)  read before",
    "anchor": "every 1 token, chunk 8  optimizer gd(step = step, retain = 0.9)  read anchor",
    "dot": "every 1 token  objective dot  optimizer gd(step = 0.5, retain = retain)  init normal(0.1)",
    "dot_before": "every 1 token, chunk 24  objective dot  optimizer gd(step = step)  read before",
    "dot_anchor": "every 1 token, chunk 5  objective dot  optimizer gd(step = step)  read anchor",
    "period": "every 8 tokens  optimizer gd(step = step, retain = retain)",
    "period_before": "every 8 tokens  optimizer gd(step = step, retain = retain)  read before",
    "period_anchor": "every 8 tokens  objective dot  optimizer gd(step = 1, retain = 0.5)  read anchor",
    "stop": "every 1 token  optimizer gd(step = step)  gradient stop",
    "dgd": "every 1 token, chunk 8  optimizer dgd(step = step, retain = retain)",
    "dgd_exact": "every 1 token  optimizer dgd(step = step, toward = init)  read before",
    "momentum": "every 1 token, chunk 8  optimizer momentum(step = 0.1, retain = retain, momentum = step)",
    "spread": "every 1 token, chunk 8  optimizer gd(step = step, retain = 1 - 2 ** spread(-1, -5, heads))",
    "lp": "every 1 token, chunk 8  objective lp(3)  optimizer gd(step = 0.1, retain = 0.9)",
}

_SELF_REFERENTIAL = """
block self_referential(heads = 2) {{
  default {{ every 1 token, chunk 8  optimizer {optimizer} }}
  flow x = in -> conv(4) -> silu
  flow k = x -> key -> l2_normalize(heads)
  flow v = x -> value -> rms_norm
  flow step = sigmoid((x -> rate -> linear(heads)) - 3)
  flow retain = sigmoid((x -> keep -> linear(heads)) + 3)
  flow q = x -> linear -> l2_normalize(heads)
  level key = {kind}(heads) {{ learn k -> key(v) }}
  level value = {kind}(heads) {{ learn k -> value(v) }}
  level rate = {kind}(heads) {{ learn k -> rate(v) }}
  level keep = {kind}(heads) {{ learn k -> keep(v) }}
  level memory = {kind}(heads) {{ learn k -> memory(v)  every 1 token, chunk 16 }}
  flow out = (memory(q) -> rms_norm) * silu(in -> linear) -> linear
}}
model m(dim = 16) {{
  input ids(11)
  level stack = self_referential repeat 2
  flow out = in -> embedding(dim) -> stack -> linear(11)
}}
"""

_OTHERS = {
    "attention": """
model m(dim = 16) {
  input ids(11)
  flow x = in -> embedding(dim)
  flow k = x -> linear
  flow v = x -> linear(24)
  level wide   = attention(2) { learn k -> v }
  level narrow = attention(heads = 4, window = 5, rotary = false)
  flow out = (k -> wide -> linear(dim)) + (x -> layer_norm -> narrow) -> linear(11)
}
""",
    "kimi": """
model m(dim = 16, heads = 2) {
  input ids(11)
  flow x = in -> embedding(dim)
  flow k = x -> linear -> l2_normalize(heads)
  flow keep = sigmoid((x -> linear) + 3)
  flow step = x -> linear(heads) -> sigmoid
  default { every 1 token, chunk 16   optimizer gd(step = step, retain = keep, forget_first = true) }
  level one = matrix(heads) { learn k -> x }
  level own = matrix(heads) { learn k -> own(x)   read anchor }
  flow out = (k -> one) + (k -> own) -> linear(11)
}
""",
    "associative": """
model m(dim = 16, heads = 2) {
  input ids(11)
  flow x = in -> embedding(dim) -> conv(3)
  flow k = x -> linear -> l2_normalize(heads)
  level shallow = associative(heads) {
    learn k -> x
    every 1 token, chunk 8
    optimizer gd(step = 0.3, retain = 0.95)
  }
  level narrow = associative(heads, hidden = 3, activation = silu) {
    learn k -> x
    every 8 tokens
    read before
  }
  level layer   = associative(heads)
  flow out = (k -> shallow) + (k -> narrow) + (x -> layer) -> linear(11)
}
""",
    "linear_self_reference": """
use std.titans
model m(dim = 16) {
  input ids(11)
  flow out = in -> embedding(dim) -> linear_self_referential(heads = 2, chunk = 8) -> linear(11)
}
""",
    "spread": """
block layer(heads = 2) {
  default { every 1 token, chunk 8  optimizer dgd(step = step, retain = retain) }
  flow x = in -> conv(4) -> silu
  flow k = x -> key -> l2_normalize(heads)
  flow retain = sigmoid((x -> keep -> linear(heads)) + spread(1, 4, heads))
  flow step = spread(0.1, 0.3, heads)
  level key = matrix(heads) { learn k -> key(x)  init learned(identity) }
  level keep = matrix(heads) { learn k -> keep(x)  init identity }
  level slow = linear { every 8 tokens  optimizer gd(step = 0.1)  init scaled(0.5) }
  flow out = x * spread(0.5, 1, 16) + k -> slow
}
model m(dim = 16) {
  input ids(11)
  level stack = layer repeat 2
  flow out = (in -> embedding(dim)) * spread(1, 2, dim) -> stack -> linear(11)
}
""",
    "continuum": """
model m(dim = 16) {
  input ids(11)
  level chain[2] = mlp(expand = 2) { every 8 * 2 ** index tokens  optimizer gd(step = 0.1) }
  level flat[2]  = linear { every 8 tokens  optimizer sgd(lr = 0.1, momentum = 0.9)  gradient through }
  flow x = in -> embedding(dim) -> conv(3)
  flow h = x + (x -> rms_norm -> chain)
  flow out = h + (h -> parallel(flat)) -> linear(11)
}
""",
    "low_rank": """
model m(dim = 16) {
  input ids(11)
  level own = low_rank(3) { every 8 tokens  optimizer gd(step = 0.5) }
  flow h = in -> embedding(dim) -> conv(3) -> low_rank(4)
  flow out = h -> own -> linear(11)
}
""",
    "nested": """
model m(dim = 16) {
  input ids(11)
  level fast = mlp(expand = 2) { every 4 tokens  optimizer gd(step = 0.1)  init from slow  reset parent }
  level slow = mlp(expand = 2) { every 16 tokens  optimizer gd(step = 0.1) }
  flow h = in -> embedding(dim) -> conv(3)
  flow out = h + (h -> rms_norm -> fast -> slow) -> linear(11)
}
""",
    "functions": """
param width = 3
block gate(rate = 0.0) {
  flow out = (in -> gelu) * sigmoid(in / 2 - 1) + tanh(in) ** 2 - abs(stop(in)) + relu(-in) -> dropout(rate)
}
model m {
  input vectors(6)
  level gates[2] = gate
  level mlps[3] = mlp(hidden = 5, activation = "silu")
  flow x = in -> linear(8) -> conv(width) -> softplus
  flow y = concat(x -> gates, sqrt(exp(x -> linear(4))), sign(x), 1.5) -> softmax
  flow z = y -> rms_norm -> parallel(mlps)
  flow out = (z -> mlps[1]) + l2_normalize(z) -> linear(6)
  train { objective mse }
}
""",
}


_LIBRARY = """
use std.{module}
model m(dim = 16) {{
  input ids(11)
  level stack = {block}({arguments})
  flow out = in -> embedding(dim) -> stack -> linear(11)
}}
"""

LIBRARY = {
    # module: (block, arguments with which chunks, periods and windows end within the sequence)
    "fully_adaptive": ("fully_adaptive", "2, period = 8"),
    "hope": ("hope_layer", "2, chunk = 4, levels = 2, period = 4, step = 0.5"),
    "hope_attention": ("hope_attention_layer", "2, levels = 2, period = 4, step = 0.5"),
    "titans_mac": ("titans_mac", "2, segment = 8, persistent = 2"),
    "titans_mag": ("titans_mag", "2, window = 5, persistent = 2, chunk = 8"),
    "titans_mal": ("titans_mal", "2, window = 5, persistent = 2, chunk = 8"),
}


def texts() -> dict[str, str]:
    """All programs by name, as text."""
    found = {path.stem: path.read_text() for path in EXAMPLES}
    for name, clauses in CLAUSES.items():
        found[f"matrix_{name}"] = _MEMORY.format(
            input="ids(11)", first="embedding(dim)", clauses=clauses, objective="cross_entropy"
        )
    found["matrix_vectors"] = _MEMORY.format(
        input="vectors(11)", first="linear(dim) -> conv(3)", clauses=CLAUSES["gated"], objective="mse"
    )
    for kind in ("matrix", "associative"):
        for optimizer in ("dgd", "gd", "momentum"):
            # Stale gradients of a nonlinear memory grow under a long momentum, by their own dynamics.
            more = ", momentum = 0.2" if optimizer == "momentum" else ""
            rule = f"{optimizer}(step = step, retain = retain{more})"
            found[f"self_{kind}_{optimizer}"] = _SELF_REFERENTIAL.format(kind=kind, optimizer=rule)
    for module, (block, arguments) in LIBRARY.items():
        text = _LIBRARY.format(module=module, block=block, arguments=arguments)
        found[f"library_{module}"] = text
    return found | _OTHERS


def nest(name: str) -> nestdsl.Nest:
    """A program, small: examples with 16 features in each of 2 heads."""
    # The slowest memory of the stack moves once in eight periods, and more than once must it move.
    small = {"dim": 32, "depth": 2, "heads": 2, "vocab": 11, "period": 2 if name == "titans_stack" else 8}
    text = texts()[name]
    taken = {
        key: value for key, value in small.items() if f"{key} = " in text.split("model ")[-1].split(")")[0]
    }
    return nestdsl.parse(text, **(taken if name in {path.stem for path in EXAMPLES} else {}))
