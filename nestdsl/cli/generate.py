"""`nestdsl generate DIR --prompt TEXT`: text from a trained model."""

from __future__ import annotations

import argparse
import sys

from nestdsl.cli.guarded_imports import importing_torch
from nestdsl.cli.imports import add_import_argument
from nestdsl.cli.report import report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Prints the prompt and what the model makes of it, byte by byte, read as UTF-8; what is "
        "no character is shown as �. Equal arguments print equal text."
    )
    parser.add_argument("run_folder", metavar="DIR", help="the folder of a run, as `train --out` wrote it")
    parser.add_argument("--prompt", metavar="TEXT", required=True, help="what to continue")
    parser.add_argument(
        "--tokens", type=int, metavar="N", default=200, help="how many bytes to make (default: %(default)s)"
    )
    parser.add_argument(
        "--temperature",
        type=float,
        metavar="X",
        default=1.0,
        help="below 1 likelier, above 1 more varied text; 0 takes the likeliest byte (default: %(default)s)",
    )
    parser.add_argument("--top-k", type=int, metavar="K", help="draw from the K likeliest bytes only")
    parser.add_argument("--seed", type=int, default=0, help="fixes the draws (default: %(default)s)")
    parser.add_argument(
        "--learn",
        action="store_true",
        help="let levels that learn from surprise in context learn from the text as it comes, as in training",
    )
    parser.add_argument("--device", default="cpu", help="torch device (default: %(default)s)")
    add_import_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    import codecs

    with importing_torch():
        from nestdsl.diagnostics import fail
        from nestdsl.training.data.interface import TASK
        from nestdsl.training.generate import generate, prompt_bytes
        from nestdsl.training.restore import restored

    model, checkpoint = restored(arguments.run_folder, arguments.device)
    report(checkpoint.warnings, "text", sys.stderr)
    if (source := checkpoint.progress.data_source).startswith(TASK):
        raise fail(
            "N0501",
            f"the run in `{arguments.run_folder}` was trained on `{source}`: what it makes is no text",
            hint=f"`nestdsl eval {arguments.run_folder}` says how well it does",
        )
    prompt = prompt_bytes(arguments.prompt)
    made = generate(
        model,
        prompt,
        arguments.tokens,
        arguments.temperature,
        arguments.top_k,
        arguments.seed,
        arguments.learn,
    )
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    _write(decoder.decode(prompt))
    for byte in made:
        _write(decoder.decode(byte))
    _write(decoder.decode(b"", final=True) + "\n")
    return 0


def _write(text: str) -> None:
    """Shows text at once. Control characters, which are no text either, are shown as �."""
    sys.stdout.write("".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text))
    sys.stdout.flush()
