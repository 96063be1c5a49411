"""The references that are rewritten from papers: fast forms against plain ones, causality, equal sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.learning.contenders import FAMILIES, HEADS, REFERENCES, SIZE, Reference, shipped
from benchmarks.learning.learner import ModuleLearner
from benchmarks.learning.references import linear_attention as linear
from benchmarks.learning.references.delta_net import delta_net, delta_rule, delta_rule_recurrently
from benchmarks.learning.references.frame import count
from benchmarks.learning.references.retention import decays, retained, retained_recurrently, retention
from benchmarks.learning.references.ttt import MINIBATCH, Weights, minibatch, ttt_linear, ttt_mlp
from benchmarks.learning.run import is_missing

BUILDS = {
    "linear_attention": linear.linear_attention,
    "retention": retention,
    "delta_net": delta_net,
    "ttt_linear": ttt_linear,
    "ttt_mlp": ttt_mlp,
}


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


@pytest.fixture(autouse=True)
def seeded() -> Iterable[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def same(fast: Callable[..., Tensor], plain: Callable[..., Tensor], *inputs: Tensor) -> None:
    """Holds two functions to each other in value and gradients."""
    got, expected = fast(*inputs), plain(*inputs)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-10)
    upstream = torch.randn_like(got)
    gradients = [torch.autograd.grad(y, inputs, upstream) for y in (got, expected)]
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-9)


def test_retention_in_parallel_is_retention_token_by_token() -> None:
    query, key, value = normal(2, 2, 9, 4), normal(2, 2, 9, 4), normal(2, 2, 9, 8)
    decay = decays(2).double()
    assert decay.tolist() == [1 - 1 / 32, 1 - 1 / 64]
    same(
        lambda q, k, v: retained(q, k, v, decay),
        lambda q, k, v: retained_recurrently(q, k, v, decay),
        query,
        key,
        value,
    )


def test_the_delta_rule_at_once_is_the_delta_rule_token_by_token() -> None:
    step = torch.rand(2, 2, 9, dtype=torch.float64, requires_grad=True)
    same(delta_rule, delta_rule_recurrently, normal(2, 2, 9, 4), normal(2, 2, 9, 4), normal(2, 2, 9, 6), step)


def test_linear_attention_is_a_running_sum() -> None:
    query, key, value = normal(2, 2, 9, 4), normal(2, 2, 9, 4), normal(2, 2, 9, 4)

    def plain(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        query, key = F.elu(query) + 1, F.elu(key) + 1
        states = (key.unsqueeze(-1) * value.unsqueeze(-2)).cumsum(2)
        weights = (query * key.cumsum(2)).sum(-1, keepdim=True) + 1e-6
        return (query.unsqueeze(-2) @ states).squeeze(-2) / weights

    same(lambda q, k, v: linear.causal_average(F.elu(q) + 1, F.elu(k) + 1, v), plain, query, key, value)


@pytest.mark.parametrize("deep", [False, True])
def test_the_dual_form_of_ttt_is_gradient_descent(deep: bool) -> None:
    batch, heads, tokens, size = 2, 2, 5, 4
    query, key, value = (normal(batch, heads, tokens, size).detach() for _ in range(3))
    norm = (normal(heads, 1, size).detach(), normal(heads, 1, size).detach())
    eta = torch.rand(batch, heads, tokens, tokens, dtype=torch.float64)
    shapes = [(size, 8), (1, 8), (8, size), (1, size)] if deep else [(size, size), (1, size)]
    weights = tuple(normal(batch, heads, *shape).detach() for shape in shapes)

    def inner(x: Tensor, at: Weights) -> Tensor:
        flow = x @ at[0] + at[1]
        if deep:
            flow = F.gelu(flow, approximate="tanh") @ at[2] + at[3]
        return norm[0] * F.layer_norm(flow, flow.shape[-1:], eps=1e-6) + norm[1]

    gradients = []
    for token in range(tokens):
        at = tuple(weight.clone().requires_grad_() for weight in weights)
        k, v = key[:, :, token : token + 1], value[:, :, token : token + 1]
        loss = (inner(k, at) - (v - k)).square().sum() / 2
        gradients.append(torch.autograd.grad(loss, at))
    outputs = []
    for token in range(tokens):
        moved = tuple(
            weight
            - sum(eta[:, :, token, early, None, None] * gradients[early][n] for early in range(token + 1))
            for n, weight in enumerate(weights)
        )
        outputs.append(inner(query[:, :, token : token + 1], moved))
    got, after = minibatch(query, key, value, eta, weights, norm)
    torch.testing.assert_close(got, torch.cat(outputs, 2), rtol=1e-8, atol=1e-9)
    for mine, expected in zip(after, moved, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", BUILDS)
def test_no_reference_sees_what_comes_later(name: str) -> None:
    model = BUILDS[name](80, 16, 2, 2, 24).double().eval()
    ids = torch.randint(80, (2, 2 * MINIBATCH))
    changed = ids.clone()
    changed[:, 20] = (ids[:, 20] + 1) % 80
    apart = (model(ids) - model(changed)).detach().abs().amax((0, 2))
    assert float(apart[:20].max()) == 0.0 and bool((apart[20:] > 0).all())


@pytest.mark.parametrize("name", BUILDS)
def test_each_reference_learns(name: str) -> None:
    learner = ModuleLearner(BUILDS[name](80, 16, 2, 1, 24), 1e-2)
    ids = torch.randint(80, (4, 2 * MINIBATCH))
    losses = [
        learner.learn(ids[:, :MINIBATCH], ids[:, 1 : MINIBATCH + 1], step, 1.0) for step in range(1, 21)
    ]
    assert losses[-1] < 0.8 * losses[0]


def _pairs() -> list[tuple[str, Reference]]:
    return [(family.name, reference) for family in FAMILIES for reference in family.references]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of packages that are not ours
@pytest.mark.parametrize(("name", "reference"), _pairs(), ids=lambda part: getattr(part, "key", part))
def test_references_have_as_many_parameters_as_ours(name: str, reference: Reference) -> None:
    if is_missing(reference.key):
        pytest.skip(f"{reference.package} is not installed")
    (family,) = (family for family in FAMILIES if family.name == name)
    for vocabulary, layers in ((256, 2), (80, 1)):
        mine = shipped(family.path, vocabulary, layers).plan.costs.parameters
        theirs = reference.make(vocabulary, layers, mine, 0, 1e-3)
        assert abs(theirs.parameters - mine) < 0.05 * mine


def test_a_seed_fixes_the_start() -> None:
    make = REFERENCES["delta_net"].make
    starts = []
    for seed in (0, 0, 1):
        learner = make(80, 1, 60_000, seed, 1e-3)
        assert isinstance(learner, ModuleLearner) and learner.parameters == count(learner.module)
        starts.append(nn.utils.parameters_to_vector(learner.module.parameters()).detach())
    assert torch.equal(starts[0], starts[1]) and not torch.equal(starts[0], starts[2])
    assert SIZE % HEADS == 0
