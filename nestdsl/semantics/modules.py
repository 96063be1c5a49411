"""`use`: finds and parses the files that a program names, each once, with cycles reported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from itertools import islice
from pathlib import Path

from nestdsl.diagnostics import LIMIT, Diagnostics, NestError, Note
from nestdsl.limits import MAX_MODULES, MAX_PATH_LENGTH, MAX_PROGRAM_CHARACTERS
from nestdsl.semantics.suggestions import did_you_mean, listed, nearest
from nestdsl.semantics.twice import report_twice
from nestdsl.source import Source
from nestdsl.syntax import ast
from nestdsl.syntax.files import read_source
from nestdsl.syntax.parser import parse

_STD = files("nestdsl").joinpath("std")
_RELATIVE = "the path is taken from the folder of this file"
Declared = ast.Param | ast.Block | ast.Optimizer | ast.Model


@dataclass(slots=True)
class Module:
    """One parsed file and what its names mean.

    `names` holds what it declares, `imported` what it may name besides. `broken` are the names
    of declarations that could not be read, here and in the files it uses. With `is_partial` some file
    is missing, from which any name may have come; `lacked` are the modules that the library does not have.
    """

    source: Source
    program: ast.Program
    names: dict[str, Declared] = field(default_factory=dict)
    imported: dict[str, tuple[Module, Declared]] = field(default_factory=dict)
    uses: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    is_partial: bool = False
    lacked: set[str] = field(default_factory=set)
    has_unnamed: bool = False
    """Whether a declaration could not be read, not even its name."""

    def find(self, name: str) -> tuple[Module, Declared] | None:
        """What a name means at the top of this file: the declaration and the file that has it."""
        if name in self.names:
            return self, self.names[name]
        return self.imported.get(name)

    def known_names(self) -> Iterator[str]:
        yield from self.names
        yield from self.imported

    def may_have(self, name: str) -> bool:
        """Whether a name that is not found may stand in what is missing or could not be read."""
        if self.is_partial or name in self.broken:
            return True
        return bool(self.lacked) and (
            name in library_declarations() or nearest(name, self.lacked) is not None
        )


class _Loader:
    def __init__(self, diagnostics: Diagnostics, folder: Path | None) -> None:
        self.diagnostics = diagnostics
        self.folder = folder
        self.loaded: dict[str, Module] = {}
        self.open: list[str] = []
        self.characters = 0

    def load(self, source: Source, key: str) -> Module:
        program, found = parse(source)
        self.diagnostics.extend(found)
        module = Module(source, program)
        # Of a file that is too long, only the beginning is read.
        module.is_partial = any(diagnostic.code == LIMIT for diagnostic in found)
        self.loaded[key] = module
        self.open.append(key)
        for declaration in program.declarations:
            match declaration:
                case ast.Use():
                    self._use(module, declaration)
                case ast.Broken(name, span):
                    module.broken.update([name] if name else [])
                    module.has_unnamed |= name is None
                    module.is_partial |= span.text.split(maxsplit=1)[0] == "use"
                case _:
                    self._declare(module, declaration)
        self.open.pop()
        return module

    def _declare(self, module: Module, declaration: Declared) -> None:
        name = declaration.name
        if name.text in module.names:
            report_twice(self.diagnostics, name, module.names[name.text].name.span)
            return
        module.names[name.text] = declaration

    def _use(self, module: Module, use: ast.Use) -> None:
        if use.module in module.uses:
            return
        module.uses.add(use.module)
        source_and_key = self._find(module, use)
        if source_and_key is None:
            if not use.is_path and _means_library(use.module):
                module.lacked.add(use.module.rpartition(".")[2])
            else:
                module.is_partial = True
            return
        source, key = source_and_key
        if key in self.open:
            self.diagnostics.report(
                "N0105",
                f"`{use.module}` is being read already: the files use each other in a circle",
                use.span,
                "move what both need into a third file that uses neither",
            )
            module.is_partial = True
            return
        if key not in self.loaded and len(self.loaded) >= MAX_MODULES:
            self.diagnostics.report(
                "N0004",
                f"a program may use at most {MAX_MODULES} files",
                use.span,
                "put several files into one",
            )
            module.is_partial = True
            return
        if key not in self.loaded:
            self.characters += len(source.text)
            if self.characters > MAX_PROGRAM_CHARACTERS:
                self.diagnostics.report(
                    "N0004",
                    f"the files of a program have at most {MAX_PROGRAM_CHARACTERS:,} characters",
                    use.span,
                    "use fewer or smaller files",
                )
                module.is_partial = True
                return
        used = self.loaded.get(key) or self.load(source, key)
        module.broken |= used.broken
        module.is_partial |= used.has_unnamed
        for name, declaration in used.names.items():
            if isinstance(declaration, ast.Model):
                continue
            known = module.imported.setdefault(name, (used, declaration))
            if known[0] is not used:
                self.diagnostics.report(
                    "N0102",
                    f"`{name}` comes from two files",
                    use.span,
                    "rename one of them",
                    (
                        Note("one is defined here", known[1].name.span),
                        Note("the other here", declaration.name.span),
                    ),
                )

    def _find(self, module: Module, use: ast.Use) -> tuple[Source, str] | None:
        if len(use.module) > MAX_PATH_LENGTH:
            message = f"a path has at most {MAX_PATH_LENGTH:,} characters; this one has {len(use.module):,}"
            self.diagnostics.report("N0004", message, use.span, "use shorter names of files and folders")
            return None
        return self._find_file(module, use) if use.is_path else self._find_library(use)

    def _find_library(self, use: ast.Use) -> tuple[Source, str] | None:
        package, _, name = use.module.partition(".")
        available = library_modules()
        if package == "std" and name in available:
            file = _STD.joinpath(f"{name}.nest")
            return Source(file.read_text("utf-8"), f"std/{name}.nest"), use.module
        names = _library_uses()
        self.diagnostics.report(
            "N0105",
            f"there is no library module `{use.module}`",
            use.span,
            did_you_mean(
                use.module, names, f"the library has {listed(names)}; a file of your own stands in quotes"
            ),
        )
        return None

    def _find_file(self, module: Module, use: ast.Use) -> tuple[Source, str] | None:
        def missing(message: str, hint: str) -> None:
            self.diagnostics.report("N0105", message, use.span, hint)

        if use.module in _library_uses():
            missing(f"`{use.module}` is a module of the library, and no file", f"write `use {use.module}`")
            return None
        if self.folder is None or module.source.path is None:
            missing(
                f"`{use.module}` cannot be found from a text without a file",
                "save the program as a file, or use a library module such as `std.gated_delta`",
            )
            return None
        if Path(use.module).is_absolute() or "\0" in use.module:
            missing(f"`{use.module}` is not a relative path", "name the file from the folder of this one")
            return None
        try:
            path = (module.source.path.parent / use.module).resolve()
        except (OSError, RuntimeError):  # Python 3.11 and 3.12 raise RuntimeError for links in a circle
            missing(f"`{use.module}` leads to itself: its links form a circle", _RELATIVE)
            return None
        if not path.is_relative_to(self.folder):
            missing(
                f"`{use.module}` is outside the program's folder",
                f"a program uses only files below its own folder, {self.folder.name}/",
            )
            return None
        try:
            text = read_source(path).text
        except NestError as error:
            # What was written says more than where that is on this machine.
            why = error.diagnostics[0].message.replace(repr(str(path)), f"`{use.module}`")
            missing(why, _nearest_file(use, path) or _RELATIVE)
            return None
        return Source(text, str(Path(module.source.name).parent / use.module), path), str(path)


def _nearest_file(use: ast.Use, path: Path) -> str:
    """A hint that names a program beside the one that is missing."""
    try:
        if path.exists() or not path.parent.is_dir():
            return ""
        beside = [other.stem for other in islice(path.parent.glob("*.nest"), MAX_MODULES)]
    except OSError:
        return ""  # a name that no file can have, or a folder that may not be read
    match = nearest(path.stem, beside)
    return f'did you mean "{Path(use.module).with_name(f"{match}.nest")}"?' if match else ""


@cache
def library_modules() -> tuple[str, ...]:
    """The names of the standard library's modules, without `std.`."""
    names = (file.name for file in _STD.iterdir())
    return tuple(sorted(name.removesuffix(".nest") for name in names if name.endswith(".nest")))


