"""Hints for what people know by another name, or write as elsewhere."""

import pytest

from tests.semantics.programs import analysis, codes, model


def hint(body: str, parameters: str = "dim = 8") -> str:
    (only,) = analysis(model(body, parameters=parameters)).diagnostics
    return only.hint


@pytest.mark.parametrize(
    ("optimizer", "meant"),
    [
        ("adamw(weight_decay = 0.1)", "`decay`"),
        ("adamw(learning_rate = 0.1)", "`lr`"),
        ("adamw(betas = 0.9)", "`beta1` and `beta2`"),
        ("sgd(betas = 0.9, momentum = 0.5)", None),
        ("sgd(step = 0.1)", "`lr`"),
        ("muon(momentun = 0.9)", "`momentum`"),
    ],
)
def test_other_names_of_arguments(optimizer, meant):
    found = hint(f"level a = mlp {{ optimizer {optimizer} }}\nflow out = in -> a")
    assert found == (
        f"did you mean {meant}?" if meant else "its arguments are `lr`, `momentum`, `decay` and `reduce`"
    )


def test_the_step_of_a_memory_is_no_learning_rate():
    level = "level a = matrix { learn in -> in  every 1 token  optimizer gd(lr = 0.1) }"
    assert hint(level + "\nflow out = in -> a") == "did you mean `step`?"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("flow out = in -> linear(8, bias = True)", "write `true`"),
        ("flow out = in -> linear(8, bias = False)", "write `false`"),
        ("flow out = in -> linear(None)", "there is no such value: leave the argument out"),
        (
            "level a = mlp repeat 3 { every 2 ** index steps }\nflow out = in -> a",
            "only the levels of an array, `level a[3] = ...`, have `index`",
        ),
        ("flow out = in[0]", "write `in`: only an array, `level name[3] = ...`, has elements"),
        ("flow out = in + n[0]", "write `n`: only an array, `level name[3] = ...`, has elements"),
        ("flow out = in -> mlp(2, 7)", "give `expand` or `hidden`, not both"),
    ],
)
def test_what_is_written_as_elsewhere(body, said):
    assert hint(body, "n = 1") == said


@pytest.mark.parametrize(
    ("word", "said"), [("step", "1 step"), ("steps", "1 step"), ("token", "1 token"), ("tokens", "1 token")]
)
def test_a_period_without_its_number(word, said):
    assert hint(f"level a = mlp {{ every {word} }}\nflow out = in -> a") == f"write `every {said}`"


def test_training_has_no_period_in_tokens():
    train = "flow out = in\ntrain { objective mse  every token  optimizer adamw }"
    assert hint(train) == "write `every 1 step`"


def test_a_parameter_called_step_is_the_number():
    level = "level a = mlp {{ every {} }}\nflow out = in -> a"
    assert hint(level.format("step"), "step = 4") == "write `every step tokens` or `every step steps`"
    assert codes(model(level.format("step steps"), parameters="step = 4")) == []
