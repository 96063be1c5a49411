"""The rows of the table, in order."""

from __future__ import annotations

from benchmarks.model import Row
from benchmarks.rows import (
    block,
    compile_time,
    decoding,
    gated_delta,
    hope_training,
    hope_transformer,
    memory_layer,
    optimizers,
    peak_memory,
    sharing,
)

ROWS: tuple[Row, ...] = (
    gated_delta.ROW,
    sharing.ROW,
    *memory_layer.ROWS,
    block.ROW,
    *hope_training.ROWS,
    *hope_transformer.ROWS,
    decoding.ROW,
    *optimizers.ROWS,
    peak_memory.ROW,
    compile_time.ROW,
)
