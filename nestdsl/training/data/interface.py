"""What a model is trained and measured on: the face that text and synthetic tasks share.

Which sequences a step sees is a function of the seed and the step alone, so that a run can be
repeated, and continued from any step.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

import torch

from nestdsl.diagnostics import NestError, fail
from nestdsl.plan.plan import Plan
from nestdsl.runtime.memory import require_memory
from nestdsl.training.figures import Unit

Batch = tuple[torch.Tensor, torch.Tensor]
"""The inputs and targets of some sequences, as `NestModule.loss` takes them."""

NO_TARGET = -100
"""Stands where a sequence has no target, as after the end of a short one."""

TASK = "task:"
"""What the name of a synthetic data source begins with."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A part of the data that is never trained on, called `name` (`held_out`, or `bin0`)."""

    name: str
    inputs: torch.Tensor
    targets: torch.Tensor


class Data(Protocol):
    """A source of sequences. Written out, it says what it is and how much of it is held out."""

    @property
    def source(self) -> str:
        """Its name on the command line."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash of all of it, by which a continued run knows its data again."""
        ...

    @property
    def unit(self) -> Unit:
        """What its losses are counted in."""
        ...

    @property
    def tokens(self) -> int | None:
        """The tokens of a sequence to train on; None where the user may choose."""
        ...

    @property
    def is_exact(self) -> bool:
        """Whether a held-out sequence counts as solved if every output is right."""
        ...

    def batch(self, step: int, seed: int, batch: int, tokens: int) -> Batch:
        """The inputs and targets of one step."""
        ...

    def following(self, step: int, batch: int, tokens: int) -> Batch:
        """The sequences of one step of a stream: each row goes on where it stood after the step before.

        Raises NestError N0501 where sequences do not follow one another, or are too few.
        """
        ...

    def held_out(self, count: int | None, tokens: int) -> tuple[HeldOut, ...]:
        """The held-out parts, each of up to `count` sequences (None: all it has), always the same ones."""
        ...

    def verify(self, tokens: int, plan: Plan) -> None:
        """Raises NestError N0501 where this data cannot be read by the model or is too short for it."""
        ...

    def spare(self, plan: Plan) -> str:
        """What of the model's input and output this data never uses, in a sentence; "" if it uses all."""
        ...


def spare_ids(source: str, plan: Plan, inputs: int, outputs: int) -> str:
    """What of a model of ids is more than `source` needs, which has so many `inputs` and `outputs`."""
    spare = []
    if plan.input.size > inputs:
        spare.append(f"{inputs} of the {plan.input.size} ids that model `{plan.model}` reads")
    if plan.output_size > outputs:
        spare.append(f"{outputs} of the {plan.output_size} outputs that it gives")
    return f"{source} uses {' and '.join(spare)}; the others never come up" if spare else ""


def no_stream(source: str) -> NestError:
    """N0501 for a model with `reset never` on data whose sequences do not follow one another."""
    return fail(
        "N0501",
        f"the sequences of `{source}` do not follow one another, as `reset never` needs it",
        hint="train on text, or leave `reset never` out",
    )


def require_objective(objective: str, plan: Plan, why: str) -> None:
    """Raises NestError N0501, with `why`, for a model that is trained with another objective."""
    if plan.train.objective != objective:
        raise fail(
            "N0501",
            f"{why}; model `{plan.model}` is trained with `objective {plan.train.objective}`",
            hint=f"write `objective {objective}` in its `train` clause",
        )


def require_sequences(source: str, count: int, tokens: int, token_bytes: int) -> None:
    """Raises NestError N0503 where so many held-out sequences of `source` do not fit into memory."""
    what = f"{count:,} held-out sequences of {tokens:,} tokens of `{source}`"
    needed = count * tokens * token_bytes
    require_memory(needed, torch.device("cpu"), what, "measure fewer or shorter sequences")


def mixed_seed(seed: int, step: int, purpose: str) -> int:
    """A seed for one purpose at one step, unlike that of any other."""
    digest = hashlib.blake2b(f"{seed}/{step}/{purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
