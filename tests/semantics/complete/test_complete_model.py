"""The phase of completion: clauses are read, `train` is added, and surprise reaches the levels."""

from __future__ import annotations

from nestdsl.diagnostics import Diagnostics
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import TRAIN, EdgeType, Level, Read
from nestdsl.semantics.complete.models import complete_model
from nestdsl.semantics.elaborate.models import elaborate_models
from nestdsl.semantics.modules import read_modules
from nestdsl.semantics.names.program import declare_program
from nestdsl.semantics.values.parameters import evaluate_parameters
from nestdsl.source import Source
from nestdsl.vocabulary.timing import Unit


def completed(text: str) -> tuple[list[NestGraph], list[str]]:
    found = Diagnostics()
    program = declare_program(read_modules(Source(text), found), None, found)
    models = elaborate_models(program, evaluate_parameters(program, {}, found))
    return [complete_model(model) for model in models], [one.code for one in found.in_order()]


MODEL = """model m {
  input vectors(8)
  level a = linear { every 4 steps  optimizer sgd(momentum = 0.9) }
  level memory = matrix { learn k -> in  every 2 tokens  optimizer gd(step = k -> linear(1)) }
  level still = linear { frozen }
  flow k = in -> linear
  flow out = in -> a -> memory -> still
  train { objective mse  every 2 steps  optimizer adamw }
}
"""


def test_levels_know_their_clauses_and_train_what_it_trains() -> None:
    (graph,), codes = completed(MODEL)
    assert codes == []
    assert (graph.level("a").period, graph.level("a").unit) == (4, Unit.STEP)
    assert graph.level("k.linear").period == 2, "a level that says nothing moves with `train`"
    assert (graph.level("memory").period, graph.level("memory").unit) == (2, Unit.TOKEN)
    assert graph.train.objective == "mse" and graph.train.optimizer.name == "adamw"
    surprised = graph.targets(TRAIN, EdgeType.SURPRISE)
    assert set(surprised) == {"a", "k.linear", "memory.step.linear"}
    assert graph.targets(TRAIN, EdgeType.INIT) == ("memory",)


def test_what_a_clause_makes_is_completed_too() -> None:
    (graph,), _ = completed(MODEL)
    assert graph.sources("memory", EdgeType.KEY) == ("k",)
    assert graph.sources("memory", EdgeType.VALUE) == ("in",)
    (step,) = graph.sources("memory", EdgeType.GENERATE)
    node = graph[step]
    assert isinstance(node, Read) and node.level == "memory.step.linear"
    assert isinstance(graph["memory.step.linear"], Level)


def test_the_memories_of_an_optimizer_are_levels_that_drive_others() -> None:
    (graph,), _ = completed(MODEL)
    assert graph.targets("a.sgd.m", EdgeType.OPTIMIZE) == ("a",)
    assert set(graph.targets("@train.adamw.m", EdgeType.OPTIMIZE)) == {"k.linear", "memory.step.linear"}


def test_a_model_without_train_has_one_and_a_block_that_is_tried_has_none() -> None:
    graphs, codes = completed(
        "model m {\n input vectors(8)\n flow out = in -> linear\n}\n"
        "block tried {\n level a = linear { every 0 steps }\n flow out = in -> a\n}\n"
    )
    assert codes == ["N0202"]
    assert [TRAIN in graph for graph in graphs] == [True, False]
    assert graphs[0].train.objective == "mse"


def test_a_clause_that_could_not_be_read_makes_its_level_unsure() -> None:
    (graph,), codes = completed(MODEL.replace("every 4 steps", "every nowhere steps"))
    assert codes == ["N0101"]
    assert graph.unsure == {"a"} and isinstance(graph["a"], Level)
