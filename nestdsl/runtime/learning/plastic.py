"""A layer whose weights each sequence changes for itself: a level `every N tokens` that learns surprise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_map

from nestdsl.graph.optimizer import OptimizerProgram
from nestdsl.runtime.kinds.linear import Linear
from nestdsl.runtime.learning.optimizers import ContextOptimizer
from nestdsl.runtime.learning.product import row_product
from nestdsl.vocabulary.timing import STOP, Gradient, Reset

State = dict[str, Any]


class Plastic(nn.Module):
    """A layer with weights of each sequence's own [Nested Learning, Eq. 71].

    The layer's own weights are the meta-learned start, shared by all sequences. The state holds,
    once a sequence learns, by the name of each weight: `weights` [batch, *shape], the optimizer's
    `memories`, the gradient `gathered` since the last update (a sum over tokens), and `read` [batch], how
    many those are, on the CPU; and under `layer` the state of the layer itself, if it keeps any. Reading
    changes no weight: that is the work of `learn.py` and `cut.py`, at the end of each period.

    period: tokens between two updates. arguments, program, matrices: see `optimizers.py`. gradient: how far
    outer levels differentiate through the updates.

    With a `parent`, a layer whose weights have the same names and shapes, there is no start of its
    own: each sequence starts from the parent's weights, its own ones where the parent is such a level
    too, and with reset `parent` again whenever the parent moves [Nested Learning, Eq. 72]. The layer's
    weights are then the very parameters of the parent, and it is no submodule, so that each counts once.
    """

    layer: nn.Module

    def __init__(
        self,
        layer: nn.Module,
        *,
        period: int,
        arguments: dict[str, float | str],
        program: OptimizerProgram | None = None,
        matrices: bool = True,
        gradient: Gradient = STOP,
        parent: nn.Module | None = None,
        reset: Reset = Reset.CONTEXT,
    ) -> None:
        super().__init__()
        self.parent = () if parent is None else (parent,)  # in a tuple it is no submodule
        if parent is None:
            self.layer = layer
        else:
            _share_weights(layer, parent.layer if isinstance(parent, Plastic) else parent)
            object.__setattr__(self, "layer", layer)
        self.reset = reset
        self.period = period
        self.optimizer = ContextOptimizer(arguments, program, matrices)
        self.gradient = gradient
        self.divisor = 1 if arguments.get("reduce") == "sum" else period
        """What the gathered gradient is divided by: a mean over the period, or a sum."""
        self.products: dict[str, Linear] = _products(layer)
        """The matrices that make up the layer, by their names; none if it is made of anything else."""

    def init_state(
        self, batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """The state at the start of a context, whose weights are still the shared ones."""
        if not hasattr(self.layer, "init_state"):
            return {}
        return {"layer": self.layer.init_state(batch, device=device, dtype=dtype)}  # type: ignore[operator]

    def read_state(self, state: State) -> State:
        """What reading needs of a state: no more, because compiled code is bound to all that it gets."""
        return {key: state[key] for key in ("layer", "weights") if key in state}

    def start(self, batch: int) -> State:
        """What a sequence begins to learn with; differentiable with respect to the shared start."""
        return self.start_at({name: spread(weight, batch) for name, weight in self.layer.named_parameters()})

    def shared_start(self, name: str, batch: int) -> Tensor:
        """Where a weight of `batch` rows starts [batch, *shape], with its graph if that is gone through."""
        weight = self.layer.get_parameter(name)
        weight = weight if self.gradient != STOP else weight.detach()
        return spread(weight, batch)

    def start_at(self, weights: dict[str, Tensor]) -> State:
        """What a sequence begins to learn with, at weights [batch, *shape] that are its parent's."""
        return {
            "weights": weights,
            "memories": {
                name: self.optimizer.initial_memory(weight if self.gradient != STOP else weight.detach())
                for name, weight in weights.items()
            },
            "gathered": {name: torch.zeros_like(weight).detach() for name, weight in weights.items()},
            "read": torch.zeros(len(next(iter(weights.values()))), dtype=torch.int64),
        }

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """x [batch, tokens, size], read by each row's own weights, or by the shared ones.

        With `taps` in the state, which stand in for the biases of `products` (by the product's name,
        [batch, tokens, out]), their gradients are those of the products' outputs, and the next state
        holds the products' `inputs` [batch, tokens, in]: a weight's gradient is the product of the two.
        Beside them stand `shared`, the weights before any row has moved, and whether that `is_own`.
        """
        state = {} if state is None else state
        if "taps" in state:
            return self._tapped(x, state)
        weights, own = state.get("weights"), state.get("layer")
        if own is None:
            own = self.init_state(x.shape[0], x.device, x.dtype).get("layer")
        if weights is not None:
            kind = x.dtype if x.is_floating_point() else next(self.layer.parameters()).dtype
            weights = {name: weight.to(kind) for name, weight in weights.items()}
        if weights is not None and self.products:
            return self._multiplied(x, weights), state
        if weights is None and own is None:
            return self.layer(x), state
        if weights is None:
            y, following = self.layer(x, own)
            return y, {**state, "layer": following}
        if own is None:
            return torch.vmap(self._row)(weights, x), state
        rows = tree_map(lambda part: part.unsqueeze(1), own)
        y, following = torch.vmap(self._row_with_state)(weights, x, rows)
        return y.squeeze(1), {**state, "layer": tree_map(lambda part: part.squeeze(1), following)}

    def _multiplied(self, x: Tensor, weights: dict[str, Tensor]) -> Tensor:
        def product(name: str, x: Tensor) -> Tensor:
            matrix, bias = weights[weight_name(name)].mT, weights.get(bias_name(name))
            return torch.bmm(x, matrix) if bias is None else torch.baddbmm(bias.unsqueeze(1), x, matrix)

        return self.layer.through(x, product)  # type: ignore[operator]

    def _tapped(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        inputs: dict[str, Tensor] = {}
        device = x.device.type
        kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None

        def product(name: str, x: Tensor) -> Tensor:
            inputs[name] = x.detach()
            x = x if kind is None else x.to(kind)
            rows, shared = (state[part][weight_name(name)].mT for part in ("weights", "shared"))
            return row_product(x, rows, shared, state["is_own"]) + state["taps"][name].to(x.dtype)

        y = self.layer.through(x, product)  # type: ignore[operator]
        return y, {"inputs": inputs}

    def _row(self, weights: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(self.layer, weights, (x[None],))[0]

    def _row_with_state(self, weights: dict[str, Tensor], x: Tensor, state: Any) -> tuple[Tensor, Any]:
        return functional_call(self.layer, weights, (x[None], state))

    def train(self, mode: bool = True) -> Plastic:
        super().train(mode)
        self.layer.train(mode)
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Plastic:
        super()._apply(fn, recurse)
        if self.parent:
            self.layer._apply(fn, recurse)
        return self


def _share_weights(layer: nn.Module, parent: nn.Module) -> None:
    """Makes the parameters of a layer those of another one."""
    for name, _ in list(layer.named_parameters()):
        path, _, last = name.rpartition(".")
        setattr(layer.get_submodule(path), last, parent.get_parameter(name))


def spread(weight: Tensor, batch: int) -> Tensor:
    """A weight for each row [batch, *shape], at least in float32: updates may be smaller than what
    half-precision numbers can tell apart."""
    kind = torch.promote_types(weight.dtype, torch.float32)
    return weight.to(kind).expand(batch, *weight.shape)


def _products(layer: nn.Module) -> dict[str, Linear]:
    if not hasattr(layer, "through"):
        return {}
    return {name: part for name, part in layer.named_modules() if isinstance(part, Linear)}


def weight_name(product: str) -> str:
    """The name within its layer of the weight of a product."""
    return f"{product}.weight" if product else "weight"


def bias_name(product: str) -> str:
    """The name within its layer of the bias of a product, if it has one."""
    return f"{product}.bias" if product else "bias"
