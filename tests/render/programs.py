"""Programs that the tests of this room draw."""

from nestdsl.compiler import analyse
from nestdsl.graph.nest import NestGraph
from nestdsl.source import Source

SELF_REFERENCE = """
block cell(heads = 2) {
  flow k = in -> linear -> l2_normalize(heads)
  flow rate = in -> linear(heads) -> sigmoid
  level inner = matrix(heads) { learn k -> in   every 1 token }
  level outer = matrix(heads) {
    learn k -> inner(k)
    every 4 tokens
    optimizer gd(step = 0.5, retain = 1 - rate)
  }
  flow out = inner(k) - outer(k) * 0.5
}
block pair() {
  level cells = cell repeat 2
  flow out = in + (in -> rms_norm -> cells) -> mlp(expand = 2)
}
model self_reference(dim = 16) {
  input ids(32)
  level nested = pair repeat 3
  flow out = in -> embedding(dim) -> nested -> linear(32)
  train { objective cross_entropy optimizer adamw }
}
"""

RESIDUAL = """
model residual() {
  input vectors(8)
  level a = linear
  level b = linear
  level c = linear { frozen }
  flow h = in + (in -> a)
  flow g = h + (h -> b)
  flow out = g + (g -> c)
  train { objective mse optimizer sgd(momentum = 0.9) }
}
"""

OPTIMIZERS = """
optimizer two_speeds(lr = 3e-4, fast = 0.95, slow = 0.9, second = 0.999, mix = 0.5, period = 16) {
  only matrices else adamw(lr = lr)
  level near = ema(fast)   { learn grad }
  level far  = ema(slow)   { learn grad        every period steps }
  level var  = ema(second) { learn grad * grad }
  flow  way    = newton_schulz(near) + mix * newton_schulz(far)
  flow  update = -lr * way / (sqrt(debias(var)) + 1e-8)
}
model optimizers() {
  input vectors(8)
  level slow = mlp { every 4 steps }
  level head = linear { optimizer sgd(lr = 0.1, momentum = 0.9) }
  flow out = in -> linear -> slow -> head
  train { objective mse  every 1 step  optimizer two_speeds }
}
"""


def graph_of(text: str) -> NestGraph:
    """The checked graph of a program with one model."""
    return analyse(Source(text)).graph()
