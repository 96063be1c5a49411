"""What an optimizer of the language becomes: lines, shapes, periods and parameters."""

from __future__ import annotations

import pytest

from nestdsl.graph.optimizer import GradientMemory, Line, OptimizerProgram, Schedule
from nestdsl.vocabulary.shapes import CONSTANT, NUMBER, SQUARE, WEIGHT
from nestdsl.vocabulary.timing import ReadTime
from tests.semantics.programs import analysis, codes, graph, messages, model


def optimizer(body: str, parameters: str = "lr = 0.1") -> str:
    return f"optimizer own({parameters}) {{\n{body}\n}}\n"


def program(body: str, parameters: str = "lr = 0.1", use: str = "own") -> OptimizerProgram:
    """The program of an optimizer of which no problems found, with the arguments that `use` gives."""
    text = model(f"flow out = in -> linear\ntrain {{ objective mse  optimizer {use} }}")
    found = graph(optimizer(body, parameters) + text).train.optimizer.program
    assert found is not None
    return found


def shown(found: OptimizerProgram) -> list[str]:
    """Its lines as `result = function(operands): shape every period`."""
    operands = {line.result: ", ".join(map(str, line.operands)) for line in found.lines}
    return [
        f"{line.result} = {line.function}({operands[line.result]}): {line.shape} every {line.period}"
        for line in found.lines
    ]


def test_lines_are_in_the_order_in_which_they_run() -> None:
    found = program("level m = ema(0.9) { learn grad * 2 }\nflow update = -lr * m")
    assert shown(found) == [
        f"update.1 = negate(lr): {CONSTANT} every 1",
        f"m.learn.1 = multiply(grad, 2): {WEIGHT} every 1",
        f"m = learn(m.learn.1): {WEIGHT} every 1",
        f"update.2 = multiply(update.1, m): {WEIGHT} every 1",
    ]
    assert found.update == "update.2"
    assert found.memories == (GradientMemory("m", "ema", (("decay", 0.9),), WEIGHT),)
    assert found.parameters == (("lr", 0.1),)


def test_what_is_said_twice_is_computed_once_and_what_nothing_needs_is_left_out() -> None:
    body = "flow a = grad * grad\nflow b = grad * grad + 1\nflow c = b * b\nflow update = a + (grad * grad)"
    found = program(body)
    assert [line.function for line in found.lines] == ["multiply", "add"]


def test_numbers_are_computed_at_once_and_parameters_are_not() -> None:
    found = program("flow update = (2 * 3 + sqrt(4)) * lr * grad")
    assert [line.operands for line in found.lines] == [(8.0, "lr"), ("update.1", "grad")]


@pytest.mark.parametrize(
    ("expression", "shape"),
    [
        ("lr + step_count", CONSTANT),
        ("norm(grad) * lr", NUMBER),
        ("rows(weight)", NUMBER),
        ("outer(grad)", "out × out"),
        ("outer(transpose(grad))", "in × in"),
        ("outer(grad, weight)", "out × out"),
        ("transpose(grad)", "in × out"),
        ("matmul(grad, transpose(weight))", "out × out"),
        ("matmul(transpose(grad), grad)", "in × in"),
        ("matmul(outer(grad), grad)", WEIGHT),
        ("max(norm(grad), 1)", NUMBER),
        ("normalize(outer(grad)) ** 2", "out × out"),
    ],
)
def test_shapes(expression: str, shape: str) -> None:
    found = program(f"flow x = {expression}\nflow update = grad * norm(x + 0 * lr)")
    last = [line for line in found.lines if line.result.startswith("x.")][-1]
    assert str(last.shape) == str(shape)


@pytest.mark.parametrize(
    "expression",
    [
        "grad + outer(grad)",
        "matmul(grad, weight)",
        "outer(grad, transpose(grad))",
        "normalize(lr)",
        "transpose(norm(grad))",
        "grad * transpose(grad)",
    ],
)
def test_shapes_that_do_not_fit(expression: str) -> None:
    assert codes(optimizer(f"flow update = grad + norm({expression}) * grad")) == ["N0201"]


def test_a_line_changes_no_more_often_than_what_it_reads() -> None:
    found = program(
        "level slow = ema(0.9) { learn grad  every 6 steps }\n"
        "level far = ema(0.9) { learn grad  every 4 steps }\n"
        "flow a = slow * 2\nflow b = slow + far\nflow c = 2 * b + grad\nflow update = a + b + c"
    )
    periods = {line.result: line.period for line in found.lines}
    assert periods["slow"] == 6 and periods["far"] == 4
    assert [periods[name] for name in ("a.1", "b.1", "c.1", "c.2")] == [6, 2, 2, 1]


