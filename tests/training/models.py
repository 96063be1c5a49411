"""A small model with levels of several periods, for the tests of training."""

from nestdsl.compiler import analyse
from nestdsl.plan.lower import lower
from nestdsl.plan.plan import OptimizerPlan
from nestdsl.runtime.build import build
from nestdsl.runtime.module import NestModule
from nestdsl.source import Source

ADAMW = OptimizerPlan(
    "adamw",
    (("lr", 1e-2), ("beta1", 0.9), ("beta2", 0.999), ("eps", 1e-8), ("decay", 0.01), ("reduce", "mean")),
)

PROGRAM = """
model tiny(dim = 8) {{
  input ids({size})
  level embed  = embedding(dim)
  level near   = conv(3)
  level memory = matrix(2) {{ learn k -> h  every 1 token, chunk 4 }}
  level slow   = linear(dim) {{ every {slow_period} steps {slow_optimizer} }}
  level still  = linear(dim) {{ frozen }}
  level head   = linear({output})
  flow h   = in -> embed -> dropout(0.1)
  flow k   = h -> near -> l2_normalize(2)
  flow out = 2 * silu(h + memory(k) + (h -> slow -> tanh -> still) -> head)
  train {{ every {period_steps} steps  optimizer {train} }}
}}
"""

FAST = frozenset(
    ("embed.weight", "near.weight", "near.bias", "memory.weight", "head.weight", "head.bias")
)  # move every step
SLOW = frozenset(("slow.weight", "slow.bias"))


def changed(optimizer: OptimizerPlan, **arguments) -> OptimizerPlan:
    return OptimizerPlan(optimizer.name, tuple({**dict(optimizer.arguments), **arguments}.items()))


def tiny_model(
    slow_period=4, slow_optimizer=None, seed=0, train=ADAMW, size=256, output=256, period_steps=1
) -> NestModule:
    """`slow` moves every `slow_period` steps, `still` never, the others every `period_steps`."""
    text = PROGRAM.format(
        size=size,
        slow_period=slow_period,
        slow_optimizer=f"optimizer {_written(slow_optimizer)}" if slow_optimizer else "",
        output=output,
        period_steps=period_steps,
        train=_written(train),
    )
    return build(lower(analyse(Source(text)).graph(), "tiny.nest"), seed, compile=False)


def _written(optimizer: OptimizerPlan) -> str:
    arguments = (
        f'{name} = "{value}"' if isinstance(value, str) else f"{name} = {value}"
        for name, value in optimizer.arguments
    )
    return f"{optimizer.name}({', '.join(arguments)})"
