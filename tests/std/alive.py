"""Measures memories while they read: how large is what they hold, and which gradients still reach them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import nestdsl
from nestdsl.runtime.kinds.associative import Associative
from nestdsl.runtime.kinds.attention import Attention
from nestdsl.runtime.kinds.matrix import Matrix
from nestdsl.runtime.learning.levels import plastic_levels
from nestdsl.runtime.learning.reading import WAITING
from nestdsl.runtime.module import NestModule
from nestdsl.semantics.modules import library_module, library_modules
from nestdsl.syntax import ast

_MODEL = """
model m(dim = 64) {{
  input ids(256)
  level stack = {block}
  flow h = in -> embedding(dim)
  flow out = h + (h -> rms_norm -> stack) -> rms_norm -> linear(256)
  train {{ objective cross_entropy  optimizer adamw(lr = 1e-2) }}
}}
"""

SMALL = {"heads": 2, "period": 4}
"""Parameters of blocks where they have them. Of what moves once in a period, some periods must end within
the first ten tokens: before a memory has moved, nothing depends on what it retains."""

HELD = {
    Matrix: {"matrix": ("matrix", "anchor")},
    Associative: {"inner": ("inner", "anchor_inner"), "outer": ("outer", "anchor_outer")},
}
"""The matrices that a memory of each kind holds, by their names in its state: as they are, and as they were
at the start of the chunk, which is what other memories read. What else is in a state (starts, momenta, sums
over a period) serves to move them."""

ROWS, NEXT_TOKENS = 4, 64
"""Sequences, and the tokens after what they have read whose outputs are differentiated: four chunks of 16, so
that what memories make for each other is read."""


def library_blocks() -> dict[str, str]:
    """A program for each block of the library, a single layer of it, by the block's name."""
    found = {}
    for module in library_modules():
        for name, declared in library_module(module).names.items():
            if isinstance(declared, ast.Block):
                taken = {parameter.name.text for parameter in declared.parameters} & SMALL.keys()
                arguments = ", ".join(f"{name} = {SMALL[name]}" for name in sorted(taken))
                found[name] = f"use std.{module}\n" + _MODEL.format(block=f"{name}({arguments})")
    return found


def built(program: str) -> NestModule:
    """The model of a program, in which each memory keeps a state of its own."""
    return nestdsl.parse(program).compile(compile=False, sharing=False)


def memories(model: NestModule) -> dict[str, Matrix | Associative]:
    """The memories of a model by their names. Whatever learns keys and values is one, so that a kind that
    comes later is found; of one that `HELD` lacks, measuring fails. Attention keeps all tokens as they are:
    there is no matrix that could fade."""
    return {
        name: part  # type: ignore[misc]
        for name, part in model.named_modules()
        if hasattr(part, "learn") and hasattr(part, "init_state") and not isinstance(part, Attention)
    }


def own_weights(model: NestModule) -> dict[str, dict[str, tuple[str, ...]]]:
    """Of levels that learn from surprise: where a state has each sequence's own matrices, and their names.
    Biases start at zero, which is no size to keep."""
    return {
        ".".join(map(str, (*level.path, "weights"))): {
            name: (name,) for name, weight in level.layer.layer.named_parameters() if weight.ndim > 1
        }
        for level in plastic_levels(model)
    }


