"""`nestdsl train FILE --data SOURCE`: from a program and data to a trained model."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nestdsl.checks.clocks import check_run
from nestdsl.cli.chosen import Chosen, choose
from nestdsl.cli.guarded_imports import importing_torch
from nestdsl.cli.program import add_program_arguments, compile_program, load_program
from nestdsl.cli.report import report
from nestdsl.diagnostics import fail
from nestdsl.interrupts import Interrupted
from nestdsl.training.folders import run_folder
from nestdsl.training.settings import DATA, Settings, sequence_tokens

if TYPE_CHECKING:
    from nestdsl.api import Nest
    from nestdsl.training.loop import Result

_SETTINGS = (
    ("steps", int, "N", "optimizer steps in all"),
    ("batch", int, "B", "sequences of one step"),
    ("tokens", int, "T", "tokens of a sequence, where the task does not say"),
    ("seed", int, "S", "fixes the first weights, the draws of data and all else that is random"),
    ("warmup", float, "SHARE", "share of the steps over which the learning rates rise"),
    ("final_rate", float, "SHARE", "share of the learning rates that is left at the last step"),
    ("clip", float, "NORM", "longest gradient; 0 for no limit"),
    ("evaluate_every", int, "N", "steps between two measurements on held-out data"),
    ("held_out_sequences", int, "N", "how many sequences of each held-out part are measured"),
    ("checkpoint_every", int, "N", "steps between two checkpoints"),
    ("keep", int, "N", "how many checkpoints are kept: the last, and those before it"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Trains a model on the bytes of a text, or on a task made by rules, and leaves a run in "
        "a folder: checkpoint.safetensors, metrics.jsonl and plan.yaml. A part of the data is held out and "
        "never trained on. Equal arguments give equal numbers."
    )
    add_program_arguments(parser, "the program, a `.nest` file, or one of its models, as FILE:NAME")
    parser.add_argument(
        "--data",
        metavar="SOURCE",
        help="a text file, a folder of text files, `stdlib`, the Python source of this machine, or "
        f"`task:NAME` (default: {DATA}; with --resume, the data of the run)",
    )
    parser.add_argument(
        "--out", metavar="DIR", help="folder of the run (default: runs/ and the name of FILE, or NAME)"
    )
    for name, kind, shown, text in _SETTINGS:
        default = getattr(Settings(), name)
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=kind, metavar=shown, help=f"{text} (default: {default})"
        )
    parser.add_argument(
        "--until", type=int, metavar="STEP", help="stop early, after this step, to go on with --resume"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue the run in --out from its last checkpoint, as if it had never stopped; "
        "--steps may be raised and --keep changed, the other settings stay, and so does --eager",
    )
    parser.add_argument(
        "--from",
        dest="donor",
        metavar="DIR",
        help="start from the weights of the run in DIR, of a program whose levels have the same names and "
        "sizes: `stack[1]` of an array takes those of the second copy of a repeat",
    )
    parser.add_argument("--eager", action="store_true", help="do not compile the model")
    parser.add_argument("--device", default="cpu", help="torch device (default: %(default)s)")
    parser.add_argument("--quiet", action="store_true", help="show no progress, only the result")


def run(arguments: argparse.Namespace) -> int:
    if os.path.isdir(arguments.file):
        raise fail(
            "N0003",
            f"`{arguments.file}` is a folder, and `train` takes a program",
            f"to continue the run in it: `nestdsl train PROGRAM.nest --out {arguments.file} --resume`",
        )
    chosen = choose(arguments.file)
    if chosen.is_optimizer:
        raise fail(
            "N0104",
            f"`{arguments.file}` is an optimizer, and `train` trains a model",
            f"write `optimizer {chosen.name}` in a model's `train` clause, or give it the parameters of any "
            f'PyTorch model: `nestdsl.optimizer("{arguments.file}", ...)`',
        )
    out = Path("runs", chosen.stem) if arguments.out is None else run_folder(arguments.out, "--out")
    try:
        print(_train(arguments, chosen, out))
    except Interrupted as interrupt:
        print(f"\n{interrupt}; add --resume to continue the run in {out}", file=sys.stderr)
        return 130
    return 0


def _train(arguments: argparse.Namespace, chosen: Chosen, out: Path) -> Result:
    if arguments.resume and arguments.donor is not None:
        raise fail(
            "N0103",
            "--resume and --from say two things: where a run goes on, and what another one starts from",
            "leave one of them out",
        )
    donor_folder = None if arguments.donor is None else run_folder(arguments.donor, "--from")
    values = {name: getattr(arguments, name) for name, *_ in _SETTINGS}
    given = {name: value for name, value in values.items() if value is not None}
    settings = Settings(**given)
    settings.verify()
    with importing_torch():
        from nestdsl.training.checkpoint import load
        from nestdsl.training.data.sources import read_data
        from nestdsl.training.device import usable_device
        from nestdsl.training.imports import require_imports
        from nestdsl.training.loop import proceed, start
        from nestdsl.training.progress import reporter
        from nestdsl.training.restore import data_of

    device = usable_device(arguments.device)
    saved = load(out) if arguments.resume else None
    if saved is not None:  # before the program, for which it says what to import
        require_imports(saved.progress.imports, out)
    program = load_program(arguments, chosen, weights=saved is None)
    shown = reporter(arguments.quiet)
    if saved is None:
        data = read_data(DATA if arguments.data is None else arguments.data)
        settings = replace(settings, tokens=sequence_tokens(arguments.tokens, data.tokens, data.source))
        report(check_run(program.nest_graph, settings.tokens, settings.steps), "text", sys.stderr)
        model = compile_program(program, device, eager=arguments.eager, seed=settings.seed)
        donor = None if donor_folder is None else load(donor_folder)
        report(() if donor is None else donor.warnings, "text", sys.stderr)
        with _levels_placed(program):
            return start(model, data, out, settings, shown, arguments.until, donor)
    report(saved.warnings, "text", sys.stderr)
    report(check_run(program.nest_graph, saved.settings.tokens, saved.settings.steps), "text", sys.stderr)
    data = data_of(saved) if arguments.data is None else read_data(arguments.data)
    eager = arguments.eager or not saved.progress.compiled
    model = compile_program(program, device, eager=eager, seed=saved.settings.seed)
    with _levels_placed(program):
        return proceed(model, data, saved, given, shown, arguments.until)


@contextmanager
def _levels_placed(program: Nest) -> Iterator[None]:
    """Says where a level stands that turns out to be untrained."""
    from nestdsl.runtime.step_levels import UntrainedLevelError

    try:
        yield
    except UntrainedLevelError as error:
        places = (one.span for one in program.nest_graph.levels() if one.declared == error.level)
        raise UntrainedLevelError(error.level, replace(error.diagnostic, span=next(places, None))) from error
