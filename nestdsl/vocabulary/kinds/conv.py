"""`conv`: a causal convolution of each feature by itself over the last tokens."""

from nestdsl.vocabulary.arguments import Arguments, Shapes, flag, whole
from nestdsl.vocabulary.kinds.parts import LOWER_W, B
from nestdsl.vocabulary.starts import Beginning, Beginnings, Role, uniform
from nestdsl.vocabulary.terms import ONE, Hadamard, Number, Ratio, Root, Symbol, T, Term, Total, minus, plus
from nestdsl.vocabulary.types import Kind

_J = Symbol("j")
_TAP, _NEWEST = LOWER_W.at(_J), LOWER_W.at(Number(0))


def _width(arguments: Arguments) -> int:
    return int(arguments.get("width") or 1)


def _parameters(arguments: Arguments, in_: int, out: int) -> Shapes:
    weight = ("weight", (out, _width(arguments)))
    return (weight, ("bias", (out,))) if arguments["bias"] else (weight,)


def _begins(arguments: Arguments, role: Role) -> Beginnings:
    identity = (_NEWEST, " = 1, ", _TAP, " = 0 for j > 0")
    taps = Beginning(_TAP, uniform(Ratio(ONE, Root(Symbol("width")))), identity=identity)
    return (taps, *(("b = 0",) if arguments.get("bias") else ()))


def _equation(arguments: Arguments, is_residual: bool) -> Term:
    taps = Hadamard((_TAP, Symbol("x").at(minus(T, _J))))
    total = Total(_J, Number(0), Number(_width(arguments) - 1), taps)
    return plus(total, B) if arguments.get("bias") else total


CONV = Kind(
    "conv",
    "a causal convolution of each feature by itself over the last `width` tokens",
    (whole("width"), flag("bias", True)),
    parameters=_parameters,
    state=lambda a, in_, out: (("inputs", (_width(a) - 1, in_)),),
    flops=lambda a, in_, out: 2 * _width(a) * out,
    has_matrices=False,  # each row is the filter of one feature
    keeps=("the last inputs",),
    begins=_begins,
    lacks_start={"orthogonal": "reads each feature by itself"},
    equation=_equation,
    also_called=("Conv1d",),
)
