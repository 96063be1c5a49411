"""What kinds and functions exist, and what each needs and gives: arguments, sizes, causality, cost.

No torch here: `check`, `fmt`, `render` and `lsp` read these tables; `runtime/` implements them.
Sizes are the last dimension of a flow `[batch, tokens, size]`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

Value = int | float | bool | str | None
Arguments = Mapping[str, Value]
Shapes = tuple[tuple[str, tuple[int, ...]], ...]


class Type(Enum):
    """The type of a compile-time argument, as messages name it."""

    WHOLE = "a whole number"
    NUMBER = "a number"
    BOOLEAN = "true or false"
    STRING = "a string"


class _Required:
    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED = _Required()


@dataclass(frozen=True, slots=True)
class ArgumentSpec:
    """One argument: its type, default (REQUIRED if none; None means "inferred") and range.

    `exclusive` leaves the minimum itself out; `choices` lists what a string may be.
    """

    name: str
    type: Type
    default: Value | _Required = REQUIRED
    minimum: float | None = None
    maximum: float | None = None
    exclusive: bool = False
    choices: tuple[str, ...] = ()


class Takes(Enum):
    """What a kind reads."""

    IDS = "ids"
    VECTORS = "vectors"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of level.

    `output_size(arguments, input_size)` gives the size it makes; for a memory that learns
    `key -> value` the value's size is used instead. `divisors(arguments)` names what must divide
    the sizes it reads and makes. `parameters(arguments, input_size, output_size)` gives the
    shapes of its learned tensors, `state(...)` those of what it keeps for each sequence,
    `flops(...)` the floating-point operations for one token, forward. `grows(...)` gives, for
    each token of context, how many numbers it keeps and how many operations that costs a token.
    Of the arguments named in `alternatives` at most one may be given.
    """

    name: str
    summary: str
    arguments: tuple[ArgumentSpec, ...] = ()
    takes: Takes = Takes.VECTORS
    output_size: Callable[[Arguments, int], int] = lambda arguments, size: size
    parameters: Callable[[Arguments, int, int], Shapes] = lambda arguments, in_, out: ()
    state: Callable[[Arguments, int, int], Shapes] = lambda arguments, in_, out: ()
    flops: Callable[[Arguments, int, int], int] = lambda arguments, in_, out: 0
    grows: Callable[[Arguments, int, int], tuple[int, int]] = lambda arguments, in_, out: (0, 0)
    is_memory: bool = False
    is_nonparametric: bool = False
    is_causal: Callable[[Arguments], bool] = lambda arguments: True
    is_custom: bool = False
    alternatives: tuple[str, ...] = ()


def _prod(shape: tuple[int, ...]) -> int:
    result = 1
    for extent in shape:
        result *= extent
    return result


def count(shapes: Shapes) -> int:
    """How many numbers the tensors of these shapes hold."""
    return sum(_prod(shape) for _, shape in shapes)


def _whole(name: str, default: Value | _Required = REQUIRED, minimum: int = 1) -> ArgumentSpec:
    return ArgumentSpec(name, Type.WHOLE, default, minimum=minimum)


def _flag(name: str, default: bool) -> ArgumentSpec:
    return ArgumentSpec(name, Type.BOOLEAN, default)


def _biased(name: str, out: int, in_: int, arguments: Arguments) -> Shapes:
    weight = (f"{name}weight", (out, in_))
    return (weight, (f"{name}bias", (out,))) if arguments["bias"] else (weight,)


def _hidden(arguments: Arguments, in_: int) -> int:
    hidden = arguments["hidden"]
    if hidden is not None:
        return int(hidden)
    return max(1, round(float(arguments["expand"] or 4) * in_))


def _mlp_parameters(arguments: Arguments, in_: int, out: int) -> Shapes:
    hidden = _hidden(arguments, in_)
    return _biased("up.", hidden, in_, arguments) + _biased("down.", out, hidden, arguments)


