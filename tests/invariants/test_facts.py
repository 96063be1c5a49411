"""What holds of levels in context, whatever they are made of and in two chunk lengths."""

from __future__ import annotations

import pytest
import torch

import nestdsl
from nestdsl.compiler import analyse
from nestdsl.source import Source

TRANSFORMER = """
model plain(dim = 8) {{
  input ids(11)
  flow x = in -> embedding(dim)
  level feed = mlp(expand = 2) {{ {clauses} }}
  flow h = x + (x -> rms_norm -> attention(2))
  flow out = h + (h -> rms_norm -> feed) -> rms_norm -> linear(11)
}}
"""
IDS = torch.randint(11, (2, 25), generator=torch.Generator().manual_seed(0))


def model_of(clauses: str = "") -> nestdsl.runtime.module.NestModule:
    return nestdsl.parse(TRANSFORMER.format(clauses=clauses)).compile(compile=False)


def test_a_level_whose_period_never_ends_is_a_plain_transformer_bit_for_bit() -> None:
    plain, never = model_of(), model_of("every 64 tokens  optimizer gd(step = 0.5)")
    never.load_state_dict(
        {name.replace("feed.", "feed.layer."): weight for name, weight in plain.state_dict().items()}
    )
    assert torch.equal(plain(IDS)[0], never(IDS, learn=False)[0])
    torch.testing.assert_close(plain(IDS)[0], never(IDS, learn=True)[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("reset", ["context", "never"])
def test_the_same_sequence_again_reads_as_before_only_if_the_level_starts_anew(reset: str) -> None:
    model = model_of(f"every 4 tokens  optimizer gd(step = 0.5)  reset {reset}")
    first, state = model(IDS, learn=True)
    again, _ = model(IDS, model.reset_state(state), learn=True)
    assert torch.equal(first, again) is (reset == "context")


SELF = """
model two(dim = 8) {{
  input vectors(dim)
  default {{ every 1 token, chunk {other}  optimizer dgd(step = 0.1, retain = 0.99, toward = init) }}
  flow k = in -> key -> l2_normalize(2)
  level key = associative(2) {{ learn k -> key(in) }}
  level memory = associative(2) {{
    learn k -> memory(in)  every 1 token, chunk {memory}
    optimizer dgd(step = 0.1, retain = 0.99, toward = init)
  }}
  flow out = memory(in)
}}
"""


@pytest.mark.parametrize(("memory", "other"), [(64, 8), (8, 64), (4, 4)])
def test_chunks_of_two_lengths_where_one_divides_the_other(memory: int, other: int) -> None:
    model = nestdsl.parse(SELF.format(memory=memory, other=other)).compile(compile=False).double()
    x = torch.randn(2, 150, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    whole, _ = model(x)
    state, parts = None, []
    for part in x.split((1, 70, 9, 70), 1):
        y, state = model(part, state)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("memory", "other"), [(12, 8), (8, 12)])
def test_chunks_that_do_not_divide_one_another_are_refused(memory: int, other: int) -> None:
    codes = [one.code for one in analyse(Source(SELF.format(memory=memory, other=other))).diagnostics]
    assert codes == ["N0402"]
