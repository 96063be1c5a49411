"""`associative`: a two-layer memory for each head, M(z) = z + W_1 σ(W_2 z) (Behrouz et al., 2025, Eq. 91)."""

from nestdsl.vocabulary.arguments import ACTIVATION, HEADS, Arguments, Shapes, count, whole
from nestdsl.vocabulary.kinds.parts import W, X, of_heads
from nestdsl.vocabulary.starts import OF_MEMORIES, Beginning, Beginnings, Role, normal, of_inputs
from nestdsl.vocabulary.terms import ONE, Number, Ratio, Symbol, Term, apply, plus, times
from nestdsl.vocabulary.types import Kind, Memory

_OUTER, _INNER = Number(1), Number(2)


def _layers(arguments: Arguments, in_: int, out: int) -> Shapes:
    heads, key, value = of_heads(arguments, in_, out)
    hidden = int(arguments["hidden"] or key)
    return ("inner", (heads, key, hidden)), ("outer", (heads, hidden, value))


def _begins(arguments: Arguments, role: Role) -> Beginnings:
    is_small = role.learns_pairs or role.is_residual
    outer = OF_MEMORIES if is_small else normal(Ratio(ONE, Symbol("hidden")))
    return (
        Beginning(role.weight(_INNER), of_inputs(arguments), is_first=True),
        Beginning(role.weight(_OUTER), outer, is_added=True),
    )


def _equation(arguments: Arguments, is_residual: bool) -> Term:
    answer = times(W.at(_OUTER), apply(str(arguments["activation"]), times(W.at(_INNER), X)))
    return plus(X, answer) if is_residual else answer


ASSOCIATIVE = Kind(
    "associative",
    "the residual two-layer memory z + W1 σ(W2 z) of each head (Behrouz et al., 2025, Eq. 91); a layer "
    "without `learn`",
    (HEADS, whole("hidden", None), ACTIVATION),
    parameters=_layers,
    state=_layers,
    flops=lambda a, in_, out: 10 * count(_layers(a, in_, out)),
    memory=Memory.NETWORK,
    begins=_begins,
    equation=_equation,
)