def _matrix_shape(arguments: Arguments, in_: int, out: int) -> tuple[int, int, int]:
    heads = int(arguments["heads"] or 1)
    return heads, in_ // heads, out // heads


def _two_layers(arguments: Arguments, in_: int, out: int) -> Shapes:
    heads, key, value = _matrix_shape(arguments, in_, out)
    hidden = int(arguments["hidden"] or key)
    return ("inner", (heads, key, hidden)), ("outer", (heads, hidden, value))


def _window(arguments: Arguments, in_: int, out: int) -> Shapes:
    window = arguments["window"]
    return () if window is None else (("key", (int(window) - 1, in_)), ("value", (int(window) - 1, out)))


_EPSILON = ArgumentSpec("eps", Type.NUMBER, 1e-6, minimum=0.0, exclusive=True)
_ACTIVATIONS = ("gelu", "silu", "relu", "tanh")

_BUILT_IN_KINDS = (
    Kind(
        "embedding",
        "a table of one vector for each id",
        (_whole("dim"),),
        takes=Takes.IDS,
        output_size=lambda a, size: int(a["dim"] or 0),
        parameters=lambda a, in_, out: (("weight", (in_, out)),),
    ),
    Kind(
        "linear",
        "a matrix and a bias",
        (_whole("out", None), _flag("bias", True)),
        output_size=lambda a, size: size if a["out"] is None else int(a["out"]),
        parameters=lambda a, in_, out: _biased("", out, in_, a),
        flops=lambda a, in_, out: 2 * in_ * out,
    ),
    Kind(
        "mlp",
        "two matrices with an activation between",
        (
            ArgumentSpec("expand", Type.NUMBER, None, minimum=0.0, maximum=1e6, exclusive=True),
            _whole("hidden", None),
            ArgumentSpec("activation", Type.STRING, "gelu", choices=_ACTIVATIONS),
            _flag("bias", True),
        ),
        parameters=_mlp_parameters,
        alternatives=("expand", "hidden"),
        flops=lambda a, in_, out: 2 * _hidden(a, in_) * (in_ + out),
    ),
    Kind(
        "conv",
        "a causal convolution of each feature by itself over the last tokens",
        (_whole("width"), _flag("bias", True)),
        parameters=lambda a, in_, out: (
            (("weight", (out, int(a["width"] or 1))), ("bias", (out,)))
            if a["bias"]
            else (("weight", (out, int(a["width"] or 1))),)
        ),
        state=lambda a, in_, out: (("inputs", (int(a["width"] or 1) - 1, in_)),),
        flops=lambda a, in_, out: 2 * int(a["width"] or 1) * out,
    ),
    Kind(
        "rms_norm",
        "divides by the root mean square and scales each feature",
        (_whole("heads", 1), _EPSILON),
        parameters=lambda a, in_, out: (("weight", (out,)),),
        flops=lambda a, in_, out: 4 * out,
    ),
    Kind(
        "layer_norm",
        "removes the mean, divides by the deviation, scales and shifts each feature",
        (_whole("heads", 1), _EPSILON),
        parameters=lambda a, in_, out: (("weight", (out,)), ("bias", (out,))),
        flops=lambda a, in_, out: 7 * out,
    ),
    Kind(
        "attention",
        "softmax attention, causal: the memory that is solved anew at every token",
        (
            _whole("heads", 1),
            _whole("window", None),
            _flag("rotary", True),
            _flag("causal", True),
            _flag("bias", False),
        ),
        state=_window,
        flops=lambda a, in_, out: 2 * (in_ + out) * int(a["window"] or 0),
        grows=lambda a, in_, out: (0, 0) if a["window"] else (in_ + out, 2 * (in_ + out)),
        is_memory=True,
        is_nonparametric=True,
        is_causal=lambda a: bool(a["causal"]),
    ),
    Kind(
        "matrix",
        "one matrix for each head, from keys to values",
        (_whole("heads", 1),),
        parameters=lambda a, in_, out: (("weight", _matrix_shape(a, in_, out)),),
        state=lambda a, in_, out: (("matrix", _matrix_shape(a, in_, out)),),
        flops=lambda a, in_, out: 8 * in_ * out // int(a["heads"] or 1),
        is_memory=True,
    ),
    Kind(
        "associative",
        "a residual two-layer memory for each head [E91]",
        (
            _whole("heads", 1),
            _whole("hidden", None),
            ArgumentSpec("activation", Type.STRING, "gelu", choices=_ACTIVATIONS),
        ),
        parameters=_two_layers,
        state=_two_layers,
        flops=lambda a, in_, out: 10 * count(_two_layers(a, in_, out)),
        is_memory=True,
    ),
)


