"""torch.export and torch.compile take our models from outside, as any other."""

from __future__ import annotations

import pytest
import torch

from nestdsl.runtime.block import Block
from tests.runtime.ordinary.models import NAMES, assert_same, gradients, leaves, model_of, results, sample

every_model = pytest.mark.parametrize("name", NAMES)


@every_model
def test_a_pass_is_exported(name: str) -> None:
    model, (ids, _) = model_of(name).eval(), sample()
    exported = torch.export.export(model, (ids,)).module()
    with torch.no_grad():
        found, wanted = exported(ids), model(ids)
    torch.testing.assert_close(found[0], wanted[0])
    assert_same(dict(leaves(found[1])), dict(leaves(wanted[1])))


@every_model
def test_one_step_of_decoding_is_exported_with_its_state(name: str) -> None:
    """One exported step serves at every place, as far as its state does not grow."""
    model, (ids, _) = model_of(name).eval(), sample()
    with torch.no_grad():
        _, state = model(ids[:, :3])
        exported = torch.export.export(model, (ids[:, 3:4], state)).module()
        for place in range(3, 4 if model.state_grows() else 9):
            token = ids[:, place : place + 1]
            found, wanted = exported(token, state), model(token, state)
            torch.testing.assert_close(found[0], wanted[0])
            assert_same(dict(leaves(found[1])), dict(leaves(wanted[1])))
            state = wanted[1]


@pytest.mark.slow
@every_model
def test_a_model_is_compiled_whole_from_outside(name: str) -> None:
    """As one graph, from the start of a context and by one token from a state; trained as well."""
    model, (ids, _) = model_of(name), sample(tokens=8)
    compiled = torch.compile(model, fullgraph=True, dynamic=False)
    y, state = model(ids)
    y.square().mean().backward()
    wanted = gradients(model)
    model.zero_grad()
    found, after = compiled(ids)
    found.square().mean().backward()
    torch.testing.assert_close(found, y)
    assert_same(gradients(model), wanted)
    with torch.no_grad():
        torch.testing.assert_close(compiled(ids[:, :1], after)[0], model(ids[:, :1], state)[0])


@pytest.mark.slow
@every_model
def test_blocks_are_compiled_one_by_one_from_outside(name: str) -> None:
    model = model_of(name)
    wanted = results(model, after=8)
    for part in model.modules():
        if isinstance(part, Block) and part is not model:
            part.compile(dynamic=False)
    assert_same(results(model, after=8), wanted)
