"""What is public: how it looks to readers and to a type checker from outside of the package."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import nestdsl
from nestdsl.cli.main import main
from nestdsl.explain import as_latex, as_text

ROOT = Path(__file__).parents[2]
PROGRAM = """
model m(dim = 8) {
  input ids(256)
  level embed = embedding(dim)
  level slow = linear(dim) { every 4 steps }
  flow out = in -> embed -> slow -> linear(256)
  train { optimizer adamw }
}
"""

USES_EVERYTHING = """
from pathlib import Path
import torch
import nestdsl

nest: nestdsl.Nest = nestdsl.load("m.nest", model="m", dim=8)
nest = nestdsl.parse("model m {}", dim=2)
print(nest.explain().text, nest.explain().latex, nest.levels[0].name, nest.plan.costs.parameters)
print(nest.plan.root.levels, nest.nest_graph.name, nest.source.name, nest.sharing, nest.graph)
nest.render("flow", optimizers=True).save(Path("m.svg"))
warnings: list[str] = [one.message for one in nest.diagnostics]

model: nestdsl.NestModule = nest.compile("cpu", compile=False, seed=1, sharing=False, kernels=False)
ids = torch.zeros(1, 4, dtype=torch.int64)
logits, state = model(ids)
logits, state = model(ids, state, targets=ids, learn=True, stream=False)
logits: torch.Tensor = model.forward(ids)[0]
loss: torch.Tensor = model.loss(logits, logits)
loss, following = model.stream_loss(logits, logits, state)
following = model.reset_state(model.detach_state(model.init_state(2)))
following = model.join_states([model.take_rows(following, ids[0]), following])
following = model.reset_rows(following, ids[0] > 0)
weights: dict[str, torch.nn.Parameter] = model.level_parameters(model.plan.levels[0])
told: tuple[bool, bool, str] = (model.carries_state(), model.state_grows(), model.fix_precision("float32"))

result = nestdsl.train(model, "text.txt", 2, Path("run"), batch=1, tokens=4, start_from=None, quiet=True)
result = nestdsl.train(model, Path("text.txt"))
step: int = nestdsl.resume(out="run", steps=3).step + result.step
bits: float = nestdsl.evaluate(model, "text.txt") + nestdsl.measure(model, Path("text.txt"))["x"]
text: bytes = b"".join(nestdsl.generate(nestdsl.restore("run", torch.device("cpu")), b"x", top_k=3))

optimizer = nestdsl.optimizer("std.optim:m3", model.parameters(), lr=1e-3, steps=5)
optimizer = nestdsl.optimizer(Path("mine.nest:fast"), [{"params": list(model.parameters()), "lr": 0.1}])
optimizer.add_param_group({"params": []})
optimizer.load_state_dict(optimizer.state_dict())
torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9).step()
optimizer.step()

@nestdsl.function(causal=True, name="half", output_size=lambda sizes, arguments: max(sizes))
def halved(x: torch.Tensor, *, by: float = 2.0) -> torch.Tensor:
    return x / by

@nestdsl.kind(
    causal=True,
    name="gain",
    output_size=lambda arguments, size: size,
    parameters=lambda arguments, size, out: (("weight", (out,)),),
    state=lambda arguments, size, out: (("total", (size,)),),
    flops=lambda arguments, size, out: out,
)
class Gain(torch.nn.Module):
    def init_state(self, batch: int, device: torch.device, dtype: torch.dtype) -> dict[str, torch.Tensor]:
        return {}

gain: Gain = Gain()
half: torch.Tensor = halved(logits, by=2.0)

try:
    nestdsl.parse("")
except nestdsl.NestError as error:
    for found in error.diagnostics:
        one: nestdsl.Diagnostic = found
        print(one.code, one.message, one.hint, one.notes, one.severity, one.is_error)
        if one.span is not None:
            print(one.span.source.name, one.span.start, one.span.end)
print(nestdsl.__version__)
"""

WRONG = """
import nestdsl

