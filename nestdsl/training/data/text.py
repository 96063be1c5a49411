"""Text as data: bytes to train on and a held-out part that is never trained on."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field

import torch

from nestdsl.diagnostics import fail
from nestdsl.diagnostics.quantities import counted
from nestdsl.plan.plan import Plan
from nestdsl.training.data.interface import (
    Batch,
    HeldOut,
    mixed_seed,
    require_objective,
    require_sequences,
    spare_ids,
)
from nestdsl.training.data.text_files import Text, Texts, read_texts
from nestdsl.training.figures import Unit

VOCABULARY = 256
FEWEST_FILES = 20
"""From this many files on, whole files are held out; below, the end of the text."""

BITS_PER_BYTE = Unit("bits_per_byte", "bits per byte", "bits/byte", 1 / math.log(2))


@dataclass(frozen=True, slots=True)
class ByteData:
    """Text as bytes: `train` and `held_out_text` are uint8 tensors without a byte in common.

    `fingerprint` is a hash of both, by which a continued run knows its data again. They come from
    `files` files; `skipped` others of the source are not text.
    """

    source: str
    train: torch.Tensor
    held_out_text: torch.Tensor
    fingerprint: str
    files: int = 1
    skipped: int = 0

    unit: Unit = field(default=BITS_PER_BYTE, init=False)
    tokens: None = field(default=None, init=False)
    is_exact: bool = field(default=False, init=False)

    def __str__(self) -> str:
        size = len(self.train) + len(self.held_out_text)
        skipped = f"; {counted(self.skipped, 'file')} skipped, not text" if self.skipped else ""
        return (
            f"{self.source}: {size:,} bytes in {counted(self.files, 'file')}, "
            f"{len(self.held_out_text):,} of them held out{skipped}"
        )

    def batch(self, step: int, seed: int, batch: int, tokens: int) -> Batch:
        """The inputs and targets of one step, each [batch, tokens] int64, at random places of `train`."""
        generator = torch.Generator().manual_seed(mixed_seed(seed, step, "batch"))
        starts = torch.randint(len(self.train) - tokens, (batch,), generator=generator)
        return _sequences(self.train, starts, tokens)

    def following(self, step: int, batch: int, tokens: int) -> Batch:
        """The inputs and targets of one step of a stream, each [batch, tokens] int64.

        Each row walks its own part of `train`, from its start to its end and again.
        """
        part = (len(self.train) - 1) // batch
        steps = part // tokens
        if steps < 1:
            raise fail(
                "N0501",
                f"the training part of `{self.source}` has {len(self.train):,} bytes; {batch} rows that each "
                f"walk through a part of their own need {batch * tokens + 1:,}",
                hint="give more text, or lower --batch or --tokens",
            )
        starts = torch.arange(batch) * part + (step - 1) % steps * tokens
        return _sequences(self.train, starts, tokens)

    def held_out(self, count: int | None, tokens: int) -> tuple[HeldOut, ...]:
        """Inputs and targets, each [up to count, tokens] int64: always the same places, evenly spread.

        The targets do not overlap, so fewer sequences come out of a short text.
        """
        most = (len(self.held_out_text) - 1) // tokens
        count = most if count is None else min(count, most)
        require_sequences(self.source, count, tokens, _TOKEN_BYTES)
        last = len(self.held_out_text) - tokens - 1
        starts = torch.tensor([last * index // max(1, count - 1) for index in range(count)])
        return (HeldOut("held_out", *_sequences(self.held_out_text, starts, tokens)),)

    def verify(self, tokens: int, plan: Plan) -> None:
        """Raises NestError N0501 where this data cannot be read by the model or is too short for it."""
        if plan.input.takes != "ids" or plan.input.size < VOCABULARY:
            written = f"input {plan.input.takes}({plan.input.size})"
            raise fail(
                "N0501",
                f"text is read as bytes, ids below {VOCABULARY}; model `{plan.model}` has `{written}`",
                hint=f"write `input ids({VOCABULARY})`",
            )
        if plan.output_size < VOCABULARY:
            raise fail(
                "N0501",
                f"the next byte is one of {VOCABULARY}; `out` of model `{plan.model}` has only size "
                f"{plan.output_size}",
                hint=f"let the last level before `out` be `linear({VOCABULARY})`, "
                f"where it now gives {plan.output_size}",
            )
        require_objective("cross_entropy", plan, f"the next byte is one of {VOCABULARY}, a choice")
        for part, text in (("training", self.train), ("held-out", self.held_out_text)):
            if len(text) <= tokens:
                raise fail(
                    "N0501",
                    f"the {part} part of `{self.source}` has {len(text):,} bytes; "
                    f"a sequence of {tokens:,} tokens needs {tokens + 1:,}",
                    hint="give more text, or shorter sequences with --tokens",
                )

    def spare(self, plan: Plan) -> str:
        return spare_ids(self.source, plan, VOCABULARY, VOCABULARY)


_TOKEN_BYTES = 17
"""What a token takes while sequences are cut out of text: its place, its byte, and its id."""


def read_text(source: str) -> ByteData:
    """Reads and splits a source of text (`text_files.read_texts` says which there are, and the errors)."""
    found = read_texts(source)
    train, held_out = split(found)
    digest = hashlib.blake2b(f"{len(train)}/".encode(), digest_size=16)
    for part in (train, held_out):
        digest.update(part)
    return ByteData(
        source, _tensor(train), _tensor(held_out), digest.hexdigest(), len(found.texts), found.skipped
    )


def split(found: Texts) -> tuple[memoryview, memoryview]:
    """The part to train on and the held-out part, made from the buffer of the texts, which is used up.

    Of many files, files are held out in the order of a hash of their names until they make a
    twentieth of the text, but none that is more than a tenth by itself. Else the last tenth is.
    """
    whole, texts = memoryview(found.whole), found.texts
    size = len(whole)
    if len(texts) < FEWEST_FILES:
        end = size - size // 10
        return whole[:end], whole[end:]
    held_out: set[str] = set()
    held_out_size = 0
    for text in sorted(texts, key=_name_hash):
        if held_out_size * 20 >= size:
            break
        if text.size * 10 <= size:
            held_out.add(text.name)
            held_out_size += text.size
    apart = b"".join(whole[text.start : text.end] for text in texts if text.name in held_out)
    end = 0
    for text in texts:  # the others move together: a text may be as large as half of the memory
        if text.name not in held_out:
            whole[end : end + text.size] = whole[text.start : text.end]
            end += text.size
    whole[end:] = apart
    return whole[:end], whole[end:]


def _name_hash(text: Text) -> bytes:
    return hashlib.blake2b(text.name.encode(errors="surrogateescape"), digest_size=8).digest()


def _tensor(content: memoryview) -> torch.Tensor:
    """The bytes as they lie there, uint8."""
    # torch refuses to look at no bytes.
    return torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)


def _sequences(text: torch.Tensor, starts: torch.Tensor, tokens: int) -> Batch:
    places = starts[:, None] + torch.arange(tokens + 1)
    sequences = text[places].long()
    return sequences[:, :-1], sequences[:, 1:]
