"""One run of a program of yours, as a line of JSON:
`python -m benchmarks.learning.job --program FILE --task recall --layers 1 --set heads=4`."""

from __future__ import annotations

import argparse
import json
import sys
import warnings

from benchmarks.learning.contenders import ours, shipped
from benchmarks.learning.jobs import STEPS, task_of
from benchmarks.learning.training import one_thread, trained
from nestdsl.diagnostics import NestError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning.job", description=__doc__)
    parser.add_argument("--program", required=True, metavar="FILE", help="a program, trained as it says")
    parser.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], dest="settings")
    parser.add_argument("--task", choices=tuple(STEPS), default="bytes")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--filler", type=int, default=0, help="of `recall`: tokens before the questions")
    parser.add_argument("--steps", type=int, help=f"default: {STEPS}; recall may end earlier")
    parser.add_argument("--rate-scale", type=float, default=1.0, help="times the rates of the program")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compile", action="store_true")
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
