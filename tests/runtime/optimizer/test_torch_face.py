"""`nestdsl.optimizer`: an optimizer of the language drives a model that is none of ours, as torch would."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import nestdsl
from nestdsl.diagnostics import NestError

THREE_SPEED = """
optimizer three_speed(lr = 0.1, decay = 0.9, fastest = 1) {
  level m[3] = ema(decay) { learn grad   every fastest * 2 ** index steps }
  flow update = -lr * (m[0] + m[1] + m[2]) / 3
}
"""


class Foreign(nn.Module):
    """An embedding, a convolution, a recurrence and a layer: nothing of nestdsl."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.filter = nn.Conv1d(8, 8, 3, padding=1)
        self.memory = nn.GRU(8, 8, batch_first=True)
        self.head = nn.Linear(8, 11)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.filter(self.embed(ids).mT).mT
        return self.head(self.memory(x)[0])


@pytest.fixture
def model() -> Foreign:
    torch.manual_seed(0)
    return Foreign()


def loss_of(model: nn.Module, step: int) -> torch.Tensor:
    ids = torch.randint(0, 11, (4, 7), generator=torch.Generator().manual_seed(step))
    return nn.functional.cross_entropy(model(ids).flatten(0, 1), ids.flatten())


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range, scheduler=None) -> None:
    for step in steps:
        optimizer.zero_grad()
        loss_of(model, step).backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [weight.detach().clone() for weight in model.parameters()]


def distance(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


def trained(model: nn.Module, make, steps: int = 20, schedule=None) -> list[torch.Tensor]:
    mine = copy.deepcopy(model)
    optimizer = make(mine.parameters())
    train(mine, optimizer, range(steps), schedule(optimizer) if schedule else None)
    return weights(mine)


def adamw(parameters, **arguments):
    return nestdsl.optimizer("std.optim:adamw", parameters, **{"lr": 1e-2, "compile": False, **arguments})


RATES = {
    "sgd": {"lr": 0.5},
    "nesterov": {"lr": 0.1},
    "adamw_matrix": {"lr": 1e-2},
    "rmsprop": {"lr": 1e-2},
    "lion": {"lr": 1e-2},
    "muon": {"lr": 0.02, "adamw_lr": 0.02},
    "m3": {"lr": 0.05},
    "m3_paper": {"lr": 3e-5, "adamw_lr": 0.05},
    "preconditioned_momentum": {"lr": 0.01, "adamw_lr": 0.02},
    "delta_momentum": {"lr": 0.1},
    "dmgd": {"lr": 0.5},
}


@pytest.mark.parametrize("name", RATES)
def test_optimizers_of_the_library_learn_what_is_asked(model, name):
    before = loss_of(model, 0).item()
    optimizer = nestdsl.optimizer(f"std.optim:{name}", model.parameters(), compile=False, **RATES[name])
    assert isinstance(optimizer, torch.optim.Optimizer)
    train(model, optimizer, range(60))
    assert loss_of(model, 0).item() < 0.9 * before


def test_it_moves_weights_as_torch_does(model):
    theirs = trained(model, lambda p: torch.optim.AdamW(p, lr=1e-2))
    assert distance(trained(model, adamw), theirs) < 2e-6


def test_compiled_is_the_same(model):
    eager = trained(model, adamw)
    assert distance(trained(model, lambda p: adamw(p, compile=True)), eager) < 2e-6


def test_an_optimizer_of_a_file_of_ones_own(model, tmp_path):
    file = tmp_path / "mine.nest"
    file.write_text(THREE_SPEED)
    optimizer = nestdsl.optimizer(f"{file}:three_speed", model.parameters(), lr=0.5, compile=False)
    train(model, optimizer, range(4))
    state = optimizer.state[model.head.weight]
    assert state["step_count"] == 4
    assert {"m[0]", "m[1]", "m[2]", "m[1].gathered", "m[2].gathered"} == state.keys() - {"step_count"}


@pytest.mark.parametrize("compile", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["m3", "dmgd", "adamw"])
def test_a_run_goes_on_from_its_state_as_if_it_had_never_stopped(model, name, compile):
    def make(parameters):
        return nestdsl.optimizer(f"std.optim:{name}", parameters, lr=1e-2, compile=compile)

    optimizer = make(model.parameters())
    train(model, optimizer, range(21))
    other = copy.deepcopy(model)
    resumed = make(other.parameters())
    state = optimizer.state_dict()
    resumed.load_state_dict(copy.deepcopy(state))
    train(model, optimizer, range(21, 40))
    train(other, resumed, range(21, 40))
    assert distance(weights(model), weights(other)) == 0


def test_memories_stay_in_float32_where_weights_are_not(model):
    model.bfloat16()
    optimizer = adamw(model.parameters())
    train(model, optimizer, range(3))
    other = adamw(model.parameters())
    other.load_state_dict(optimizer.state_dict())
    for mine in (optimizer, other):
        assert mine.state[model.head.weight]["v"].dtype == torch.float32
    assert torch.equal(optimizer.state[model.head.weight]["v"], other.state[model.head.weight]["v"])


@pytest.mark.parametrize(
    "schedule",
    [
        lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20),
        lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step),
        lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 0.1, total_steps=30, cycle_momentum=False
        ),
    ],
)
def test_schedulers_of_torch_set_the_learning_rate(model, schedule):
    theirs = trained(model, lambda p: torch.optim.AdamW(p, lr=1e-2), schedule=schedule)
    assert distance(trained(model, adamw, schedule=schedule), theirs) < 5e-6


