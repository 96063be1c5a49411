"""Makes runs, some at once, each in a process of its own; what the store knows is not run again."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib.util import find_spec
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

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
    faults: list[str] = []
    started = time.perf_counter()
    apart = _Apart()
    with ThreadPoolExecutor(processes) as pool:
        running = {pool.submit(apart.run, job): job for job in left}
        try:
            for number, done in enumerate(as_completed(running), 1):
                job, outcome = running[done], done.result()
                rest = (time.perf_counter() - started) / number * (len(left) - number)
                if isinstance(outcome, str):
                    faults.append(f"{job.label} failed: {outcome}")
                    _say(f"{number} of {len(left)}: {faults[-1]}")
                    continue
                store.add(job, outcome)
                _say(
                    f"{number} of {len(left)}, about {rest / 60:.0f} minutes left: "
                    f"{job.label}: {shown(outcome)} ({outcome.seconds:.0f} s)"
                )
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            apart.end()
            raise
    return faults


class _Apart:
    """Makes each run in a new process with one thread, which has imported torch already where that can be."""

    def __init__(self) -> None:
        os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # before any of them imports torch
        is_posix = "forkserver" in multiprocessing.get_all_start_methods()
        self._context: Any = multiprocessing.get_context("forkserver" if is_posix else "spawn")
        if is_posix:
            self._context.set_forkserver_preload(["benchmarks.learning.jobs"])
        self._processes: set[BaseProcess] = set()

    def run(self, job: Job) -> Outcome | str:
        """How the run ended, or what went wrong."""
        receiver, sender = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_work, args=(job, sender), daemon=True)
        process.start()
        self._processes.add(process)
        sender.close()
        try:
            return receiver.recv()
        except EOFError:
            process.join()
            return f"its process ended with status {process.exitcode}"
        finally:
            process.join()
            self._processes.discard(process)

    def end(self) -> None:
        """Ends what runs."""
        for process in tuple(self._processes):
            process.terminate()


def _work(job: Job, sender: Connection) -> None:
    try:
        sender.send(run_job(job))
    except Exception as error:  # noqa: BLE001  whatever it is, it is told, and the table goes on
        sender.send(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
    except KeyboardInterrupt:
        pass


def shown(outcome: Outcome) -> str:
    """What counts of an outcome."""
    if outcome.accuracy is None:
        return f"{outcome.held_out:.3f}"
    return f"{outcome.accuracy:.3f} at step {outcome.step}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
