"""`nestdsl eval DIR --data SOURCE`: how well a trained model predicts text it has not seen."""

from __future__ import annotations

import argparse

from nestdsl.interrupts import interrupts_held


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "eval",
        help="held-out bits per byte of a trained model",
        description="Prints the bits per byte of the held-out part of a text. With the data of the run "
        "itself, this is text that the model was never trained on, measured as during training.",
    )
    parser.add_argument("run_folder", metavar="DIR", help="the folder of a run, as `train --out` wrote it")
    parser.add_argument(
        "--data",
        metavar="SOURCE",
        help="a text file, a folder, or `stdlib` (default: the data of the run)",
    )
    parser.add_argument(
        "--tokens", type=int, metavar="T", help="tokens of a sequence (default: as in training)"
    )
    parser.add_argument(
        "--sequences", type=int, metavar="N", help="how many sequences to measure (default: as in training)"
    )
    parser.add_argument("--device", default="cpu", help="torch device (default: %(default)s)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from dataclasses import replace

    with interrupts_held():
        from nestdsl.training.data import read_data
        from nestdsl.training.evaluate import held_out_bits_per_byte
        from nestdsl.training.restore import data_of, restore

    model, checkpoint = restore(arguments.run_folder, arguments.device)
    settings = checkpoint.settings
    if arguments.tokens is not None:
        settings = replace(settings, tokens=arguments.tokens)
    if arguments.sequences is not None:
        settings = replace(settings, held_out_sequences=arguments.sequences)
    settings.verify()
    data = data_of(checkpoint) if arguments.data is None else read_data(arguments.data)
    data.verify(settings.tokens, model.plan)
    bits = held_out_bits_per_byte(model, data, settings.held_out_sequences, settings.batch, settings.tokens)
    step = checkpoint.progress.step
    of_run = ", the data of the run," if arguments.data is None else ","
    trained = f"{step} step{'s' * (step != 1)} of training"
    print(f"held-out bits per byte: {bits:.3f} on {data.source}{of_run} after {trained}")
    return 0