def test_a_period_and_a_count_of_levels_make_parameters_structural() -> None:
    found = program(
        "level m[count] = ema(keep ** (index + 1)) { learn grad  every period * 2 steps }\n"
        "flow update = -lr * (m[0] + m[count - 1])",
        "lr = 0.1, keep = 0.9, count = 3, period = 4",
        "own(period = 5)",
    )
    assert found.structural == ("count", "period")
    assert [(memory.name, memory.period) for memory in found.memories] == [("m[0]", 10), ("m[2]", 10)]
    assert dict(found.parameters)["period"] == 5


def test_a_sum_that_forgets_all_keeps_nothing() -> None:
    body = "level m = sum_of(keep) { learn grad + weight }\nflow update = -lr * m"
    found = program(body, "lr = 0.1, keep = 0")
    assert found.memories == ()
    assert found.structural == ("keep",)
    assert [line.function for line in found.lines] == ["negate", "add", "multiply"]
    kept = program(body, "lr = 0.1, keep = 0", "own(keep = 0.5)")
    assert [memory.arguments for memory in kept.memories] == [(("decay", "keep"),)]
    assert kept.structural == ()


def test_a_sum_that_forgets_all_but_gathers_is_kept() -> None:
    found = program("level m = sum_of(0) { learn grad  every 4 steps }\nflow update = -lr * m")
    assert [(memory.name, memory.period) for memory in found.memories] == [("m", 4)]


def test_memories_that_are_read_before_they_move_may_learn_from_themselves() -> None:
    found = program("level m = ema(0.9, reduce = sum) { learn grad - m  read before }\nflow update = -lr * m")
    (memory,) = found.memories
    assert (memory.read, memory.reduce) == (ReadTime.BEFORE, "sum")
    (learn,) = (line for line in found.lines if line.function == "learn")
    (difference,) = (line for line in found.lines if line.result == learn.operands[0])
    assert (difference.function, difference.operands) == ("subtract", ("grad", "m"))


def test_the_bias_of_an_average_names_its_memory() -> None:
    found = program(
        "level m = ema(keep) { learn grad  every 3 steps }\nflow update = -lr * debias(m)",
        "lr = 1, keep = 0.9",
    )
    (bias,) = (line for line in found.lines if line.function == "bias")
    assert bias == Line(bias.result, "bias", ("keep",), CONSTANT, 3, (("memory", "m"),))
    (debias,) = (line for line in found.lines if line.function == "debias")
    assert debias.operands == ("m", bias.result)


def test_a_network_and_a_matrix_answer_keys() -> None:
    found = program(
        "level pairs = matrix(step = 0.1) { learn grad -> outer(grad) }\n"
        "level keys = associative(hidden = 3) { learn grad -> weight }\n"
        "flow update = matmul(pairs(grad), grad) + (grad -> keys)"
    )
    answers = {line.operands[0]: line.shape for line in found.lines if line.function == "answer"}
    assert answers == {"pairs": SQUARE, "keys": WEIGHT}
    arguments = {memory.name: memory.arguments for memory in found.memories}
    assert arguments["pairs"] == (("step", 0.1), ("retain", 1.0))
    assert dict(found.memories[1].options) == {"hidden": 3}


# --- schedules -------------------------------------------------------------------------------


def test_a_schedule_as_an_argument() -> None:
    found = program(
        "flow update = -lr * grad", use="own(lr = cosine(3e-4, warmup = 100, steps = 500, floor = 0.1))"
    )
    assert found.schedules == (Schedule("lr", "cosine", 3e-4, 100, 500, 0.1),)
    assert dict(found.parameters)["lr"] == 3e-4


@pytest.mark.parametrize("rate", ["0.5 / dim", "cosine(0.5 / dim)"])
@pytest.mark.parametrize("name", ["adamw", "adamw_matrix", "muon"])
def test_a_rate_follows_the_sizes_of_the_model(name: str, rate: str) -> None:
    text = f"""
    model m(dim = 64) {{
      input vectors(dim)
      flow out = in -> linear
      train {{ objective mse  optimizer {name}(lr = {rate}) }}
    }}
    """
    for dim, expected in ((64, 2.0**-7), (256, 2.0**-9)):
        found = graph(text, dim=dim).train.optimizer.program
        assert found is not None
        assert dict(found.parameters)["lr"] == expected
        assert [schedule.peak for schedule in found.schedules] == [expected] * rate.startswith("cosine")


