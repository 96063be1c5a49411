"""Every function of the tables, with every sort of operand, wherever an expression may stand.

The outcome is a diagnostic with a code, or a program that compiles and whose optimizer runs a step.
"""

from collections.abc import Iterable

import pytest
import torch

from nestdsl.compiler import analyse
from nestdsl.plan.lower import lower
from nestdsl.plan.yaml import from_yaml, to_yaml
from nestdsl.runtime.optimizer import naive
from nestdsl.runtime.optimizer.constants import parameters_at
from nestdsl.semantics.elaborate.optimizers.schedules import SCHEDULES
from nestdsl.source import Source
from nestdsl.vocabulary.signatures import LIBRARY, Type

OF_OPTIMIZERS = (
    *"2 -0.5 0 1e308 lr step_count grad weight average pairs network index update nothing true".split(),
    '"s"',
    "norm(grad)",
    "-(grad)",
    "pairs(grad)",
    "network(grad)",
    "2 -> relu",
    "debias(average)",
    "sqrt(-1)",
)
OF_MODELS = (
    *"2 -0.5 0 1e308 in h memory block array out width index nothing true".split(),
    '"s"',
    "array[0]",
    "memory(in)",
    "in -> linear",
    "-(in)",
    "sqrt(-1)",
)
SECOND = {"optimizer": ("2", "grad", "norm(grad)", "average"), "model": ("2", "in", "h")}
FUNCTIONS = [*LIBRARY.functions, *LIBRARY.kinds, *LIBRARY.optimizers, *SCHEDULES, "ema", "sum_of", "parallel"]
SHAPES = ((3, 4), (4,), (2, 3, 4))

OPTIMIZER = """
optimizer o(lr = 0.1) {{
  only matrices else sgd(lr = {rest})
  level average = ema({decay}) {{ learn {learned}  every {period} steps }}
  level pairs = matrix(step = 0.1) {{ learn grad -> {value} }}
  level network = associative(hidden = 2) {{ learn grad -> weight }}
  flow update = -lr * {update}
}}
model m {{
  input vectors(4)
  flow out = in -> linear(4) -> linear(4)
  train {{ objective mse  optimizer o(lr = {given}) }}
}}
"""
PLACES_IN_OPTIMIZERS = {
    "update": "grad",
    "learned": "grad",
    "value": "1",
    "decay": "0.9",
    "rest": "lr",
    "period": "2",
    "given": "0.1",
}
MODEL = """
param width = {parameter}
block block(heads = 2) {{ flow out = in -> linear }}
model m {{
  input vectors(8)
  level array[2] = linear
  level memory = matrix(2) {{
    learn {key} -> in  every {period} tokens, chunk {chunk}  optimizer gd(step = {step})  init normal({start})
  }}
  level sized = linear({size}) repeat {copies} {{ optimizer sgd(lr = {rate}) }}
  flow h = in + {flow}
  flow out = (in -> array) + h * memory(in) + (in -> sized -> linear(8))
  train {{ objective mse }}
}}
"""
PLACES_IN_MODELS = {
    "parameter": "8",
    "key": "in",
    "period": "1",
    "chunk": "4",
    "step": "0.1",
    "start": "0.1",
    "size": "8",
    "copies": "2",
    "rate": "0.1",
    "flow": "in",
}


def calls(function: str, operands: tuple[str, ...], second: tuple[str, ...]):
    yield function
    yield f"{function}()"
    for one in operands:
        yield f"{function}({one})"
        yield f"({one} -> {function})"
        yield f"{function}(-{function}({one}))"
        for other in second:
            yield f"{function}({one}, {other})"
    known = LIBRARY.functions.get(function) or LIBRARY.kinds.get(function)
    for argument in known.arguments if known else ():
        for value in ("0", "-1", "1e308", "true", '"s"', "nothing", operands[0]):
            yield f"{function}({second[1]}, {argument.name} = {value})"


