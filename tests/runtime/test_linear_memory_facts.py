"""What is known of linear memories from their equations: the proximal step, the fixed point, stability, the
closed form with momentum."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nestdsl.runtime.ops.linear_memory import LinearRule, initial_state, learn, read


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def one_head(*tensors: Tensor) -> list[Tensor]:
    """[T, D] → [1, T, 1, D] and [T] → [1, T, 1]."""
    return [tensor[None, :, None] for tensor in tensors]


@pytest.mark.parametrize("length", [1.0, 1.7])
@pytest.mark.parametrize("objective", ["l2", "dot"])
def test_a_dgd_step_solves_the_proximal_problem(objective: str, length: float) -> None:
    """[Nested Learning, Eq. 54-57]: argmin_W ½‖W x - u‖² + ‖W - W_t‖² / (2 η) with u = -∂L/∂y, by a dense
    solve."""
    size, step = 5, 0.8
    start, key, value = normal(size, size), normal(size, seed=1), normal(size, seed=2)
    key = length * key / key.norm()
    rule = LinearRule(objective, chunk=1, optimizer="dgd")
    flows = one_head(key[None], value[None], torch.full((1,), step, dtype=torch.float64), torch.ones(1))
    _, state = learn(*flows, initial_state(start.T[None, None], rule), rule)

    target = value - start @ key if objective == "l2" else value
    left = torch.outer(key, key) + torch.eye(size, dtype=torch.float64) / step
    right = torch.outer(target, key) + start / step
    want = torch.linalg.solve(left, right, left=False)
    torch.testing.assert_close(state["matrix"][0, 0].T, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("chunk", [1, 4, 16])
def test_a_repeated_pair_is_answered_with_half_the_value(chunk: int) -> None:
    """X5: the memory balances M k = v - M k."""
    tokens, size = 800, 4
    key = torch.nn.functional.normalize(normal(size), dim=-1)
    value = normal(size, seed=1)
    rule = LinearRule(chunk=chunk, optimizer="dgd")
    flows = one_head(
        key.expand(tokens, -1), value.expand(tokens, -1), torch.full((tokens,), 0.1), torch.ones(tokens)
    )
    start = initial_state(normal(1, 1, size, size, seed=2), rule)
    _, state = learn(*flows, start, rule)
    torch.testing.assert_close(key @ state["matrix"][0, 0], value / 2, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("chunk", [1, 2, 4, 8, 16, 32, 64, 128, 256])
def test_the_map_from_chunk_to_chunk_does_not_grow(chunk: int) -> None:
    """C18.5: with α = 1 and no values one chunk maps its start by (1 + 1) Π - I, of radius 1 at most."""
    size = 8
    rule = LinearRule(chunk=chunk, optimizer="dgd")
    key = torch.nn.functional.normalize(normal(chunk, size) + 0.5, dim=-1)
    step = torch.rand(chunk, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    eye = torch.eye(size, dtype=torch.float64)[None, None]
    flows = one_head(key, torch.zeros(chunk, size, dtype=torch.float64), step, torch.ones(chunk))
    _, state = learn(*flows, initial_state(eye, rule), rule)
    mapped = state["matrix"][0, 0]
    assert torch.linalg.eigvals(mapped).abs().max() <= 1 + 1e-6

    product = eye[0, 0]
    for k, eta in zip(key, step / (1 + step), strict=True):
        product = product - eta * torch.outer(k, k) @ product
    torch.testing.assert_close(mapped, 2 * product - eye[0, 0], rtol=1e-11, atol=1e-11)


def test_a_chunk_of_titans_is_its_closed_form() -> None:
    """C8: M_b = β_b M_0 + (Σ_t β_b/β_t He_t) S_0 - Σ_i θ_i [Σ_{t≥i} (β_b/β_t) (He_t/He_i)] u_i."""
    tokens, size = 12, 5
    key, value = normal(tokens, size), normal(tokens, size, seed=1)
    step, retain, momentum = torch.sigmoid(normal(3, tokens, seed=2) + 1.0)
    start, surprise = normal(size, size, seed=3), normal(size, size, seed=4)
    rule = LinearRule(chunk=tokens, optimizer="momentum")
    state = initial_state(start.T[None, None], rule)
    state["momentum"] = surprise.T[None, None]
    *flows, factor = one_head(key, value, step, retain, momentum)
    _, following = learn(*flows, state, rule, momentum=factor, block=4)

    beta, he = retain.cumprod(0), momentum.cumprod(0)
    left = beta[-1] / beta
    want = beta[-1] * start + (left * he).sum() * surprise
    for i in range(tokens):
        gradient = torch.outer(start @ key[i] - value[i], key[i])
        want = want - step[i] * (left[i:] * he[i:] / he[i]).sum() * gradient
    torch.testing.assert_close(following["matrix"][0, 0].T, want, rtol=1e-12, atol=1e-12)


def test_dgd_is_a_gated_delta_rule() -> None:
    """C18.1: β' = η/α and v' = α (v - M_ξ k) in M_t = α M_{t-1} (I - β' k kᵀ) + β' v' kᵀ; here ξ = 0."""
    tokens, size = 9, 5
    key = torch.nn.functional.normalize(normal(tokens, size), dim=-1)
    value, query = normal(tokens, size, seed=1), normal(tokens, size, seed=5)
    step, retain = torch.sigmoid(normal(2, tokens, seed=2))
    start = normal(size, size, seed=3)
    rule = LinearRule(chunk=16, optimizer="dgd")
    flows = one_head(key, value, step, retain)
    trajectory, _ = learn(*flows, initial_state(start.T[None, None], rule), rule, block=4)
    out = read(trajectory, query[None, :, None], "after", rule)[0, :, 0]

    matrix, eta = start, step / (1 + step)
    for t in range(tokens):
        rate, target = eta[t] / retain[t], retain[t] * (value[t] - start @ key[t])
        matrix = retain[t] * (matrix - rate * torch.outer(matrix @ key[t], key[t]))
        matrix = matrix + rate * torch.outer(target, key[t])
        torch.testing.assert_close(out[t], matrix @ query[t], rtol=1e-12, atol=1e-12)


def test_a_memory_that_decays_to_its_start_forgets_only_what_it_learned() -> None:
    start, rule = normal(1, 1, 4, 4), LinearRule(optimizer="dgd", toward="init", chunk=1)
    tokens = 60
    nothing = torch.zeros(tokens)
    flows = one_head(normal(tokens, 4), normal(tokens, 4, seed=1), nothing, torch.full((tokens,), 0.5))
    state = initial_state(start, rule)
    state["matrix"] = start + normal(1, 1, 4, 4, seed=2)
    _, state = learn(*flows, state, rule)
    torch.testing.assert_close(state["matrix"], start)
