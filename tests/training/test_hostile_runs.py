"""The folder of a run that somebody else has written to: damaged, altered, or with other things in it.

Whatever stands there, loading and continuing it gives a diagnostic or works; nothing waits, nothing outside
of the folder changes, and no damage goes unnoticed.
"""

import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nestdsl.diagnostics import NestError
from nestdsl.training import checkpoint
from nestdsl.training.checkpoint_file import read_file
from nestdsl.training.data.text import ByteData
from nestdsl.training.loop import start
from nestdsl.training.metrics import Metrics
from nestdsl.training.progress import Reporter
from nestdsl.training.staging import alone_in
from tests.training.altered import SETTINGS, goes_on
from tests.training.models import tiny_model


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


# --- metrics ---------------------------------------------------------------------------------

LINES = (
    b"", b"{}", b"[]", b"1", b"null", b"{", b"\xff\xfe", b"\0" * 40, b'{"step": "3"}', b'{"step": true}',
    b'{"step": -1}', b'{"step": 1.5}', b'{"step": 2, "loss": NaN}', b'{"step": 2, "loss": "x"}',
    b'{"step": 2, "loss": null}', b'{"step": 0}', b'{"step": 3}{"step": 4}', b"[" * 100_000, b"x" * (1 << 21),
    b'{"step": 2, "loss": {"a": 1}}', b'{"step": 2, "loss": 1' + b"0" * 400 + b"}",
    b'{"step": 2' + b"0" * 400 + b"}",
    b'{"loss": 1}', b"1" * 5000,
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
    "checkpoint.safetensors", "plan.yaml", "metrics.jsonl", ".nestdsl-new", ".metrics.jsonl.new",
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
        assert not (run / name).is_symlink() or name.startswith((".m", ".c", "checkpoint-"))
        assert checkpoint.load(run).progress.step == 8


def test_what_is_a_users_is_left_where_it_is(data: ByteData, tmp_path: Path) -> None:
    for name in (".new", "new", "notes"):
        (tmp_path / "run" / name).mkdir(parents=True)
        (tmp_path / "run" / name / "thesis.txt").write_text("thesis")
    start(tiny_model(), data, tmp_path / "run", SETTINGS, Reporter())
    assert len(list((tmp_path / "run").rglob("thesis.txt"))) == 3


def test_two_do_not_train_in_one_folder(run: Path, data: ByteData) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    with alone_in(run):
        assert goes_on(run, data) == "N0504"
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    assert goes_on(run, data) == ""


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
            start(tiny_model(), data, out, SETTINGS, Reporter())
        assert target.read_text() == "precious"