def test_a_schedule_of_the_language_is_a_value(model):
    mine = trained(model, lambda p: adamw(p, lr="linear(0.02, warmup = 4)", steps=20))

    def schedule(optimizer):
        return torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: (step + 1) / 4 if step + 1 < 4 else (19 - step) / 16
        )

    theirs = trained(model, lambda p: torch.optim.AdamW(p, lr=0.02), schedule=schedule)
    assert distance(mine, theirs) < 5e-6


def test_the_value_of_a_schedule_stands_in_its_group(model):
    optimizer = adamw(model.parameters(), lr="linear(0.02, warmup = 4)", steps=20)
    train(model, optimizer, range(2))
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)
    optimizer.param_groups[0]["lr"] = 0.5
    with pytest.raises(NestError, match="follows a schedule of its own"):
        train(model, optimizer, range(1))


def test_groups_have_arguments_of_their_own(model):
    def groups(of_decay: str):
        return lambda p: [
            {"params": list(p)[:3], "lr": 0.05},
            {"params": list(p)[3:], of_decay: 0.0},
        ]

    def split(make, of_decay):
        return lambda p: make(groups(of_decay)(list(p)))

    theirs = trained(model, split(lambda g: torch.optim.AdamW(g, lr=1e-2), "weight_decay"))
    assert distance(trained(model, split(adamw, "decay")), theirs) < 5e-6


def test_a_group_says_that_its_matrices_are_none(model):
    rest = [weight for name, weight in model.named_parameters() if not name.startswith(("embed", "head"))]
    no_matrices = [model.embed.weight, model.head.weight, model.head.bias]
    optimizer = nestdsl.optimizer(
        "std.optim:muon", [{"params": rest}, {"params": no_matrices, "matrices": False}], compile=False
    )
    train(model, optimizer, range(2))
    assert optimizer.state[model.head.weight].keys() == {"m", "v", "step_count"}  # AdamW's
    assert optimizer.state[model.memory.weight_ih_l0].keys() == {"m", "step_count"}
    assert optimizer.state[model.memory.bias_ih_l0].keys() == {"m", "v", "step_count"}


def test_gradients_are_scaled_and_unscaled_around_it(model):
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    plain = trained(model, adamw, 5)
    optimizer = adamw(model.parameters())
    for step in range(5):
        optimizer.zero_grad()
        scaler.scale(loss_of(model, step)).backward()
        scaler.step(optimizer)
        scaler.update()
    assert distance(weights(model), plain) < 1e-5
    before = weights(model)
    optimizer.zero_grad()
    scaler.scale(loss_of(model, 0)).backward()
    model.head.bias.grad[0] = torch.inf
    scaler.step(optimizer)
    assert distance(weights(model), before) == 0


def test_what_has_no_gradient_rests(model):
    optimizer = adamw(model.parameters())
    start = model.embed.weight.detach().clone()
    model.embed.weight.requires_grad_(False)
    train(model, optimizer, range(2))
    assert torch.equal(model.embed.weight, start) and model.embed.weight not in optimizer.state
    assert optimizer.state[model.head.weight]["step_count"] == 2


def test_a_closure_gives_the_loss(model):
    optimizer = adamw(model.parameters())

    def closure():
        optimizer.zero_grad()
        loss = loss_of(model, 0)
        loss.backward()
        return loss

    first = optimizer.step(closure).item()
    assert optimizer.step(closure).item() < first


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("adamw", {}, "write `std.optim:adamw`"),
        ("std.optim:adamq", {}, "did you mean `adam`"),
        ("std.nothing:adamw", {}, "N0003"),
        ("nowhere.nest:adamw", {}, "N0003"),
        ("std.optim:adamw", {"weight_decay": 0.1}, "did you mean `decay`"),
        ("std.optim:adamw", {"lr": -1.0}, "at least 0"),
        ("std.optim:adamw", {"beta1": 1.0}, "cannot be 1"),
        ("std.optim:adamw", {"lr": float("nan")}, "finite number"),
        ("std.optim:adamw", {"lr": [0.1]}, "finite number"),
        ("std.optim:adamw", {"lr": "cosine(0.1"}, "N0"),
        ("std.optim:adamw", {"lr": "cosine(0.1)"}, "nobody said when that is"),
        ("std.optim:m3", {"period": 0}, "N0202"),
        ("mine.nest", {}, "write `mine.nest:NAME`"),
        ("std.optim:adamW", {}, "did you mean `adamw`"),
        ("std.optim:adamw", {"betas": (0.9, 0.99)}, "did you mean `beta1` and `beta2`"),
    ],
)
def test_mistakes_are_told_and_nothing_else(model, name, arguments, message):
    with pytest.raises(NestError, match=message):
        nestdsl.optimizer(name, model.parameters(), **arguments)


