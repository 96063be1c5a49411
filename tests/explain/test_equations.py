"""The printed equations are those that the runtime computes: both are run, and must agree."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import nestdsl
from nestdsl.explain import attention, sections
from nestdsl.explain.section import Section
from nestdsl.runtime.kinds.attention import Attention, rotate
from nestdsl.vocabulary.terms import Equation, Symbol, T
from tests.explain.evaluate import Recurrence

MEMORY = """
model m(heads = 2) {{
  input vectors(6)
  flow k = in -> linear(6)
  flow v = in -> linear({value})
  flow q = in -> linear(6)
  flow rate = in -> linear(heads) -> sigmoid
  flow keep = in -> linear({channels}) -> sigmoid
  flow push = in -> linear(heads) -> sigmoid
  level memory = {kind} {{ learn k -> {target}  {clauses} }}
  flow y = q -> memory
  flow out = y -> linear(6)
}}
"""
TOKENS = 11

FLOWS = "step = rate, retain = keep"
FORGETTING = (
    f"every 1 token  optimizer gd({FLOWS}, forget_first = true)",
    f"every 1 token, chunk 4  optimizer gd({FLOWS}, toward = init, forget_first = true)  read anchor",
    "every 1 token  optimizer gd(step = rate, retain = 0.9, forget_first = true)  read before",
    "every 1 token  optimizer gd(step = rate, forget_first = true)",
)
CLAUSES = (
    "every 1 token",
    f"every 1 token, chunk 4  optimizer gd({FLOWS})",
    f"every 1 token, chunk 4  optimizer gd({FLOWS}, toward = init)  read before",
    "every 1 token, chunk 4  optimizer gd(step = rate, retain = 0.9, toward = init)  read anchor",
    f"every 1 token, chunk 4  objective dot  optimizer gd({FLOWS})  read anchor",
    "every 1 token  objective lp(3)  optimizer gd(step = 0.1, retain = keep)",
    f"every 1 token, chunk 4  objective lp(1.5)  optimizer momentum({FLOWS}, momentum = push)",
    "every 1 token, chunk 4  objective lp(1)  optimizer gd(step = 0.1)",
    f"every 1 token, chunk 4  optimizer dgd({FLOWS})",
    "every 1 token  optimizer dgd(step = 0.5)  read anchor",
    f"every 1 token, chunk 4  optimizer dgd({FLOWS}, momentum = push, toward = init)",
    "every 1 token  optimizer momentum(step = rate, momentum = 0.8)  read before",
    f"every 1 token, chunk 4  objective dot  optimizer dgd({FLOWS}, toward = init)",
    f"every 4 tokens  optimizer gd({FLOWS})",
    f"every 4 tokens  optimizer dgd({FLOWS}, toward = init)  read before",
    f"every 4 tokens  objective lp(3)  optimizer dgd({FLOWS}, momentum = push)  read anchor",
    f"every 4 tokens  objective dot  optimizer momentum({FLOWS}, momentum = push)",
)


def program(
    clauses: str, kind: str = "matrix(heads)", value: int = 4, target: str = "v", channels: str = "heads"
) -> str:
    return MEMORY.format(clauses=clauses, kind=kind, value=value, target=target, channels=channels)


def memory_section(nest: nestdsl.Nest) -> Section:
    (found,) = (
        one
        for one in sections(nest.nest_graph, nest.plan)
        if [member.name for member in one.members] == ["memory"]
    )
    return found


def equations_of(section: Section) -> list[Equation]:
    """All of them, but for those that say what the flows are: flows are given."""
    found = [equation for _, group in section.equations for equation in group]
    given = {Symbol(name).at(T) for name in ("k", "v", "q", "rate", "keep", "push")}
    return [equation for equation in found if equation.left not in given]


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


def both_ways(text: str) -> None:
    """Runs a memory by its module and by its equations."""
    nest = nestdsl.parse(text)
    module = nest.compile(compile=False).double().memory
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(0.5 * drawn(*weight.shape))
    sizes = nest.nest_graph.sizes
    flows = {name: 0.4 * drawn(1, TOKENS, sizes[name]) for name in ("k", "v", "q")}
    for shift, name in enumerate(("rate", "keep", "push")):
        if name in sizes:
            flows[name] = drawn(1, TOKENS + shift, sizes[name])[:, shift:].sigmoid()
    level = nest.nest_graph.level("memory")
    arguments = {}
    if level.optimizer is not None:
        arguments = {name: flows[source] for name, source in level.optimizer.flows}
        arguments |= {
            name: number
            for name, number in level.optimizer.arguments
            if name in ("step", "retain", "momentum") and number is not None
        }
    outputs, state = [], module.init_state(1)
    length = level.chunk if "learn k -> memory(v)" in text else TOKENS
    for start in range(0, TOKENS, length):
        part = slice(start, start + length)
        value = flows["v"][:, part]
        if length < TOKENS:
            value = module.peek(state, value)
        taken = {name: one[:, part] if isinstance(one, Tensor) else one for name, one in arguments.items()}
        trajectory, state = module.learn(flows["k"][:, part], value, state, **taken)
        outputs.append(module.read(trajectory, flows["q"][:, part]))
    wanted = torch.cat(outputs, 1).unflatten(-1, (2, -1))[0]
    equations = equations_of(memory_section(nest))
    for head in range(2):
        recurrence = Recurrence(equations, given(flows, module, head))
        for t in range(1, TOKENS + 1):
            found = recurrence.value(Symbol("y").at(T), {"t": t})
            torch.testing.assert_close(found[:, 0], wanted[t - 1, head], rtol=1e-9, atol=1e-10)


def given(flows: dict[str, Tensor], module: torch.nn.Module, head: int) -> dict:
    """Flows by token from 1 on, and the start, of one head."""
    found: dict = {}
    for name, flow in flows.items():
        parts = flow[0] if flow.shape[-1] == 1 else flow[0].unflatten(-1, (2, -1))[:, head]
        is_vector = name in ("k", "v", "q") or parts.shape[-1] > 1
        found[name, ""] = {(t,): part[:, None] if is_vector else part[0] for t, part in enumerate(parts, 1)}
    if hasattr(module, "inner"):
        inner, outer = module.inner[head].detach().mT, module.outer[head].detach().mT
        found["W", ""] = {(1, 0): outer, (2, 0): inner}
        found["U", ""] = {(1, 0): torch.zeros_like(outer), (2, 0): torch.zeros_like(inner)}
    else:
        weight = module.weight[head].detach()
        found["S", ""] = {(0,): weight}
        found["U", ""] = {(0,): torch.zeros_like(weight)}
    return found


@pytest.mark.parametrize("clauses", CLAUSES + FORGETTING)
def test_linear_memory(clauses: str) -> None:
    both_ways(program(clauses))


def test_retention_per_channel() -> None:
    for toward in ("zero", "init"):
        both_ways(
            program(f"every 1 token  objective dot  optimizer gd({FLOWS}, toward = {toward})", channels="6")
        )
        for more in ("", ", forget_first = true"):
            clauses = f"every 1 token, chunk 4  optimizer gd({FLOWS}, toward = {toward}{more})"
            both_ways(program(clauses, channels="6"))


@pytest.mark.parametrize("clauses", CLAUSES)
@pytest.mark.parametrize("value", [4, 6])
def test_two_layer_memory(clauses: str, value: int) -> None:
    both_ways(program(clauses, "associative(heads, hidden = 5)", value))


@pytest.mark.parametrize("kind", ["matrix(heads)", "associative(heads)"])
@pytest.mark.parametrize(
    "every", ["1 token", "1 token, chunk 4", "4 tokens", "4 tokens, chunk 4", "2 tokens, chunk 4"]
)
def test_memory_that_makes_its_own_targets(kind: str, every: str) -> None:
    both_ways(program(f"every {every}  optimizer dgd({FLOWS})", kind, 6, "memory(v)"))


@pytest.mark.parametrize(
    "arguments",
    [
        *({"window": window} for window in (None, 1, 3)),
        {"segment": 1},
        {"segment": 4},
        {"segment": 4, "persistent": 2, "pairs": 2},
        {"persistent": 3},
        {"window": 3, "pairs": 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("rotary", [True, False])
def test_attention(arguments: dict, rotary: bool) -> None:
    k, v, q = (Symbol(name) for name in "kvq")
    equations = attention.read(q, Symbol("y"), k, v, 4, attention.Reach(rotary=rotary, **arguments))
    module = Attention(4, 3, rotary=rotary, **arguments).double()
    pairs = arguments.get("pairs", 1)
    flows = {
        "k": drawn(1, TOKENS, 4 * pairs),
        "v": drawn(1, TOKENS, 3 * pairs),
        "q": drawn(1, TOKENS + 1, 4)[:, 1:],
    }
    values = {
        (name, ""): {(t,): x[:, None] for t, x in enumerate(flow[0], 1)} for name, flow in flows.items()
    }
    if pairs > 1:
        for name in ("k", "v"):
            values[name, ""] = {
                (t, j): part
                for (t,), x in values[name, ""].items()
                for j, part in enumerate(x.chunk(pairs), 1)
            }
    if module.persistent:
        for name, weight in (("K", module.persistent_key), ("V", module.persistent_value)):
            with torch.no_grad():
                weight.copy_(drawn(*weight.shape))
            values[name, ""] = {(n,): x[:, None] for n, x in enumerate(weight.detach(), 1)}
    context, _ = module.learn(flows["k"], flows["v"], module.init_state(1, dtype=torch.float64))
    wanted = module.read(context, flows["q"])[0].detach()
    turns = rotate(torch.eye(4, dtype=torch.float64).expand(TOKENS, 4, 4)[None], torch.tensor(0))[0]
    values["R", ""] = {(t,): turn.mT for t, turn in enumerate(turns, 1)}
    recurrence = Recurrence(equations, values)
    for t in range(1, TOKENS + 1):
        found = recurrence.value(Symbol("y").at(T), {"t": t})[:, 0]
        torch.testing.assert_close(found, wanted[t - 1], rtol=1e-9, atol=1e-10)
