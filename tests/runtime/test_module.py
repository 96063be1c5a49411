"""NestModule: built from a plan alone, compiled once for all copies, with its state outside."""

from __future__ import annotations

import pytest
import torch

import nestdsl
from nestdsl.plan.yaml import from_yaml, to_yaml
from nestdsl.runtime.build import build
from nestdsl.runtime.verification import VerificationError, verify_model

PROGRAM = """
block layer {
  level think = mlp(expand = 2)
  flow out = in + (in -> rms_norm -> think -> conv(3))
}
model stacked(depth = 3) {
  input ids(11)
  level stack = layer repeat depth
  flow out = in -> embedding(8) -> stack -> linear(11)
}
"""
IDS = torch.arange(24).reshape(2, 12) % 11


def test_the_plan_alone_builds_the_model() -> None:
    nest = nestdsl.parse(PROGRAM)
    again = build(from_yaml(to_yaml(nest.plan)), compile=False)
    assert torch.equal(again(IDS)[0], nest.compile(compile=False)(IDS)[0])


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_copies_share_one_compilation_which_equals_the_eager_model() -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    eager, compiled = (nestdsl.parse(PROGRAM).compile(compile=how) for how in (False, True))
    found, wanted = compiled(IDS)[0], eager(IDS)[0]
    torch.testing.assert_close(found, wanted)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    found.sum().backward()
    wanted.sum().backward()
    for one, other in zip(compiled.parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_without_a_compiler_a_warning_says_why_and_the_model_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import cpp_builder
    from torch._inductor.exc import InvalidCxxCompiler

    def none_found() -> str:
        raise InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none_found)
    with pytest.warns(RuntimeWarning, match=r"no C\+\+ compiler .* install g\+\+"):
        model = nestdsl.parse(PROGRAM).compile()
    assert model(IDS)[0].shape == (2, 12, 11)


def test_state_is_an_argument_and_a_result_and_nothing_is_hidden() -> None:
    model = nestdsl.parse(PROGRAM).compile(compile=False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first, state = model(IDS)
    second, _ = model(IDS, state)
    assert not torch.equal(first, second)
    assert torch.equal(model(IDS)[0], first)
    assert torch.equal(model(IDS, model.reset_state(state))[0], first)
    assert not any(leaf.requires_grad for leaf in torch.utils._pytree.tree_leaves(model.detach_state(state)))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_the_seed_draws_the_weights_and_leaves_the_callers_generator_alone() -> None:
    nest = nestdsl.parse(PROGRAM)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, other = nest.compile(compile=False, seed=1), nest.compile(compile=False, seed=2)
    assert torch.equal(torch.rand(3), expected)
    weight = "stack.0.think.up.weight"
    assert not torch.equal(one.get_parameter(weight), other.get_parameter(weight))
    assert torch.equal(one.get_parameter(weight), nest.compile(compile=False, seed=1).get_parameter(weight))


def test_the_weights_of_a_declared_level_are_those_of_all_copies() -> None:
    nest = nestdsl.parse(PROGRAM)
    model = nest.compile(compile=False)
    (think,) = (level for level in nest.levels if level.name == "stack[*].think")
    assert set(model.level_parameters(think)) == {
        f"stack.{copy}.think.{part}.{kind}"
        for copy in range(3)
        for part in ("up", "down")
        for kind in ("weight", "bias")
    }
    assert think.copies == 3


@pytest.mark.parametrize("objective", ["cross_entropy", "mse"])
def test_the_loss_is_the_objective_of_train(objective: str) -> None:
    source = (
        f"model m {{ input vectors(3)\n flow out = in -> linear(4)\n train {{ objective {objective} }} }}"
    )
    model = nestdsl.parse(source).compile(compile=False)
    x, out = torch.randn(2, 5, 3), None
    out = model(x)[0]
    if objective == "mse":
        targets = torch.randn(2, 5, 4)
        expected = (out - targets).square().mean()
    else:
        targets = torch.tensor([[0, 1, 2, 3, -100]] * 2)
        expected = -out.log_softmax(-1)[:, :4].gather(-1, targets[:, :4, None]).mean()
    torch.testing.assert_close(model.loss(x, targets), expected)


def test_frozen_levels_need_no_gradient() -> None:
    model = nestdsl.parse(PROGRAM.replace("mlp(expand = 2)", "mlp { init normal(0.1)  frozen }")).compile(
        compile=False
    )
    assert not model.get_parameter("stack.1.think.up.weight").requires_grad
    assert model.get_parameter("stack.1.out_conv.weight").requires_grad


def test_names_of_a_program_never_hide_those_of_a_module() -> None:
    names = ("train", "body", "state", "type", "forward", "class", "self", "functions", "plan")
    levels = "".join(f"level {name} = linear\n" for name in names)
    pipe = " -> ".join(("in", *names))
    nest = nestdsl.parse(
        f"model m {{ input vectors(3)\n {levels} flow lambda = {pipe}\n flow out = lambda }}"
    )
    assert nest.compile(compile=False)(torch.randn(1, 2, 3))[0].shape == (1, 2, 3)


def test_a_plan_that_names_what_no_program_can_is_refused() -> None:
    text = to_yaml(nestdsl.parse(PROGRAM).plan)
    for harm in ("__import__('os')", "think); import os; (1"):
        with pytest.raises(nestdsl.NestError) as caught:
            build(from_yaml(text.replace("attribute: think", f'attribute: "{harm}"')), compile=False)
        assert caught.value.diagnostics[0].code == "N0502"
    with pytest.raises(nestdsl.NestError):
        build(from_yaml(text.replace("kind: conv", "kind: convolution")), compile=False)


@pytest.mark.slow
def test_verify_compares_compiled_and_eager() -> None:
    plan = nestdsl.parse(PROGRAM).plan
    notes: list[str] = []
    found = verify_model(plan, notes.append)
    assert found.compiled and "verified" in found.text
    assert notes and all(note.startswith("compiling ") for note in notes)
    assert issubclass(VerificationError, Exception)
