"""`use`: files below the program's folder and the library, and nothing else."""

import pytest

from nestdsl.compiler import analyse
from nestdsl.semantics.modules import library_modules
from nestdsl.source import Source
from nestdsl.syntax.files import read_source

PROGRAM = "model m {\n  input vectors(8)\n  flow out = in -> part\n}\n"
PART = "block part { flow out = in -> linear(width) }\nparam width = 3\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "blocks").mkdir()
    (tmp_path / "blocks" / "part.nest").write_text(PART)
    return tmp_path


def check(folder, text: str, name: str = "main.nest"):
    path = folder / name
    path.write_text(text)
    return analyse(read_source(path))


def test_a_file_below(folder):
    graph = check(folder, 'use "blocks/part.nest"\n' + PROGRAM).graph()
    assert graph.sizes["out"] == 3


def test_a_file_that_uses_a_file_beside_it(folder):
    (folder / "blocks" / "outer.nest").write_text('use "part.nest"\nblock outer { flow out = in -> part }\n')
    text = 'use "blocks/outer.nest"\n' + PROGRAM.replace("-> part", "-> outer")
    assert check(folder, text).graph().sizes["out"] == 3
    found = check(folder, text.replace("-> outer", "-> part")).diagnostics
    assert [diagnostic.code for diagnostic in found] == ["N0101"]  # what a used file uses is its own


def test_imported_parameters_are_values(folder):
    text = 'use "blocks/part.nest"\nmodel m(dim = width * 2) {\n  input vectors(dim)\n  flow out = in\n}\n'
    assert check(folder, text).graph().sizes["out"] == 6


@pytest.mark.parametrize(
    ("use", "says"),
    [
        ('"missing.nest"', "no file"),
        ('"blocks"', "folder"),
        ('"../part.nest"', "outside"),
        ('"blocks/../../part.nest"', "outside"),
        ('"link.nest"', "outside"),
        ('"away/part.nest"', "outside"),
        ('"/etc/passwd"', "not a relative path"),
        ('""', "folder"),
        ("std.parts", "no library module"),
        ("part", "no library module"),
        ("std", "no library module"),
    ],
)
def test_what_cannot_be_used(folder, tmp_path_factory, use, says):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "part.nest").write_text(PART)
    (folder.parent / "part.nest").write_text(PART)
    (folder / "link.nest").symlink_to(outside / "part.nest")
    (folder / "away").symlink_to(outside)
    (only,) = check(folder, f"use {use}\n{PROGRAM}").diagnostics  # `part` may come from there
    assert only.code == "N0105"
    assert says in only.message
    assert str(folder) not in only.message


def test_near_names(folder):
    found = check(folder, 'use "blocks/prat.nest"\nuse std.tranformer\n').diagnostics
    assert [diagnostic.hint for diagnostic in found] == [
        'did you mean "blocks/part.nest"?',
        "did you mean `std.transformer`?",
    ]


def test_circles_are_reported_once(folder):
    (folder / "a.nest").write_text('use "b.nest"\nblock a { flow out = in -> b }\n')
    (folder / "b.nest").write_text('use "a.nest"\nblock b { flow out = in }\n')
    for name in ("a.nest", "b.nest"):
        (only,) = analyse(read_source(folder / name)).diagnostics
        assert only.code == "N0105"
        assert "circle" in only.message
    (only,) = check(folder, 'use "main.nest"\n' + PROGRAM).diagnostics
    assert only.code == "N0105"


def test_a_file_used_twice_is_read_once(folder):
    text = 'use "blocks/part.nest"\nuse "blocks/../blocks/part.nest"\n' + PROGRAM
    assert check(folder, text).diagnostics == ()


def test_mistakes_in_a_used_file_are_reported_there(folder):
    (folder / "blocks" / "part.nest").write_text("block part { flow out = in + + }\n")
    found = check(folder, 'use "blocks/part.nest"\n' + PROGRAM).diagnostics
    assert [diagnostic.code for diagnostic in found] == ["N0001"]
    assert found[0].span.source.name.endswith("part.nest")


def test_a_text_without_a_file_uses_the_library_only():
    for module in library_modules():
        assert analyse(Source(f"use std.{module}\n")).diagnostics == ()
    (only,) = analyse(Source('use "part.nest"\n')).diagnostics
    assert only.code == "N0105"


def test_what_the_program_declares_hides_the_library(folder):
    text = """
use std.transformer
block linear(n = 5) { flow out = in * n }
block silu { flow out = in + 1 }
block transformer_layer(heads) { flow out = in }
block parallel { flow out = in }
model attention {
  input vectors(8)
  level a = linear
  level b = transformer_layer(2)
  flow out = in -> a -> b -> silu -> linear(3) -> parallel -> attention(2)
}
"""
    graph = check(folder, text).graph()
    assert {level.kind for level in graph.levels() if not level.owner} == {"linear", "attention"}
    assert [level.name for level in graph.levels() if level.kind == "linear"] == [
        f"out.attention.{part}" for part in ("query", "key", "value", "output")
    ]
