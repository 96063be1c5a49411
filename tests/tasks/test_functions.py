"""The stream of linear functions against its definition."""

import torch

from nestdsl.tasks.functions import CHANGE, INPUT, NOISE, PLACE, VALUE, draw_functions


def drawn(batch: int, tokens: int, seed: int = 0):
    return draw_functions(batch, tokens, torch.Generator().manual_seed(seed))


def test_shapes_and_what_came_before() -> None:
    inputs, targets = drawn(3, 40)
    assert inputs.shape == (3, 40, INPUT) and targets.shape == (3, 40, VALUE)
    assert torch.equal(inputs[:, 1:, PLACE:], targets[:, :-1])
    assert not inputs[:, 0, PLACE:].any()


def test_a_seed_draws_the_same_again() -> None:
    assert all(torch.equal(one, two) for one, two in zip(drawn(2, 9), drawn(2, 9), strict=True))
    assert not torch.equal(drawn(2, 9)[0], drawn(2, 9, seed=1)[0])


def test_sizes_of_places_and_targets() -> None:
    inputs, targets = drawn(256, 256)
    assert abs(inputs[..., :PLACE].square().mean() - 1) < 0.01
    assert abs(targets.square().mean() - (1 + NOISE**2)) < 0.02


def test_a_function_holds_for_a_while_and_then_changes() -> None:
    """Least squares on nine tokens explains them up to the noise where no change falls among them, which
    the ninth equation shows: eight would be explained by any values."""
    tokens = 9
    inputs, targets = drawn(2000, tokens)
    places = inputs[..., :PLACE].double()
    found = torch.linalg.lstsq(places, targets.double()).solution
    left = (places @ found - targets).square().sum((1, 2))
    # The one free direction of each of the four features is all noise: its expected square is NOISE².
    is_whole = left < 6 * VALUE * NOISE**2
    expected = (1 - CHANGE) ** (tokens - 1)
    assert abs(is_whole.float().mean() - expected) < 0.05
