"""The rows of one level while sequences are read with their states cut at segment ends.

A weight's gradient is a product: of what its matrix was given and of the gradient of what it made,
summed over tokens. So the two are kept until the level moves, or until there are enough to fill a
matrix unit, and multiplied once: for each row where the row will still move, and otherwise for all
rows together, since then the shared start alone learns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from nestdsl.runtime.learning.levels import tokens_read
from nestdsl.runtime.learning.optimizers import Memory
from nestdsl.runtime.learning.plastic import Plastic, bias_name, spread, weight_name
from nestdsl.runtime.learning.sharded import WholeWeights
from nestdsl.vocabulary.timing import Reset

State = dict[str, Any]

GATHERED_TOKENS = 256
"""How many tokens wait at most for their products."""

DIRECT_TOKENS = 64
"""Up to which period weights that gradient descent moves are added to directly: the gradient of each row is
then never written down, and what the shared start has of it is one more product of few tokens."""


class Rows:
    """What the rows of a level [batch, ...] learn, changed in place from segment to segment.

    part: the level's state before the first segment, which is left as it is; `tokens`: how many are
    still to come, None if nobody knows; `outer`: where to add the gradient of each shared weight, by what
    `whole` gives for it; `parent`: the rows of the level from which this one starts, which move first.
    """

    def __init__(
        self,
        layer: Plastic,
        part: State,
        batch: int,
        tokens: int | None,
        outer: dict[nn.Parameter, Tensor],
        whole: WholeWeights,
        parent: Rows | None = None,
    ) -> None:
        self.layer = layer
        self.parent = parent
        self.batch = batch
        self.tokens = tokens
        weights = dict(layer.layer.named_parameters())
        self.shared = {name: whole.value(weight) for name, weight in weights.items()}
        handles = {name: whole.handle(weight) for name, weight in weights.items()}
        self.outer = {name: outer[handle] for name, handle in handles.items() if handle in outer}
        has_weights = "weights" in part
        starts = part["weights"] if has_weights else self._starts(batch)
        self.weights: dict[str, Tensor] = {
            name: starts[name].clone(memory_format=torch.contiguous_format) for name in self.shared
        }
        self.memories: dict[str, Memory] = dict(part["memories"]) if has_weights else self._memories(starts)
        self.read = tokens_read(part)
        self.has_moved: bool = has_weights or (parent is not None and parent.has_moved)
        self.gathered: dict[str, Tensor] = (
            {name: sums.clone() for name, sums in part["gathered"].items()}
            if has_weights and self.read
            else {}
        )
        for name, sums in self.gathered.items():
            if name in self.outer:  # which has had this part from the sequence before
                self.outer[name].sub_(sums.sum(0))
        self.buffers: dict[str, Tensor] = {}
        self.pending: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in layer.products}
        self.waiting = 0
        self.is_direct = (
            layer.period <= min(DIRECT_TOKENS, GATHERED_TOKENS) and layer.optimizer.is_plain_descent
        )
        self.given: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in layer.products}
        self.given_tokens = 0

    def _starts(self, batch: int) -> dict[str, Tensor]:
        """The weights [batch, *shape] at which rows start; a parent moves in place, so not its own."""
        if self.parent is None:
            return {name: spread(weight, batch) for name, weight in self.shared.items()}
        return {name: weight.clone() for name, weight in self.parent.weights.items()}

    def _memories(self, starts: dict[str, Tensor]) -> dict[str, Memory]:
        """What the optimizer remembers of each weight before its first update."""
        return {name: self.layer.optimizer.initial_memory(weight) for name, weight in starts.items()}

    def leaves(self, x: Tensor, part: State) -> tuple[State, dict[str, Tensor]]:
        """What the level reads x [batch, tokens, ...] with, and that by which to differentiate the loss.

        Those are the outputs of the level's products, by their names, or all of its weights.
        """
        reading: State = {key: value for key, value in part.items() if key == "layer"}
        if not self.layer.products:
            leaves = {name: weight.detach().requires_grad_() for name, weight in self.weights.items()}
            return {**reading, "weights": leaves}, leaves
        leaves = {name: self._tap(name, x.shape[1]) for name in self.layer.products}
        rows, shared = (
            {weight_name(name): part[weight_name(name)] for name in leaves}
            for part in (self.weights, self.shared)
        )
        is_own = torch.tensor(self.has_moved)
        return {**reading, "weights": rows, "shared": shared, "is_own": is_own, "taps": leaves}, leaves

    def _tap(self, product: str, tokens: int) -> Tensor:
        """The bias of a product as a tensor of its own for each token [batch, tokens, out]."""
        weight, bias = self.weights[weight_name(product)], self.weights.get(bias_name(product))
        if bias is None:
            bias = weight.new_zeros(()).expand(weight.shape[:2])
        return bias.unsqueeze(1).expand(-1, tokens, -1).detach().requires_grad_()

    def learn(self, inputs: dict[str, Tensor], found: dict[str, Tensor], tokens: int) -> None:
        """Gathers a segment of `tokens` tokens, and moves the weights if the level's period ends with it.

        found: the gradients of the leaves that the loss depends on; inputs: those of the products.
        """
        self.read += tokens
        self.waiting += tokens
        if self.tokens is not None:
            self.tokens -= tokens
        for name, gradient in found.items():
            if self.layer.products:
                self.pending[name].append((inputs[name].detach().to(gradient.dtype), gradient))
            else:
                self._add(name, gradient)
        at_end = self.read == self.layer.period
        if at_end and self._moves_directly():
            self._move_directly()
            return
        if at_end or self.waiting >= GATHERED_TOKENS:
            self.multiply()
        if at_end:
            self._move()

    def multiply(self) -> None:
        """The gradients that the waiting tokens give."""
        for name, x, gradient in _taken(self.pending):
            self._add_product(name, x, gradient)
        self.waiting = 0

    def _moves_directly(self) -> bool:
        """Whether all of the period's gradient still waits, and nothing but it decides where to go."""
        is_reset = self.layer.reset is Reset.PARENT and self.parent is not None and self.parent.read == 0
        return self.is_direct and not self.gathered and self.tokens != 0 and not is_reset

    def _move_directly(self) -> None:
        """W ← W - step / divisor Σ_t g_t x_tᵀ, at once; the shared start has its part later."""
        self.read = 0
        self.has_moved = True
        rate = -float(self.layer.optimizer.arguments["step"]) / self.layer.divisor
        if self.outer:
            self.given_tokens += self.waiting
            for name, waiting in self.pending.items():
                self.given[name] += waiting
        for name, x, gradient in _taken(self.pending):
            self.weights[weight_name(name)].baddbmm_(gradient.mT, x, alpha=rate)
            if bias_name(name) in self.weights:
                self.weights[bias_name(name)].add_(gradient.sum(1), alpha=rate)
        self.waiting = 0
        if self.given_tokens >= GATHERED_TOKENS:
            self._give_products()

    def _give_products(self) -> None:
        """Adds to the shared start what the rows have moved by."""
        for name, x, gradient in _taken(self.given):
            self._give_product(name, x, gradient)
        self.given_tokens = 0

    def _give_product(self, name: str, x: Tensor, gradient: Tensor) -> None:
        weight, bias = weight_name(name), bias_name(name)
        if weight in self.outer:
            self.outer[weight].addmm_(gradient.flatten(0, 1).mT, x.flatten(0, 1))
        if bias in self.outer:
            self.outer[bias].add_(gradient.sum((0, 1)))

    def _will_move(self) -> bool:
        """Whether the tokens to come are read with weights that have moved by this period's gradient."""
        return self.tokens is None or self.layer.period - self.read < self.tokens

    def _add_product(self, name: str, x: Tensor, gradient: Tensor) -> None:
        """x [batch, tokens, in] and the gradient [batch, tokens, out] of what the product made."""
        weight, bias = weight_name(name), bias_name(name)
        if not self._will_move():
            self._give_product(name, x, gradient)
            return
        if bias in self.weights:
            self._add(bias, gradient.sum(1))
        if weight in self.gathered:
            self.gathered[weight].baddbmm_(gradient.mT, x)
        else:
            buffer = self.buffers.setdefault(weight, torch.empty_like(self.weights[weight]))
            self.gathered[weight] = torch.bmm(gradient.mT, x, out=buffer)

    def _add(self, name: str, gradient: Tensor) -> None:
        if not self._will_move():
            if name in self.outer:
                self.outer[name].add_(gradient.sum(0))
        elif name in self.gathered:
            self.gathered[name].add_(gradient)
        else:
            self.gathered[name] = gradient

    def _move(self) -> None:
        """One step of the optimizer along the mean of what was gathered."""
        self.read = 0
        if self.tokens == 0:
            return
        self.has_moved = True
        if self.layer.reset is Reset.PARENT and self.parent is not None and self.parent.read == 0:
            self._restart()
            return
        for name, weight in self.weights.items():
            gradient = self.gathered.get(name)
            if gradient is None:  # the loss does not depend on it, but decay and momentum go on
                gradient = torch.zeros_like(weight)
            elif name in self.outer:
                self.outer[name].add_(gradient.sum(0))
            self.memories[name] = self.layer.optimizer.move(
                gradient, self.layer.divisor, self.memories[name], weight
            )
        self.gathered = {}

    def _restart(self) -> None:
        """Starts again from the parent, which has just moved; the shared start has what was gathered [Nested
        Learning, Eq. 72]."""
        starts = self._starts(0)
        for name, weight in self.weights.items():
            weight.copy_(starts[name])
        self.memories = self._memories(starts)
        self._give()

    def end(self) -> None:
        """What waits when a sequence has ended goes to the shared start."""
        self.multiply()
        self._give_products()
        self._give()

    def _give(self) -> None:
        for name, gradient in self.gathered.items():
            if name in self.outer:
                self.outer[name].add_(gradient.sum(0))
        self.gathered = {}

    def state(self) -> State:
        """The level's state after the last segment."""
        self.multiply()
        gathered = {
            name: self.gathered[name] if name in self.gathered else torch.zeros_like(weight)
            for name, weight in self.weights.items()
        }
        return {
            "weights": self.weights,
            "memories": self.memories,
            "gathered": gathered,
            "read": torch.full((self.batch,), self.read),
        }


def _taken(
    pending: dict[str, list[tuple[Tensor, Tensor]]],
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """By their product's name, the inputs and gradients [batch, tokens, ...] that wait, which then do so no
    more."""
    for name, waiting in pending.items():
        if waiting:
            x, gradient = (
                parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
                for parts in zip(*waiting, strict=True)
            )
            waiting.clear()
            yield name, x, gradient
