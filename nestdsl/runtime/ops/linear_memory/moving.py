"""Which form moves a memory: the plain one of `direct`, or that of `coupled` with several parts to carry."""

from __future__ import annotations

from torch import Tensor

from nestdsl.runtime.ops.linear_memory import coupled, direct
from nestdsl.runtime.ops.linear_memory.coupled import Flows, Parts
from nestdsl.runtime.ops.linear_memory.rule import LinearRule
from nestdsl.runtime.ops.linear_memory.running import Running


def move(
    flows: Flows,
    parts: Parts,
    position: Tensor | None,
    chunk: int | None,
    rule: LinearRule,
    block: int,
    *,
    stop: bool,
    aligned: bool,
) -> tuple[Running, Parts]:
    """The trajectory of what begins at `parts`, and the parts at its end.

    flows hold the known writes; their retain is [B, T, H], or [B, T, H, K] per key channel. chunk: at whose
    start the blocks take what is missing of the gradients; None if nothing is, or if the rule takes them at
    the running state. An anchor and a position are needed only for a chunk of more than one token; aligned:
    the position is 0.
    """
    if chunk is None or chunk == 1:
        parts = parts._replace(anchor=None)
    if flows.momentum is None:
        # Then both kinds of writes go the same way.
        write = flows.write if flows.direct is None else flows.write + flows.direct
        flows = flows._replace(write=write, direct=None)
    along = rule.decays_along_key
    if flows.momentum is not None or parts.anchor is not None:
        return coupled.learn(
            flows, parts, position, chunk, block, decays_along_key=along, stop=stop, aligned=aligned
        )
    pulls = int(along) + int(chunk == 1 or (rule.optimizer == "gd" and rule.objective == "l2"))
    step = flows.step.unsqueeze(-1)
    pull = None if pulls == 0 else step if pulls == 1 else pulls * step
    retains = flows.retain if flows.retain.dim() == flows.key.dim() else flows.retain.unsqueeze(-1)
    if rule.forget_first:
        pull = step * retains  # what is left answers, and that is α times what was there
    ran, matrix = direct.learn(flows.key, flows.write, pull, retains, parts.matrix, block, stop=stop)
    return ran, Parts(matrix, None, None)
