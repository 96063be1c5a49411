"""Training steps of HOPE that learns in context, against the package nested-learning."""

from __future__ import annotations

from benchmarks.model import Claim, Contender, Row
from benchmarks.nested_learning_steps import faithful_step
from benchmarks.programs import program
from benchmarks.training import program_step

_THEIRS, _OURS = "nested-learning, self-modifying", "nestdsl, HOPE"
_THEIR_ATTENTION, _OUR_ATTENTION = "nested-learning, attention", "nestdsl, HOPE with attention"


def self_modifying(quick: bool) -> tuple[Contender, ...]:
    """A whole training step on 4 sequences of 1024 tokens: 4 layers, d 256, four CMS levels of 4× MLPs at 16,
    64, 256 and 1024 tokens that learn in context, AdamW outside. Theirs is its `hope_selfmod` variant with
    the settings of its own pilot_selfmod_paper_faithful: batch 1, segment by segment, fast state for each
    sequence, one pass for the outer gradients and one for the updates; so one of the four sequences is timed
    and counts as a quarter. Its memories are two-layer, as that variant has no others, ours linear, which is
    what the issue asks for; its chunks are 8 and 64 tokens (its setting), ours 16."""
    batch, tokens, size, depth = (1, 64, 32, 1) if quick else (4, 1024, 256, 4)
    period = 4 if quick else 16
    nest = program("hope", dim=size, depth=depth, chunk=period, period=period)
    return (
        Contender(_OURS, program_step(nest, batch, tokens)),
        Contender(
            _THEIRS,
            faithful_step("hope_selfmod", size, depth, period, batch=1, tokens=tokens),
            share=1 / batch,
        ),
    )


def attention(quick: bool) -> tuple[Contender, ...]:
    """The same with attention in place of the memories; theirs is its `hope_attention` variant, updating in
    context, with its settings; all four sequences in one batch, although its levels then learn from all of
    them together: that is less work than four contexts, and to its advantage."""
    batch, tokens, size, depth = (1, 64, 32, 1) if quick else (4, 1024, 256, 4)
    period = 4 if quick else 16
    nest = program("hope_attention", dim=size, depth=depth, period=period)
    return (
        Contender(_OUR_ATTENTION, program_step(nest, batch, tokens)),
        Contender(
            _THEIR_ATTENTION, faithful_step("hope_attention", size, depth, period, batch=batch, tokens=tokens)
        ),
    )


ROWS = (
    Row(
        "hope_training",
        "HOPE, 4 layers, d 256, CMS at 16 to 1024 tokens, 1024 tokens, training step",
        (Claim(_OURS, _THEIRS, at_least=20),),
        self_modifying,
        {_THEIRS: "nested_learning"},
        repeats=1,
    ),
    Row(
        "hope_attention_training",
        "the same with attention",
        (Claim(_OUR_ATTENTION, _THEIR_ATTENTION, at_least=2.5),),
        attention,
        {_THEIR_ATTENTION: "nested_learning"},
        repeats=2,
    ),
)