@cache
def library_module(name: str) -> Module:
    """One module of the standard library, parsed once for all programs."""
    found = Diagnostics()
    file = _STD.joinpath(f"{name}.nest")
    module = _Loader(found, None).load(Source(file.read_text("utf-8"), f"std/{name}.nest"), f"std.{name}")
    assert not len(found), list(found)
    return module


@cache
def library_declarations() -> Mapping[str, str]:
    """The blocks and parameters that the library's files declare, with what to `use` for each.

    Reads and parses all of them: for what is wrong already, not on the way of a program that is right.
    """
    found: dict[str, str] = {}
    for name in library_modules():
        for declared in library_module(name).names.values():
            if isinstance(declared, ast.Block | ast.Param):
                found.setdefault(declared.name.text, f"std.{name}")
    return found


def from_library(name: str) -> str:
    """A hint for a name that a file of the library declares; "" if none does."""
    module = library_declarations().get(name)
    return f"write `use {module}` at the top" if module else ""


def like_in_library(name: str) -> str:
    """A hint for a name that is like one which a file of the library declares, or ""."""
    known = library_declarations()
    match = nearest(name, known)
    return f"did you mean `{match}`? It needs `use {known[match]}` at the top" if match else ""


def _library_uses() -> list[str]:
    return [f"std.{name}" for name in library_modules()]


def _means_library(name: str) -> bool:
    """Whether a module that is not there was to be one of the library, not a file written without quotes."""
    return name.startswith("std.") or nearest(name, _library_uses()) is not None


def read_modules(source: Source, diagnostics: Diagnostics) -> Module:
    """Parses a program and everything it uses; mistakes are reported, never raised."""
    folder = source.path.resolve().parent if source.path else None
    key = str(source.path.resolve()) if source.path else "<text>"
    return _Loader(diagnostics, folder).load(source, key)
