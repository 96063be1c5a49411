"""Reading a program from a file: every way in which that can fail has a diagnostic."""

import os

import pytest

from nestdsl import limits
from nestdsl.diagnostics import NestError
from nestdsl.syntax.files import read_source
from nestdsl.syntax.parser import parse


def failure(path) -> tuple[str, str]:
    with pytest.raises(NestError) as raised:
        read_source(path)
    (diagnostic,) = raised.value.diagnostics
    return diagnostic.code, diagnostic.message


def test_a_file(tmp_path):
    path = tmp_path / "a.nest"
    path.write_bytes(b"\xef\xbb\xbfmodel m {\r\n  flow out = in\r\n}\r\n")
    source = read_source(path)
    assert (source.name, source.path) == (str(path), path)
    program, found = parse(source)
    assert not found
    assert program.declarations[0].name.text == "m"


def test_no_file(tmp_path):
    code, message = failure(tmp_path / "none.nest")
    assert code == "N0003"
    assert "there is no file" in message


def test_a_folder(tmp_path):
    code, message = failure(tmp_path)
    assert code == "N0003"
    assert "is a folder" in message


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path):
    path = tmp_path / "a.nest"
    path.write_text("")
    path.chmod(0)
    assert failure(path)[0] == "N0003"


@pytest.mark.parametrize(
    ("data", "says"),
    [(b"\x00\x01model", "binary"), (b"model m {\n  \xff\n}", "line 2 has the byte 0xff")],
)
def test_not_text(tmp_path, data, says):
    path = tmp_path / "a.nest"
    path.write_bytes(data)
    code, message = failure(path)
    assert code == "N0003"
    assert says in message


def test_a_name_that_cannot_be_one():
    assert failure("a\0b")[0] == "N0003"
    assert failure("a" * 5000)[0] == "N0003"


def test_too_large(tmp_path):
    path = tmp_path / "a.nest"
    path.write_bytes(b" " * (limits.MAX_FILE_BYTES + 1))
    code, message = failure(path)
    assert code == "N0004"
    assert f"{limits.MAX_FILE_BYTES:,}" in message