nestdsl.load(5)
nestdsl.parse(b"")
nestdsl.parse("").compile(seed="x")
nestdsl.parse("").explain().no_such_thing
nestdsl.parse("").compile()(5)
nestdsl.parse("").compile().init_state("x")
nestdsl.train(nestdsl.parse(""))
nestdsl.resume("run")
nestdsl.restore(5)
nestdsl.generate(nestdsl.restore("run"), 5)
nestdsl.measure(nestdsl.restore("run"), 5)
nestdsl.optimizer(5, [])
nestdsl.kind(causal="x")
nestdsl.function(causal=True)(5)
nestdsl.NestError(5)
nestdsl.Diagnostic(5, "x")
"""


def public() -> Iterator[tuple[str, object]]:
    """Every name of the package, and every public method and property of its classes."""
    for name in nestdsl.__all__:
        thing = getattr(nestdsl, name)
        yield name, thing
        if isinstance(thing, type):
            own = (
                part for cls in thing.__mro__ if cls.__module__.startswith("nestdsl.") for part in vars(cls)
            )
            yield from ((f"{name}.{part}", getattr(thing, part)) for part in own if not part.startswith("_"))


def test_signatures_show_no_addresses() -> None:
    seen = 0
    for name, thing in public():
        if callable(thing):
            seen += 1
            assert " at 0x" not in str(inspect.signature(thing)), name
    assert seen > 25


def test_everything_is_explained() -> None:
    for name, thing in public():
        if callable(thing) or isinstance(thing, property):
            assert inspect.getdoc(thing), name
    for fields, docstring in (
        (("code", "message", "span", "hint", "notes", "severity"), nestdsl.Diagnostic.__doc__),
        (("diagnostics", "code", "message", "span", "hint", "notes"), nestdsl.NestError.__doc__),
        (
            "model input output_size train bodies root levels clock costs weights".split(),
            inspect.getdoc(nestdsl.Nest.plan),
        ),
    ):
        for field in fields:
            assert field in (docstring or ""), field


def test_the_package_imports_no_torch_before_it_is_needed() -> None:
    code = (
        "import sys, nestdsl; dir(nestdsl); assert 'torch' not in sys.modules; "
        "assert issubclass(nestdsl.NestModule, __import__('torch').nn.Module)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_explain_is_what_the_command_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.nest").write_text(PROGRAM)
    nest = nestdsl.load("m.nest")
    page = nest.explain()
    assert page.text == as_text(nest.nest_graph, nest.plan)
    assert page.latex == as_latex(nest.nest_graph, nest.plan)
    for options, text in (((), page.text), (("--latex",), page.latex)):
        assert main(["explain", "m.nest", *options]) == 0
        assert capsys.readouterr().out == text
    print(page)
    assert capsys.readouterr().out == page.text
    assert repr(page) == str(page)  # a notebook shows the first, print the second


def checked(folder: Path, text: str) -> list[str]:
    """What pyright says of a program of a user, who has the package and no setting of ours."""
    (folder / "user.py").write_text(text)
    (folder / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "strict"}))
    command = ["pyright", "--outputjson", "--pythonpath", sys.executable, "user.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["generalDiagnostics"]
    return [f"{one['range']['start']['line']}: {one['message']} ({one.get('rule')})" for one in found]


@pytest.fixture
def pyright(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if shutil.which("pyright") is None:
        pytest.skip("pyright is not installed")


@pytest.mark.usefixtures("pyright")
def test_a_user_of_everything_sees_types_and_no_unknown(tmp_path: Path) -> None:
    assert all(f"nestdsl.{name}" in USES_EVERYTHING for name in nestdsl.__all__)
    assert (ROOT / "nestdsl/py.typed").exists()
    assert checked(tmp_path, USES_EVERYTHING) == []


@pytest.mark.usefixtures("pyright")
def test_a_user_of_wrong_types_is_told_before_anything_runs(tmp_path: Path) -> None:
    lines = {int(found.partition(":")[0]) for found in checked(tmp_path, WRONG)}
    assert lines == set(range(3, len(WRONG.splitlines())))
