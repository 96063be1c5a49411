"""A mistake that shows in a file which the program uses is told with the place of its use."""

from nestdsl.compiler import analyse
from nestdsl.source import Source
from nestdsl.syntax.files import read_source

CALL = "self_referential(heads = 3)"
PROGRAM = f"""use std.titans
model m(dim = 8) {{
  input vectors(dim)
  level a = {CALL} repeat 2
  level b = {CALL}
  flow out = in -> a -> b
}}
"""


def test_what_shows_in_the_library_is_told_once_where_its_block_is_called():
    found = analyse(Source(PROGRAM, "mine.nest")).diagnostics
    assert [(one.code, one.span.source.name, one.span.line) for one in found] == [
        ("N0204", "mine.nest", 4),
        ("N0204", "mine.nest", 5),
    ]
    assert all(one.notes[0].span.source.name == "std/titans.nest" for one in found)


def test_in_a_file_of_ones_own_a_note_says_where_it_is_used(tmp_path):
    (tmp_path / "mine.nest").write_text("block third() {\n  flow out = in -> attention(heads = 3)\n}\n")
    main = tmp_path / "main.nest"
    main.write_text('use "mine.nest"\nmodel m {\n  input vectors(8)\n  flow out = in -> linear -> third\n}\n')
    (found,) = analyse(read_source(str(main))).diagnostics
    assert found.span.source.name.endswith("mine.nest") and found.span.line == 2
    (note,) = found.notes
    assert note.span.text == "third" and note.span.line == 4
