"""The example for formal languages learns them."""

from pathlib import Path

import pytest
import torch

import nestdsl
from nestdsl.runtime.kinds import Matrix
from nestdsl.tasks.languages import LANGUAGES

EXAMPLE = Path(__file__).parents[2] / "examples" / "formal_language.nest"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "seed"), [("parity", 0), ("aa", 0)])
def test_hope_of_chunk_one_solves_parity_and_aa(name, seed, tmp_path) -> None:
    """With the seeds of docs/formal_languages.md. What (aa)* is taken for beyond the longest string of
    training is left to chance, and so to the last digits of a machine's numbers."""
    language = next(language for language in LANGUAGES if language.name == name)
    model = nestdsl.load(EXAMPLE, symbols=len(language.symbols)).compile(seed=seed)
    nestdsl.train(model, f"task:{name}", 300, tmp_path / name, batch=32, seed=seed, quiet=True)
    figures = nestdsl.measure(model, f"task:{name}", batch=32, sequences=None)
    assert figures["bin0_exact_match"] == 100
    assert name == "aa" or figures["bin1_exact_match"] > 99


def test_a_token_can_turn_the_memory_around() -> None:
    """With exp(z) as step, what is kept along the key lies between retain and retain - 2 [X22, C18.5b]."""

    memory = Matrix(4, 4, chunk=1, optimizer="dgd", init="zeros")
    key = torch.nn.functional.normalize(torch.tensor([[[1.0, 2.0, -1.0, 0.5]]]), dim=-1)
    state = {**memory.init_state(1), "matrix": torch.eye(4)[None, None]}
    for z, retain, kept in ((-30.0, 0.9, 0.9), (0.0, 0.9, -0.1), (30.0, 0.9, -1.1), (2.944439, 0.9, -1.0)):
        step = torch.full((1, 1, 1), z).exp()
        _, following = memory.learn(key, torch.zeros(1, 1, 4), state, step, retain)
        answer = key[0, 0] @ following["matrix"][0, 0]
        torch.testing.assert_close(answer, kept * key[0, 0])
