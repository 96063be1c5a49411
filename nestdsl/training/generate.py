"""Text from a model of bytes, one byte at a time with carried state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from nestdsl.diagnostics import Diagnostics, fail
from nestdsl.given import require_bool, wrong_type
from nestdsl.memory import fits_memory
from nestdsl.ranges import raise_any, verify_number, verify_seed, verify_whole
from nestdsl.training.arguments import require_model
from nestdsl.training.data.text import VOCABULARY
from nestdsl.training.evaluate import UNUSABLE

if TYPE_CHECKING:
    from nestdsl.runtime.module import NestModule


def generate(
    model: NestModule,
    prompt: str | bytes,
    tokens: int = 200,
    temperature: float = 1.0,
    top_k: int | None = None,
    seed: int = 0,
    learn: bool = False,
) -> Iterator[bytes]:
    """Yields `tokens` bytes that continue `prompt`, one at a time; equal arguments yield equal bytes.

    The logits are divided by `temperature`; at 0 the likeliest byte is taken. Only the `top_k`
    likeliest bytes are drawn from, if given. With `learn`, levels that learn from surprise in context
    learn from the prompt and from what is made of it; memories always learn. An empty prompt is read as
    one line end, and a string as UTF-8. Raises NestError N0501 for a model that does not read bytes,
    N0202 or N0203 for a number out of range, and N0104 for an argument of another type.

        text = b"".join(nestdsl.generate(model, "Once upon", 100)).decode(errors="replace")
    """
    require_model(model, "generate")
    require_bool("`learn`", learn)
    _verify_model(model)
    _verify_numbers(tokens, temperature, top_k, seed)
    return _bytes(model, prompt_bytes(prompt) or b"\n", tokens, temperature, top_k, seed, learn)


def _bytes(
    model: NestModule,
    prompt: bytes,
    tokens: int,
    temperature: float,
    top_k: int | None,
    seed: int,
    learn: bool,
) -> Iterator[bytes]:
    generator = torch.Generator().manual_seed(seed)
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        what = f"generating after a prompt of {len(prompt):,} bytes"
        with fits_memory(what, "give a shorter prompt"):
            ids = torch.frombuffer(bytearray(prompt), dtype=torch.uint8).long().to(device)[None]
        state = None
        for _ in range(tokens):
            with torch.no_grad(), fits_memory(what, "give a shorter prompt"):
                logits, state = model(ids, state, learn=learn)
                # Ids from 256 on, if the model has them, are no bytes.
                last = logits[0, -1, :VOCABULARY].double().cpu()
                if not bool(last.isfinite().all()):
                    raise fail("N0505", "the model gives numbers that are not finite", UNUSABLE)
                byte = _draw(last, temperature, top_k, generator)
                ids = torch.tensor([[byte]], device=device)
            yield bytes((byte,))
    finally:
        model.train(was_training)


def prompt_bytes(prompt: str | bytes) -> bytes:
    """What is read of a prompt.

    Raises NestError N0104 for what is neither a string nor bytes, N0501 for characters that UTF-8 lacks.
    """
    if isinstance(prompt, bytes | bytearray | memoryview):
        return bytes(prompt)
    if not isinstance(prompt, str):
        raise wrong_type("`prompt`", prompt, "a string, or bytes")
    try:
        return prompt.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        character = f"U+{ord(prompt[error.start]):04X}"
        raise fail("N0501", f"the prompt has {character}, no character of UTF-8", "leave it out") from error


def _draw(logits: torch.Tensor, temperature: float, top_k: int | None, generator: torch.Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    likely, bytes_ = logits.topk(len(logits) if top_k is None else min(top_k, len(logits)))
    probabilities = torch.softmax((likely - likely[0]) / temperature, dim=-1)
    return int(bytes_[torch.multinomial(probabilities, 1, generator=generator)])


def _verify_model(model: NestModule) -> None:
    plan = model.plan
    if plan.input.takes != "ids" or plan.input.size < VOCABULARY or plan.output_size < VOCABULARY:
        raise fail(
            "N0501",
            f"text is bytes, ids below {VOCABULARY}; model `{plan.model}` reads "
            f"`{plan.input.takes}({plan.input.size})` and makes {plan.output_size} numbers",
            hint=f"only a model with `input ids({VOCABULARY})` and `{VOCABULARY}` outputs makes text",
        )


def _verify_numbers(tokens: int, temperature: float, top_k: int | None, seed: int) -> None:
    found = Diagnostics()
    verify_whole(found, "tokens", tokens, least=0)
    if top_k is not None:
        verify_whole(found, "top_k", top_k)
    verify_number(found, "temperature", temperature)
    verify_seed(found, seed)
    raise_any(found)
