"""Weight decay as a factor of the weight: the same update, rounded as torch.optim rounds it."""

import pytest
import torch

from nestdsl.runtime.optimizer.decay import split_decay
from tests.runtime.optimizer.programs import program, run_fast, run_naive, start

UPDATES = {
    "adamw": ("-lr * (m + decay * weight)", True),
    "apart": ("-lr * m - lr * decay * weight", True),
    "negated": ("-(lr * (m + weight * decay)) + m", True),
    "divided": ("-(m + 3 * weight) / (1 / lr)", True),
    "twice": ("-lr * (weight + m) - decay * weight", True),
    "no_decay": ("-lr * m", False),
    "weight_alone": ("-lr * weight", False),
    "of_each": ("-lr * m * weight", False),
    "to_a_number": ("-lr * (1 + decay * weight)", False),
    "by_a_norm": ("-lr * m - norm(grad) * weight", False),
}


def text(name: str) -> str:
    update = UPDATES[name][0]
    return f"""optimizer {name}(lr = 0.01, decay = 0.1) {{
        level m = ema(0.9) {{ learn grad }}
        flow update = {update}
    }}"""


@pytest.mark.parametrize("name", UPDATES)
def test_the_update_stays_what_it_is(name):
    one = program(name, text(name))
    _, decay = split_decay(one)
    assert (decay is not None) == UPDATES[name][1]
    weights, gradients = start()
    torch.testing.assert_close(
        run_fast(one, weights, gradients), run_naive(one, weights, gradients), rtol=1e-12, atol=1e-12
    )


def test_what_only_the_weight_was_for_is_no_line_any_more():
    split, _ = split_decay(program("adamw", text("adamw")))
    assert not any("weight" in line.operands for line in split.lines)
