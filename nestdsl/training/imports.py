"""The kinds and functions from Python that a run needs: it remembers where they were declared, and no more.

Nothing is imported because a file names it: whoever continues or measures a run names the modules again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nestdsl.diagnostics import fail
from nestdsl.given import is_module_name
from nestdsl.plan.instructions import Call
from nestdsl.plan.plan import Plan
from nestdsl.semantics.suggestions import listed
from nestdsl.vocabulary.declared import MOST_OF_A_NAME
from nestdsl.vocabulary.extension import DECLARED_IN, PYTHON_FUNCTIONS, PYTHON_KINDS, SCRIPT


def imports_of(plan: Plan) -> dict[str, str]:
    """The modules that declare the kinds and functions from Python of a plan, by the names of those."""
    kinds = {level.kind for level in plan.levels} & PYTHON_KINDS.keys()
    calls = {line.function for body in plan.bodies for line in body.lines if isinstance(line, Call)}
    return {name: DECLARED_IN[name] for name in sorted(kinds | (calls & PYTHON_FUNCTIONS.keys()))}


def are_imports(imports: Mapping[str, str]) -> bool:
    """Whether these are names, each of a kind or function and of its module."""
    names = (*imports, *imports.values())
    return all(is_module_name(name) and len(name) <= MOST_OF_A_NAME for name in names)


def require_imports(imports: Mapping[str, str], folder: Path) -> None:
    """Raises NestError N0105 where a kind or function that a run needs is not declared here."""
    missing = {name: of for name, of in imports.items() if name not in {**PYTHON_KINDS, **PYTHON_FUNCTIONS}}
    if not missing:
        return
    modules = sorted(set(missing.values()) - {SCRIPT})
    needs = f"the run in `{folder}` needs {listed(sorted(missing))}"
    if not modules:
        hint = "put it into a module `my_kinds` and give `--import my_kinds`; in Python, run it again first"
        raise fail("N0105", f"{needs}, declared in a script or notebook", hint)
    where = f"the Python module{'s' * (len(modules) > 1)} {listed(modules)}"
    where += " and a script" if SCRIPT in missing.values() else ""
    options = " ".join(f"--import {name}" for name in modules)
    hint = f"if you trust it, add `{options}`; in Python, `import {', '.join(modules)}` first"
    raise fail("N0105", f"{needs}, declared in {where}", hint)
