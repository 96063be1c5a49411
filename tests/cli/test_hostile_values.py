"""Every option of every command, and the arguments of the Python face, with what nobody would mean."""

import contextlib
import io
import math
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

import nestdsl
from nestdsl.cli.main import main
from tests.cli.commands import parsers

PROGRAM = """model m(dim = 4) {
  input ids(256)
  flow out = in -> embedding(dim) -> linear(256)
  train { objective cross_entropy  optimizer adamw }
}
"""
HUGE = "9" * 400
SURELY = ("", "\0", "-1", "nan", "9" * 40, "\ud800", "--", "meta")
VALUES = (
    *("0", "-0", "1", "1.5", "1e400", "inf", "-inf", "9" * 19, HUGE, f"-{HUGE}", "18446744073709551616"),
    *("9223372036854775808", "9223372036854775807", "1_0", " 1", "１", "٣", "½", "0x10", "true", "None"),
    *(
        "a\0b",
        "x" * 5000,
        "\x1b[31mred",
        "a\nb",
        "\udcff",
        "é",
        "..",
        "/dev/null",
        "/dev/zero",
        "/proc/1/mem",
    ),
    *("cuda:99", "cuda:-1", "mps", "xla", "cpu:7", "cpu:0", "hpu", "privateuseone", "cpu,cpu", "vulkan"),
    *("task:", "task:\0", "task:parity", "=", "=1", "dim", "dim=", "dim=nan", "dim=1e400", "dim=-1"),
    *(f"dim={HUGE}", "dim=\0", "dim=\ud800", "m.nest:", "m.nest:m", ":", "std.optim:"),
)
CALLS: dict[str, tuple[str, ...]] = {
    "check": ("m.nest",),
    "fmt": ("copy.nest",),
    "compile": ("m.nest",),
    "render": ("m.nest", "-o", "picture.dot"),
    "explain": ("m.nest",),
    "train": (
        *("m.nest", "--data", "text.txt", "--eager", "--quiet"),
        *("--steps", "1", "--batch", "1", "--tokens", "4", "--out", "new"),
    ),
    "eval": ("run", "--data", "text.txt", "--tokens", "4", "--sequences", "2"),
    "generate": ("run", "--prompt", "x", "--tokens", "2"),
    "bench": ("m.nest", "--eager", "--steps", "1", "--batch", "1", "--tokens", "4"),
}


def _is_long(command: str, option: str, value: str) -> bool:
    """Whether a number, which is one that may be given, makes a command run for years."""
    counts = {"train": ("--steps",), "bench": ("--steps",), "generate": ("--tokens",)}.get(command, ())
    return option in counts and value.strip().isdigit() and int(value) > 100


def _options() -> list[tuple[str, str]]:
    commands = parsers()
    assert set(commands) == set(CALLS)
    return [
        (name, action.option_strings[0] if action.option_strings else "")
        for name, command in commands.items()
        for action in command._actions
        if action.nargs != 0
    ]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("m.nest").write_text(PROGRAM)
    Path("text.txt").write_text("the quick brown fox jumps over the lazy dog\n" * 40)
    nestdsl.train(
        nestdsl.load("m.nest").compile(compile=False), "text.txt", 1, "run", batch=1, tokens=4, quiet=True
    )
    return tmp_path


