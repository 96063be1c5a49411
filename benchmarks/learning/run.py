"""Makes runs, some at once, each in a process of its own; what the store knows is not run again."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from importlib.util import find_spec

from benchmarks.learning.contenders import REFERENCES
from benchmarks.learning.jobs import OURS, Job, run_job
from benchmarks.learning.store import Store
from benchmarks.learning.training import Outcome


def is_missing(contender: str) -> str:
    """The package that a contender lacks here, "" if it can run."""
    package = "" if contender == OURS else REFERENCES[contender].package
    return package if package and find_spec(package) is None else ""


def run_all(jobs: Sequence[Job], store: Store, processes: int) -> list[str]:
    """Makes all runs that the store lacks, and puts them there. Gives what went wrong, a line for each."""
    left = [job for job in dict.fromkeys(jobs) if store.get(job) is None]
    if not left:
        return []
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # before any of them imports torch
    is_posix = "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if is_posix else "spawn")
    if is_posix:
        context.set_forkserver_preload(["benchmarks.learning.jobs"])
    faults: list[str] = []
    begun = time.perf_counter()
    with ProcessPoolExecutor(processes, context, max_tasks_per_child=1) as pool:
        running: dict[Future[Outcome], Job] = {pool.submit(run_job, job): job for job in left}
        try:
            for number, done in enumerate(as_completed(running), 1):
                job = running[done]
                fault = done.exception()
                if fault is not None:
                    faults.append(f"{job.label} failed: {type(fault).__name__}: {str(fault).splitlines()[0]}")
                    _say(f"{number} of {len(left)}: {faults[-1]}")
                    continue
                outcome = done.result()
                store.add(job, outcome)
                spent = time.perf_counter() - begun
                rest = spent / number * (len(left) - number)
                _say(
                    f"{number} of {len(left)}, about {rest / 60:.0f} minutes left: "
                    f"{job.label}: {shown(outcome)} ({outcome.seconds:.0f} s)"
                )
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return faults


def shown(outcome: Outcome) -> str:
    """What counts of an outcome."""
    if outcome.accuracy is None:
        return f"{outcome.held_out:.3f}"
    return f"{outcome.accuracy:.3f} at step {outcome.step}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
