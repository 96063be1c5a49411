"""Memories by flash-linear-attention: the same as by our own blocks, in value, state and every gradient.

Its kernels need a GPU; elsewhere a plain loop with its documented signature stands in for them.
"""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch
from torch import Tensor

import nestdsl
from nestdsl.runtime.build import use_kernels
from nestdsl.runtime.kinds.matrix import Matrix
from nestdsl.runtime.ops.linear_memory import LinearRule, fla


def chunk_gated_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    beta: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Token by token. q, k [B, T, H, K], v [B, T, H, V], g (log) and beta [B, T, H], state [B, H, K, V]."""
    assert initial_state is not None and scale is not None
    state, answers = initial_state, []
    for t in range(q.shape[1]):
        state = g[:, t, :, None, None].exp() * state
        error = beta[:, t, :, None] * (v[:, t] - torch.einsum("bhkv,bhk->bhv", state, k[:, t]))
        state = state + torch.einsum("bhk,bhv->bhkv", k[:, t], error)
        answers.append(scale * torch.einsum("bhkv,bhk->bhv", state, q[:, t]))
    return torch.stack(answers, 1), state if output_final_state else None


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType(fla.MODULE)
    module.chunk_gated_delta_rule = chunk_gated_delta_rule  # type: ignore[attr-defined]
    for name in ("fla", "fla.ops"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, fla.MODULE, module)


def results(memory: Matrix, flows: list[Tensor], pieces: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Answers, the last state, and the gradients of flows and weight, over pieces with carried state."""
    flows = [flow.detach().requires_grad_() for flow in flows]
    state, answers = memory.init_state(flows[0].shape[0], flows[0].device), []
    for query, key, value, step, retain in zip(*(flow.split(pieces, 1) for flow in flows), strict=True):
        trajectory, state = memory.learn(key, value, state, step.sigmoid(), (retain + 3).sigmoid())
        answers.append(memory.read(trajectory, query))
    y = torch.cat(answers, 1)
    loss = (y * torch.linspace(0, 1, y.numel(), device=y.device).view_as(y)).sum()
    loss = loss + state["matrix"].square().sum()
    return y, state["matrix"], *torch.autograd.grad(loss, [*flows, memory.weight])  # type: ignore[list-item]


def make(device: str, kind: torch.dtype, first: bool = False) -> tuple[Matrix, Matrix, list[Tensor]]:
    torch.manual_seed(0)
    ours = Matrix(32, 16, heads=2, chunk=32, forget_first=first).to(device, kind)
    theirs = Matrix(32, 16, heads=2, chunk=32, forget_first=first).to(device, kind)
    theirs.load_state_dict(ours.state_dict())
    assert theirs.use_kernels()
    flows = [torch.randn(2, 70, size, device=device, dtype=kind) for size in (32, 32, 16, 2, 2)]
    flows[1] = torch.nn.functional.normalize(flows[1].unflatten(-1, (2, -1)), dim=-1).flatten(-2)
    return ours, theirs, flows


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("pieces", [(70,), (33, 17, 20), (50, 20)])
def test_the_mapping_is_exact(stand_in: None, pieces: tuple[int, ...], first: bool) -> None:
    ours, theirs, flows = make("cpu", torch.float64, first)
    for mine, other in zip(results(ours, flows, pieces), results(theirs, flows, pieces), strict=True):
        torch.testing.assert_close(other, mine, rtol=1e-9, atol=1e-9)


def test_the_operator_is_what_torch_expects(stand_in: None) -> None:
    """Shapes known without running it, and gradients under torch.compile's tracing."""
    key, value = torch.randn(2, 3, 2, 4, requires_grad=True), torch.randn(2, 3, 2, 5, requires_grad=True)
    factors = torch.rand(2, 3, 2, requires_grad=True)
    start = torch.randn(2, 2, 4, 5, requires_grad=True)
    arguments = (key.detach().clone().requires_grad_(), key, value, -factors.detach(), factors, start)
    torch.library.opcheck(torch.ops.nestdsl.fla_gated_delta.default, arguments)


