"""`nestdsl eval DIR --data SOURCE`: how well a trained model does on data it has not seen."""

from __future__ import annotations

import argparse
import sys

from nestdsl.cli.guarded_imports import importing_torch
from nestdsl.cli.imports import add_import_argument
from nestdsl.cli.report import report
from nestdsl.diagnostics.quantities import counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Prints the bits per byte of the held-out part of a text, or the figures of a task: all "
        "of its held-out sequences are measured. With the data of the run itself, this is data that the "
        "model was never trained on."
    )
    parser.add_argument("run_folder", metavar="DIR", help="the folder of a run, as `train --out` wrote it")
    parser.add_argument(
        "--data",
        metavar="SOURCE",
        help="a text file, a folder, `stdlib` or `task:NAME` (default: the data of the run)",
    )
    parser.add_argument(
        "--tokens", type=int, metavar="T", help="tokens of a sequence (default: as in training)"
    )
    parser.add_argument(
        "--sequences",
        type=int,
        metavar="N",
        help="how many sequences to measure (default: as in training; of a task, all)",
    )
    parser.add_argument("--device", default="cpu", help="torch device (default: %(default)s)")
    parser.add_argument("--quiet", action="store_true", help="show no progress, only the result")
    add_import_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    from dataclasses import replace

    with importing_torch():
        from nestdsl.training.data.interface import TASK
        from nestdsl.training.data.sources import read_data
        from nestdsl.training.evaluate import finite, held_out_figures
        from nestdsl.training.figures import shown, words
        from nestdsl.training.progress import measuring
        from nestdsl.training.restore import data_of, restored
        from nestdsl.training.settings import sequence_tokens

    model, checkpoint = restored(arguments.run_folder, arguments.device)
    report(checkpoint.warnings, "text", sys.stderr)
    settings = checkpoint.settings
    if arguments.tokens is not None:
        settings = replace(settings, tokens=arguments.tokens)
    if arguments.sequences is not None:
        settings = replace(settings, held_out_sequences=arguments.sequences)
    settings.verify()
    data = data_of(checkpoint) if arguments.data is None else read_data(arguments.data)
    tokens = (
        settings.tokens
        if data.tokens is None
        else sequence_tokens(arguments.tokens, data.tokens, data.source)
    )
    data.verify(tokens, model.plan)
    is_all = data.source.startswith(TASK) and arguments.sequences is None
    sequences = None if is_all else settings.held_out_sequences
    with measuring(arguments.quiet) as watch:
        watch.note(str(data))
        if spare := data.spare(model.plan):
            watch.note(spare)
        figures = finite(held_out_figures(model, data, sequences, settings.batch, tokens, watch))
    of_run = ", the data of the run," if arguments.data is None else ","
    trained = f"{counted(checkpoint.progress.step, 'step')} of training"
    measured = ", ".join(f"{words(name)}: {shown(name, value)}" for name, value in figures.items())
    print(f"{measured} on {data.source}{of_run} after {trained}")
    return 0
