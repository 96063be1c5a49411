"""What reads programs without running them starts fast: it never imports torch."""

import subprocess
import sys

# Every module of these rooms, as they are on disk, imported in one fresh interpreter.
WITHOUT_TORCH = (
    "nestdsl.source",
    "nestdsl.diagnostics",
    "nestdsl.syntax",
    "nestdsl.vocabulary",
    "nestdsl.semantics",
    "nestdsl.graph",
    "nestdsl.inference",
    "nestdsl.checks",
    "nestdsl.plan",
    "nestdsl.render",
)

IMPORT_ALL = """
import importlib, pkgutil, sys

import nestdsl
assert "torch" not in sys.modules, "nestdsl itself imports torch"
for name in sys.argv[1:]:
    room = importlib.import_module(name)
    modules = pkgutil.walk_packages(getattr(room, "__path__", []), name + ".")
    for module in [name, *(found.name for found in modules)]:
        importlib.import_module(module)
        assert "torch" not in sys.modules, module + " imports torch"
        print(module)
"""


def test_rooms_before_the_runtime_do_not_import_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *WITHOUT_TORCH], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    imported = set(done.stdout.split())
    assert set(WITHOUT_TORCH) < imported
    assert {"nestdsl.syntax.ast", "nestdsl.diagnostics.render"} < imported
