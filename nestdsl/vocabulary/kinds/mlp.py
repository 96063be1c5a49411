"""`mlp`: two matrices with an activation between."""

from nestdsl.vocabulary.arguments import ACTIVATION, Arguments, ArgumentSpec, Shapes, Type, flag, whole
from nestdsl.vocabulary.kinds.parts import NEVER_THE_IDENTITY, B, W, X, affine, biased
from nestdsl.vocabulary.starts import Beginning, Beginnings, Role, normal, of_inputs
from nestdsl.vocabulary.terms import ONE, Ratio, Symbol, Term, apply
from nestdsl.vocabulary.types import Kind

_UP, _DOWN = Symbol("up"), Symbol("down")


def _hidden(arguments: Arguments, in_: int) -> int:
    hidden = arguments["hidden"]
    if hidden is not None:
        return int(hidden)
    return max(1, round(float(arguments["expand"] or 4) * in_))


def _parameters(arguments: Arguments, in_: int, out: int) -> Shapes:
    hidden = _hidden(arguments, in_)
    return biased("up.", hidden, in_, arguments) + biased("down.", out, hidden, arguments)


def _begins(arguments: Arguments, role: Role) -> Beginnings:
    up = Beginning(W.at(_UP), of_inputs(arguments), is_first=True)
    down = Beginning(W.at(_DOWN), normal(Ratio(ONE, Symbol("hidden"))))
    return (up, down, *(("biases 0",) if arguments.get("bias") else ()))


def _equation(arguments: Arguments, is_residual: bool) -> Term:
    hidden = apply(str(arguments["activation"]), affine(W.at(_UP), X, B.at(_UP), arguments))
    return affine(W.at(_DOWN), hidden, B.at(_DOWN), arguments)


MLP = Kind(
    "mlp",
    "two matrices with an activation between; `hidden` is 4 times the input's size if neither is given",
    (
        ArgumentSpec("expand", Type.NUMBER, None, minimum=0.0, maximum=1e6, exclusive=True),
        whole("hidden", None),
        ACTIVATION,
        flag("bias", True),
    ),
    parameters=_parameters,
    alternatives=("expand", "hidden"),
    flops=lambda a, in_, out: 2 * _hidden(a, in_) * (in_ + out),
    begins=_begins,
    lacks_start={"identity": NEVER_THE_IDENTITY},
    equation=_equation,
    also_called=("MLP", "FeedForward", "ffn"),
)
