"""One run in a process of its own: `python -m benchmarks.learning.job --program FILE --task recall --layers 1`.

Prints how it ended as one line of JSON. `--set` sets further parameters of the program.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings

from benchmarks.learning.learner import Learner, ProgramLearner
from benchmarks.learning.tasks import Bytes, Recall, Task, far_recall
from benchmarks.learning.training import one_thread, trained
from nestdsl.api import Nest
from nestdsl.compiler import analyse
from nestdsl.diagnostics import NestError
from nestdsl.semantics.settings import read_settings
from nestdsl.syntax.files import read_source

STEPS = {"bytes": 200, "recall": 900, "far": 900}
"""Of each task, where nothing else is said."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning.job", description=__doc__)
    parser.add_argument("--program", required=True, metavar="FILE", help="a program, trained as it says")
    parser.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], dest="settings")
    parser.add_argument("--task", choices=tuple(STEPS), default="bytes")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument(
        "--filler", type=int, default=0, help="tokens between pairs and questions of `recall`"
    )
    parser.add_argument("--every-token", action="store_true", help="of `far`: every token predicts the next")
    parser.add_argument("--steps", type=int, help="default: 200 of bytes, else 900; recall may end earlier")
    parser.add_argument("--rate-scale", type=float, default=1.0, help="times the rates of the program")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    one_thread(arguments.seed)
    task = task_of(arguments.task, arguments.filler, every_token=arguments.every_token)
    try:
        learner = ours(
            arguments.program,
            arguments.settings,
            task,
            arguments.layers,
            arguments.seed,
            rate_factor=arguments.rate_scale,
            compile=arguments.compile,
        )
    except NestError as error:
        print(error, file=sys.stderr)
        return 1
    outcome = trained(learner, task, arguments.seed, arguments.steps or STEPS[arguments.task])
    print(json.dumps(vars(arguments) | outcome.as_dict()))
    return 0


def task_of(name: str, filler: int = 0, *, every_token: bool = False) -> Task:
    match name:
        case "bytes":
            return Bytes()
        case "recall":
            return Recall(filler=filler)
        case _:
            return far_recall(every_token=every_token)


def ours(
    path: str,
    settings: list[str],
    task: Task,
    layers: int,
    seed: int,
    *,
    rate_factor: float = 1.0,
    compile: bool = False,
) -> Learner:
    """A program of 64 features and 2 heads, so many layers and the ids of the task, but for its `settings`
    (`NAME=VALUE`). Raises NestError as `nestdsl train` does."""
    usual = {"dim": 64, "depth": layers, "heads": 2, "vocab": task.vocabulary}
    given = read_settings(settings)
    given = read_settings([f"{name}={value}" for name, value in usual.items() if name not in given]) | given
    nest = Nest(analyse(read_source(path), given, None))
    return ProgramLearner(nest, seed, rate_factor=rate_factor, compile=compile)


if __name__ == "__main__":
    sys.exit(main())
