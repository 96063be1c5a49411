"""A training step of nested-learning's models, as its own training loop makes it in its faithful mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.model import Work
from benchmarks.training import VOCABULARY, random_ids

_OPTIMIZER = {
    "type": "deep_momentum",
    "lr": 3.0e-4,
    "params": {"beta": 0.9, "beta2": 0.999, "variant": "nl_l2_precond"},
}


def hope_model(
    variant: str, vocabulary: int, size: int, depth: int, heads: int, periods: Sequence[int]
) -> nn.Module:
    """Its model `variant`, with the settings of its pilot_selfmod_paper_faithful; a level for each period."""
    from nested_learning.levels import LevelSpec
    from nested_learning.model import HOPEModel, ModelConfig

    return HOPEModel(
        ModelConfig(
            vocab_size=vocabulary,
            dim=size,
            num_layers=depth,
            heads=heads,
            titan_level=LevelSpec("titan", 8, optimizer_key="titan_opt"),
            cms_levels=[LevelSpec(f"cms_{n}", p, optimizer_key="cms_opt") for n, p in enumerate(periods)],
            cms_flush_partial_at_end=True,
            optimizers={"cms_opt": _OPTIMIZER, "titan_opt": _OPTIMIZER},
            teach_scale=0.1,
            teach_clip=5.0,
            block_variant=variant,
            self_mod_chunk_size=8,
            self_mod_chunk_size_memory=64,
            self_mod_use_skip=False,
        )
    )


def segment(
    model: Any,
    ids: Tensor,
    labels: Tensor,
    state: Any,
    cache: Any = None,
    *,
    is_last: bool,
    backward: bool = True,
) -> tuple[float, Tensor, Any]:
    """Reads a segment [batch, tokens] twice: with a graph for the outer gradients and the signals to the
    blocks, then once more without one to update the fast state. Gives its mean loss over the labels (-100:
    none there), the logits, and the cache of attention after it, for a model that has one before it.

    Without `backward` no gradient gathers at the weights. Of no label at all the signals are zero.
    """
    before = cache
    if before is None:
        logits, _, outputs = model.forward_with_block_outputs(ids, fast_state=state)
    else:
        logits, _, outputs, cache = model.forward_with_block_outputs(
            ids, fast_state=state, attention_cache=before, return_attention_cache=True
        )
    is_told = bool((labels != -100).any())
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten()) if is_told else logits.new_zeros(())
    if is_told:
        signals = torch.autograd.grad(loss, outputs, retain_graph=backward)
        if backward:
            loss.backward()
    else:
        signals = [torch.zeros_like(flow) for flow in outputs]
    with torch.no_grad():
        model(
            ids,
            teach_signals=[signal.detach() for signal in signals],
            fast_state=state,
            finalize_updates=is_last,
            attention_cache=before,
        )
    return float(loss.detach()), logits.detach(), cache


def faithful_step(
    variant: str, size: int, depth: int, period: int, batch: int, tokens: int
) -> Callable[[], Work]:
    """What `run_training_loop` does with `online_updates`, `use_fast_state` and `per_layer_teach_signal`.

    The sequence comes in segments as long as the shortest period, each with the next token as its last
    target. Attention carries its cache, as the faithful settings say.
    """

    def prepare() -> Work:
        torch.manual_seed(0)
        model = hope_model(variant, VOCABULARY, size, depth, 4, [period * 4**n for n in range(4)])
        model.train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        inputs, targets = random_ids(batch, tokens)

        def step() -> None:
            faithful: Any = model
            state = faithful.init_fast_state()
            cache = faithful.init_attention_cache() if variant == "hope_attention" else None
            optimizer.zero_grad()
            for begin in range(0, tokens, period):
                part, is_last = slice(begin, begin + period), begin + period >= tokens
                _, _, cache = segment(model, inputs[:, part], targets[:, part], state, cache, is_last=is_last)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

        return step

    return prepare
