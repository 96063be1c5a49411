"""Models of other packages: Llama and Qwen3-Next of transformers, the memory of titans-pytorch."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from benchmarks.learning.references.frame import Frame


class Logits(nn.Module):
    """A model of transformers as a map from ids to logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        return self.model(ids).logits


def llama(vocabulary: int, size: int, heads: int, layers: int, hidden: int) -> nn.Module:
    """`LlamaForCausalLM` with its own start."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=size,
        intermediate_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        tie_word_embeddings=False,
        use_cache=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    return Logits(LlamaForCausalLM(config))


def qwen3_next(vocabulary: int, size: int, heads: int, layers: int, hidden: int) -> nn.Module:
    """`Qwen3NextForCausalLM` with nothing but gated delta layers and dense MLPs, and its own start."""
    from transformers import Qwen3NextConfig, Qwen3NextForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()  # it says that there are faster kernels for GPUs
    config = Qwen3NextConfig(
        vocab_size=vocabulary,
        hidden_size=size,
        intermediate_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        layer_types=["linear_attention"] * layers,
        linear_num_key_heads=heads,
        linear_num_value_heads=heads,
        linear_key_head_dim=size // heads,
        linear_value_head_dim=size // heads,
        num_experts=0,
        mlp_only_layers=list(range(layers)),
        tie_word_embeddings=False,
        use_cache=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    return Logits(Qwen3NextForCausalLM(config))


def gated_delta_net(vocabulary: int, size: int, heads: int, layers: int, hidden: int) -> nn.Module:
    """The same model with the decays at which flash-linear-attention starts its layer: softplus(dt) is
    log-uniform between 1e-3 and 0.1. Qwen3-Next's class starts dt at 1, and so forgets within a token or
    two until it is trained."""
    model = qwen3_next(vocabulary, size, heads, layers, hidden)
    for name, weight in model.named_parameters():
        if name.endswith("dt_bias"):
            low, high = math.log(1e-3), math.log(0.1)
            rate = torch.exp(low + (high - low) * torch.rand(weight.shape))
            weight.data.copy_(rate + torch.log(-torch.expm1(-rate)))  # the inverse of softplus
    return model


TITANS_CHUNK = 16
"""As many tokens as our blocks take at once."""


class TitansMemory(nn.Module):
    """`NeuralMemory` with its defaults, for [batch, tokens, size]."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        from titans_pytorch import NeuralMemory

        self.memory = NeuralMemory(
            dim=size, dim_head=size // heads, heads=heads, chunk_size=TITANS_CHUNK, pre_rmsnorm=False
        )
        for weight in self.memory.memory_model_parameters:  # of all heads they lie in one place there
            weight.data = weight.data.clone(memory_format=torch.contiguous_format)

    def forward(self, x: Tensor) -> Tensor:
        return self.memory(x)[0]


def titans(vocabulary: int, size: int, heads: int, layers: int, hidden: int) -> nn.Module:
    """titans-pytorch's memory as the mixer of a frame with torch's own starts."""
    return Frame(vocabulary, size, layers, hidden, lambda: TitansMemory(size, heads), glu=False)
