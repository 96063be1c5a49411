"""Files of weights whose headers nobody should believe: each is read, or refused with a reason, at once."""

import json
import random
import struct

import pytest

from nestdsl.compiler import analyse
from nestdsl.syntax.files import read_source
from nestdsl.weights import Stored, UnreadableError, find, stored

HEADER = {
    "__metadata__": {"format": "pt"},
    "l.weight": {"dtype": "F32", "shape": [8, 8], "data_offsets": [0, 256]},
    "l.bias": {"dtype": "F32", "shape": [8], "data_offsets": [256, 288]},
}
DATA = bytes(288)
INDEX = {"metadata": {}, "weight_map": {"l.weight": "a.safetensors", "l.bias": "a.safetensors"}}
MUTATIONS = 400
VALUES = (
    *(None, True, False, -1, 0, 1, 7, 2**31, 2**63, 2**64, 10**300, -(10**300), 0.5, 1e308, "", "8", "F32"),
    *(
        [],
        {},
        [8],
        [[8]],
        [-8, -8],
        [8] * 70,
        [0, 256],
        ["8", "8"],
        [8.0, 8.0],
        [True, 8],
        "F8_E4M3",
        "NUL\0",
    ),
)
PROGRAM = """model m {
  input vectors(8)
  level l = linear { init from "FILE:l" }
  flow out = in -> l
  train { objective mse }
}
"""


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stored.__globals__["_stored"].cache_clear()
    return tmp_path


def write(header: bytes, data: bytes = DATA, name: str = "a.safetensors") -> str:
    with open(name, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + data)
    return name


def encoded(header: object) -> bytes:
    return json.dumps(header).encode()


def codes(file: str) -> list[str]:
    with open("program.nest", "w") as program:
        program.write(PROGRAM.replace("FILE", file))
    return [one.code for one in analyse(read_source("program.nest")).diagnostics]


def test_what_is_right_is_read():
    assert codes(write(encoded(HEADER))) == []
    with open("a.safetensors.index.json", "w") as index:
        json.dump(INDEX, index)
    assert codes("a.safetensors.index.json") == []


BOMBS = {
    "brackets": b"[" * 100_000,
    "objects": b'{"a":' * 100_000,
    "closed brackets": b"[" * 100_000 + b"]" * 100_000,
    "in a tensor": b'{"l.weight":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "in a shape": b'{"l.weight": {"shape": ' + b"[" * 50_000,
    "a long number": b'{"l.weight": ' + b"9" * 100_000 + b"}",
    "a name twice": b'{"l.weight": {}, "l.weight": {}}',
    "a key twice": encoded(HEADER).replace(b'"shape": [8, 8]', b'"shape": [8, 8], "shape": [8, 8]'),
    "infinity": b'{"l.weight": {"dtype": "F32", "shape": [Infinity, NaN], "data_offsets": [0, 4]}}',
    "nothing": b"",
    "no object": b"[]",
    "null": b"null",
    "no text": b"\xff\xfe\0\0",
    "spaces": b" " * 1000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_headers_and_indices_that_are_none(name):
    assert codes(write(BOMBS[name])) == ["N0502"]
    with open("b.safetensors.index.json", "wb") as index:
        index.write(BOMBS[name])
    assert codes("b.safetensors.index.json") == ["N0502"]
    with open("c.safetensors.index.json", "wb") as index:
        index.write(b'{"weight_map": ' + BOMBS[name] + b"}")
    assert codes("c.safetensors.index.json")[0] in ("N0003", "N0101", "N0502")


@pytest.mark.parametrize(
    "start", [b"", b"1234567", struct.pack("<Q", 2**63), struct.pack("<Q", 289), b"\xff" * 8]
)
def test_lengths_that_lie(start):
    with open("a.safetensors", "wb") as file:
        file.write(start + encoded(HEADER)[: 280 if len(start) == 8 else 0])
    assert codes("a.safetensors") == ["N0502"]


def changed(draw: random.Random, node: object) -> object:
    """The same with one value, somewhere, replaced, removed or doubled."""
    if isinstance(node, dict) and node and draw.random() < 0.8:
        key = draw.choice(list(node))
        rest = {**node, key: changed(draw, node[key])}
        if draw.random() < 0.15:
            del rest[key]
        return rest
    if isinstance(node, list) and node and draw.random() < 0.7:
        position = draw.randrange(len(node))
        return [changed(draw, one) if place == position else one for place, one in enumerate(node)]
    return draw.choice(VALUES)


def test_changed_headers():
    """What is read fits the file: nothing that a header says is taken for true."""
    draw = random.Random(21)
    read = 0
    for number in range(MUTATIONS):
        write(encoded(changed(draw, HEADER)), DATA[: draw.choice((288, 288, 287, 0))])
        stored.__globals__["_stored"].cache_clear()
        for one in read_or_refused("a.safetensors"):
            read += 1
            assert isinstance(one, Stored)
            assert all(type(extent) is int and 0 <= extent < 2**63 for extent in one.shape)
        if number % 4 == 0:
            assert all(code in ("N0502", "N0101", "N0201") for code in codes("a.safetensors"))
    assert 0 < read < MUTATIONS


def read_or_refused(file: str) -> tuple[Stored, ...]:
    """What a file is said to hold; nothing if it is refused, for a reason that names it."""
    try:
        return tuple(stored(file).values())
    except UnreadableError as error:
        if file not in str(error):
            raise
        return ()


def test_changed_indices():
    draw = random.Random(22)
    write(encoded(HEADER))
    for _ in range(MUTATIONS // 4):
        with open("b.safetensors.index.json", "w") as index:
            json.dump(changed(draw, INDEX), index)
        stored.__globals__["_stored"].cache_clear()
        assert all(code in ("N0003", "N0502", "N0101", "N0201") for code in codes("b.safetensors.index.json"))


def test_cut_and_flipped_files():
    draw = random.Random(23)
    with open(write(encoded(HEADER)), "rb") as file:
        whole = file.read()
    for _ in range(MUTATIONS // 4):
        data = bytearray(whole[: draw.randrange(len(whole) + 1)])
        for _ in range(draw.randrange(3)):
            if data:
                data[draw.randrange(min(len(data), 250))] ^= 1 << draw.randrange(8)
        with open("a.safetensors", "wb") as file:
            file.write(data)
        stored.__globals__["_stored"].cache_clear()
        assert all(code in ("N0502", "N0101", "N0201") for code in codes("a.safetensors"))


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_an_index_that_names_itself(depth):
    for number in range(depth):
        with open(f"{number}.index.json", "w") as index:
            json.dump({"weight_map": {"l.weight": f"{(number + 1) % depth}.index.json"}}, index)
    assert codes("0.index.json") == ["N0502"]


def test_what_is_beneath_a_key_among_many():
    header = {
        f"layers.{number}.mlp.weight": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
        for number in range(3000)
    }
    tensors = stored(write(encoded(header)))
    found = find(tensors, "layers.17.mlp", "", (("weight", (0,)),))
    assert found is not None and found.tensors == (("weight", "layers.17.mlp.weight"),)
    assert list(tensors.beneath("layers.17")) == ["layers.17.mlp.weight"]
    assert find(tensors, "layers.1", "", (("weight", (0,)),)) is not None
    assert find(tensors, "layer", "", (("weight", (0,)),)) is None
