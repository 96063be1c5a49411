"""Small models with levels of several periods, for the tests of training."""

import torch
from torch import nn

from nestdsl.plan.plan import (
    Body,
    Clock,
    Costs,
    InputPlan,
    Instruction,
    LevelPlan,
    OptimizerPlan,
    OrderedLevel,
    Plan,
    TrainPlan,
)

ADAMW = OptimizerPlan(
    "adamw",
    (("lr", 1e-2), ("beta1", 0.9), ("beta2", 0.999), ("eps", 1e-8), ("decay", 0.01), ("reduce", "mean")),
)


def changed(optimizer: OptimizerPlan, **arguments) -> OptimizerPlan:
    return OptimizerPlan(optimizer.name, tuple({**dict(optimizer.arguments), **arguments}.items()))


def level(name, kind, *, period=1, optimizer=None, frozen=False, unit="step", owner=""):
    return OrderedLevel(
        name=name,
        kind=kind,
        rank=1,
        frequency="",
        unit=unit,
        period=period,
        learns="surprise",
        copies=1,
        modules=(name,),
        optimizer=optimizer,
        frozen=frozen,
        owner=owner,
    )


class FakeModel(nn.Module):
    def __init__(self, plan: Plan, seed: int = 0) -> None:
        super().__init__()
        self.plan = plan
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            self.embed = nn.Embedding(plan.input.size, 8)
            self.slow = nn.Linear(8, 8)
            self.still = nn.Linear(8, 8)
            self.head = nn.Linear(8, plan.output_size)

    def forward(self, x, state=None):
        before = state["sum"] if state else torch.zeros(x.shape[0], 1, 8)
        h = self.embed(x)
        total = before + h.cumsum(1)
        h = nn.functional.dropout(h, 0.1, self.training)
        return self.head(self.still(h + torch.tanh(self.slow(total)))), {"sum": total[:, -1:]}

    def loss(self, inputs, targets):
        return nn.functional.cross_entropy(self(inputs)[0].flatten(0, 1), targets.flatten())

    def level_parameters(self, level):
        return {
            f"{path}.{name}": parameter
            for path in level.modules
            for name, parameter in self.get_submodule(path).named_parameters()
        }


def plan_of(levels, train=ADAMW, takes="ids", size=256, output=256, period_steps=1):
    instructions = (
        Instruction("h", "read", "embed", ("in",)),
        Instruction("s", "read", "slow", ("h",)),
        Instruction("t", "read", "still", ("s",)),
        Instruction("o", "read", "head", ("t",)),
        Instruction("p", "function", "tanh", ("o",)),
        Instruction("out", "function", "multiply", (2.0, "p")),
    )
    built = tuple(LevelPlan(each.name, each.name, each.kind, (), 8, 8) for each in levels)
    body = Body("tiny", "tiny", 8, output, built, (), instructions, "out")
    return Plan(
        1,
        "tiny",
        "tiny.nest",
        (("dim", 8),),
        InputPlan(takes, size),
        output,
        TrainPlan("cross_entropy", period_steps, train),
        tuple(levels),
        Clock(1, 4, (), ()),
        Costs(0, 0, 0, 0, 0, 0, 0, 0, 0),
        (body,),
    )


def tiny_model(slow_period=4, slow_optimizer=None, seed=0, **changes) -> FakeModel:
    """`embed` and `head` move every step, `slow` every `slow_period` steps, `still` never."""
    levels = (
        level("embed", "embedding"),
        level("slow", "linear", period=slow_period, optimizer=slow_optimizer),
        level("still", "linear", frozen=True),
        level("head", "linear"),
    )
    return FakeModel(plan_of(levels, **changes), seed)