class Place(Enum):
    """Where a function may stand."""

    MODEL = "model"
    OPTIMIZER = "optimizer"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Function:
    """A stateless function of flows.

    It takes `flows` flows (None: one or more), then compile-time arguments. `output_size(sizes,
    arguments)` gives its size; `fold` computes it at compile time if its argument is a number.
    """

    name: str
    summary: str
    flows: int | None = 1
    arguments: tuple[ArgumentSpec, ...] = ()
    output_size: Callable[[tuple[int, ...], Arguments], int] = lambda sizes, arguments: max(sizes)
    fold: Callable[[float], float] | None = None
    place: Place = Place.BOTH
    is_causal: bool = True
    is_custom: bool = False


def _exp(x: float) -> float:
    import math

    return math.exp(x)


def _sqrt(x: float) -> float:
    import math

    return math.sqrt(x)


def _tanh(x: float) -> float:
    import math

    return math.tanh(x)


def _sigmoid(x: float) -> float:
    import math

    # Of the two forms, the one whose exponential cannot overflow.
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))


_BUILT_IN_FUNCTIONS = (
    Function(
        "l2_normalize",
        "divides by the Euclidean length",
        arguments=(_whole("heads", 1), _EPSILON),
        place=Place.MODEL,
    ),
    Function("silu", "x sigmoid(x)"),
    Function("gelu", "x times the normal distribution function of x"),
    Function("relu", "the positive part"),
    Function("sigmoid", "1 / (1 + exp(-x))", fold=_sigmoid),
    Function("softplus", "log(1 + exp(x))"),
    Function("tanh", "the hyperbolic tangent", fold=_tanh),
    Function("sqrt", "the square root", fold=_sqrt),
    Function("exp", "the exponential", fold=_exp),
    Function("abs", "the absolute value", fold=abs),
    Function("sign", "-1, 0 or 1"),
    Function(
        "softmax",
        "positive, adding to 1 over the features",
        arguments=(_whole("heads", 1),),
        place=Place.MODEL,
    ),
    Function("stop", "the same value; no gradient passes"),
    Function(
        "concat",
        "flows side by side",
        flows=None,
        output_size=lambda sizes, arguments: sum(sizes),
        place=Place.MODEL,
    ),
    Function(
        "dropout",
        "zeroes a share of the features while training",
        arguments=(ArgumentSpec("rate", Type.NUMBER, 0.1, minimum=0.0, maximum=1.0),),
        place=Place.MODEL,
    ),
    Function(
        "newton_schulz",
        "the nearest orthogonal matrix",
        arguments=(_whole("steps", 5),),
        place=Place.OPTIMIZER,
    ),
    Function("debias", "a moving average without its start at zero", place=Place.OPTIMIZER),
    Function("rms_match", "scaled to the root mean square of Adam's updates", place=Place.OPTIMIZER),
)