def test_short_calls_go_on_by_the_blocks(stand_in: None) -> None:
    _, theirs, flows = make("cpu", torch.float64)
    whole, split = results(theirs, flows, (70,)), results(theirs, flows, (40, 1, 29))
    for mine, other in zip(whole, split, strict=True):
        torch.testing.assert_close(other, mine, rtol=1e-9, atol=1e-9)


def test_the_published_rule_goes_to_the_kernels_as_it_is(stand_in: None) -> None:
    """Nothing of it is multiplied or divided by α on the way."""
    _, theirs, flows = make("cpu", torch.float64, first=True)
    _, key, value, step, retain = flows
    retain = retain.sigmoid()
    retain[:, ::3] = 0.0
    written, _ = theirs.learn(key, value, theirs.init_state(2), step, retain)
    assert isinstance(written, fla.Written)
    assert torch.equal(written.value, value.unflatten(-1, (2, -1))) and torch.equal(written.beta, step)
    assert written.log_decay.isfinite().all()


def test_a_retain_per_channel_stays_with_the_blocks(stand_in: None) -> None:
    ours, theirs, flows = make("cpu", torch.float64, first=True)
    query, key, value, step, _ = flows
    found = []
    for memory in (ours, theirs):
        trajectory, _ = memory.learn(key, value, memory.init_state(2), step.sigmoid(), query.sigmoid())
        found.append(memory.read(trajectory, query))
    assert torch.equal(*found)


def test_a_model_takes_them_where_they_apply(stand_in: None) -> None:
    nest = nestdsl.parse(
        "use std.gated_delta\nuse std.titans\nmodel m {\n  input ids(11)\n"
        "  flow out = in -> embedding(16) -> gated_delta(2) -> titans(2) -> linear(11)\n}\n"
    )
    plain, fast = nest.compile(compile=False).double(), nest.compile(compile=False).double()
    use_kernels(fast)
    assert str(fast).count("by the kernels of flash-linear-attention") == 1
    assert "by the kernels" not in str(plain)
    ids = torch.arange(40).reshape(2, 20) % 11
    torch.testing.assert_close(fast(ids)[0], plain(ids)[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("rule", "read"),
    [
        (LinearRule(objective="dot"), "after"),
        (LinearRule(optimizer="dgd"), "after"),
        (LinearRule(optimizer="momentum"), "after"),
        (LinearRule(toward="init"), "after"),
        (LinearRule(gradient="stop"), "after"),
        (LinearRule(period=4), "after"),
        (LinearRule(chunk=8), "after"),
        (LinearRule(), "before"),
    ],
)
def test_what_the_kernels_do_not_compute_stays_with_the_blocks(rule: LinearRule, read: str) -> None:
    assert fla.applies(LinearRule(), "after", 64) and fla.applies(LinearRule(forget_first=True), "after", 64)
    assert not fla.applies(rule, read, 64)  # type: ignore[arg-type]
    assert not fla.applies(LinearRule(), "after", fla.LARGEST_KEY + 1)


@pytest.mark.gpu
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float32, 1e-2), (torch.bfloat16, 5e-2)])
def test_the_kernels_themselves(kind: torch.dtype, tolerance: float, first: bool) -> None:
    """float32 products are TF32 there; the truth is our own form in float32 on the same GPU."""
    pytest.importorskip("triton")
    pytest.importorskip(fla.MODULE)
    ours, theirs, flows = make("cuda", torch.float32, first)
    theirs.to(kind)
    expected = results(ours, flows, (70,))
    found = results(theirs, [flow.to(kind) for flow in flows], (70,))
    for mine, other in zip(expected, found, strict=True):
        error = (other.float() - mine).norm() / mine.norm()
        assert error < tolerance, error
