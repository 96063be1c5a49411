"""One run of a program of yours, as a line of JSON:
`python -m benchmarks.learning.job --program FILE --task recall --layers 1 --set heads=4`."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable

from benchmarks.learning.contenders import ours, shipped
from benchmarks.learning.jobs import STEPS, task_of
from benchmarks.learning.training import one_thread, trained
from nestdsl.diagnostics import NestError


def _whole(least: int) -> Callable[[str], int]:
    """Reads a whole number of at least `least`."""

    def read(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        return int(text)

    return read


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning.job", description=__doc__)
    sizes = "it takes `dim`, `depth`, `heads` and `vocab`, and gets 64, --layers, 2 and those of the task"
    parser.add_argument("--program", required=True, metavar="FILE", help=f"trained as it says; {sizes}")
    parser.add_argument(
        "--set", metavar="NAME=VALUE", action="append", default=[], dest="settings", help="another setting"
    )
    parser.add_argument(
        "--task", choices=tuple(STEPS), default="bytes", help="what is learned (default: %(default)s)"
    )
    parser.add_argument(
        "--layers", type=_whole(1), default=2, help="the `depth` of the program (default: %(default)s)"
    )
    parser.add_argument(
        "--filler", type=_whole(0), default=0, help="of `recall`: tokens before the questions"
    )
    parser.add_argument("--steps", type=_whole(1), help=f"at most (default: {STEPS}); recall may end earlier")
    parser.add_argument("--rate-scale", type=float, default=1.0, help="times the rates of the program")
    parser.add_argument("--seed", type=int, default=0, help="fixes weights and data (default: %(default)s)")
    parser.add_argument("--compile", action="store_true", help="compile the model")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    one_thread(arguments.seed)
    task = task_of(arguments.task, arguments.filler)
    try:
        nest = shipped(arguments.program, task.vocabulary, arguments.layers, arguments.settings)
        learner = ours(nest, arguments.seed, arguments.rate_scale, compile=arguments.compile)
    except NestError as error:
        print(error, file=sys.stderr)
        return 1
    outcome = trained(learner, task, arguments.seed, arguments.steps or STEPS[arguments.task])
    print(json.dumps(vars(arguments) | outcome.as_dict()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
