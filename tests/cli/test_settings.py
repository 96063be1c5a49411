"""`--set NAME=VALUE`: what is wrong with it is told with the argument as written, and never with a place."""

from __future__ import annotations

import json

import pytest

from nestdsl.cli.main import main

PROGRAM = """\
param width = 4
optimizer own(lr = 1e-3, period = 2, mode = "mean") {
  level m = ema(0.9, reduce = mode) { learn grad   every period steps }
  flow update = -lr * width * m
}
model m(dim = 8, deep = true, kind_of = "silu") {
  input vectors(dim)
  flow out = in -> mlp(hidden = width, bias = deep, activation = kind_of)
  train { optimizer own }
}
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.nest").write_text(PROGRAM)

    def run(*arguments: str) -> tuple[int, str]:
        status = main(list(arguments))
        return status, capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("setting", "said", "helped"),
    [
        ("dim", "--set dim is not NAME=VALUE", "`--set dim=64`"),
        ("", "--set  is not NAME=VALUE", "`--set dim=64`"),
        ("dim: 3", "--set dim: 3 is not NAME=VALUE", "`--set dim=64`"),
        ("=3", "the name is missing", "`--set dim=64`"),
        ("dim=", "the value is missing", "`--set dim=64`"),
        ("dim= ", "the value is missing", "`--set dim=64`"),
        ("dim=3=4", "`=` stands twice", "one name and one value"),
        ("dim==3", "`=` stands twice", "one name and one value"),
        ("my dim=3", "'my dim' is not a name", "the name of a parameter"),
        ("d-m=3", "'d-m' is not a name", "the name of a parameter"),
        ("3=3", "'3' is not a name", "the name of a parameter"),
        ("d\u00efm=3", "is not a name", "the name of a parameter"),
        ("dim=3 4", "expected", "write one value, as in `--set dim=64`"),
        ("dim=3,4", "expected", "write one value, as in `--set dim=64`"),
        ("dim=3;", "`;` has no meaning here", "write one value, as in `--set dim=64`"),
        ("dim=$X", "`$` has no meaning here", "write one value, as in `--set dim=64`"),
        ("dim=(3", "this `(` is not closed", "write the missing `)`"),
        ("dim=64MB", "neither a number nor a name", "a number is"),
        ("dim=3\nparam x = 4", "more than one value", "a `--set` for each"),
        ("dim=\x1b[31m3", "U+001B", "remove it"),
        ("dim=" + "9" * 20_000, "at most 10,000 characters", "into the program"),
        ("dim=" + "9" * 50, "at most 40 digits", "with an exponent"),
        ("dim=9**9**9", "this number is too large", "smaller"),
        ("dim=1/0", "division by zero", "must not be 0"),
        ("dims=3", "the program has no parameter `dims`", "did you mean `dim`? Its parameters are `width`, "),
        ("learning_rate=3", "no parameter `learning_rate`", "its parameters are `width`, `dim`, "),
        ("dim=abc", "unknown name `abc`", "write a number, or compute it from `width`"),
        ("dim=widht", "unknown name `widht`", "did you mean `width`?"),
        ("dim=four", "unknown name `four`", "write `4`"),
        ("dim=m", "`m` is not a parameter", "a number, another parameter"),
        ('dim="abc"', '`dim` is a number, not "abc"', "its default is: `8`"),
        ("dim=true", "`dim` is a number, not true", "its default is: `8`"),
        ("deep=1", "`deep` is true or false, not 1", "its default is: `true`"),
        ("deep=True", "unknown name `True`", "write `true`"),
        ("kind_of=1", "`kind_of` is a string, not 1", 'its default is: `"silu"`'),
        ("kind_of=gelu", "unknown name `gelu`", "--set 'kind_of=\"gelu\"'"),
        ('width="x"', '`width` is a number, not "x"', "its default is: `4`"),
    ],
)
def test_what_is_wrong_is_told_with_the_argument(run, setting, said, helped):
    status, err = run("compile", "p.nest", "--set", setting)
    first, *_ = err.strip().split("\n\n")
    assert status == 1
    assert said in first
    assert helped in first
    assert "--set" in first.splitlines()[0]
    assert "-->" not in err
    assert "\x1b" not in err
    assert "declare it" not in err


def test_what_is_set_twice_is_told_with_both(run):
    status, err = run("compile", "p.nest", "--set", "dim=3", "--set", "dim = 4")
    assert status == 1
    assert "--set dim=3 and --set dim = 4 set `dim` twice" in err


@pytest.mark.parametrize(
    ("setting", "shown"),
    [
        ("lr=0.5", "lr = 0.5"),
        ("period = 2*4", "8 updates"),
        ("lr=cosine(1e-2, warmup = 2)", "cosine"),
        ("width=7", "7"),
    ],
)
def test_optimizers_by_name_take_settings(tmp_path, monkeypatch, capsys, setting, shown):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.nest").write_text(PROGRAM)
    outputs = []
    for arguments in ([], ["--set", setting]):
        assert main(["compile", "p.nest:own", "--emit", "plan", *arguments]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] != outputs[1]


@pytest.mark.parametrize(
    ("setting", "said", "helped"),
    [
        (
            "lrr=2",
            "--set lrr=2: `own` has no parameter `lrr`",
            "did you mean `lr`? Its parameters are `lr`, ",
        ),
        ("learning_rate=2", "has no parameter `learning_rate`", "did you mean `lr`?"),
        ("dim=2", "`own` has no parameter `dim`", "its parameters are `lr`, `period`, `mode` and `width`"),
        ("lr=abc", "--set lr=abc: unknown name `abc`", "write a number, or compute it from `width`"),
        ('lr="x"', '--set lr="x": `lr` is a number, not "x"', "write a number"),
        ("lr=cosine", "--set lr=cosine: the schedule `cosine` needs a peak", "write `cosine(1e-3)`"),
        ("lr=cosin(1)", "--set lr=cosin(1): there is no schedule `cosin`", "did you mean `cosine`?"),
        ("period=0", "--set period=0:", "write a positive whole number"),
        ("period=1.5", "--set period=1.5:", "write `1` or `2`"),
        ("mode=3", "--set mode=3: `mode` is a string, not 3", "write a string"),
        ("width=x", "--set width=x: unknown name `x`", "write a number"),
        ("lr=", "--set lr=: the value is missing", "`--set lr=64`"),
    ],
)
def test_wrong_settings_of_optimizers_by_name(run, setting, said, helped):
    status, err = run("explain", "p.nest:own", "--set", setting)
    assert status == 1
    assert said in err
    assert helped in err
    assert "-->" not in err


def test_the_library_takes_them_as_well(run):
    assert run("explain", "std.optim:m3", "--set", "lr=0.5", "--set", "period=4")[0] == 0
    status, err = run("explain", "std.optim:m3", "--set", "perod=4")
    assert status == 1
    assert "did you mean `period`?" in err


_NAMES = (
    "dim",
    " dim ",
    "",
    "dims",
    "1",
    "d m",
    "\0",
    "\u202e",
    "true",
    "in",
    "model",
    "dim[0]",
    "dim.x",
    "--set",
)
_VALUES = (
    "3",
    "",
    "=",
    "3=",
    '"x"',
    "(",
    "[1]",
    "{",
    "x -> y",
    "-",
    "lambda: 3",
    "\x1b]0;x\x07",
    "\n",
    "#3",
    "1e400",
    "\u0663",
)


@pytest.mark.parametrize("name", _NAMES)
def test_no_argument_is_answered_with_a_traceback_or_a_place(run, name):
    """Over 200 arguments: each a code or a right program, and each message on the argument."""
    for value in _VALUES:
        status, err = run("compile", "p.nest", f"--set={name}={value}")
        assert status in (0, 1)
        assert (status == 1) == ("error[" in err), err
        assert not any(ord(character) < 32 and character != "\n" for character in err)
        assert "-->" not in err, err


# --- many mistakes, and texts that are no programs ---------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "# Title\n\nA README, with (words).\n\n```\n$ run it\n```\n\n- one\n- two\n\nMore [text](x).\n" * 5,
        "import torch\n\nclass M(torch.nn.Module):\n    def f(self, x):\n        return x\n\nprint(M())\n"
        * 4,
        '{\n  "name": "m",\n  "layers": [1, 2]\n}\n',
        "name: m\nlayers:\n  - linear\n  - relu\ndim: 8\n",
        "[project]\nname = 'm'\nversion = '1'\n",
        "<html>\n<body>\n<p>no</p>\n</body>\n</html>\n",
        "---\ntitle: x\n---\n",
    ],
)
def test_a_text_that_is_no_program(run, tmp_path, capsys, text):
    (tmp_path / "text.nest").write_text(text)
    assert main(["check", "text.nest"]) == 1
    out = capsys.readouterr().out
    assert "does not look like a nest program" in out.splitlines()[0]
    assert "a program begins with `use`, `param`, `block`, `optimizer` or `model`" in out
    assert out.count("error[") <= 4


def test_only_the_first_of_many_mistakes_are_printed(run, tmp_path, capsys):
    lines = "".join(f"  flow f{place} = nothing{place}\n" for place in range(70))
    (tmp_path / "many.nest").write_text(f"model m {{\n  input vectors(8)\n{lines}  flow out = in\n}}\n")
    assert main(["check", "many.nest"]) == 1
    out = capsys.readouterr().out
    assert out.count("error[") == 20
    assert out.rstrip().splitlines()[-1].startswith("20 errors shown, and ")
    assert "see all with --format json" in out
    assert main(["check", "many.nest", "--format", "json"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sum(line["severity"] == "error" for line in lines) == 70
