"""How weights begin: the distribution of every start for every kind, and which numbers the seed gives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import nestdsl
from nestdsl.runtime.kinds import LAYERS, Associative, Matrix
from nestdsl.runtime.kinds.weights import Start, initialize, normal
from nestdsl.vocabulary.signatures import LIBRARY, STARTS
from nestdsl.vocabulary.starts import LEARNED

SIZE, HEADS, HIDDEN, WIDTH = 128, 2, 96, 4
ARGUMENTS: dict[str, dict] = {
    "embedding": {"dim": SIZE},
    "linear": {},
    "mlp": {"hidden": HIDDEN},
    "low_rank": {"rank": HIDDEN},
    "conv": {"width": WIDTH},
    "matrix": {"heads": HEADS},
    "associative": {"heads": HEADS, "hidden": HIDDEN},
}
LEARNED_DEVIATION = {
    ("embedding", "weight"): 1.0,
    ("linear", "weight"): SIZE**-0.5,
    ("mlp", "up.weight"): SIZE**-0.5,
    ("mlp", "down.weight"): HIDDEN**-0.5,
    ("low_rank", "down.weight"): SIZE**-0.5,
    ("low_rank", "up.weight"): 0.02,
    ("conv", "weight"): WIDTH**-0.5 / 3**0.5,
    ("matrix", "weight"): (SIZE // HEADS) ** -0.5,
    ("associative", "inner"): (SIZE // HEADS) ** -0.5,
    ("associative", "outer"): 0.02,
}
LAST = {"mlp": "down.weight", "low_rank": "up.weight", "associative": "outer"}
"""Of kinds with two matrices, the one that makes what the level gives."""
NUMBERS = {"normal": 0.3, "uniform": 0.3, "orthogonal": 0.3, "scaled": 0.25}


def layer(kind: str, start: Start | str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return LAYERS[kind](SIZE, SIZE, **ARGUMENTS[kind], init=start)


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: one.detach() for name, one in module.named_parameters() if not name.endswith("bias")}


def said(word: str) -> Start:
    return Start(word, NUMBERS.get(word))


CASES = [(kind, word) for kind in ARGUMENTS for word in (LEARNED, *LIBRARY.kinds[kind].starts)]


@pytest.mark.parametrize(("kind", "word"), CASES)
def test_every_kind_starts_as_it_says(kind: str, word: str) -> None:
    module, own = layer(kind, said(word)), layer(kind, LEARNED)
    for name, one in module.named_parameters():
        if name.endswith("bias"):
            assert not one.any()
    for name, weight in weights(module).items():
        learned, deviation = weights(own)[name], LEARNED_DEVIATION[kind, name]
        is_first = kind in LAST and name != LAST[kind]
        if word == LEARNED or (is_first and word in ("zeros", "identity", "scaled")):
            torch.testing.assert_close(weight.std().item(), deviation, rtol=0.06, atol=0)
            assert torch.equal(weight, learned)
        elif word == "scaled":
            torch.testing.assert_close(weight, 0.25 * learned)
        elif word == "zeros":
            assert not weight.any()
        elif word == "normal":
            torch.testing.assert_close(weight.std().item(), 0.3, rtol=0.06, atol=0)
            assert weight.abs().max() > 0.7
        elif word == "uniform":
            torch.testing.assert_close(weight.std().item(), 0.3 / 3**0.5, rtol=0.06, atol=0)
            assert 0.29 < weight.abs().max() <= 0.3
        elif word == "orthogonal":
            small = min(weight.shape[-2:])
            square = weight.mT @ weight if weight.shape[-1] == small else weight @ weight.mT
            torch.testing.assert_close(square, (0.09 * torch.eye(small)).expand_as(square))
        else:
            assert word == "identity"


def read(module: nn.Module, x: Tensor) -> Tensor:
    if hasattr(module, "init_state"):
        return module(x, module.init_state(x.shape[0]))[0]  # type: ignore[operator]
    return module(x)


@pytest.mark.parametrize("kind", [kind for kind in ARGUMENTS if "identity" in LIBRARY.kinds[kind].starts])
def test_an_identity_gives_what_it_reads(kind: str) -> None:
    x = torch.randn(2, 5, SIZE)
    assert torch.equal(read(layer(kind, "identity"), x), x)
    assert not torch.equal(read(layer(kind, LEARNED), x), x)


@pytest.mark.parametrize("kind", ["linear", "mlp", "conv", "matrix"])
def test_a_scaled_start_gives_so_many_times_as_much(kind: str) -> None:
    x = torch.randn(2, 5, SIZE)
    own, scaled = (read(layer(kind, start), x) for start in (LEARNED, Start("scaled", 0.25)))
    torch.testing.assert_close(scaled, 0.25 * own)


@pytest.mark.parametrize("kind", ["associative", "low_rank"])
def test_a_scaled_residual_adds_so_many_times_as_much(kind: str) -> None:
    x = torch.randn(2, 5, SIZE)
    own, scaled = (read(layer(kind, start), x) - x for start in (LEARNED, Start("scaled", 0.25)))
    torch.testing.assert_close(scaled, 0.25 * own, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["mlp", "low_rank", "associative"])
@pytest.mark.parametrize("word", ["zeros", "scaled"])
def test_two_matrices_never_start_where_no_gradient_passes(kind: str, word: str) -> None:
    module = layer(kind, Start(word, 0.0 if word == "scaled" else None))
    x = torch.randn(2, 5, SIZE)
    y = read(module, x)
    assert torch.equal(y, torch.zeros_like(x) if kind == "mlp" else x)
    (y * torch.randn_like(y)).sum().backward()
    last = dict(module.named_parameters())[LAST[kind]].grad
    assert last is not None
    assert last.any()


@pytest.mark.parametrize("shape", [(5, 5), (9, 4), (4, 9)])
def test_orthogonal_is_that_of_torch(shape: tuple[int, int]) -> None:
    weight, theirs = torch.empty(shape), torch.empty(shape)
    torch.manual_seed(3)
    nn.init.orthogonal_(theirs, gain=1.5)
    torch.manual_seed(3)
    initialize(weight, Start("orthogonal", 1.5), normal(1.0))
    torch.testing.assert_close(weight, theirs)


@pytest.mark.parametrize("shape", [(3,), (4, 4), (2, 16, 16)])
def test_every_start_takes_the_same_numbers_from_the_generator(shape: tuple[int, ...]) -> None:
    """So what is drawn after it is the same, and another start of one level changes no other."""
    found = []
    for word in STARTS:
        if len(shape) == 1 and word in ("orthogonal", "identity"):
            continue
        torch.manual_seed(5)
        initialize(torch.empty(shape), said(word), Start("uniform", 0.1))
        found.append(torch.rand(4))
    assert all(torch.equal(one, found[0]) for one in found)


PROGRAM = """
model whole {{
  input vectors(8)
  level a = {kind} {{ {clauses} }}
  level b[2] = linear
  flow out = in -> a -> b
}}
"""
MEMORY = "learn in -> (in -> linear)  every 1 token  "


@pytest.mark.parametrize(
    ("kind", "clauses", "starts"),
    [
        ("linear", "", "zeros normal uniform(0.1) identity orthogonal scaled(0.5) learned(identity)"),
        ("mlp", "", "zeros normal uniform(0.1) orthogonal scaled(0.5)"),
        ("attention(2)", "", "zeros normal uniform(0.1) orthogonal scaled(0.5)"),
        ("matrix(2)", MEMORY, "zeros normal uniform(0.1) identity orthogonal scaled(2) learned(zeros)"),
        ("associative(2)", MEMORY, "zeros normal uniform(0.1) identity orthogonal scaled(2)"),
    ],
)
def test_the_start_of_one_level_changes_no_other(kind: str, clauses: str, starts: str) -> None:
    def built(init: str) -> dict[str, Tensor]:
        nest = nestdsl.parse(PROGRAM.format(kind=kind, clauses=f"{clauses} {init}"))
        return nest.compile(compile=False, seed=7).state_dict()

    plain = built("")
    for init in starts.split():
        other = built(f"init {init}")
        for name in plain:
            if name.startswith("b_"):
                assert torch.equal(plain[name], other[name]), init


@pytest.mark.parametrize(
    ("init", "is_trained", "is_saved"),
    [
        ("learned", True, True),
        ("scaled(2)", True, True),
        ("learned(scaled(2))", True, True),
        ("learned(zeros)", True, True),
        ("learned(identity)", True, True),
        ("learned(normal(0.3))", True, True),
        ("learned(uniform(0.3))", True, True),
        ("learned(orthogonal)", True, True),
        ("zeros", False, False),
        ("identity", False, False),
        ("normal(0.3)", False, True),
        ("uniform(0.3)", False, True),
        ("orthogonal", False, True),
    ],
)
@pytest.mark.parametrize("kind", ["matrix(2)", "associative(2)"])
def test_the_start_of_a_memory_is_trained_or_fixed(
    kind: str, init: str, is_trained: bool, is_saved: bool
) -> None:
    nest = nestdsl.parse(PROGRAM.format(kind=kind, clauses=f"{MEMORY} init {init}"))
    model = nest.compile(compile=False)
    module = model.get_submodule("a")
    assert bool(list(module.parameters())) is is_trained
    assert bool(module.state_dict()) is (is_saved or kind != "matrix(2)")
    [level] = [level for level in nest.plan.levels if level.name == "a"]
    assert level.parameters == sum(weight.numel() for weight in module.parameters())
    out, _ = model(torch.randn(2, 6, 8))
    out.square().sum().backward()
    for name, weight in module.named_parameters():
        assert weight.grad is not None
        assert weight.grad.any(), name


def test_what_the_state_of_a_memory_starts_at() -> None:
    for trained in (True, False):
        zeros, identity = (
            Matrix(8, 8, heads=2, init=Start(word, trained=trained)).init_state(3)["matrix"]
            for word in ("zeros", "identity")
        )
        assert not zeros.any()
        assert torch.equal(identity, torch.eye(4).expand(3, 2, 4, 4))
        state = Associative(8, 8, heads=2, init=Start("identity", trained=trained)).init_state(3)
        assert not state["outer"].any()
        assert state["inner"].any()


def test_a_start_reads_as_the_identity_whether_or_not_it_is_trained() -> None:
    query = torch.randn(2, 5, 8)
    for start in (Start("identity"), Start("identity", trained=True)):
        torch.testing.assert_close(Matrix(8, 8, heads=2, init=start).start(query), query)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Start("ones"), "unknown init 'ones'"),
        (lambda: Start("uniform"), "needs its bound"),
        (lambda: Start("scaled"), "needs its factor"),
        (lambda: LAYERS["linear"](4, 6, init="identity"), "equal sizes, not 6 and 4"),
        (lambda: LAYERS["associative"](4, 6, init="identity"), "equal sizes, not 4 and 6"),
        (lambda: Matrix(4, 6, heads=2, init="identity"), "equal sizes, not 2 and 3"),
    ],
)
def test_starts_that_cannot_be_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
