"""The kinds and functions from Python that a run needs: it remembers where they were declared, and no more.

Nothing is imported because a file names it: whoever continues or measures a run names the modules again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from nestdsl.diagnostics import fail
from nestdsl.library.extension import DECLARED_IN, PYTHON_FUNCTIONS, PYTHON_KINDS
from nestdsl.plan.instructions import Call
from nestdsl.plan.plan import Plan
from nestdsl.semantics.suggestions import listed

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_MOST = 200
"""Characters of a name."""


def imports_of(plan: Plan) -> dict[str, str]:
    """The modules that declare the kinds and functions from Python of a plan, by the names of those."""
    kinds = {level.kind for level in plan.levels} & PYTHON_KINDS.keys()
    calls = {line.function for body in plan.bodies for line in body.lines if isinstance(line, Call)}
    return {name: DECLARED_IN[name] for name in sorted(kinds | (calls & PYTHON_FUNCTIONS.keys()))}


def are_imports(imports: Mapping[str, str]) -> bool:
    """Whether these are names, each of a kind or function and of its module."""
    names = (*imports, *imports.values())
    return all(len(name) <= _MOST and _MODULE.fullmatch(name) for name in names)


def require_imports(imports: Mapping[str, str], folder: Path) -> None:
    """Raises NestError N0105 where a kind or function that a run needs is not declared here."""
    missing = {name: of for name, of in imports.items() if name not in {**PYTHON_KINDS, **PYTHON_FUNCTIONS}}
    if not missing:
        return
    modules = sorted(set(missing.values()))
    where = f"the Python module{'s' * (len(modules) > 1)} {listed(modules)}"
    message = f"the run in `{folder}` needs {listed(sorted(missing))}, declared in {where}"
    if modules == ["__main__"]:
        hint = "it was declared in a script: put it into a module `my_kinds`, and give `--import my_kinds`"
    else:
        options = " ".join(f"--import {name}" for name in modules if name != "__main__")
        imports_ = ", ".join(name for name in modules if name != "__main__")
        hint = f"if you trust it, add `{options}`; in Python, `import {imports_}` first"
    raise fail("N0105", message, hint)
