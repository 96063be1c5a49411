"""What drives a memory, and logits before a loss, are computed in float32 at least; nothing else changes."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import nestdsl
from nestdsl.plan.instructions import Read
from nestdsl.runtime import build
from nestdsl.runtime.arguments import driving
from nestdsl.runtime.kinds.associative import Associative
from nestdsl.runtime.kinds.matrix import Matrix
from nestdsl.runtime.module import NestModule
from tests.invariants.programs import nest

PROGRAM = """
block memories(heads = 2) {{
  default {{ every {every}  optimizer {optimizer} }}
  flow k = in -> linear -> l2_normalize(heads)
  level rate = linear(heads)
  level keep = linear({channels})
  level push = mlp(hidden = 4)
  flow step = {step}
  flow retain = {retain}
  flow momentum = sigmoid((in -> linear(heads) -> push) + 6.9)
  level memory = {kind}(heads) {{ learn k -> in }}
  flow out = memory(k) {more}
}}
model driven(dim = 16) {{
  input vectors(dim)
  flow out = in -> memories -> linear(11)
}}
"""
WAYS = ("model", "autocast")
GD = "gd(step = step, retain = retain)"
STEP, RETAIN = "0.05 * sigmoid((in -> rate) + 6.9)", "sigmoid((in -> keep) + 6.9)"


def text(kind: str = "matrix", every: str = "1 token, chunk 4", optimizer: str = GD, **said: str) -> str:
    told = {"step": STEP, "retain": RETAIN, "channels": "heads", "more": ""} | said
    return PROGRAM.format(kind=kind, every=every, optimizer=optimizer, **told)


def ids(tokens: int = 40) -> Tensor:
    return torch.randint(11, (2, tokens), generator=torch.Generator().manual_seed(1))


def flows(tokens: int = 40) -> tuple[Tensor, Tensor]:
    """Inputs, of numbers that bfloat16 has, and targets."""
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(2, tokens, size, generator=generator).bfloat16().float() for size in (16, 11))
    return x, y


def in_low_precision(model: NestModule, way: str) -> NestModule:
    return model.bfloat16() if way == "model" else model


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """What the last memory was driven by."""
    seen: dict[str, Tensor] = {}
    for kind in (Matrix, Associative):
        plain = kind.learn

        def learn(self, key, value, state, step=1.0, retain=1.0, momentum=0.9, *, plain=plain, **more):
            found = {"step": step, "retain": retain, "momentum": momentum}
            seen.update({name: one for name, one in found.items() if isinstance(one, Tensor)})
            return plain(self, key, value, state, step, retain, momentum, **more)

        monkeypatch.setattr(kind, "learn", learn)
    return seen


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["matrix", "associative"])
@pytest.mark.parametrize(
    "said",
    [
        {},
        {"optimizer": "gd(step = step, retain = retain, forget_first = true)"},
        {"optimizer": "dgd(step = step, retain = retain, momentum = momentum)"},
        {"optimizer": "momentum(step = step, retain = retain, momentum = momentum)"},
        {"channels": "16", "every": "1 token"},
        {"retain": "sigmoid((in -> keep) + concat(6.8, 7.1))"},
        {"step": "0.05 * exp(-softplus(in -> rms_norm -> rate) / 1000)"},
        {"retain": "1 - 0.001 * sigmoid(in -> keep)", "step": "0.05 * retain"},
        # Seen by others as well, who see them rounded.
        {"more": "+ (concat(step, retain) -> linear(16))"},
    ],
)
def test_near_one_values_stay_apart_and_have_gradients(
    told: dict[str, Tensor], way: str, kind: str, said: dict[str, str]
) -> None:
    if kind == "associative" and ("forget_first" in said.get("optimizer", "") or "channels" in said):
        pytest.skip("of `matrix` alone")
    model = nestdsl.parse(text(kind, **said)).compile(compile=False)
    exact, (x, y) = copy.deepcopy(model).double(), flows()
    assert exact.loss(x.double(), y.double()).isfinite()
    wanted = {name: one.detach().clone() for name, one in told.items()}
    model = in_low_precision(model, way)
    kind = next(model.parameters()).dtype
    with torch.autocast("cpu", torch.bfloat16, enabled=way == "autocast"):
        loss = model.loss(x.to(kind), y.to(kind))
    for name, value in told.items():
        assert value.dtype == torch.float32
        assert value.max() < 1 and len(value.unique()) > 0.9 * value.numel()
        # bfloat16 has steps of 1/256 there; what comes in, and weights, may still be rounded.
        assert (value.double() - wanted[name]).abs().max() < 1e-3
        (found,) = torch.autograd.grad(loss, value, retain_graph=True)
        assert (found != 0).float().mean() > 0.9
    loss.backward()
    for name, weight in model.named_parameters():
        if name.split(".")[1] in ("rate", "keep"):
            assert weight.grad is not None and (weight.grad != 0).all()


@pytest.mark.parametrize("way", WAYS)
def test_where_memories_read_themselves_chunk_by_chunk(told: dict[str, Tensor], way: str) -> None:
    library = (
        "use std.titans\nmodel m { input ids(11)\n flow out = in -> embedding(16) -> BLOCK -> linear(11) }"
    )
    for block in ("self_referential(2, chunk = 4)", "linear_self_referential(2, chunk = 4)"):
        model = in_low_precision(nestdsl.parse(library.replace("BLOCK", block)).compile(compile=False), way)
        with torch.autocast("cpu", torch.bfloat16, enabled=way == "autocast"):
            model.loss(ids()[:, :-1], ids()[:, 1:]).backward()
        assert {one.dtype for one in told.values()} == {torch.float32}


# torch's own, on the first import of its compiler
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.slow
def test_compiled_it_is_the_same() -> None:
    losses = []
    for how in (False, True):
        model = nestdsl.parse(text(**SHARED)).compile(compile=how).bfloat16()
        x, y = (one.bfloat16() for one in flows())
        loss = model.loss(x, y)
        loss.backward()
        keep = model.get_parameter("out_memories.keep.weight").grad
        assert keep is not None and (keep != 0).all()
        losses.append(loss.detach())
    torch.testing.assert_close(*losses, rtol=1e-3, atol=1e-3)


def test_in_bfloat16_itself_most_of_them_are_one() -> None:
    """So that the tests above can fail."""
    plain = torch.sigmoid(torch.randn(1000, generator=torch.Generator().manual_seed(0)).bfloat16() + 6.9)
    assert (plain == 1).float().mean() > 0.5


def test_what_drives_ends_at_the_last_level_that_is_read() -> None:
    body = nestdsl.parse(text(more="+ (in -> linear(16))")).plan.bodies[0]
    lines = {line.result: line for line in body.lines}
    found = driving(body)
    reads = {line.level for line in map(lines.get, found) if isinstance(line, Read)}
    assert reads == {"rate", "keep"} and {"step", "retain"} <= found
    assert {"k", "out"}.isdisjoint(found)
    deep = "dgd(step = step, retain = retain, momentum = momentum)"
    body = nestdsl.parse(text(optimizer=deep)).plan.bodies[0]
    lines = {line.result: line for line in body.lines}
    assert {line.level for line in map(lines.get, driving(body)) if isinstance(line, Read)} == {
        "rate",
        "keep",
        "push",
    }


SHARED = {"more": "+ (concat(step, retain) -> linear(16))"}
PROGRAMS = {
    "shared": text(**SHARED),
    "momentum": text(optimizer="dgd(step = step, retain = retain, momentum = momentum)"),
    "constant": text(retain="concat(0.999, 0.5)"),
}


LIBRARY = ("gated_delta", "titans", "hope", "self_referential", "matrix_dgd")


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "name", [*PROGRAMS, "gated_delta", "titans", "hope", "self_referential", "matrix_dgd"]
)
def test_in_float32_and_float64_not_a_bit_changes(
    monkeypatch: pytest.MonkeyPatch, name: str, kind: torch.dtype
) -> None:
    """Beside the source as it would be without casts: outputs, loss and every gradient."""
    program = nestdsl.parse(PROGRAMS[name]) if name in PROGRAMS else nest(name)
    models = [program.compile(compile=False).to(kind)]
    monkeypatch.setattr(build, "with_precise_arguments", lambda plan: plan)
    models.append(program.compile(compile=False).to(kind))
    x, y = (one.to(kind) for one in flows()) if name in PROGRAMS else (ids()[:, :-1], ids()[:, 1:])
    results = []
    for model in models:
        outputs, loss = model(x)[0], model.loss(x, y)
        loss.backward()
        results.append([outputs, loss, *(one.grad for one in model.parameters() if one.grad is not None)])
    assert len(results[0]) == len(results[1])
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("in_context", [False, True])
@pytest.mark.parametrize("objective", ["cross_entropy", "mse"])
def test_the_loss_is_taken_in_float32(way: str, in_context: bool, objective: str) -> None:
    learns = "every 8 tokens  optimizer gd(step = 0)" if in_context else ""
    takes = "ids(11)" if objective == "cross_entropy" else "vectors(16)"
    first = "embedding(16)" if objective == "cross_entropy" else "linear(16)"
    program = (
        f"model m {{ input {takes}\n level slow = mlp {{ {learns} }}\n"
        f" flow out = in -> {first} -> slow -> linear(16)\n train {{ objective {objective} }} }}"
    )
    model = in_low_precision(nestdsl.parse(program).compile(compile=False), way)
    if objective == "cross_entropy":
        x, targets = ids()[:, :-1], ids()[:, 1:]
    else:
        x, targets = (torch.randn(2, 39, 16, generator=torch.Generator().manual_seed(n)) for n in (0, 1))
        x, targets = (one.to(next(model.parameters()).dtype) for one in (x, targets))
    with torch.autocast("cpu", torch.bfloat16, enabled=way == "autocast"):
        loss, outputs = model.loss(x, targets), model(x)[0].float()
    if objective == "cross_entropy":
        wanted = F.cross_entropy(outputs.flatten(0, 1), targets.flatten())
    else:
        wanted = F.mse_loss(outputs, targets.float())
    assert loss.dtype == torch.float32
    # Weights of each sequence's own are read as other products; their rounding is that of bfloat16.
    torch.testing.assert_close(loss, wanted, rtol=3e-3 if in_context else 1e-6, atol=1e-6)
    if way == "model" and not in_context:
        assert loss != wanted.bfloat16()
