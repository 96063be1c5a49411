"""Streams: levels that say `reset never` go on from one sequence to the next; all others start anew."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import nestdsl
from nestdsl.runtime.learning.naive_stream import naive_stream
from nestdsl.runtime.learning.strategies import CUT, THROUGH, WHOLE, WINDOW, Strategy
from nestdsl.runtime.module import NestModule

STREAM = """
block layer() {{
  level slow = mlp(expand = 2) {{
    every 16 tokens  optimizer {optimizer}  gradient {gradient}  reset {reset}
  }}
  level mid = mlp(expand = 2) {{
    every 8 tokens  optimizer {optimizer}  gradient {gradient}  init from slow  reset {mid}
  }}
  level fast = linear {{ every 4 tokens  optimizer gd(step = 0.2)  gradient {gradient} }}
  flow h = in + (in -> rms_norm -> {mixer})
  flow out = h + (h -> rms_norm -> fast) + (h -> rms_norm -> mid -> slow)
}}
block gated {{
  flow k = in -> linear -> l2_normalize
  level memory = matrix {{
    learn k -> in  every 1 token  optimizer gd(step = 0.5, retain = 0.9)  reset {reset}
  }}
  flow out = memory(k)
}}
model stream(dim = 8, depth = 2) {{
  input ids(11)
  level stack = layer repeat depth
  flow out = in -> embedding(dim) -> stack -> linear(11)
}}
"""


def model_of(
    gradient: str = "stop",
    optimizer: str = "gd(step = 0.3)",
    mid: str = "parent",
    mixer: str = "gated",
    reset: str = "never",
) -> NestModule:
    text = STREAM.format(gradient=gradient, optimizer=optimizer, mid=mid, mixer=mixer, reset=reset)
    return nestdsl.parse(text).compile(compile=False).double()


def sequences(*lengths: int, batch: int = 2) -> list[tuple[Tensor, Tensor]]:
    """Contiguous parts of one text in each row."""
    ids = torch.randint(11, (batch, sum(lengths) + 1), generator=torch.Generator().manual_seed(1))
    return list(zip(ids[:, :-1].split(lengths, 1), ids[:, 1:].split(lengths, 1), strict=True))


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("mid", ["parent", "context", "never"])
@pytest.mark.parametrize("optimizer", ["gd(step = 0.3, retain = 0.9, toward = init)", "adamw(lr = 0.01)"])
@pytest.mark.parametrize(
    ("gradient", "mixer", "graph"),
    [
        ("stop", "linear", CUT),  # nothing crosses a boundary, so that cutting is exact
        ("stop", "gated", WHOLE),
        ("through", "gated", THROUGH),
    ],
)
def test_equal_to_the_plain_loop_in_value_and_in_every_gradient(
    gradient: str, mixer: str, graph: Strategy, optimizer: str, mid: str
) -> None:
    model = model_of(gradient, optimizer, mid, mixer)
    assert model.learning_strategy() is graph
    parts = sequences(12, 20, 7)  # whose ends are no ends of the slow level's periods
    weights = list(model.parameters())
    state = None
    for (inputs, targets), wanted in zip(parts, naive_stream(model, parts), strict=True):
        found, state = model.stream_loss(inputs, targets, state)
        close(found, wanted)
        gradients = [torch.autograd.grad(one, weights, allow_unused=True) for one in (found, wanted)]
        for weight, one, other in zip(weights, *gradients, strict=True):
            zeros = torch.zeros_like(weight)
            close(zeros if one is None else one, zeros if other is None else other)


@pytest.mark.parametrize("mid", ["parent", "context"])
@pytest.mark.parametrize("mixer", ["linear", "gated"])
def test_learning_while_reading_a_stream_is_learning_in_training(mixer: str, mid: str) -> None:
    model = model_of(mixer=mixer, mid=mid, optimizer="adamw(lr = 0.01)").eval()
    parts = sequences(12, 20, 8, 7)
    carried, state = None, None
    with torch.no_grad():
        for inputs, targets in parts:
            wanted, carried = model.stream_loss(inputs, targets, carried)
            outputs = []
            for part in inputs.split((5, inputs.shape[1] - 5), dim=1):
                y, state = model(part, state, learn=True)
                outputs.append(y)
            assert state is not None
            state = model.reset_state(state)
            close(
                torch.nn.functional.cross_entropy(torch.cat(outputs, 1).flatten(0, 1), targets.flatten()),
                wanted,
            )


@pytest.mark.parametrize("learn", [True, False])
def test_two_equal_sequences_give_equal_outputs_under_context_and_other_ones_under_never(learn: bool) -> None:
    (inputs, _), *_ = sequences(16)
    for reset, is_equal in (("context", True), ("never", False)):
        model = model_of(reset=reset).eval()
        with torch.no_grad():
            first, state = model(inputs, learn=learn)
            second, _ = model(inputs, model.reset_state(state), learn=learn)
        assert torch.equal(first, second) is is_equal
        assert model.carries_state() is not is_equal


def test_a_first_sequence_of_a_stream_is_a_sequence() -> None:
    model = model_of()
    inputs, targets = sequences(21)[0]
    close(model.stream_loss(inputs, targets)[0], model.loss(inputs, targets))


def test_rows_of_a_stream_are_rows_alone() -> None:
    model = model_of()
    parts = sequences(12, 12)
    together = state = None
    for inputs, targets in parts:
        together, state = model.stream_loss(inputs, targets, state)
    alone = []
    for row in range(2):
        state = None
        for inputs, targets in parts:
            loss, state = model.stream_loss(inputs[row : row + 1], targets[row : row + 1], state)
        alone.append(loss)
    assert together is not None
    close(sum(alone) / 2, together)


@pytest.mark.parametrize(
    "clauses", ["chunk 4", "chunk 4  optimizer dgd(step = 0.5, retain = 0.9)  init zeros"]
)
@pytest.mark.parametrize("kind", ["matrix", "associative"])
def test_a_memory_that_is_never_reset_reads_two_sequences_as_one(kind: str, clauses: str) -> None:
    model = (
        nestdsl.parse(f"""
