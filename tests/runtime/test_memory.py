"""N0503 comes before the allocation, with the estimate."""

from __future__ import annotations

import pytest
import torch

import nestdsl
from nestdsl.runtime.memory import reading_bytes, require_memory, training_bytes

PROGRAM = "model m(dim = 8) { input ids(256)\n flow out = in -> embedding(dim) -> linear(256) }"


def test_a_model_beyond_memory_is_refused_with_its_size() -> None:
    nest = nestdsl.parse(PROGRAM, dim=10**9)
    with pytest.raises(nestdsl.NestError) as caught:
        nest.compile()
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "N0503"
    assert "1.863 TiB" in diagnostic.message


def test_the_estimate_counts_weights_gradients_memories_data_outputs_and_what_the_loss_keeps() -> None:
    plan = nestdsl.parse(PROGRAM).plan
    weights = 256 * 8 + 256 * 8 + 256
    probabilities, ids, outputs = 256, 2 * 8, 8 + 256
    read = 2 * 10 * (ids + 4 * (outputs + probabilities))
    assert reading_bytes(plan, batch=2, tokens=10) == read
    assert training_bytes(plan, batch=2, tokens=10) == 4 * 4 * weights + read + 2 * 10 * 4 * probabilities


def test_the_estimate_of_vectors_knows_no_probabilities() -> None:
    plan = nestdsl.parse(
        "model m { input vectors(3)\n flow out = in -> linear(3)\n train { objective mse optimizer sgd } }"
    ).plan
    assert reading_bytes(plan, batch=2, tokens=10) == 2 * 10 * 4 * (3 + 3 + 3)


def test_what_fits_is_let_through() -> None:
    require_memory(1, torch.device("cpu"), "this", "")
    require_memory(2**80, torch.device("meta"), "this", "")