@dataclass(frozen=True, slots=True)
class OptimizerSignature:
    """An optimizer: its arguments, what memories it keeps, and what it can drive.

    `in_context` optimizers move the state of a memory while a sequence is read; their arguments
    named in `flow_arguments` may be flows with one value per head and token. The others move
    weights once in a number of steps. `memories` are levels too: each is updated just before
    the weights, so it is faster than what it drives.
    """

    name: str
    summary: str
    arguments: tuple[ArgumentSpec, ...] = ()
    in_context: bool = False
    flow_arguments: tuple[str, ...] = ()
    memories: Callable[[Arguments], tuple[str, ...]] = lambda arguments: ()


def _number(name: str, default: float, minimum: float = 0.0, maximum: float | None = None) -> ArgumentSpec:
    return ArgumentSpec(name, Type.NUMBER, default, minimum=minimum, maximum=maximum)


_REDUCE = ArgumentSpec("reduce", Type.STRING, "mean", choices=("mean", "sum"))
_DECAY = _number("decay", 0.01)
_STEP = _number("step", 1.0, maximum=2.0)
_RETAIN = _number("retain", 1.0, maximum=1.0)
_TOWARD = ArgumentSpec("toward", Type.STRING, "zero", choices=("zero", "init"))

_OPTIMIZERS = (
    OptimizerSignature(
        "gd",
        "gradient descent on the memory's own objective [E93]",
        (_STEP, _RETAIN, _TOWARD),
        in_context=True,
        flow_arguments=("step", "retain"),
    ),
    OptimizerSignature(
        "dgd",
        "delta gradient descent, which decays along the key [E57, E88]; `momentum` adds past surprise",
        (_STEP, _RETAIN, ArgumentSpec("momentum", Type.NUMBER, None, minimum=0.0, maximum=1.0), _TOWARD),
        in_context=True,
        flow_arguments=("step", "retain", "momentum"),
    ),
    OptimizerSignature(
        "momentum",
        "gradient descent with past surprise [T13-T14]",
        (_STEP, _RETAIN, _number("momentum", 0.9, maximum=1.0), _TOWARD),
        in_context=True,
        flow_arguments=("step", "retain", "momentum"),
    ),
    OptimizerSignature(
        "adamw",
        "Adam with decoupled weight decay",
        (
            _number("lr", 1e-3),
            _number("beta1", 0.9, maximum=0.999999),
            _number("beta2", 0.999, maximum=0.999999),
            _number("eps", 1e-8),
            _DECAY,
            _REDUCE,
        ),
        memories=lambda a: ("m", "v"),
    ),
    OptimizerSignature(
        "sgd",
        "gradient descent, with heavy-ball momentum if `momentum` is not 0",
        (_number("lr", 1e-2), _number("momentum", 0.0, maximum=0.999999), _number("decay", 0.0), _REDUCE),
        memories=lambda a: ("m",) if a["momentum"] else (),
    ),
    OptimizerSignature(
        "muon",
        "momentum, made orthogonal, for matrices; AdamW for the rest",
        (
            _number("lr", 2e-2),
            _number("momentum", 0.95, maximum=0.999999),
            _number("decay", 0.0),
            _number("adamw_lr", 1e-3),
            _REDUCE,
        ),
        memories=lambda a: ("m",),
    ),
)

OBJECTIVES_IN_CONTEXT = ("l2", "dot", "lp")
OBJECTIVES_TRAIN = ("cross_entropy", "mse")
INITS = ("learned", "zeros", "normal")
RESETS = ("context", "parent", "never")
GRADIENTS = ("through", "stop", "truncated")
READS = ("after", "before", "anchor")


@dataclass(slots=True)
class Library:
    """The kinds, functions and optimizers that programs can name. Python may add to it."""

    kinds: dict[str, Kind] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    optimizers: dict[str, OptimizerSignature] = field(default_factory=dict)


LIBRARY = Library(
    {kind.name: kind for kind in _BUILT_IN_KINDS},
    {function.name: function for function in _BUILT_IN_FUNCTIONS},
    {optimizer.name: optimizer for optimizer in _OPTIMIZERS},
)
