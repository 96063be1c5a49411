"""Levels that start from weights in a file: `init from "weights.safetensors:key"`."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

import nestdsl
from nestdsl.diagnostics import NestError
from nestdsl.plan.yaml import from_yaml, to_yaml
from nestdsl.runtime.build import build
from nestdsl.runtime.module import NestModule

DIM = 8


def weights() -> dict[str, Tensor]:
    """As an ordinary library names and shapes them."""
    torch.manual_seed(0)
    found = {
        "model.embed_tokens.weight": torch.randn(11, DIM),
        "lm_head.weight": torch.randn(11, DIM).bfloat16(),
        "model.conv.weight": torch.randn(DIM, 1, 3),
        "model.conv.bias": torch.randn(DIM),
        "memory.start": torch.randn(2, DIM // 2, DIM // 2),
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(2),
    }
    for layer in range(2):
        start = f"model.layers.{layer}"
        found |= {f"{start}.self_attn.{one}_proj.weight": torch.randn(DIM, DIM) for one in "qkvo"}
        found |= {f"{start}.mlp.up_proj.weight": torch.randn(12, DIM).half()}
        found |= {f"{start}.mlp.down_proj.weight": torch.randn(DIM, 12).half()}
        found |= {f"{start}.input_layernorm.weight": torch.randn(DIM)}
    return found


PROGRAM = """
param file = "donor.safetensors"
block layer(number = 0) {
  level norm = rms_norm { init from "{file}:layers.{number}.input_layernorm" }
  level attend = attention(2) { init from "{file}:layers.{number}.self_attn" }
  level think = mlp(hidden = 12, bias = false) {
    every 4 tokens  optimizer gd(step = 0.1)
    init from "{file}:layers.{number}.mlp"
  }
  flow h = in -> norm -> attend -> think
  flow out = in + h
}
model donor(dim = 8) {
  input ids(11)
  level embed = embedding(dim) { init from "{file}:model.embed_tokens.weight" }
  level filter = conv(3) { init from "{file}:conv" }
  level memory = matrix(2) { learn k -> x  every 1 token  init from "{file}:memory.start" }
  level stack[2] = layer(number = index)
  level head = linear(11, bias = false) { init from "{file}:lm_head"  frozen }
  flow x = in -> embed -> filter
  flow k = x -> l2_normalize(2)
  flow out = memory(k) -> stack -> head
}
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    save_file(weights(), tmp_path / "donor.safetensors")
    path = tmp_path / "program.nest"
    path.write_text(PROGRAM)
    return path


def assert_loaded(model: NestModule) -> None:
    stored = {name: value.float() for name, value in weights().items()}
    wanted = {
        "embed.weight": stored["model.embed_tokens.weight"],
        "filter.weight": stored["model.conv.weight"][:, 0],
        "memory.weight": stored["memory.start"],
        "head.weight": stored["lm_head.weight"],
        "stack_1.norm.weight": stored["model.layers.1.input_layernorm.weight"],
        "stack_1.attend_query.weight": stored["model.layers.1.self_attn.q_proj.weight"],
        "stack_0.attend_output.weight": stored["model.layers.0.self_attn.o_proj.weight"],
        "stack_1.think.layer.up.weight": stored["model.layers.1.mlp.up_proj.weight"],
        "stack_0.think.layer.down.weight": stored["model.layers.0.mlp.down_proj.weight"],
    }
    for name, value in wanted.items():
        assert torch.equal(model.get_parameter(name), value), name


def test_levels_of_all_sorts_start_from_their_tensors_and_are_trained(program: Path) -> None:
    nest = nestdsl.load(program)
    assert not nest.diagnostics
    model = nest.compile(compile=False, seed=5)
    assert_loaded(model)
    assert not model.get_parameter("head.weight").requires_grad
    ids = torch.randint(11, (2, 13))
    model.loss(ids[:, :-1], ids[:, 1:]).backward()
    assert all(weight.grad is not None for weight in model.parameters() if weight.requires_grad)


