"""What other libraries and languages call the things of this one: arguments, functions, kinds, units.

Each hint can be followed: `write` and code takes the place of the name that is underlined.
"""

from __future__ import annotations

from collections.abc import Collection

from nestdsl.vocabulary.kinds import KINDS

ARGUMENTS = {
    "weight_decay": ("decay",),
    "learning_rate": ("lr", "step"),
    "lr": ("step",),
    "step": ("lr",),
    "eta": ("lr", "step"),
    "betas": ("beta1", "beta2"),
    "epsilon": ("eps",),
    "kernel_size": ("width",),
    "p": ("rate",),
    "num_heads": ("heads",),
    "n_heads": ("heads",),
    "n_head": ("heads",),
    "nhead": ("heads",),
    "out_features": ("out",),
    "out_channels": ("out",),
    "out_dim": ("out",),
    "embedding_dim": ("dim",),
    "embed_dim": ("dim",),
    "d_model": ("dim",),
    "features": ("out", "dim"),
    "units": ("out",),
    "hidden_dim": ("hidden",),
    "hidden_size": ("hidden",),
    "hidden_features": ("hidden",),
    "act": ("activation",),
    "window_size": ("window",),
    "vocab_size": ("vocab",),
}
"""Of arguments, those that the callee has of these are meant."""

_INFERRED = "leave it out: the size of what is read is inferred"
_TORCH = "leave it out: where and how a program runs is said when it is compiled"
NEEDLESS_ARGUMENTS = {
    "forget_first": "only the optimizer `gd` of a memory has it: `optimizer gd(forget_first = true)`",
    "in_features": _INFERRED,
    "in_channels": _INFERRED,
    "input_size": _INFERRED,
    "in_dim": _INFERRED,
    "embed_dim": _INFERRED,
    "num_embeddings": _INFERRED,
    "normalized_shape": _INFERRED,
    "dim": "leave it out: this is computed over the features, the last dimension",
    "axis": "leave it out: this is computed over the features, the last dimension",
    "keepdim": "leave it out: flows keep their dimensions",
    "inplace": "leave it out: nothing changes in its place",
    "batch_first": "leave it out: a flow is `[batch, tokens, size]`",
    "device": _TORCH,
    "dtype": _TORCH,
    "padding": "leave it out: a convolution reads the tokens before, and zeros before the first",
    "is_causal": "leave it out: attention is causal",
}
"""Arguments that nothing here takes."""

_NAMES = {
    **{name: kind.name for kind in KINDS for name in kind.also_called},
    "cat": "concat",
    "linspace": "spread",
    "concatenate": "concat",
    "hstack": "concat",
    "swish": "silu",
    "clamp": "clip",
    "maximum": "max",
    "minimum": "min",
    "sgn": "sign",
    "detach": "stop",
    "stop_gradient": "stop",
    "l2norm": "l2_normalize",
    "l2_norm": "l2_normalize",
    "mm": "matmul",
    "eye": "identity",
    "dot": "matmul",
    "tokens": "ids",
    "text": "ids",
    "bytes": "ids",
    "floats": "vectors",
    "features": "vectors",
    "mse_loss": "mse",
    "MSELoss": "mse",
    "CrossEntropyLoss": "cross_entropy",
    "nll": "cross_entropy",
    "ce": "cross_entropy",
}
"""A name elsewhere, and the name here, which is meant wherever it can stand."""

_CHOICES = (
    "there are no conditions: `sign`, `relu` and `sigmoid` tell values apart, and in an optimizer `max`, "
    "`min` and `clip` too"
)
_ORTHOGONAL = (
    "`newton_schulz(x)` makes a matrix orthogonal, in an optimizer with `only matrices else adamw(lr = lr)`"
)
PHRASES = {
    "orthogonalize": _ORTHOGONAL,
    "zeropower": _ORTHOGONAL,
    "zeropower_via_newtonschulz5": _ORTHOGONAL,
    "svd": _ORTHOGONAL,
    "True": "write `true`",
    "False": "write `false`",
    "None": "there is no such value: leave the argument out",
    "where": _CHOICES,
    "index": "only the levels of an array, `level a[3] = ...`, have `index`",
    "square": "a square is written `x ** 2`",
    "pow": "a power is written `x ** 2`",
    "lerp": "a mixture is written out: `0.9 * a + 0.1 * b`",
    "log": "there is no logarithm: `exp`, `softplus` and `tanh` are there, and Python can add functions",
    "sin": "there is no sine: `tanh` is there, and Python can add functions",
    "cos": "there is no cosine: `tanh` is there, and Python can add functions",
    "sum": "sums go over what is added, as in `a + b`; `linear(1)` makes one number of a flow's features",
    "residual": "a residual is a sum: `in + (in -> ...)`",
    "identity": "a flow goes on as it is where nothing is written",
    "Identity": "a flow goes on as it is where nothing is written",
    "reshape": "a flow is `[batch, tokens, size]`, and stays so: `heads` divide its size",
    "view": "a flow is `[batch, tokens, size]`, and stays so: `heads` divide its size",
}
"""Names that nothing here has, and what there is instead."""
INPUTS = frozenset(("x", "input", "inputs", "self", "tokens", "hidden"))
"""What other programs call the flow that a body reads."""

UNITS = {
    "step": ("epoch", "batch", "minibatch", "iteration", "iter", "update", "it"),
    "token": ("tok", "t", "timestep", "char", "character", "byte", "position", "word"),
}
"""Other words for the units of a period."""

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def number_meant(name: str) -> str:
    """A hint for a number in words, or ""."""
    return f"write `{_NUMBERS.index(name)}`" if name in _NUMBERS else ""


def unit_meant(word: str) -> str | None:
    """The unit that a word is another name of, in the singular or plural."""
    singular = {word, word.removesuffix("s"), word.removesuffix("es")}
    return next((unit for unit, others in UNITS.items() if singular & {*others}), None)


def name_meant(name: str, known: Collection[str]) -> str:
    """A hint that names what another library calls so, if that can stand here, or ""."""
    meant = _NAMES.get(name)
    if meant in known:
        return f"did you mean `{meant}`?"
    plain = _plain(name)
    alike = next((one for one in known if _plain(one) == plain), None)
    return f"did you mean `{alike}`?" if alike else ""


def _plain(name: str) -> str:
    """A name without capitals, underscores and what losses are called besides."""
    return name.casefold().replace("_", "").removesuffix("loss")