def text(rows: int, tokens: int) -> Tensor:
    """Bytes of the library's own files: ids [rows, tokens], from evenly spaced places."""
    folder = Path(nestdsl.__file__).parent / "std"
    read = b"".join(file.read_bytes() for file in sorted(folder.glob("*.nest")))
    starts = [row * (len(read) - tokens) // rows for row in range(rows)]
    return torch.stack([torch.tensor(list(read[start : start + tokens])) for start in starts])


def text_and_noise(tokens: int) -> dict[str, Tensor]:
    """Ids [ROWS, tokens] of either: text, and ids at random."""
    noise = torch.randint(256, (ROWS, tokens), generator=torch.Generator().manual_seed(0))
    return {"text": text(ROWS, tokens), "noise": noise}


def measured(model: NestModule, ids: Tensor, after: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """What holds after so many tokens of ids [rows, tokens], by its name.

    "size" of each matrix that a memory holds, or that sequences have of their own: its norm. "gradient": the
    norm of the gradient that it gets from the outputs of the next tokens, along one direction in all (a loss
    would fade with what the model knows of them). "values": of the gradient that the values get which the
    memory learns meanwhile. All are norms over all rows together.

    A sum that nothing fades has no steady size. It is measured by its mean over the tokens, and its
    gradients in units of what it holds: read through a norm, only what comes in beside that counts.

    Levels that learn from surprise do so only where there is no memory: reading would take minutes.
    """
    found = memories(model)
    with torch.no_grad():
        _, state = model(ids[:, :after], learn=not found)
    held_names = {name: HELD[type(memory)] for name, memory in found.items()} or own_weights(model)
    state, held = _leaves(state, held_names)
    values: dict[str, list[Tensor]] = {name: [] for name in found}
    adds = dict.fromkeys(found, True)

    def watched(name: str, memory: Matrix | Associative) -> Any:
        def learn(
            key: Tensor, value: Tensor, state: Any, step: Any = 1.0, retain: Any = 1.0, *more: Any, **how: Any
        ):
            value = value.clone()  # of its own, so that other readers of the flow add nothing to its gradient
            values[name].append(value if value.requires_grad else value.requires_grad_())
            adds[name] &= memory.rule.objective == "dot" and not isinstance(retain, Tensor) and retain == 1
            return type(memory).learn(memory, key, value, state, step, retain, *more, **how)  # type: ignore[arg-type]

        return learn

    with monkeypatch.context() as patch:
        for name, memory in found.items():
            patch.setattr(memory, "learn", watched(name, memory), raising=False)
        outputs, _ = model(ids[:, after : after + NEXT_TOKENS], state)
    along = torch.randn(outputs.shape[1:], generator=torch.Generator().manual_seed(1))
    wanted = [part for each in (*held.values(), *values.values()) for part in each]
    gradients = iter(
        torch.autograd.grad((outputs * along).sum(), wanted, allow_unused=True, materialize_grads=True)
    )

    numbers: dict[str, float] = {}
    unit: dict[str, float] = {}
    for (name, part), each in held.items():
        size, gradient = _norm(each[:1]), _norm([next(gradients) for _ in each])
        unit[name] = size if adds.get(name) else 1.0
        numbers[f"{name}.{part} size"] = size / after if adds.get(name) else size
        numbers[f"{name}.{part} gradient"] = gradient * unit[name]
    for name, each in values.items():
        numbers[f"{name} values"] = _norm([next(gradients) for _ in each]) * unit[name]
    return numbers


def _norm(parts: list[Tensor]) -> float:
    """The norm of tensors, all together."""
    return float(sum(part.detach().square().sum() for part in parts)) ** 0.5


def _leaves(
    state: Mapping[str, Any], names: Mapping[str, Mapping[str, Sequence[str]]]
) -> tuple[Any, dict[tuple[str, str], list[Tensor]]]:
    """The same state without its graph; and what is named, by where it stands, as leaves of the new one."""
    leaves: dict[tuple[str, str], Tensor] = {}

    def copied(part: Any, path: tuple[str, ...]) -> Any:
        if isinstance(part, Mapping):
            return {key: copied(value, (*path, key)) for key, value in part.items()}
        if isinstance(part, list):
            return [copied(value, (*path, str(number))) for number, value in enumerate(part)]
        if not isinstance(part, Tensor):
            return part
        part, place = part.detach().clone(), ".".join(path[:-1])
        if any(path[-1] in parts for parts in names.get(place, {}).values()):
            leaves[place, path[-1]] = part.requires_grad_()
        return part

    # The tokens that wait for their segment to end are of no use to reading.
    state = copied({key: value for key, value in state.items() if key != WAITING}, ())
    held = {
        (place, name): [leaves[place, part] for part in parts if (place, part) in leaves]
        for place, each in names.items()
        for name, parts in each.items()
    }
    return state, held


def outside(early: Mapping[str, float], late: Mapping[str, float], factor: float) -> Iterator[str]:
    """What has grown or shrunk by more than a factor, or was zero or not finite, one line each."""
    for name, before in early.items():
        if not (before > 0 and before / factor <= late[name] <= before * factor):
            yield f"{name}: {before:.3g} became {late[name]:.3g}"
