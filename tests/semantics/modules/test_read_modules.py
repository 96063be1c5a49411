"""The phase of modules: which names a program and the files it uses have, and which may be missing."""

from __future__ import annotations

from pathlib import Path

from nestdsl.diagnostics import Diagnostics
from nestdsl.semantics.modules import Module, read_modules
from nestdsl.source import Source
from nestdsl.syntax.files import read_source


def read(text: str, folder: Path | None = None) -> tuple[Module, list[str]]:
    """The module of a text, or of a file in a folder, and the codes of what is wrong with it."""
    found = Diagnostics()
    if folder is None:
        module = read_modules(Source(text), found)
    else:
        (folder / "main.nest").write_text(text)
        module = read_modules(read_source(folder / "main.nest"), found)
    return module, [one.code for one in found.in_order()]


def test_names_are_those_that_the_file_declares_and_imported_those_of_the_files_it_uses(
    tmp_path: Path,
) -> None:
    (tmp_path / "part.nest").write_text("param width = 3\nblock part { flow out = in }\nmodel other {}\n")
    module, codes = read('use "part.nest"\nparam depth = 2\nmodel m { flow out = in }\n', tmp_path)
    assert codes == []
    assert list(module.names) == ["depth", "m"]
    assert list(module.imported) == ["width", "part"], "a model is of its own file alone"
    used, declared = module.imported["part"]
    assert used.source.path == tmp_path / "part.nest" and declared.name.text == "part"
    assert module.find("depth") == (module, module.names["depth"])
    assert module.find("part") == (used, declared)
    assert module.find("other") is None and not module.may_have("other")


def test_nothing_is_evaluated_or_looked_up() -> None:
    module, codes = read("param a = 1 / 0\nparam b = b\nblock c { flow out = nowhere -> nothing(3) }\n")
    assert codes == []
    assert list(module.names) == ["a", "b", "c"]


def test_a_name_is_declared_once() -> None:
    module, codes = read("param a = 1\nblock a { flow out = in }\n")
    assert codes == ["N0102"]
    assert module.names["a"].name.span.line == 1


def test_a_declaration_that_cannot_be_read_keeps_its_name() -> None:
    module, codes = read("param a = (\nparam b = 2\n")
    assert codes == ["N0002"]
    assert module.broken == {"a"} and not module.has_unnamed
    assert module.may_have("a") and not module.may_have("c")


def test_a_missing_file_may_have_any_name_a_missing_module_of_the_library_only_what_that_has(
    tmp_path: Path,
) -> None:
    module, codes = read('use "gone.nest"\n', tmp_path)
    assert codes == ["N0105"] and module.is_partial and module.may_have("anything")
    module, codes = read("use std.gated_dleta\n")
    assert codes == ["N0105"] and not module.is_partial and module.lacked == {"gated_dleta"}
    assert module.may_have("gated_delta") and not module.may_have("anything")


def test_what_a_used_file_could_not_read_is_missing_here_too(tmp_path: Path) -> None:
    (tmp_path / "part.nest").write_text("block part {\n  flow out = in -> (\n}\nparam = 3\n")
    module, codes = read('use "part.nest"\n', tmp_path)
    assert codes and set(codes) <= {"N0001", "N0002"}
    assert module.is_partial
