"""Checkpoints that somebody has altered, with checksums of their own: refused with a code, or as they say."""

import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import nestdsl
from nestdsl.cli.main import main
from nestdsl.diagnostics import NestError
from nestdsl.runtime.step_levels import StepLevels
from nestdsl.training import checkpoint
from nestdsl.training.checkpoint_file import read_file
from nestdsl.training.data.text import ByteData
from nestdsl.training.donor import take_weights
from tests.plan.hostile import MARK, PAYLOADS
from tests.training.altered import Description, Tensors, alter, goes_on
from tests.training.models import tiny_model

# --- altered by somebody who computes the checksums again ---------------------------------------

VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 2**63, 10**400, 1e308, -0.0, "", "x", "\x1b[2J", "7", [], [1], {}, {"a": 1},
)  # fmt: skip


def places(data: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    if isinstance(data, dict):
        for key, part in data.items():
            yield from places(part, (*place, key))


def put(data: Any, place: tuple[Any, ...], value: Any) -> None:
    for step in place[:-1]:
        data = data[step]
    data[place[-1]] = value


@pytest.mark.parametrize("seed", range(4))
def test_settings_and_progress_of_any_kind(run: Path, data: ByteData, seed: int) -> None:
    """60 alterations for each seed: another value, a field less, a field more."""
    draws = random.Random(seed)
    original = (run / checkpoint.FILE).read_bytes()
    model = tiny_model()
    codes: set[str] = set()
    for _ in range(60):
        (run / checkpoint.FILE).write_bytes(original)

        def change(tensors: Tensors, description: Description) -> None:
            del tensors
            place = draws.choice(list(places(description))[1:])
            match draws.randrange(4):
                case 0:
                    put(description, (*place[:-1], "more"), draws.choice(VALUES))
                case 1:
                    inner = description if len(place) == 1 else description[place[0]]
                    inner.pop(place[-1], None)
                case _:
                    put(description, place, draws.choice(VALUES))

        alter(run / checkpoint.FILE, change)
        try:
            loaded = checkpoint.load(run)
            loaded.apply(model, StepLevels(model))
        except NestError as error:
            codes.update(one.code for one in error.diagnostics)
            continue
        loaded.settings.verify()
        assert 0 <= loaded.progress.step <= loaded.settings.steps
        assert all(math.isfinite(value) for value in loaded.progress.before.values())
    assert codes == {"N0502"}


def remove(tensors: Tensors, name: str) -> None:
    del tensors[name]


def reshape(tensors: Tensors, name: str) -> None:
    tensors[name] = torch.stack([tensors[name], tensors[name]])


def convert(tensors: Tensors, name: str) -> None:
    tensors[name] = tensors[name].to(torch.float16 if tensors[name].is_floating_point() else torch.int32)


def rename(tensors: Tensors, name: str) -> None:
    tensors[f"{name}_"] = tensors.pop(name)


def move(tensors: Tensors, name: str) -> None:
    tensors[f"other.{name}"] = tensors.pop(name)


def poison(tensors: Tensors, name: str) -> None:
    if name.startswith("model."):
        tensors[name].view(-1)[-1] = math.nan
    else:
        remove(tensors, name)


def explode(tensors: Tensors, name: str) -> None:
    if name.startswith("model."):
        tensors[name].view(-1)[0] = -math.inf
    else:
        reshape(tensors, name)


def recount(tensors: Tensors, name: str) -> None:
    if name.endswith("step_count"):
        tensors[name] += 1
    else:
        rename(tensors, name)


CHANGES = (remove, reshape, convert, rename, move, poison, explode, recount)


@pytest.mark.parametrize("change", CHANGES)
def test_every_tensor_altered_in_every_way_is_refused(
    run: Path, change: Callable[[Tensors, str], None]
) -> None:
    original = (run / checkpoint.FILE).read_bytes()
    model = tiny_model()
    names = list(read_file(run / checkpoint.FILE).tensors)
    assert len(names) > 30
    for name in names:
        (run / checkpoint.FILE).write_bytes(original)
        alter(run / checkpoint.FILE, lambda tensors, _, name=name: change(tensors, name))
        with pytest.raises(NestError, match="N0502"):
            checkpoint.load(run).apply(model, StepLevels(model))


def test_all_state_of_the_optimizers_removed(run: Path) -> None:
    def change(tensors: Tensors, _: Description) -> None:
        for name in [name for name in tensors if name.startswith("optimizer.")]:
            del tensors[name]

    alter(run / checkpoint.FILE, change)
    model = tiny_model()
    with pytest.raises(NestError, match="has moved 0 times in 6 steps"):
        checkpoint.load(run).apply(model, StepLevels(model))


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_plan_with_another_program_in_its_names_runs_nothing(run: Path, payload: str) -> None:
    """Names of a result, of a memory and of a level, with text that would end a comment or a string."""

    def change(_: Tensors, description: Description) -> None:
        plan = yaml.safe_load(description["plan"])
        program = plan["train"]["optimizer"]["program"]
        draws.choice((program["lines"][0], program["memories"][0], plan["bodies"][-1]["levels"][0])).update(
            dict.fromkeys(("result", "name", "attribute"), payload)
        )
        description["plan"] = yaml.safe_dump(plan, sort_keys=False)

    draws = random.Random(payload)
    alter(run / checkpoint.FILE, change)
    with pytest.raises(NestError, match="N0502"):
        nestdsl.resume(out=run, steps=8, quiet=True)
    assert not (run.parent / MARK).exists()


def test_weights_that_are_not_finite_are_refused_by_eval(run: Path, capsys: Any) -> None:
    alter(run / checkpoint.FILE, lambda tensors, _: poison(tensors, "model.head.weight"))
    assert main(["eval", str(run), "--quiet"]) == 1
    assert "`head.weight` has numbers that are not finite" in capsys.readouterr().err


# --- altered, and run to the end ---------------------------------------------------------------


def outcomes(run: Path, data: ByteData, capsys: Any) -> set[int | str]:
    """How the commands that read a run end, and going on with it."""
    source = str(run.parent / "text.txt")
    Path(source).write_text("the quick brown fox jumps over the lazy dog. " * 40)
    ends: set[int | str] = {
        main(["eval", str(run), "--quiet", "--data", source, "--sequences", "2"]),
        main(["generate", str(run), "--prompt", "the", "--tokens", "2"]),
        goes_on(run, data),
    }
    capsys.readouterr()
    return ends


FIELDS = {
    "precision": (("progress", "precision"), ("x", "float64", "\x1b[2J", "auto")),
    "figures": (("progress", "before"), ({}, {"zzz": 1.0}, {"held_out_exact_match": 1.0})),
}


@pytest.mark.parametrize("name", FIELDS)
def test_what_is_used_only_later_is_checked(run: Path, data: ByteData, capsys: Any, name: str) -> None:
    place, values = FIELDS[name]
    original = (run / checkpoint.FILE).read_bytes()
    for value in values:
        (run / checkpoint.FILE).write_bytes(original)
        alter(run / checkpoint.FILE, lambda _, description, value=value: put(description, place, value))
        ends = outcomes(run, data, capsys)
        assert "N0502" in ends and ends <= {0, 1, "N0502"}


def test_weights_that_make_what_is_not_finite(run: Path, data: ByteData, capsys: Any) -> None:
    def change(tensors: Tensors, _: Description) -> None:
        tensors["model.embed.weight"].fill_(3e38)
        tensors["model.head.weight"].fill_(3e38)

    alter(run / checkpoint.FILE, change)
    for command in (
        ["eval", str(run), "--quiet"],
        ["generate", str(run), "--prompt", "the", "--tokens", "2"],
    ):
        assert main(command) == 1
        assert "error[N0505]" in capsys.readouterr().err


PLANS = {
    "a number of 9,000 hexadecimal digits": ("format: 4", f"format: 0x{'f' * 9000}"),
    "such a parameter": ("dim: 8", f"dim: 0x{'f' * 9000}"),
    "a number of base 60": ("dim: 8", f"dim: {':'.join(['1'] * 3000)}"),
    "other heads": ("heads: 2", "heads: 1000"),
    "a size that is too large": ("dim: 8", "dim: 9223372036854775807"),
    "a larger table": ("output_size: 8", "output_size: 2097152"),
    "an output that is the input": ("output: out", "output: in_"),
}


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_that_contradicts_itself_is_refused(run: Path, data: ByteData, capsys: Any, name: str) -> None:
    before, after = PLANS[name]

    def change(_: Tensors, description: Description) -> None:
        assert before in description["plan"]
        description["plan"] = description["plan"].replace(before, after)

    alter(run / checkpoint.FILE, change)
    assert outcomes(run, data, capsys) == {1, "N0502"}


@pytest.mark.parametrize(
    "dtype", [torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn, torch.float16, torch.float64]
)
def test_a_donor_of_another_type_is_refused(run: Path, dtype: torch.dtype) -> None:
    def change(tensors: Tensors, _: Description) -> None:
        for name, tensor in tensors.items():
            if name.startswith("model."):
                tensors[name] = tensor.to(dtype)

    alter(run / checkpoint.FILE, change)
    with pytest.raises(NestError, match="N0502"):
        take_weights(tiny_model(), checkpoint.load(run))


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_donor_that_is_not_finite_or_has_more_is_refused(run: Path, number: float) -> None:
    original = (run / checkpoint.FILE).read_bytes()
    alter(run / checkpoint.FILE, lambda tensors, _: tensors["model.head.bias"].fill_(number))
    with pytest.raises(NestError, match="not finite in the donor"):
        take_weights(tiny_model(), checkpoint.load(run))
    (run / checkpoint.FILE).write_bytes(original)
    alter(run / checkpoint.FILE, lambda tensors, _: tensors.update({"model.more": torch.zeros(1)}))
    with pytest.raises(NestError, match="of none of its levels"):
        take_weights(tiny_model(), checkpoint.load(run))


def test_a_state_that_is_not_a_number_is_refused(run: Path) -> None:
    name = next(name for name in read_file(run / checkpoint.FILE).tensors if name.endswith(".m"))
    alter(run / checkpoint.FILE, lambda tensors, _: tensors[name].fill_(math.nan))
    model = tiny_model()
    with pytest.raises(NestError, match="has what is not a number"):
        checkpoint.load(run).apply(model, StepLevels(model))
