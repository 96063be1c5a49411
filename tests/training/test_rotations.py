"""The stream of rotated vectors against its definition."""

import torch

from nestdsl.training.data.rotations import CHANGE, NOISE, SIZE, draw_rotations


def drawn(batch: int, tokens: int, seed: int = 0):
    return draw_rotations(batch, tokens, torch.Generator().manual_seed(seed))


def test_every_vector_is_asked_for_and_then_shown() -> None:
    inputs, targets = drawn(3, 40)
    assert inputs.shape == targets.shape == (3, 40, SIZE)
    assert torch.equal(inputs[:, 1:], targets[:, :-1])


def test_a_seed_draws_the_same_again() -> None:
    assert all(torch.equal(one, two) for one, two in zip(drawn(2, 9), drawn(2, 9), strict=True))
    assert not torch.equal(drawn(2, 9)[0], drawn(2, 9, seed=1)[0])


def test_the_stream_keeps_its_size() -> None:
    _, targets = drawn(256, 128)
    assert all(abs(targets[:, at].square().mean() - 1) < 0.06 for at in (0, 60, 127))


def test_a_rotation_holds_for_a_while_and_then_changes() -> None:
    """Least squares on 20 tokens leaves nothing but noise where no change falls among them: of 20
    equations 16 are spent, so 4 of 20 parts of the noise are left in each feature."""
    tokens = 20
    inputs, targets = (part.double() for part in drawn(1000, tokens))
    found = torch.linalg.lstsq(inputs, targets).solution
    left = (inputs @ found - targets).square().sum((1, 2)) / (4 * SIZE * NOISE**2)
    is_whole = left < 2
    assert abs(is_whole.double().mean() - (1 - CHANGE) ** (tokens - 1)) < 0.05
    assert abs(left[is_whole].mean() - 1) < 0.05
    turned = found[is_whole].transpose(-1, -2) @ found[is_whole]
    near = (turned - torch.eye(SIZE)).abs().amax((1, 2)).median()
    assert near < 1  # as far as noise allows, the map found is a rotation