def test_a_schedule_as_a_default_which_an_argument_replaces() -> None:
    body, parameters = "flow update = -lr * grad", "lr = linear(peak * 2, warmup = 5), peak = 1"
    text = "param peak = 0.5\n"
    found = graph(
        text
        + optimizer(body, "lr = linear(peak * 2, warmup = 5)")
        + model("flow out = in -> linear\ntrain { objective mse  optimizer own }")
    ).train.optimizer.program
    assert found is not None
    assert found.schedules == (Schedule("lr", "linear", 1.0, 5),)
    assert program(body, "lr = linear(1)", "own(lr = 0.2)").schedules == ()
    assert codes(optimizer(body, parameters)) == ["N0101"]  # a later parameter has no value yet


def test_an_optimizer_shows_its_schedules_as_they_are_written() -> None:
    text = model(
        "flow out = in -> linear\ntrain { objective mse  optimizer adamw(lr = cosine(1e-3, warmup = 10)) }"
    )
    use = graph(text).train.optimizer
    assert dict(use.arguments)["lr"] == "cosine(0.001, warmup = 10)"
    assert use.given == ("lr",)


def test_mistakes_in_the_defaults_of_an_optimizer_that_nothing_uses() -> None:
    assert codes(optimizer("flow update = -lr * grad", "lr = cosine(0.1, warmup = -1)")) == ["N0203"]
    assert codes(optimizer("flow update = -lr * grad", "lr = cosine(-1)")) == ["N0203"]


# --- what is left to another optimizer -------------------------------------------------------


def test_the_arguments_of_the_rest_are_numbers_of_the_outer_optimizer() -> None:
    found = program(
        "only matrices else adamw(lr = lr / 10, decay = decay, beta1 = 0.8)\nflow update = -lr * grad",
        "lr = 0.1, decay = 0.2",
    )
    assert found.otherwise is not None
    assert found.otherwise.name == "adamw"
    arguments = dict(found.otherwise_arguments)
    assert arguments["decay"] == "decay" and arguments["beta1"] == 0.8
    (line,) = (line for line in found.lines if line.result == arguments["lr"])
    assert (line.function, line.operands, line.shape) == ("divide", ("lr", 10), CONSTANT)


def test_the_rest_may_be_left_to_another_again() -> None:
    text = "optimizer first() {\n only matrices else muon(adamw_lr = 0.5)\n flow update = -grad\n}\n" + model(
        "flow out = in -> linear\ntrain { objective mse  optimizer first }"
    )
    found = graph(text).train.optimizer.program
    names = []
    while found is not None:
        names.append(found.name)
        found = found.otherwise
    assert names == ["first", "muon", "adamw"]


# --- where mistakes are told -----------------------------------------------------------------


def place(text: str) -> list[tuple[str, str]]:
    """The code and the text of each mistake."""
    return [(one.code, one.span.text) for one in analysis(text).diagnostics if one.span is not None]


@pytest.mark.parametrize(
    ("use", "found"),
    [
        ("m3(period = 0)", ("N0202", "period = 0")),
        ("m3(period = 1.5)", ("N0202", "period = 1.5")),
        ("m3(period = linear(4))", ("N0405", "period = linear(4)")),
        ("dmgd(hidden = 0)", ("N0202", "hidden = 0")),
        ("muon(momentum = 1)", ("N0203", "momentum = 1")),
        ("adamw(beta2 = 1.5)", ("N0203", "beta2 = 1.5")),
        ("adamw(beta2 = linear(1.5))", ("N0203", "beta2 = linear(1.5)")),
        ("muon(decay = -1)", ("N0203", "decay = -1")),
        ("muon(adamw_lr = -1)", ("N0203", "adamw_lr = -1")),
    ],
)
def test_a_value_that_the_library_cannot_take_is_told_where_it_is_given(
    use: str, found: tuple[str, str]
) -> None:
    text = model(f"flow out = in -> linear\ntrain {{ objective mse  optimizer {use} }}")
    assert place(text) == [found]


def test_a_mistake_in_an_optimizer_is_told_once_however_often_it_is_used() -> None:
    body = "level w[3] = linear { optimizer own(lr = 0.1 * (index + 1)) }\nflow out = in -> w"
    text = optimizer("flow update = -lr * grads") + model(f"{body}\ntrain {{ objective mse  optimizer own }}")
    assert place(text) == [("N0101", "grads")]


def test_optimizers_that_leave_their_rest_to_one_another_are_told_once() -> None:
    circle = "optimizer {}() {{ only matrices else {}\n flow update = -grad }}\n"
    text = circle.format("a", "b") + circle.format("b", "c") + circle.format("c", "a")
    assert len(messages(text)) == 1
    used = text + model("level w = linear { optimizer c }\nflow out = in -> w\ntrain { optimizer b }")
    assert messages(used) == messages(text)
    assert messages(text)[0].startswith("`a` leaves its rest to `b`, which leaves its rest to `c`")


def test_a_file_with_optimizers_alone_is_a_program() -> None:
    assert codes(optimizer("flow update = -lr * grad")) == []
