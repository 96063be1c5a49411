"""Tensors that are not what a model reads are told so, and never reach the arithmetic."""

import pytest
import torch

import nestdsl
from nestdsl.diagnostics import NestError

IDS = """
model tiny {
  input ids(16)
  flow out = in -> embedding(8) -> linear(6)
}
"""
VECTORS = """
model tiny {
  input vectors(3)
  level fast = mlp { every 4 tokens   optimizer gd(step = 0.1) }
  flow out = in -> linear(8) -> fast -> linear(5)
}
"""
GOOD_IDS = torch.arange(8).reshape(2, 4)
GOOD_VECTORS = torch.zeros(2, 4, 3)


def model(text):
    return nestdsl.parse(text).compile(compile=False)


def refused(call):
    with pytest.raises(NestError) as caught:
        call()
    (only,) = caught.value.diagnostics
    assert only.code == "N0501"
    assert only.hint
    return only.message


@pytest.mark.parametrize(
    ("x", "given"),
    [
        (GOOD_IDS.float(), "float32 [2, 4]"),
        (GOOD_IDS.bool(), "bool [2, 4]"),
        (GOOD_IDS[0], "int64 [4]"),
        (GOOD_IDS[..., None], "int64 [2, 4, 1]"),
        (GOOD_IDS + 9, "the id 16"),
        (GOOD_IDS - 1, "the id -1"),
        (GOOD_IDS.tolist(), "a `list`"),
        (GOOD_IDS.to("meta"), "`meta`"),
    ],
)
def test_ids(x, given):
    one = model(IDS)
    for call in (lambda: one(x), lambda: one(x, one.init_state(2)), lambda: one.loss(x, GOOD_IDS % 6)):
        message = refused(call)
        assert given in message
    assert "`tiny`" in message
    if given != "`meta`":
        assert "int64 [batch, tokens] from 0 to 15" in message


@pytest.mark.parametrize(
    ("x", "given"),
    [
        (GOOD_VECTORS.long(), "int64 [2, 4, 3]"),
        (GOOD_VECTORS[0], "float32 [4, 3]"),
        (torch.zeros(2, 4, 7), "float32 [2, 4, 7]"),
        (GOOD_VECTORS.double(), "float64 [2, 4, 3]"),
        (None, "a `NoneType`"),
    ],
)
def test_vectors(x, given):
    one = model(VECTORS)
    for call in (
        lambda: one(x),
        lambda: one.loss(x, torch.zeros(2, 4, 5)),
        lambda: one.stream_loss(x, torch.zeros(2, 4, 5)),
    ):
        assert given in refused(call)


@pytest.mark.parametrize(
    ("targets", "given"),
    [
        (GOOD_IDS, "the target 7"),
        (GOOD_IDS % 6 - 1, "the target -1"),
        (GOOD_IDS[:, :3] % 6, "targets int64 [2, 3]"),
        (torch.zeros(2, 4, 6), "targets float32 [2, 4, 6]"),
        ((GOOD_IDS % 6).int(), "targets int32 [2, 4]"),
        ((GOOD_IDS % 6).to("meta"), "targets on `meta`"),
        ([1], "a `list`"),
    ],
)
def test_targets_of_choices(targets, given):
    one = model(IDS)
    for loss in (one.loss, one.stream_loss):
        message = refused(lambda loss=loss: loss(GOOD_IDS, targets))
        assert given in message


@pytest.mark.parametrize(
    ("targets", "given"),
    [
        (torch.zeros(2, 4), "targets float32 [2, 4]"),
        (torch.zeros(2, 4, 1), "targets float32 [2, 4, 1]"),  # which would be compared with every output
        (torch.zeros(2, 4, 5).long(), "targets int64 [2, 4, 5]"),
    ],
)
def test_targets_of_vectors(targets, given):
    one = model(VECTORS)
    for loss in (one.loss, one.stream_loss):
        assert given in refused(lambda loss=loss: loss(GOOD_VECTORS, targets))


def test_what_fits_passes():
    one = model(IDS)
    one(GOOD_IDS)
    one(GOOD_IDS.int())
    one.loss(GOOD_IDS, torch.where(GOOD_IDS < 6, GOOD_IDS, -100))
    vectors = model(VECTORS)
    vectors.loss(GOOD_VECTORS, torch.zeros(2, 4, 5))
    with torch.autocast("cpu", torch.bfloat16):
        vectors(GOOD_VECTORS.bfloat16())


def test_a_model_is_still_compiled_as_one_graph():
    one = torch.compile(model(IDS), fullgraph=True, backend="eager")
    assert one(GOOD_IDS)[0].shape == (2, 4, 6)
