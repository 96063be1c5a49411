"""How long a step takes by each optimizer, with model and optimizer compiled, in turns."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import nestdsl
from benchmarks.optimizers.runs import DEPTH, DIM, Contender
from nestdsl.runtime.step_levels import StepLevels
from nestdsl.training.data.interface import Data
from nestdsl.training.settings import Settings

TURN = 16
"""Steps that are timed together: a period of the slowest memory."""


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of a step, and of its optimizer alone: of the means over a turn the median."""

    step: float
    optimizer: float


def timed(
    contenders: Sequence[Contender], data: Data, settings: Settings, turns: int = 8
) -> dict[str, Times]:
    """The times of all contenders, whose turns alternate. What is compiled on the way is not counted."""
    running = [_Running(contender, data, settings) for contender in contenders]
    for one in running * 2:
        one.turn()
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(turns):
        for one in running:
            found.setdefault(one.name, []).append(one.turn())
    return {
        name: Times(median(step for step, _ in times), median(optimizer for _, optimizer in times))
        for name, times in found.items()
    }


class _Running:
    """One contender at work, at the middle of its rates."""

    def __init__(self, contender: Contender, data: Data, settings: Settings) -> None:
        self.name = contender.name
        self._data, self._settings = data, settings
        nest = nestdsl.parse(contender.program(contender.rates[1]), dim=DIM, depth=DEPTH)
        self._model = nest.compile()
        self._levels = StepLevels(self._model)
        self._steps = 0

    def turn(self) -> tuple[float, float]:
        """The seconds of a step, and of its optimizer."""
        whole = optimizer = 0.0
        for _ in range(TURN):
            self._steps += 1
            batch = self._data.batch(self._steps, 0, self._settings.batch, self._settings.tokens)
            started = time.perf_counter()
            self._model.loss(*batch).backward()
            between = time.perf_counter()
            self._levels.step(self._steps, clip=self._settings.clip)
            ended = time.perf_counter()
            whole += ended - started
            optimizer += ended - between
        return whole / TURN, optimizer / TURN
