"""The folder of a run that somebody else has written to: damaged, altered, or with other things in it.

Whatever stands there, loading and continuing it gives a diagnostic or works; nothing waits, nothing outside
of the folder changes, and no damage goes unnoticed.
"""

import json
import math
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from nestdsl.training.loop import proceed, start
from nestdsl.training.metrics import Metrics
from nestdsl.training.progress import Quiet
from nestdsl.training.settings import Settings
from nestdsl.training.text import ByteData, read_text
from tests.plan.hostile import MARK, PAYLOADS
from tests.training.altered import alter
from tests.training.models import tiny_model

SETTINGS = Settings(
    steps=8, batch=2, tokens=16, evaluate_every=100, checkpoint_every=3, held_out_sequences=2, keep=1
)
Tensors = dict[str, torch.Tensor]
Description = dict[str, Any]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run after 6 of 8 steps."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 40)
    data = read_text(str(folder / "text.txt"))
    start(tiny_model(), data, folder / "run", SETTINGS, Quiet(), until=6)
    return folder / "run"


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "run")


@pytest.fixture(scope="module")
def data(whole: Path) -> ByteData:
    return read_text(str(whole.parent / "text.txt"))


def goes_on(run: Path, data: ByteData) -> str:
    """The code of what keeps a run from going on; empty if it does, to finite weights and whole metrics."""
    try:
        model = tiny_model()
        proceed(model, data, checkpoint.load(run), {"steps": 8}, Quiet())
    except NestError as error:
        (found,) = error.diagnostics
        assert found.message and found.code != "N0505"
        return found.code
    assert all(bool(weight.isfinite().all()) for weight in model.parameters())
    for line in (run / "metrics.jsonl").read_text().splitlines():
        assert type(json.loads(line)["step"]) is int
    return ""


@contextmanager
def no_waiting() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# --- damage --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_no_flipped_bit_goes_unnoticed(run: Path, seed: int) -> None:
    """100 bits for each seed, anywhere in the file."""
    draws = random.Random(seed)
    path = run / checkpoint.FILE
    content = path.read_bytes()
    for _ in range(100):
        flipped = bytearray(content)
        place = draws.choice((draws.randrange(len(content)), draws.randrange(2000)))
        flipped[place] ^= 1 << draws.randrange(8)
        path.write_bytes(flipped)
        with pytest.raises(NestError, match="N0502"):
            read_file(path)


@pytest.mark.parametrize("seed", range(2))
def test_no_cut_or_filled_file_goes_unnoticed(run: Path, seed: int) -> None:
    draws = random.Random(seed)
    path = run / checkpoint.FILE
    content = path.read_bytes()
    for _ in range(50):
        where, length = draws.randrange(len(content)), draws.randrange(1, 200)
        other = draws.choice(
            (
                content[:where],
                content[:where] + b"\0" * length + content[where + length :],
                content[:where] + content[where + length :],
                content[:where] + draws.randbytes(length) + content[where:],
                content + draws.randbytes(length),
            )
        )
        if other != content:
            path.write_bytes(other)
            with pytest.raises(NestError, match="N0502"):
                read_file(path)


# --- altered by somebody who writes the checksums anew ---------------------------------------

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


# --- metrics ---------------------------------------------------------------------------------

LINES = (
    b"", b"{}", b"[]", b"1", b"null", b"{", b"\xff\xfe", b"\0" * 40, b'{"step": "3"}', b'{"step": true}',
    b'{"step": -1}', b'{"step": 1.5}', b'{"step": 2, "loss": NaN}', b'{"step": 2, "loss": "x"}',
    b'{"step": 2, "loss": null}', b'{"step": 0}', b'{"step": 3}{"step": 4}', b"[" * 100_000, b"x" * (1 << 21),
    b'{"step": 2, "loss": {"a": 1}}', b'{"loss": 1}', b"1" * 5000,
)  # fmt: skip


@pytest.mark.parametrize("number", range(len(LINES)))
def test_any_line_that_is_no_record_is_named(run: Path, number: int) -> None:
    path = run / "metrics.jsonl"
    lines = path.read_bytes().splitlines()
    for place in (0, 3, len(lines)):
        before = b"\n".join((*lines[:place], LINES[number], *lines[place:])) + b"\n"
        path.write_bytes(before)
        with pytest.raises(NestError, match=f"line {place + 1}|line {place + 2}"):
            Metrics(run, 6)
        assert path.read_bytes() == before, "nothing is lost"


def test_what_a_kill_has_cut_is_dropped(run: Path) -> None:
    path = run / "metrics.jsonl"
    content = path.read_bytes()
    path.write_bytes(content + b'{"step": 7, "lo')
    with Metrics(run, 6) as written:
        assert not written.missing
        written.write(step=7, loss=1.0)
    assert path.read_bytes() == content + b'{"step": 7, "loss": 1.0}\n'


@pytest.mark.parametrize("kept", [0, 3])
def test_missing_records_are_told(run: Path, kept: int) -> None:
    path = run / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:kept]))
    with Metrics(run, 6) as written:
        assert f"has nothing of steps {kept} to 6" in written.missing


# --- other things in place of files ------------------------------------------------------------

NAMES = (
    "checkpoint.safetensors", "plan.yaml", "metrics.jsonl", ".new", ".metrics.jsonl.new",
    ".checkpoint.safetensors.new", "checkpoint-6.safetensors", "checkpoint-3.safetensors",
)  # fmt: skip


def link(path: Path, target: Path) -> None:
    path.symlink_to(target)


def dangling_link(path: Path, target: Path) -> None:
    path.symlink_to(target.with_name("nowhere"))


def link_to_a_folder(path: Path, target: Path) -> None:
    path.symlink_to(target.parent, target_is_directory=True)


def link_to_itself(path: Path, target: Path) -> None:
    path.symlink_to(path.name)


def pipe(path: Path, target: Path) -> None:
    os.mkfifo(path)


def folder(path: Path, target: Path) -> None:
    path.mkdir()
    (path / "inner").write_text("inner")
    (path / "link").symlink_to(target)


def device(path: Path, target: Path) -> None:
    path.symlink_to("/dev/zero")


def without_rights(path: Path, target: Path) -> None:
    path.touch(mode=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "thing",
    [link, dangling_link, link_to_a_folder, link_to_itself, pipe, folder, device, without_rights],
)
def test_anything_in_place_of_a_file(
    run: Path, data: ByteData, tmp_path: Path, name: str, thing: Callable[[Path, Path], None]
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    target = outside / "precious"
    target.write_text("precious")
    if os.path.lexists(run / name):
        (run / name).unlink()
    thing(run / name, target)
    with no_waiting():
        code = goes_on(run, data)
    assert code in ("", "N0003", "N0502", "N0504")
    assert [path.name for path in outside.iterdir()] == ["precious"]
    assert target.read_text() == "precious"
    if not code:
        assert not (run / name).is_symlink() or name.startswith((".m", ".c")) or "-" in name
        assert checkpoint.load(run).progress.step == 8


@pytest.mark.parametrize("thing", [link, dangling_link, pipe, folder, device])
def test_a_new_run_is_not_begun_where_anything_stands(
    data: ByteData, tmp_path: Path, thing: Callable[[Path, Path], None]
) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    for name in ("checkpoint.safetensors", "plan.yaml", "metrics.jsonl"):
        out = tmp_path / name.partition(".")[0]
        out.mkdir()
        thing(out / name, target)
        with no_waiting(), pytest.raises(NestError, match="N0504"):
            start(tiny_model(), data, out, SETTINGS, Quiet())
        assert target.read_text() == "precious"
