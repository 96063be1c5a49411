"""One run: what it is, what determines it, and how it is made in a process of its own."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import nestdsl
from benchmarks.learning.contenders import FAMILIES, REFERENCES, ours, shipped
from benchmarks.learning.tasks import FAR, Bytes, Recall, Task
from benchmarks.learning.training import Outcome, one_thread, trained
from nestdsl.plan.yaml import to_yaml
from nestdsl.training.data.sources import read_data
from nestdsl.training.settings import Settings

OURS = "ours"
STEPS = {"bytes": 200, "recall": 1000, "far": 1000}
"""Of each task, where nothing else is said."""


@dataclass(frozen=True, slots=True)
class Job:
    """A run of the family's program (`contender` is "ours", `rate` a factor of its rates) or of a reference
    (its key, and AdamW's rate)."""

    family: str
    contender: str
    task: str
    layers: int
    filler: int
    steps: int
    rate: float
    seed: int

    @property
    def label(self) -> str:
        filler = f", {self.filler} filler" if self.task == "recall" else ""
        rate = f"{self.rate:g}×" if self.contender == OURS else f"{self.rate:g}"
        where = f"{self.task}, {self.layers} layers{filler}"
        return f"{self.family}, {self.contender}: {where}, {rate}, seed {self.seed}"


def task_of(name: str, filler: int = 0) -> Task:
    match name:
        case "bytes":
            return Bytes()
        case "recall":
            return Recall(filler=filler)
        case "far":
            return Recall(filler=FAR, varied=True)
        case _:
            raise ValueError(f"there is no task {name}")


def parameters_of(job: Job) -> int:
    """How many numbers our program learns at the sizes of a job, which is what its references get as well."""
    return _nest(job.family, task_of(job.task, job.filler).vocabulary, job.layers).plan.costs.parameters


def run_job(job: Job) -> Outcome:
    """Makes the run, in this process, with one thread."""
    warnings.simplefilter("ignore")
    one_thread(job.seed)
    task = task_of(job.task, job.filler)
    if job.contender == OURS:
        learner = ours(_nest(job.family, task.vocabulary, job.layers), job.seed, job.rate)
    else:
        make = REFERENCES[job.contender].make
        learner = make(task.vocabulary, job.layers, parameters_of(job), job.seed, job.rate)
    return trained(learner, task, job.seed, job.steps)


def key_of(job: Job) -> str:
    """A hash of all that determines a run: the job, and the text of what makes it."""
    sources = [
        torch.__version__,
        _text(Path(__file__).parent, ("tasks.py", "learner.py", "training.py")),
        _text(Path(nestdsl.__file__).parent / "training", ("schedule.py",)),
        f"{Settings.warmup} {Settings.final_rate} {Settings.clip}",
    ]
    if job.task == "bytes":
        sources.append(read_bytes_fingerprint())
    if job.contender == OURS:
        nest = _nest(job.family, task_of(job.task, job.filler).vocabulary, job.layers)
        sources += [to_yaml(nest.plan), _package_text()]
    else:
        sources.append(_text(Path(__file__).parent / "references", None))
        sources.append(_text(Path(__file__).parents[1], ("nested_learning_steps.py",)))
        sources.append(f"{parameters_of(job)} {_version(REFERENCES[job.contender].package)}")
    digest = hashlib.blake2b(digest_size=12)
    for part in (json.dumps(asdict(job), sort_keys=True), *sources):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


@cache
def read_bytes_fingerprint() -> str:
    return read_data(Bytes().source).fingerprint


@cache
def _nest(family: str, vocabulary: int, layers: int) -> nestdsl.Nest:
    (one,) = (one for one in FAMILIES if one.name == family)
    return shipped(one.path, vocabulary, layers)


@cache
def _package_text() -> str:
    """All that runs our programs: the runtime, and what moves weights."""
    return _text(Path(nestdsl.__file__).parent / "runtime", None)


@cache
def _text(folder: Path, names: tuple[str, ...] | None) -> str:
    paths = [folder / name for name in names] if names else sorted(folder.rglob("*.py"))
    return "\0".join(path.read_text(encoding="utf-8") for path in paths)


@cache
def _version(package: str) -> str:
    if not package:
        return ""
    try:
        return version(package.replace("_", "-"))
    except PackageNotFoundError:
        return "unknown"