def _try(command: str, option: str, value: str) -> None:
    shutil.rmtree("new", ignore_errors=True)
    shutil.copy("m.nest", "copy.nest")
    before = {path.name for path in Path.cwd().iterdir()}
    words = [*CALLS[command]]
    if option in words:
        del words[words.index(option) : words.index(option) + 2]
    if not option:
        words[0] = value
    elif option.startswith("--"):
        words.append(f"{option}={value}")
    else:
        words.append(f"{option}{value}" if value else option)
    out, errors = io.TextIOWrapper(io.BytesIO(), errors="surrogateescape"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        try:
            status = main([command, *words])
        except SystemExit as exit:  # of argparse: wrong usage, in its own words
            status = exit.code
    text = errors.getvalue()
    assert status in (0, 1, 2), (command, words, text)
    assert "Traceback" not in text, (command, words, text)
    if status == 1 and command != "check":
        assert "error[N" in text, (command, words, text)
    for made in {path.name for path in Path.cwd().iterdir()} - before - {"new"}:
        path = Path(made)  # so that it is no data or run of what is tried next
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize(("command", "option"), _options())
def test_any_value_of_an_option_is_taken_or_refused_in_words(folder, command, option) -> None:
    drawn = random.Random(f"{command} {option}").sample(VALUES, 8)
    for value in (*SURELY, *drawn):
        if not _is_long(command, option, value):
            _try(command, option, value)


@pytest.mark.slow
@pytest.mark.parametrize(("command", "option"), _options())
def test_every_value_of_an_option_is_taken_or_refused_in_words(folder, command, option) -> None:
    for value in VALUES:
        if not _is_long(command, option, value):
            _try(command, option, value)


@pytest.mark.parametrize(
    ("command", "option", "code"),
    [
        ("train", "--data", "N0003"),
        ("train", "--out", "N0003"),
        ("train", "--from", "N0003"),
        ("train", "--model", "N0101"),
        ("train", "--device", "N0203"),
        ("eval", "--data", "N0003"),
        ("eval", "", "N0003"),
        ("generate", "", "N0003"),
        ("render", "-o", "N0504"),
        ("compile", "-o", "N0504"),
    ],
)
def test_an_empty_value_is_never_the_default(folder, capsys, command, option, code) -> None:
    words = [*CALLS[command]]
    if option in words:
        del words[words.index(option) : words.index(option) + 2]
    if option:
        words += [option, ""]
    else:
        words[0] = ""
    assert main([command, *words]) == 1
    assert f"error[{code}]" in capsys.readouterr().err


# --- devices and seeds ---------------------------------------------------------------------


NO_DEVICES: tuple[Any, ...] = (
    *("meta", "cuda:99", "cuda:-1", "cpu:7", "cpu:-1", "cpu:", "cpu ", "CPU", "cpu,cpu", "cpu\n", "", "\0"),
    *("xla", "hpu", "vulkan", "privateuseone", "abacus", "cpu:" + "9" * 30, "\ud800", "é"),
    *(None, 2.5, [], 2**20000, torch.device("meta"), torch.device("cpu", 7), torch.device("xla")),
)


def test_only_a_device_that_can_run_a_model_is_taken() -> None:
    nest = nestdsl.parse(PROGRAM)
    for name in NO_DEVICES:
        with pytest.raises(nestdsl.NestError) as raised:
            nest.compile(name, compile=False)
        (found,) = raised.value.diagnostics
        assert found.code == "N0203"
        assert "`cpu`" in found.hint


def test_the_cpu_has_one_name(folder) -> None:
    for name in ("cpu", "cpu:0", torch.device("cpu"), torch.device("cpu", 0)):
        model = nestdsl.parse(PROGRAM).compile(name, compile=False)
        assert next(model.parameters()).device == torch.device("cpu")
    with pytest.raises(nestdsl.NestError, match="shapes of tensors, but no numbers"):
        nestdsl.restore("run", "meta")


NO_NUMBERS: tuple[Any, ...] = (
    *("", "1", "nan", None, True, b"1", [], {}, (1, 2), object(), 1j, math.nan, math.inf, -math.inf),
    *(-1, 10**400, -(10**400), 2**20000, 2**64, 2**63, numpy.int64(3), numpy.float32(2), torch.tensor(3)),
)


def _functions(model: Any) -> dict[tuple[str, str], Callable[[Any], object]]:
    """Every number that the Python face takes, by the function and the name."""
    given: dict[str, Any] = {"steps": 1, "batch": 1, "tokens": 4, "quiet": True, "out": "new"}
    layer = torch.nn.Linear(2, 2)
    functions: dict[tuple[str, str], Callable[[Any], object]] = {}
    for name in (
        *("steps", "batch", "tokens", "seed", "warmup", "final_rate", "clip", "evaluate_every"),
        *("checkpoint_every", "held_out_sequences", "until"),
    ):
        functions["train", name] = lambda value, name=name: nestdsl.train(
            model, "text.txt", **{**given, name: value}
        )
    for name in ("steps", "until"):
        functions["resume", name] = lambda value, name=name: nestdsl.resume(
            out="run", quiet=True, **{name: value}
        )
    for name in ("batch", "tokens", "sequences"):
        functions["measure", name] = lambda value, name=name: nestdsl.measure(
            model, "text.txt", **{"tokens": 4, name: value}
        )
    for name in ("tokens", "temperature", "top_k", "seed"):
        functions["generate", name] = lambda value, name=name: list(
            nestdsl.generate(model, "a", **{"tokens": 2, name: value})
        )
    functions["compile", "seed"] = lambda value: nestdsl.parse(PROGRAM).compile(compile=False, seed=value)
    functions["load", "dim"] = lambda value: nestdsl.load("m.nest", dim=value)
    functions["optimizer", "steps"] = lambda value: nestdsl.optimizer(
        "std.optim:adamw", layer.parameters(), steps=value
    )
    for name in ("lr", "beta1", "eps"):
        functions["optimizer", name] = lambda value, name=name: nestdsl.optimizer(
            "std.optim:adamw", layer.parameters(), **{name: value}
        )
    return functions


MAY_BE_LEFT_OUT = {
    *(("train", "tokens"), ("train", "until"), ("resume", "steps"), ("resume", "until")),
    *(("measure", "tokens"), ("measure", "sequences"), ("generate", "top_k"), ("optimizer", "steps")),
}
EXPRESSIONS = {("optimizer", "lr"), ("optimizer", "beta1"), ("optimizer", "eps")}  # which may be strings


def test_what_is_no_number_or_out_of_range_is_a_diagnostic_in_python(folder) -> None:
    model = nestdsl.load("m.nest").compile(compile=False)
    for place, function in _functions(model).items():
        for value in NO_NUMBERS:
            if (value is None and place in MAY_BE_LEFT_OUT) or (value == "1" and place in EXPRESSIONS):
                continue
            if place[0] in ("load", "optimizer") and type(value) is int and 0 < value < 2**65:
                continue  # numbers of a program, which are judged there
            with pytest.raises(nestdsl.NestError) as raised:
                function(value)
            codes = {found.code for found in raised.value.diagnostics}
            assert codes <= {"N0202", "N0203", "N0503", "N0001", "N0101", "N0004", "N0104"}, (place, codes)
            assert str(raised.value)


def test_the_largest_numbers_are_taken(folder) -> None:
    model = nestdsl.load("m.nest").compile(compile=False)
    functions, most = _functions(model), 2**63 - 1
    for place in (
        *(("train", "seed"), ("train", "evaluate_every"), ("train", "checkpoint_every"), ("train", "until")),
        *(("compile", "seed"), ("generate", "seed"), ("generate", "top_k"), ("optimizer", "steps")),
        ("train", "held_out_sequences"),
    ):
        shutil.rmtree("new", ignore_errors=True)
        functions[place](most)


@pytest.mark.parametrize("value", [None, 5, 2.5, [], object()])
def test_what_is_no_path_or_text_is_a_diagnostic(folder, value) -> None:
    model = nestdsl.load("m.nest").compile(compile=False)
    for call in (
        lambda: nestdsl.load(value),
        lambda: nestdsl.parse(value),
        lambda: nestdsl.restore(value),
        lambda: nestdsl.train(model, value),
        lambda: nestdsl.train(model, "text.txt", 1, value),
        lambda: nestdsl.train(value),
        lambda: nestdsl.optimizer(value, model.parameters()),
    ):
        wrong_type(call)
    if value is not None:
        assert "the name of a model" in wrong_type(lambda: nestdsl.load("m.nest", model=value))
    wrong_type(lambda: nestdsl.generate(model, value))


def wrong_type(call) -> str:
    """What to give in the place of an argument of a wrong type."""
    with pytest.raises(nestdsl.NestError) as raised:
        call()
    (found,) = raised.value.diagnostics
    assert found.code == "N0104"
    return found.hint


@pytest.mark.parametrize("path", ["", "\0", "a\0b", "\ud800"])
def test_what_can_be_no_folder_is_a_diagnostic(folder, path) -> None:
    model = nestdsl.load("m.nest").compile(compile=False)
    for call in (
        lambda: nestdsl.restore(path),
        lambda: nestdsl.resume(out=path),
        lambda: nestdsl.train(model, "text.txt", 1, path, tokens=4),
        lambda: nestdsl.train(model, "text.txt", 1, "new", tokens=4, start_from=path),
    ):
        with pytest.raises(nestdsl.NestError) as raised:
            call()
        assert raised.value.diagnostics[0].code == "N0003"
