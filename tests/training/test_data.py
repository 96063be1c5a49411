"""Sources of text, the held-out part, and the draws."""

import dataclasses
import os
import random
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nestdsl.diagnostics import NestError
from nestdsl.plan.plan import InputPlan
from nestdsl.training.data import text_files
from nestdsl.training.data.sources import read_data
from nestdsl.training.data.text import ByteData, read_text, split
from nestdsl.training.data.text_files import Text, Texts, read_texts
from tests.training.models import tiny_model


def errors(code: str, call) -> str:
    """The message and hint of the one diagnostic that `call` raises."""
    with pytest.raises(NestError) as raised:
        call()
    (diagnostic,) = raised.value.diagnostics
    assert diagnostic.code == code
    return f"{diagnostic.message}; {diagnostic.hint}"


def pair(data: ByteData, count: int, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    (part,) = data.held_out(count, tokens)
    return part.inputs, part.targets


def joined(files: Iterable[tuple[str, bytes]]) -> Texts:
    """Texts as they are read, one after another."""
    whole, texts = bytearray(), []
    for name, content in files:
        texts.append(Text(name, len(whole), len(whole) + len(content)))
        whole += content
    return Texts(whole, tuple(texts))


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_a_file_holds_out_its_last_tenth(tmp_path) -> None:
    content = bytes(range(100, 120)) * 5
    data = read_text(str(write(tmp_path, {"a.txt": content}) / "a.txt"))
    assert bytes(data.train) == content[:90]
    assert bytes(data.held_out_text) == content[90:]


def test_a_folder_is_read_by_name_without_hidden_and_binary_files(tmp_path) -> None:
    files = {
        "b/two.txt": b"two",
        "a.md": "eins é".encode(),
        "b-.txt": b"dash",
        ".hidden": b"no",
        ".git/config": b"no",
        "picture.png": b"\x89PNG\0",
        "nul.txt": b"a\0b",
    }
    texts = read_texts(str(write(tmp_path, files)))
    assert texts.skipped == 2
    assert str(read_data(str(tmp_path))) == (
        f"{tmp_path}: 14 bytes in 3 files, 1 of them held out; 2 files skipped, not text"
    )
    assert [text.name for text in texts.texts] == ["a.md", "b-.txt", "b/two.txt"]


def test_the_library_of_this_machine_is_always_there() -> None:
    texts = read_texts("stdlib")
    names = [text.name for text in texts.texts]
    assert names == sorted(names)
    assert {"ast.py", "json/decoder.py"} <= set(names)
    assert not any("site-packages" in name or name.startswith(("test/", "idlelib/")) for name in names)
    data = read_text("stdlib")
    assert data.fingerprint == read_data("stdlib").fingerprint
    assert 0.05 <= len(data.held_out_text) / (len(data.train) + len(data.held_out_text)) <= 0.15


def test_sources_that_cannot_be_read(tmp_path, monkeypatch) -> None:
    assert "not found: `no/such`" in errors("N0003", lambda: read_data("no/such"))
    binary = write(tmp_path, {"x.bin": b"\x89PNG\xff"}) / "x.bin"
    assert "not UTF-8 text: byte 0x89 at offset 0" in errors("N0003", lambda: read_data(str(binary)))
    assert "no text file in" in errors("N0501", lambda: read_data(str(tmp_path)))
    os.mkfifo(tmp_path / "pipe")
    assert "is a pipe, not a file" in errors("N0003", lambda: read_data(str(tmp_path / "pipe")))
    with monkeypatch.context() as patch:
        patch.setattr(text_files, "open_file", _forbidden)
        assert "Permission denied" in errors("N0003", lambda: read_data(str(binary)))
        assert "Permission denied" in errors("N0003", lambda: read_data(str(tmp_path)))
        patch.setattr(os, "scandir", _forbidden)
        assert "Permission denied" in errors("N0003", lambda: read_data(str(tmp_path)))
    monkeypatch.setattr(text_files, "MOST_BYTES", 4)
    long = write(tmp_path, {"long": b"five."}) / "long"
    assert "more than 4 bytes" in errors("N0004", lambda: read_data(str(long)))
    assert "more than 4 bytes" in errors("N0004", lambda: read_data(str(tmp_path)))


def _forbidden(path):
    raise PermissionError(13, "Permission denied", str(path))


@pytest.mark.parametrize(
    ("size", "part", "has"), [(0, "training", 0), (12, "training", 11), (100, "held-out", 10)]
)
def test_text_shorter_than_a_sequence_says_how_much_is_needed(tmp_path, size, part, has) -> None:
    data = read_data(str(write(tmp_path, {"a.txt": b"x" * size}) / "a.txt"))
    text = errors("N0501", lambda: data.verify(16, tiny_model().plan))
    assert f"the {part} part" in text
    assert f"has {has} bytes; a sequence of 16 tokens needs 17" in text
    assert "--tokens" in text


def test_a_model_that_does_not_read_bytes_is_refused() -> None:
    data = ByteData("x", torch.zeros(99, dtype=torch.uint8), torch.zeros(99, dtype=torch.uint8), "")
    fits = tiny_model(size=300, output=300).plan
    data.verify(8, fits)
    vectors = dataclasses.replace(fits, input=InputPlan("vectors", 300))
    squares = dataclasses.replace(fits, train=dataclasses.replace(fits.train, objective="mse"))
    for plan in (vectors, squares, tiny_model(size=100).plan, tiny_model(output=128).plan):
        assert "256" in errors("N0501", lambda plan=plan: data.verify(8, plan))


files_of_a_folder = st.dictionaries(
    st.text("abcdef/", min_size=1, max_size=6), st.just(0) | st.integers(8, 400), min_size=1, max_size=40
)


@given(files_of_a_folder, st.integers(1, 12), st.integers(0, 5))
def test_no_training_sequence_holds_a_held_out_byte(sizes, tokens, seed) -> None:
    texts = {name: random.Random(name).randbytes(size) for name, size in sizes.items()}
    train, held_out = map(bytes, split(joined(texts.items())))
    if len(texts) < 20:
        assert train + held_out == b"".join(texts.values())
    else:  # each file is whole in one part or the other
        left = {True: train, False: held_out}
        for content in texts.values():
            part = left[True].startswith(content)
            assert left[part].startswith(content)
            left[part] = left[part][len(content) :]
        assert left == {True: b"", False: b""}
    if min(len(train), len(held_out)) <= tokens:
        return
    data = ByteData(
        "x", *(torch.frombuffer(bytearray(part), dtype=torch.uint8) for part in (train, held_out)), ""
    )
    for (inputs, targets), part, count in (
        (data.batch(1, seed, 16, tokens), train, 16),
        (pair(data, 5, tokens), held_out, min(5, (len(held_out) - 1) // tokens)),
    ):
        assert inputs.shape == targets.shape == (count, tokens)
        for first, row in zip(inputs[:, 0].tolist(), targets.tolist(), strict=True):
            assert bytes([first, *row]) in part
        assert torch.equal(inputs[:, 1:], targets[:, :-1])


def test_many_files_hold_out_whole_files_and_never_a_great_one() -> None:
    texts = [(f"{index}.py", bytes([index]) * (1000 if index != 7 else 20000)) for index in range(40)]
    train, held_out = map(bytes, split(joined(texts)))
    assert not set(train) & set(held_out)
    assert 7 not in held_out
    assert 0.05 <= len(held_out) / len(train + held_out) <= 0.1
    random.Random(0).shuffle(texts)
    assert set(split(joined(texts))[1]) == set(held_out)


def test_draws_depend_on_seed_and_step_alone() -> None:
    data = ByteData("x", torch.arange(200, dtype=torch.uint8), torch.zeros(9, dtype=torch.uint8), "")
    first = data.batch(3, 1, 4, 8)
    torch.rand(5)
    assert torch.equal(data.batch(3, 1, 4, 8)[0], first[0])
    assert not torch.equal(data.batch(4, 1, 4, 8)[0], first[0])
    assert not torch.equal(data.batch(3, 2, 4, 8)[0], first[0])


def test_the_last_byte_of_either_part_can_be_a_target() -> None:
    data = ByteData("x", torch.arange(10, dtype=torch.uint8), torch.arange(10, dtype=torch.uint8), "")
    assert int(data.batch(1, 0, 4, 9)[1].max()) == 9
    assert {int(data.batch(step, 0, 8, 4)[1].max()) for step in range(9)} == {9}
    assert int(pair(data, 2, 4)[1].max()) == 9