model m(dim = 8) {{
  input ids(11)
  flow x = in -> embedding(dim)
  flow k = x -> l2_normalize
  level memory = {kind} {{ learn k -> x  every 1 token, {clauses}  reset never }}
  flow out = memory(k) -> linear(11)
}}
""")
        .compile(compile=False)
        .double()
    )
    parts = sequences(10, 7)
    with torch.no_grad():
        whole, _ = model(torch.cat([inputs for inputs, _ in parts], 1))
        state, found = None, []
        for inputs, _ in parts:
            y, state = model(inputs, state)
            found.append(y)
            state = model.reset_state(state)
    close(torch.cat(found, 1), whole)


def test_a_self_referential_memory_goes_on_within_its_chunk() -> None:
    model = (
        nestdsl.parse("""
model m(dim = 8) {
  input ids(11)
  default { every 1 token, chunk 4  optimizer dgd(step = 0.5, retain = 0.9)  reset never }
  flow x = in -> embedding(dim)
  flow k = x -> key -> l2_normalize
  level key = matrix { learn k -> key(x) }
  level memory = matrix { learn k -> x }
  flow out = memory(x) -> linear(11)
}
""")
        .compile(compile=False)
        .double()
    )
    parts = sequences(10, 7)
    with torch.no_grad():
        whole, _ = model(torch.cat([inputs for inputs, _ in parts], 1))
        first, state = model(parts[0][0])
        second, _ = model(parts[1][0], model.reset_state(state))
    close(torch.cat((first, second), 1), whole)


def test_a_window_longer_than_a_sequence_truncates_nothing() -> None:
    models = [model_of(gradient) for gradient in ("through", "truncated(99)")]
    assert models[1].learning_strategy() is WINDOW
    states: list = [None, None]
    for inputs, targets in sequences(12, 12):
        gradients = []
        for place, model in enumerate(models):
            loss, states[place] = model.stream_loss(inputs, targets, states[place])
            gradients.append(torch.autograd.grad(loss, list(model.parameters()), allow_unused=True))
        for weight, one, other in zip(models[0].parameters(), *gradients, strict=True):
            zeros = torch.zeros_like(weight)
            close(zeros if one is None else one, zeros if other is None else other)


@pytest.mark.parametrize(
    "memory", ["self_referential(2, chunk = 4)", "titans(2, chunk = 4)", "hope_layer(2)"]
)
def test_what_starts_anew_learns_its_start_in_every_sequence(memory: str) -> None:
    text = f"""
    use std.titans
    use std.hope
    model m {{
      input ids(8)
      level a = {memory}
      flow out = in -> embedding(8) -> a -> linear(8)
    }}
    """
    model = nestdsl.parse(text).compile(compile=False).double()
    draw = torch.Generator().manual_seed(1)
    first, second = torch.randint(8, (2, 2, 13), generator=draw)
    _, state = model.stream_loss(first[:, :-1], first[:, 1:])
    gradients = []
    for loss in (
        model.stream_loss(second[:, :-1], second[:, 1:], state)[0],
        model.loss(second[:, :-1], second[:, 1:]),
    ):
        model.zero_grad()
        loss.backward()
        gradients.append(
            {
                name: weight.grad.clone()
                for name, weight in model.named_parameters()
                if weight.grad is not None
            }
        )
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[1].items():
        torch.testing.assert_close(gradients[0][name], gradient, rtol=1e-9, atol=1e-12)
