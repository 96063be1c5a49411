"""Who is compared: for each family of rules our example as it ships, and what stands for it elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from benchmarks.learning.learner import Learner, ModuleLearner, ProgramLearner
from benchmarks.learning.references import delta_net as delta
from benchmarks.learning.references import linear_attention, nested_learning, peers, ttt
from benchmarks.learning.references import retention as retnet
from benchmarks.learning.references.frame import matched
from nestdsl.api import Nest
from nestdsl.compiler import analyse
from nestdsl.semantics.values.settings import read_settings
from nestdsl.syntax.files import read_source

EXAMPLES = Path(__file__).parents[2] / "examples"
SIZE, HEADS = 64, 2
RATES = {"bytes": (1e-3, 2e-3, 4e-3, 8e-3), "recall": (2e-3, 8e-3)}
"""At which references are tried, for each task."""

Frames = Callable[[int, int, int, int, int], nn.Module]
"""A model of a vocabulary, size, heads, layers, and hidden size of its MLPs."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Another implementation. `package`: what must be importable, "" if it stands here. `make` builds a
    learner from vocabulary, layers, about how many parameters, seed and rate."""

    key: str
    title: str
    package: str
    make: Callable[[int, int, int, int, float], Learner]


@dataclass(frozen=True, slots=True)
class Family:
    """A rule: our example, and its references, none where another family has them.

    `recalls`: the criterion of recall is asked of it; `recalls_far`: that from far back, too."""

    name: str
    program: str
    references: tuple[Reference, ...]
    recalls: bool = False
    recalls_far: bool = False

    @property
    def path(self) -> Path:
        return EXAMPLES / self.program


def _framed(key: str, title: str, package: str, build: Frames) -> Reference:
    def make(vocabulary: int, layers: int, parameters: int, seed: int, rate: float) -> Learner:
        module = matched(lambda hidden: build(vocabulary, SIZE, HEADS, layers, hidden), parameters, seed)
        return ModuleLearner(module, rate)

    return Reference(key, title, package, make)


def _hope(key: str, title: str, variant: str) -> Reference:
    def make(vocabulary: int, layers: int, parameters: int, seed: int, rate: float) -> Learner:
        module = nested_learning.hope(variant, vocabulary, HEADS, layers, parameters, seed)
        return nested_learning.HopeLearner(module, rate, variant)

    return Reference(key, title, "nested_learning", make)


_LLAMA = _framed("llama", "transformers, Llama", "transformers", peers.llama)
_QWEN = _framed("qwen3_next", "transformers, Qwen3-Next", "transformers", peers.qwen3_next)
_GATED = _framed("gated_delta_net", "the same, decays start as in fla", "transformers", peers.gated_delta_net)
_TITANS = _framed("titans", "titans-pytorch", "titans_pytorch", peers.titans)
_LINEAR = _framed("linear_attention", "Katharopoulos et al.", "", linear_attention.linear_attention)
_RETENTION = _framed("retention", "RetNet", "", retnet.retention)
_DELTA = _framed("delta_net", "DeltaNet as in fla", "", delta.delta_net)
_TTT_LINEAR = _framed("ttt_linear", "Sun et al., TTT-Linear", "", ttt.ttt_linear)
_TTT_MLP = _framed("ttt_mlp", "Sun et al., TTT-MLP", "", ttt.ttt_mlp)
_SELF_MODIFYING = _hope("hope_selfmod", "nested-learning, self-modifying", "hope_selfmod")
_HOPE_ATTENTION = _hope("hope_attention", "nested-learning, attention", "hope_attention")

FAMILIES = (
    Family("transformer", "transformer.nest", (_LLAMA,)),
    Family("linear_attention", "linear_attention.nest", (_LINEAR,)),
    Family("retention", "retention.nest", (_RETENTION,)),
    Family("delta_net", "delta_net.nest", (_DELTA,), recalls=True),
    Family("gated_delta", "gated_delta.nest", (_QWEN, _GATED), recalls=True, recalls_far=True),
    Family("titans", "titans.nest", (_TITANS,), recalls=True),
    Family("ttt_linear", "ttt_linear.nest", (_TTT_LINEAR,)),
    Family("ttt_mlp", "ttt_mlp.nest", (_TTT_MLP,)),
    Family("self_referential", "self_referential.nest", (), recalls=True),
    Family("hope", "hope.nest", (_SELF_MODIFYING,), recalls=True, recalls_far=True),
    Family("hope_attention", "hope_attention.nest", (_HOPE_ATTENTION,), recalls=True),
)

REFERENCES = {one.key: one for family in FAMILIES for one in family.references}


def shipped(path: str | Path, vocabulary: int, layers: int, settings: Sequence[str] = ()) -> Nest:
    """A program with 64 features, 2 heads, so many layers and ids, but for its `settings` (`NAME=VALUE`).

    Raises NestError as `nestdsl train` does."""
    usual = {"dim": SIZE, "depth": layers, "heads": HEADS, "vocab": vocabulary}
    given = read_settings(settings)
    given = read_settings([f"{name}={value}" for name, value in usual.items() if name not in given]) | given
    return Nest(analyse(read_source(str(path)), given, None))


def ours(nest: Nest, seed: int, factor: float = 1.0, *, compile: bool = False) -> ProgramLearner:
    """A program, trained as it says, at `factor` times its rates."""
    return ProgramLearner(nest, seed, rate_factor=factor, compile=compile)
