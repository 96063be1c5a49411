"""Measurements by name, as `metrics.jsonl` has them, and how a run says them.

A name is that of the measured part (`held_out`, `bin0`) and of what was measured (`bits_per_byte`,
`exact_match`, `squared_error`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Figures = Mapping[str, float]

EXACT = "exact_match"
"""The share of sequences, in percent, of which every output is right."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What a loss is counted in: its name in metrics, in a sentence, and where there is little room.

    A loss of the model (in nats, or squares) times `scale` is in this unit.
    """

    name: str
    words: str
    short: str
    scale: float


NO_UNIT = Unit("", "", "", 1.0)
"""Before a run has started."""


def words(name: str) -> str:
    """
    >>> words("held_out_bits_per_byte"), words("bin1_exact_match")
    ('held-out bits per byte', 'bin1 exact match')
    """
    return name.replace("held_out", "held-out").replace("_", " ")


def shown(name: str, value: float) -> str:
    """
    >>> shown("held_out_bits_per_byte", 3.14159), shown("bin1_exact_match", 98.55)
    ('3.142', '98.5 %')
    """
    return f"{value:.1f} %" if name.endswith(EXACT) else f"{value:.3f}"


def sentence(figures: Figures) -> str:
    """All figures: `bin0 bits per label 0.412, bin0 exact match 17.0 %`."""
    return ", ".join(f"{words(name)} {shown(name, value)}" for name, value in figures.items())


def brief(figures: Figures, unit: Unit) -> str:
    """What matters most, in few characters: exact matches if there are any, else the first loss."""
    exact = [shown(name, value) for name, value in figures.items() if name.endswith(EXACT)]
    if exact:
        return f"exact {' | '.join(exact)}"
    return f"held-out {next(iter(figures.values())):.3f} {unit.short}".rstrip()
