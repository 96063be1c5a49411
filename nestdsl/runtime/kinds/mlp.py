"""`mlp`: two matrices with an activation between."""

from __future__ import annotations

from torch import Tensor, nn

from nestdsl.runtime.functions import FUNCTIONS
from nestdsl.runtime.kinds.linear import Linear, Product
from nestdsl.runtime.kinds.weights import Start
from nestdsl.vocabulary.arguments import ACTIVATION

ACTIVATIONS = ACTIVATION.choices


class Mlp(nn.Module):
    """y = down(activation(up(x))): `[batch, tokens, input_size]` -> `[batch, tokens, output_size]`.

    The hidden size is `hidden`, or else `expand` (4 if not given) times the input size. Both
    matrices begin as `Linear`'s do; init zeros and scaled speak of `down`, and `up` is as learned.
    """

    kind = "mlp"
    keeps_precision = True

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        expand: float | None = None,
        hidden: int | None = None,
        activation: str = "gelu",
        bias: bool = True,
        init: Start | str = "learned",
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"unknown activation {activation!r}: write one of {', '.join(ACTIVATIONS)}")
        if hidden is None:
            hidden = max(1, round((expand or 4) * input_size))
        self.activation = FUNCTIONS[activation]
        start = Start.of(init)
        self.up = Linear(input_size, hidden, bias=bias, init=start.of_first())
        self.down = Linear(hidden, output_size, bias=bias, init=start)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.activation(self.up(x)))

    def through(self, x: Tensor, product: Product) -> Tensor:
        """The same with `product` in place of `up` and `down`."""
        return product("down", self.activation(product("up", x)))
