"""The programs around the broken lines of `newcomers.txt`: each is right where `@` is a right line."""

_READ = """\
model m(dim = 8, n = 2) {
  input vectors(dim)
  level mem = matrix { learn in -> in   every 1 token }
  flow x = in
  @
  flow out = x -> mem
}
"""
_OPTIMIZER = """\
optimizer own(lr = 1e-3) {
  @
  flow update = -lr * grad
}
model m(dim = 8) {
  input vectors(dim)
  flow out = in -> linear
  train { objective mse   optimizer own }
}
"""

CONTEXTS = {
    "body": _READ,
    "out": _READ.replace("  @\n  flow out = x -> mem", "  flow out = @"),
    "memory": """\
model m(dim = 8) {
  input vectors(dim)
  flow k = in -> linear
  flow v = in -> linear
  level mem = matrix {
    @
  }
  flow out = in -> mem
}
""",
    "level": """\
model m(dim = 8) {
  input vectors(dim)
  level mem = mlp {
    @
  }
  flow out = in -> mem
  train { objective mse   optimizer adamw }
}
""",
    "train": """\
model m(dim = 8) {
  input vectors(dim)
  flow out = in -> linear
  train {
    @
  }
}
""",
    "optimizer": _OPTIMIZER,
    "update": _OPTIMIZER.replace(
        "  @\n  flow update = -lr * grad",
        "  level mo = ema(0.9) { learn grad }\n  @\n  flow update = -lr * mo",
    ),
    "file": "@",
}
"""By the names that stand before the lines of `newcomers.txt`."""
