"""A training step of nested-learning's models, as its own training loop makes it in its faithful mode."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from benchmarks.model import Work
from benchmarks.training import VOCABULARY, random_ids

_OPTIMIZER = {
    "type": "deep_momentum",
    "lr": 3.0e-4,
    "params": {"beta": 0.9, "beta2": 0.999, "variant": "nl_l2_precond"},
}


def faithful_step(
    variant: str, size: int, depth: int, period: int, batch: int, tokens: int
) -> Callable[[], Work]:
    """What `run_training_loop` does with `online_updates`, `use_fast_state` and `per_layer_teach_signal`.

    The sequence comes in segments as long as the shortest period, each with the next token as its last
    target; a segment is read with a graph for the outer gradients and the signals to its blocks, then once
    more without one to update the fast state. Attention carries its cache, as the faithful settings say.
    """

    def prepare() -> Work:
        from nested_learning.levels import LevelSpec
        from nested_learning.model import HOPEModel, ModelConfig

        torch.manual_seed(0)
        levels = [LevelSpec(f"cms_{n}", period * 4**n, optimizer_key="cms_opt") for n in range(4)]
        model = HOPEModel(
            ModelConfig(
                vocab_size=VOCABULARY,
                dim=size,
                num_layers=depth,
                heads=4,
                titan_level=LevelSpec("titan", 8, optimizer_key="titan_opt"),
                cms_levels=levels,
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
        model.train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        inputs, targets = random_ids(batch, tokens)

        def step() -> None:
            state = model.init_fast_state()
            cache = model.init_attention_cache() if variant == "hope_attention" else None
            optimizer.zero_grad()
            for begin in range(0, tokens, period):
                ids, labels = inputs[:, begin : begin + period], targets[:, begin : begin + period]
                before = cache
                if before is None:
                    logits, _, outputs = model.forward_with_block_outputs(ids, fast_state=state)
                else:
                    logits, _, outputs, cache = model.forward_with_block_outputs(
                        ids, fast_state=state, attention_cache=before, return_attention_cache=True
                    )
                loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
                signals = torch.autograd.grad(loss, outputs, retain_graph=True)
                loss.backward()
                with torch.no_grad():
                    model(
                        ids,
                        teach_signals=[signal.detach() for signal in signals],
                        fast_state=state,
                        finalize_updates=begin + period >= tokens,
                        attention_cache=before,
                    )
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

        return step

    return prepare
