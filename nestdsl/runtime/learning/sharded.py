"""Weights that are sharded over processes (FSDP2), as passes use them: whole."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class WholeWeights:
    """For each sharded weight, the whole one that the modules hold during their calls, and that gradients are
    asked for; and of some of them the values, which are there during these calls alone."""

    handles: dict[nn.Parameter, nn.Parameter] = field(default_factory=dict)
    values: dict[nn.Parameter, Tensor] = field(default_factory=dict)

    def handle(self, weight: nn.Parameter) -> nn.Parameter:
        return self.handles.get(weight, weight)

    def value(self, weight: nn.Parameter) -> Tensor:
        return self.values.get(weight, weight).detach()


def whole_weights(root: nn.Module, wanted: Collection[nn.Parameter]) -> WholeWeights:
    """The whole weights of a model whose forward runs now; values are copied of those wanted."""
    found = WholeWeights()
    for module in root.modules():
        if not hasattr(module, "unshard"):  # what fully_shard has made of a module
            continue
        shards = dict(module.named_parameters())
        module.unshard()  # type: ignore[operator]
        for name, weight in module.named_parameters():
            if weight is not shards[name]:
                found.handles[shards[name]] = weight
                if shards[name] in wanted:
                    found.values[shards[name]] = weight.detach().clone()
        if module is not root:  # whose own weights stay whole during its forward
            module.reshard()  # type: ignore[operator]
    return found
