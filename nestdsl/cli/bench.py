"""`nestdsl bench FILE`: how fast a program is on this machine."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from nestdsl.checks.clocks import check_run
from nestdsl.cli.guarded_imports import importing_torch
from nestdsl.cli.program import add_program_arguments, compile_program, load_program
from nestdsl.cli.report import report
from nestdsl.diagnostics.quantities import counted
from nestdsl.training.settings import Settings

if TYPE_CHECKING:
    from nestdsl.training.bench import Speed, Speeds

_STEPS = 5
_DRIVEN_SIZE = 512
"""Of the layers that an optimizer by itself drives: its arithmetic then shows beside the calls."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Compiles a program and measures it on random inputs: a training step, a forward pass, "
        "one more token, the first of each, which compile, and the peak of memory. Leaves nothing behind. An "
        "optimizer by itself, such as mine.nest:three_speed, is measured as it drives two layers of "
        f"{_DRIVEN_SIZE} × {_DRIVEN_SIZE}."
    )
    add_program_arguments(parser)
    parser.add_argument(
        "--batch",
        type=int,
        default=Settings.batch,
        metavar="B",
        help="sequences of one step (default: %(default)s)",
    )
    parser.add_argument(
        "--tokens",
        type=int,
        default=Settings.tokens,
        metavar="T",
        help="tokens of a sequence (default: %(default)s)",
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=_STEPS,
        metavar="N",
        help="timed runs, of which the median counts (default: %(default)s)",
    )
    parser.add_argument("--eager", action="store_true", help="do not compile the model")
    parser.add_argument("--device", default="cpu", help="torch device (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def run(arguments: argparse.Namespace) -> int:
    settings = Settings(steps=arguments.steps, batch=arguments.batch, tokens=arguments.tokens)
    settings.verify()
    with importing_torch():
        from nestdsl.training.bench import measure_speed
        from nestdsl.training.device import usable_device
    device = usable_device(arguments.device)
    program = load_program(arguments, size=_DRIVEN_SIZE)
    report(check_run(program.nest_graph, settings.tokens, settings.steps), "text", sys.stderr)
    model = compile_program(program, device, eager=arguments.eager)
    speeds = measure_speed(model, settings, lambda text: print(text, file=sys.stderr))
    print(_json(speeds) if arguments.json else _table(speeds))
    return 0


def _json(speeds: Speeds) -> str:
    return json.dumps(asdict(speeds) | {"tokens_per_second": speeds.tokens_per_second}, indent=2)


def _table(speeds: Speeds) -> str:
    how = "compiled" if speeds.compiled else "eager"
    sequences = f"{speeds.batch:,} × {speeds.tokens:,} tokens"
    read = speeds.batch * speeds.tokens / speeds.forward.seconds
    lines = [
        f"{speeds.model}: {speeds.parameters:,} parameters, {how}, {speeds.device}, "
        f"{counted(speeds.threads, 'thread')}; medians of {counted(speeds.steps, 'run')} on random inputs",
        "",
        _line("training step", speeds.step, sequences, speeds.tokens_per_second),
        _line("forward pass", speeds.forward, sequences, read),
        _line("one token", speeds.token, f"after {speeds.tokens:,}", 1 / speeds.token.seconds),
    ]
    if speeds.peak_bytes is not None:
        lines.append(f"{'peak memory':<14}{speeds.peak_bytes / 2**20:>12,.0f} MiB")
    return "\n".join(lines)


def _line(name: str, speed: Speed, work: str, tokens_per_second: float) -> str:
    first = f"the first took {speed.first_seconds:,.1f} s"
    return (
        f"{name:<14}{speed.seconds * 1e3:>12,.2f} ms  {work:<20}{tokens_per_second:>12,.0f} tokens/s  {first}"
    )