def check(text: str) -> bool:
    """Whether a program is clean; if so, it compiles, and a step of its optimizer has the right shapes."""
    analysis = analyse(Source(text))
    assert all(one.message and (one.hint or one.code == "N0001") for one in analysis.diagnostics)
    if analysis.has_errors:
        return False
    graph = analysis.graph()
    plan = lower(graph, "<text>")
    assert from_yaml(to_yaml(plan)) == plan
    return True


def step(text: str) -> None:
    """One update of weights of several shapes, by the equations as they stand."""
    program = analyse(Source(text)).graph().train.optimizer.program
    assert program is not None
    generator = torch.Generator().manual_seed(0)
    for shape in SHAPES:
        weight, gradient = (torch.randn(shape, generator=generator) for _ in range(2))
        memory = naive.initial_memory(program, weight)
        parameters = parameters_at((program,), {}, 1, 100)
        update, following = naive.apply(program, parameters, gradient, memory, weight)
        assert update.shape == weight.shape
        assert following.keys() == memory.keys()


def in_optimizers(function: str, share: int) -> None:
    """Each call in a flow, and in the other places by turns."""
    others = [place for place in PLACES_IN_OPTIMIZERS if place != "update"]
    for position, call in enumerate(some(calls(function, OF_OPTIMIZERS, SECOND["optimizer"]), share)):
        for place, value in (("update", f"{call} * grad"), (others[position % len(others)], call)):
            text = OPTIMIZER.format(**{**PLACES_IN_OPTIMIZERS, place: value})
            if check(text):
                step(text)


def in_models(function: str, share: int) -> None:
    others = [place for place in PLACES_IN_MODELS if place != "flow"]
    for position, call in enumerate(some(calls(function, OF_MODELS, SECOND["model"]), share)):
        for place in ("flow", others[position % len(others)]):
            check(MODEL.format(**{**PLACES_IN_MODELS, place: call}))


def some(written: Iterable[str], share: int) -> list[str]:
    """The calls of the first operand, and one in `share` of the others."""
    found = list(dict.fromkeys(written))
    return found[:4] + found[4::share]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_in_optimizers(function):
    in_optimizers(function, share=23)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_in_models(function):
    in_models(function, share=29)


@pytest.mark.slow
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("walk", [in_optimizers, in_models])
def test_all_calls(function, walk):
    walk(function, share=1)


def test_the_programs_without_anything_else_are_clean():
    assert check(OPTIMIZER.format(**PLACES_IN_OPTIMIZERS))
    assert check(MODEL.format(**PLACES_IN_MODELS))


def test_every_function_that_may_be_of_numbers_alone_has_a_value():
    """As the runtime needs them: element by element, or one number; the others take matrices alone."""
    takes_matrices = {"normalize", "rms_match", "outer", "transpose", "matmul", "newton_schulz", "debias"}
    takes_features = {"l2_normalize", "softmax", "concat", "dropout", "spread"}  # or makes them
    has_extents = {"rows", "columns"}
    wanted = LIBRARY.functions.keys() - takes_matrices - takes_features - has_extents
    assert {name for name, one in LIBRARY.functions.items() if one.fold and not one.is_custom} == {
        name for name in wanted if not LIBRARY.functions[name].is_custom
    }
    for name in wanted:
        function = LIBRARY.functions[name]
        assert not any(spec.type is Type.STRING for spec in function.arguments)


@pytest.mark.parametrize("x", [-800.0, -2.5, -1e-9, 0.0, 0.5, 3.0, 800.0])
def test_functions_of_numbers_agree_with_those_of_tensors(x):
    from nestdsl.runtime.optimizer.functions import FUNCTIONS as OF_TENSORS

    for name, function in LIBRARY.functions.items():
        if function.fold is None or function.is_custom or function.flows != 1:
            continue
        if (name == "sqrt" and x < 0) or (name == "exp" and x > 700):
            continue
        options = {spec.name: 1.5 for spec in function.arguments}
        tensor = OF_TENSORS[name](torch.tensor([[x]], dtype=torch.float64), **options)
        assert float(function.fold(x, **options)) == pytest.approx(float(tensor), rel=1e-12, abs=1e-300), name
