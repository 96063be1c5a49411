"""Names with a point: `nn.Linear(64, 256)`, `self.norm`, `x.relu()`, `x.size`."""

from __future__ import annotations

import re

from nestdsl.diagnostics import Diagnostic
from nestdsl.syntax.mistakes import WORD, Here, syntax
from nestdsl.syntax.wording import quote

_PREFIXED = re.compile(r"(?:\.[A-Za-z_][A-Za-z0-9_]*)+")
_ARGUMENTS = re.compile(r"\(([^()\n]*)\)")
_BEFORE_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_MODULES = frozenset(
    (
        "torch",
        "nn",
        "F",
        "np",
        "numpy",
        "jax",
        "jnp",
        "tf",
        "keras",
        "math",
        "optim",
        "self",
        "functional",
        "std",
    )
)
# Of torch, where its name is more than another spelling.
_NAMES = {
    "SiLU": "silu",
    "GELU": "gelu",
    "ReLU": "relu",
    "Conv1d": "conv",
    "MSELoss": "mse",
    "CrossEntropyLoss": "cross_entropy",
    "AdamW": "adamw",
    "RMSprop": "rmsprop",
    "MultiheadAttention": "attention",
    "cat": "concat",
    "mse_loss": "mse",
}
_SIZE_IS_SECOND = ("Linear", "Embedding")
# Methods of tensors that are functions of every flow here.
_FUNCTIONS = frozenset(("silu", "gelu", "relu", "sigmoid", "softplus", "tanh", "sqrt", "exp", "abs", "sign"))
_OF_OPTIMIZERS = frozenset(("norm", "mean", "trace"))
_READS = ("forward", "read", "__call__")
_SIZES = ("size", "shape", "dim", "ndim", "numel", "device", "dtype")


def prefix(here: Here) -> Diagnostic | None:
    """N0001 for a name with a point in it; None if the mistake is no such thing."""
    text, start = here.text, here.mistake.start
    if text[start : start + 1] != "." or not WORD.fullmatch(here.line.before):
        return None
    following = _PREFIXED.match(text, start)
    if following is None:
        return None
    owner, last = here.line.before, following.group().rpartition(".")[2]
    arguments = _ARGUMENTS.match(text, following.end())
    if here.statement in ("model", "block", "optimizer") and here.place.value == "program":
        span = here.span(here.before_start, following.end())
        return syntax("a parameter has a plain name", span, "remove it: a body inherits from nothing")
    if owner in _MODULES or here.statement not in ("flow", "learn") or (last[0].isupper() and last != "T"):
        return _of_module(here, following.end(), last, arguments)
    return _method(here, owner, following, arguments)


def _of_module(here: Here, end: int, last: str, arguments: re.Match[str] | None) -> Diagnostic:
    """`nn.Linear(64, 256)`, `self.norm`"""
    if here.line.before not in _MODULES and here.statement == "optimizer":
        span = here.span(here.before_start, end)
        return syntax("names have no prefix here", span, "an optimizer has a plain name, such as `adamw`")
    name = _NAMES.get(last, _BEFORE_CAPITAL.sub("_", last).lower())
    given = arguments[1].strip().split(",") if arguments else []
    if arguments and len(given) > 1 and last in _SIZE_IS_SECOND and "=" not in given[1]:
        # `write` gives the whole call then: the size of what is read is inferred.
        name, end = f"{name}({given[1].strip()})", arguments.end()
    elif arguments and last.endswith(("Norm", "LayerNorm")) and given[0]:
        end = arguments.end()  # the size of what is read is inferred
    elif (
        arguments and last == "softmax" and re.fullmatch(r"(?:dim[ \t]*=[ \t]*)?-?\d+", arguments[1].strip())
    ):
        end = arguments.end()  # it is always taken over the features
    return syntax("names have no prefix here", here.span(here.before_start, end), f"write {quote(name)}")


def _method(here: Here, owner: str, following: re.Match[str], arguments: re.Match[str] | None) -> Diagnostic:
    """`x.relu()`, `grad.T`, `memory.forward(x)`, `x.size`"""
    methods = following.group()[1:].split(".")
    name, end = methods[0], here.mistake.start + 1 + len(methods[0])
    given = ""
    if len(methods) == 1 and arguments:
        end, given = arguments.end(), arguments[1].strip()
    span = here.span(here.before_start, end)
    in_optimizer = here.owner == "optimizer"
    if name in _SIZES:
        hint = "sizes are inferred: leave this out, or write the number"
        return syntax("a flow has no attributes", span, hint)
    message = "a flow has no methods: functions stand before what they take"
    if name in _READS and given:
        return syntax("a level is read as a function is", span, f"write `{owner}({given})`")
    if name in ("T", "t", "transpose") and in_optimizer:
        return syntax(message, span, f"write `transpose({owner})`")
    if name in ("pow", "square"):
        return syntax(message, span, f"write `{owner} ** {given or 2}`")
    if name in _FUNCTIONS or (in_optimizer and name in _OF_OPTIMIZERS):
        return syntax(message, span, f"write `{name}({owner})`")
    return syntax(message, span, "as in `relu(x)`, or `x -> relu`")
