"""The activations and the errors of a two-layer memory, with the derivatives that its gradients need."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from nestdsl.runtime.ops.deep_memory.rule import Activation, DeepRule

# |e| below this counts as this in |e|^{p-1}, whose derivative would be infinite at 0 for p < 2.
TINY = 1e-20


def activate(z: Tensor, activation: Activation) -> Tensor:
    """σ(z)."""
    match activation:
        case "gelu":
            return F.gelu(z)
        case "silu":
            return F.silu(z)
        case "relu":
            return torch.relu(z)
        case "tanh":
            return torch.tanh(z)


def slope(z: Tensor, activation: Activation) -> Tensor:
    """σ'(z), differentiable."""
    match activation:
        case "gelu":
            return 0.5 * (1 + torch.erf(z * math.sqrt(0.5))) + z * _density(z)
        case "silu":
            gate = torch.sigmoid(z)
            return gate * (1 + z * (1 - gate))
        case "relu":
            return (z > 0).to(z.dtype)
        case "tanh":
            return 1 - torch.tanh(z).square()


def curvature(z: Tensor, activation: Activation) -> Tensor:
    """σ''(z), differentiable."""
    match activation:
        case "gelu":
            return (2 - z.square()) * _density(z)
        case "silu":
            gate = torch.sigmoid(z)
            return gate * (1 - gate) * (2 + z * (1 - 2 * gate))
        case "relu":
            return torch.zeros_like(z)
        case "tanh":
            value = torch.tanh(z)
            return -2 * value * (1 - value.square())


def _density(z: Tensor) -> Tensor:
    return torch.exp(-0.5 * z.square()) * (1 / math.sqrt(2 * math.pi))


def error(output: Tensor, value: Tensor, rule: DeepRule) -> Tensor:
    """e, the objective's gradient with respect to the memory's output, differentiable."""
    match rule.objective:
        case "l2":
            return output - value
        case "dot":
            return -value
        case "lp":
            missed = output - value
            return missed.sign() * missed.abs().clamp_min(TINY) ** (rule.p - 1)


def error_slope(output: Tensor, value: Tensor, rule: DeepRule) -> Tensor | float:
    """∂e/∂output, differentiable."""
    match rule.objective:
        case "l2":
            return 1.0
        case "lp" if rule.p > 1:
            missed = (output - value).abs()
            is_slope = missed > TINY
            # 1 in place of what is no slope: a power of TINY could be infinite, differentiated once more.
            return torch.where(is_slope, (rule.p - 1) * missed.where(is_slope, 1.0) ** (rule.p - 2), 0.0)
        case _:
            return 0.0