def test_what_a_program_is_built_from_cannot_change(model):
    optimizer = nestdsl.optimizer("std.optim:m3", model.parameters(), period=4, compile=False)
    optimizer.param_groups[0]["period"] = 8
    with pytest.raises(NestError, match="make a new optimizer"):
        train(model, optimizer, range(1))


def test_the_state_of_another_optimizer_is_refused(model):
    other = nestdsl.optimizer("std.optim:momentum", model.parameters(), compile=False)
    train(model, other, range(1))
    with pytest.raises(NestError, match="N0502"):
        adamw(model.parameters()).load_state_dict(other.state_dict())


def test_a_state_that_does_not_fit_changes_nothing():
    saved = nestdsl.optimizer("std.optim:m3", nn.Linear(32, 1).parameters(), lr=1e-2, compile=False)
    loaded = nn.Linear(32, 2)
    optimizer = nestdsl.optimizer("std.optim:m3", loaded.parameters(), lr=5e-2, compile=False)
    for one in (saved, optimizer):
        for weight in one.param_groups[0]["params"]:
            weight.grad = torch.ones_like(weight)
        one.step()
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(NestError, match=r"N0502.*other weights.*\[1, 32\].*\[2, 32\]"):
        optimizer.load_state_dict(saved.state_dict())
    assert_close(optimizer.state_dict(), before, rtol=0, atol=0)


def test_a_state_of_another_period_is_refused(model):
    saved = nestdsl.optimizer("std.optim:m3", model.parameters(), period=8, compile=False)
    train(model, saved, range(1))
    with pytest.raises(NestError, match=r"saved with `period = 8`(.|\n)*make the optimizer with `period=8`"):
        nestdsl.optimizer("std.optim:m3", model.parameters(), period=4, compile=False).load_state_dict(
            saved.state_dict()
        )


def test_a_parameter_that_was_not_declared_has_its_default(tmp_path):
    file = tmp_path / "mine.nest"
    weight = nn.Parameter(torch.ones(3, 3))
    weight.grad = torch.ones(3, 3)
    file.write_text(
        "optimizer mine(lr = 0.1) {\n level m = ema(0.9) { learn grad }\n flow update = -lr * m\n}\n"
    )
    first = nestdsl.optimizer(f"{file}:mine", [weight], compile=False)
    first.step()
    text = file.read_text().replace("lr = 0.1", "lr = 0.1, more = 2").replace("-lr", "-lr * more")
    file.write_text(text)
    second = nestdsl.optimizer(f"{file}:mine", [weight], compile=False)
    second.load_state_dict(first.state_dict())
    second.step()
    assert second.param_groups[0]["more"] == 2


def _pickled(both):
    return pickle.loads(pickle.dumps(both))  # noqa: S301 - our own bytes


@pytest.mark.parametrize("name", ["m3", "adamw"])
@pytest.mark.parametrize("copied", [copy.deepcopy, _pickled])
def test_a_copy_goes_on_as_the_original(model, name, copied):
    optimizer = nestdsl.optimizer(f"std.optim:{name}", model.parameters(), lr=1e-2)
    train(model, optimizer, range(3))
    other_model, other = copied((model, optimizer))
    train(other_model, other, range(3, 20))
    expected = [weight.detach().clone() for weight in other_model.parameters()]
    train(model, optimizer, range(3, 20))
    assert_close(list(model.parameters()), expected, rtol=0, atol=0)


def test_whether_matrices_are_some_is_a_truth(model):
    with pytest.raises(NestError, match="True or False"):
        nestdsl.optimizer("std.optim:muon", [{"params": list(model.parameters()), "matrices": "no"}])


@pytest.mark.parametrize("name", ["m3", "muon", "adamw", "lion", "delta_momentum", "dmgd", "m3_paper"])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_gradient_that_is_not_finite_shows_in_the_weight(name, bad):
    weight = nn.Parameter(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))
    optimizer = nestdsl.optimizer(f"std.optim:{name}", [weight], compile=False)
    for value in (1.0, bad, 1.0):
        weight.grad = torch.full_like(weight, 0.1)
        weight.grad[0, 0] = value
        optimizer.step()
    assert (name == "lion" and bad == torch.inf) or not bool(weight.isfinite().all())
