"""Against torch.optim: 200 steps from the same start agree to 1e-6 in float32."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.optim import _muon
from torch.testing import assert_close

from tests.runtime.optimizer.programs import program, run_fast, run_naive, start

TEXT = """
optimizer sgd(lr = 1e-2, decay = 0.01) { flow update = -lr * (grad + decay * weight) }
optimizer heavy(lr = 1e-2, momentum = 0.9) {
  level m = sum_of(momentum) { learn grad }
  flow update = -lr * m
}
optimizer nesterov(lr = 1e-2, momentum = 0.9) {
  level m = sum_of(momentum) { learn grad }
  flow update = -lr * (grad + momentum * m)
}
optimizer adam(lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8) {
  level m = ema(beta1) { learn grad }
  level v = ema(beta2) { learn grad * grad }
  flow update = -lr * debias(m) / (sqrt(debias(v)) + eps)
}
optimizer adagrad(lr = 1e-2, eps = 1e-10) {
  level v = sum_of(1) { learn grad * grad }
  flow update = -lr * grad / (sqrt(v) + eps)
}
optimizer rmsprop(lr = 1e-3, alpha = 0.99, eps = 1e-8) {
  level v = ema(alpha) { learn grad ** 2 }
  flow update = -lr * grad / (sqrt(v) + eps)
}
"""
MUON = """
optimizer muon(lr = 2e-2, momentum = 0.95, decay = 0) {
  only matrices else sgd()
  level m = ema(momentum) { learn grad }
  flow nesterov = momentum * m + (1 - momentum) * grad
  flow scale = sqrt(max(1, rows(weight) / columns(weight)))
  flow update = -lr * (scale * newton_schulz(nesterov, precision = "PRECISION") + decay * weight)
}
"""
OPTIMIZERS: dict[str, Callable[[list[Tensor]], torch.optim.Optimizer]] = {
    "sgd": lambda weights: torch.optim.SGD(weights, lr=1e-2, weight_decay=0.01),
    "heavy": lambda weights: torch.optim.SGD(weights, lr=1e-2, momentum=0.9),
    "nesterov": lambda weights: torch.optim.SGD(weights, lr=1e-2, momentum=0.9, nesterov=True),
    "adam": lambda weights: torch.optim.Adam(weights),
    "adamw": lambda weights: torch.optim.AdamW(weights),
    "adagrad": lambda weights: torch.optim.Adagrad(weights, lr=1e-2),
    "rmsprop": lambda weights: torch.optim.RMSprop(weights, lr=1e-3),
}


def by_torch(optimizer: torch.optim.Optimizer, gradients: list[list[Tensor]]) -> list[Tensor]:
    weights = optimizer.param_groups[0]["params"]
    for gradient in gradients:
        for weight, part in zip(weights, gradient, strict=True):
            weight.grad = part.clone()
        optimizer.step()
    return [weight.detach() for weight in weights]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_agrees_with_torch(name: str) -> None:
    weights, gradients = start(steps=200, dtype=torch.float32, scale=0.02)
    own = [weight.clone().requires_grad_() for weight in weights]
    expected = by_torch(OPTIMIZERS[name](own), gradients)
    one = program(name, TEXT)
    assert_close(run_fast(one, weights, gradients), expected, rtol=0, atol=1e-6)
    assert_close(
        run_naive(one, weights, gradients[:20]), run_fast(one, weights, gradients[:20]), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_muon_agrees_with_torch(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if precision == "float32":
        # torch iterates in bfloat16: a rounding that goes the other way is more than 1e-6 already.
        monkeypatch.setattr(Tensor, "bfloat16", Tensor.float)
        found = _muon._zeropower_via_newtonschulz(torch.eye(2), (3.4445, -4.7750, 2.0315), 5, 1e-7)
        assert found.dtype == torch.float32
    weights, gradients = start(steps=200, dtype=torch.float32, scale=0.02)
    matrices = [index for index, weight in enumerate(weights) if weight.ndim == 2]
    weights = [weights[index] for index in matrices]
    gradients = [[step[index] for index in matrices] for step in gradients]
    own = [weight.clone().requires_grad_() for weight in weights]
    expected = by_torch(torch.optim.Muon(own, lr=1e-3, weight_decay=0.01), gradients)
    text = MUON.replace("PRECISION", precision)
    one = program("muon", text, lr=1e-3, momentum=0.95, decay=0.01)
    tolerance = 1e-6 if precision == "float32" else 5e-5
    assert_close(run_fast(one, weights, gradients), expected, rtol=0, atol=tolerance)