def test_the_plan_says_where_from_and_builds_the_same(program: Path) -> None:
    plan = nestdsl.load(program).plan
    (one,) = [level for level in plan.weights if level.module == "stack_1.think"]
    assert (one.file, one.key) == (str(program.parent / "donor.safetensors"), "layers.1.mlp")
    assert one.tensors[0] == ("up.weight", "model.layers.1.mlp.up_proj.weight")
    assert from_yaml(to_yaml(plan)) == plan
    assert_loaded(build(from_yaml(to_yaml(plan)), compile=False))


def test_weights_in_several_files(program: Path) -> None:
    parts = list(weights().items())
    names = {}
    for number in range(2):
        file = f"part-{number}.safetensors"
        save_file(dict(parts[number::2]), program.parent / file)
        names |= {name: file for name, _ in parts[number::2]}
    index = program.parent / "all.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": names}))
    assert_loaded(nestdsl.load(program, file=index.name).compile(compile=False))
    index.write_text(json.dumps({"weight_map": {**names, "more": "part-0.safetensors"}}))
    with pytest.raises(NestError, match="more"):
        nestdsl.load(program, file=index.name)


def test_a_file_that_has_gone_or_changed_since_is_said(program: Path) -> None:
    nest = nestdsl.load(program)
    plan = nest.plan
    file = program.parent / "donor.safetensors"
    save_file({**weights(), "memory.start": torch.zeros(3)}, file)
    with pytest.raises(NestError, match="another shape"):
        nest.compile(compile=False)
    file.unlink()
    with pytest.raises(NestError) as caught:
        build(plan, compile=False)
    assert caught.value.diagnostics[0].code == "N0003"


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_refused(program: Path, number: float) -> None:
    tensors = weights()
    tensors["model.layers.1.mlp.up_proj.weight"].view(-1)[3] = number
    save_file(tensors, program.parent / "donor.safetensors")
    nest = nestdsl.load(program)
    with pytest.raises(NestError, match="N0502") as caught:
        nest.compile(compile=False)
    assert "numbers that are not finite" in str(caught.value)


def test_a_run_folder_needs_the_file_no_more_and_is_such_a_file(tmp_path: Path, program: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 20)
    source = """
model first {
  input ids(256)
  level think = mlp(hidden = 8) { every 8 tokens  optimizer gd(step = 0.1)INIT }
  flow out = in -> embedding(8) -> think -> linear(256)
}
"""
    (tmp_path / "first.nest").write_text(source.replace("INIT", ""))
    model = nestdsl.load(tmp_path / "first.nest").compile(compile=False)
    nestdsl.train(model, str(text), 1, tmp_path / "one", batch=2, tokens=16, quiet=True)
    second = tmp_path / "second.nest"
    second.write_text(source.replace("INIT", '  init from "one/checkpoint.safetensors:think"'))
    again = nestdsl.load(second).compile(compile=False, seed=3)
    name = "think.layer.up.weight"
    assert torch.equal(again.get_parameter(name), model.get_parameter(name))
    nestdsl.train(again, str(text), 2, tmp_path / "two", until=1, batch=2, tokens=16, quiet=True)
    whole = nestdsl.load(second).compile(compile=False, seed=3)
    nestdsl.train(whole, str(text), 2, tmp_path / "whole", batch=2, tokens=16, quiet=True)
    path = tmp_path / "one" / "checkpoint.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    tensors[f"model.{name}"][0, 0] += 1e-6
    save_file(tensors, path, metadata)
    with pytest.raises(NestError, match="is not as it was written"):
        nestdsl.load(second).compile(compile=False)
    path.unlink()
    restored = nestdsl.restore(tmp_path / "two", compile=False)
    assert torch.equal(restored.get_parameter(name), again.get_parameter(name))
    nestdsl.resume(out=tmp_path / "two", quiet=True)
    ended = nestdsl.restore(tmp_path / "two", compile=False).state_dict()
    assert all(torch.equal(weight, ended[name]) for name, weight in whole.state_dict().items())
