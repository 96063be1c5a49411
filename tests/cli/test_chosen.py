"""FILE:NAME, which every command that takes a program takes alike."""

from pathlib import Path

import pytest

from nestdsl.cli.main import main
from tests.cli.commands import parsers

OPTIMIZERS = (
    "param slow = 8\noptimizer two(lr = 0.1) {\n  level m = ema(0.9) { learn grad  every slow steps }\n"
    "  flow update = -lr * m\n}\noptimizer plain(lr = 0.1) { flow update = -lr * grad }\n"
)
MODEL = "model {name} {{\n  input vectors(4)\n  flow out = in -> linear(4)\n  train {{ objective mse }}\n}}\n"
COMMANDS = {
    "check": ("check",),
    "compile": ("compile",),
    "explain": ("explain",),
    "render": ("render", "-o", "picture.dot"),
    "bench": ("bench", "--eager", "--steps", "1", "--tokens", "2", "--batch", "1"),
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("mine.nest").write_text(OPTIMIZERS)
    Path("mixed.nest").write_text(OPTIMIZERS + MODEL.format(name="small") + MODEL.format(name="large"))
    Path("broken.nest").write_text(
        OPTIMIZERS + "model small {\n  input vectors(4)\n  flow out = nothing\n}\n"
    )
    Path("torn.nest").write_text(OPTIMIZERS + "model small {")
    Path("a:b").write_text(MODEL.format(name="colon"))
    Path("empty.nest").write_text("")
    return tmp_path


def call(capsys, command: str, *files: str) -> tuple[int, str]:
    name, *options = COMMANDS[command]
    status = main((name, *files, *options))
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return status, out + err


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("file", "status", "found"),
    [
        ("mine.nest:two", 0, ""),
        ("mine.nest:plain", 0, ""),
        ("mine.nest:m3", 0, ""),  # one of the library, which every file has
        ("std.optim:m3", 0, ""),
        ("mixed.nest:two", 0, ""),
        ("mixed.nest:small", 0, ""),
        ("mixed.nest:large", 0, ""),
        ("a:b", 0, ""),
        ("torn.nest:small", 1, "N0002"),
        ("torn.nest:two", 1, "N0002"),
        ("broken.nest:small", 1, "`nothing`"),
        ("broken.nest:twq", 1, "did you mean `two`?"),
        ("mine.nest:three", 1, "`mine.nest` has no optimizer `three`"),
        ("mixed.nest:smal", 1, "did you mean `small`?"),
        ("mixed.nest:nothing", 1, "it has `small`, `large`, `two` and `plain`"),
        ("mixed.nest:", 1, "`mixed.nest` has `small`, `large`, `two` and `plain`"),
        ("empty.nest:", 1, "no name after the colon"),
        ("empty.nest:x", 1, "has no optimizer `x`"),
        ("std.optim:", 1, "N0101"),
        ("std.optim:m33", 1, "did you mean `m3`?"),
        ("gone.nest:two", 1, "there is no file 'gone.nest'"),
        (":two", 1, "there is no file"),
        ("C:\\gone.nest", 1, "there is no file"),
        ("mine.nest:two:two", 1, "there is no file 'mine.nest:two'"),
        ("mine.nest:two\x1b[31m", 1, "there is no file"),
    ],
)
def test_every_command_takes_one_of_a_file_alike(capsys, command, file, status, found) -> None:
    known = call(capsys, command, file)
    assert known[0] == status, known[1]
    assert found in known[1]


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "check"])
def test_a_file_of_optimizers_alone_says_how_to_name_one(capsys, command) -> None:
    status, text = call(capsys, command, "mine.nest")
    assert status == 1
    assert "take one as `mine.nest:two`" in text
    assert 'nestdsl.optimizer("mine.nest:two", ...)' in text


def test_a_model_is_named_once(capsys) -> None:
    assert call(capsys, "compile", "mixed.nest", "--model", "small")[0] == 0
    status, text = call(capsys, "compile", "mixed.nest:large", "--model", "small")
    assert status == 1
    assert "N0103" in text
    status, text = call(capsys, "compile", "mixed.nest", "--model", "")
    assert status == 1
    assert "there is no model ``" in text


def test_only_what_is_named_is_checked(capsys) -> None:
    Path("mixed.nest").write_text(Path("mixed.nest").read_text().replace("-> linear(4)", "-> liner(4)", 1))
    assert call(capsys, "check", "mixed.nest:large")[0] == 0
    assert call(capsys, "check", "mixed.nest:small")[0] == 1
    assert call(capsys, "check", "mixed.nest:large", "mixed.nest:small", "mine.nest:two")[0] == 1


def test_training_takes_a_model_and_says_what_to_do_with_an_optimizer(capsys) -> None:
    arguments = ("--data", "task:rotations", "--eager", "--steps", "1", "--quiet")
    assert main(("train", "mixed.nest:small", *arguments)) == 1  # its vectors are too small for the task
    assert "`input vectors(4)`" in capsys.readouterr().err
    assert main(("train", "mine.nest:two", *arguments)) == 1
    text = capsys.readouterr().err
    assert "N0104" in text and "`optimizer two`" in text


def test_files_are_called_as_what_they_are_of(capsys) -> None:
    for file, name in (("mixed.nest:small", "small.svg"), ("mine.nest:two", "two.svg"), ("a:b", "a:b.svg")):
        assert main(("render", file)) == 0
        assert Path(name).exists()
    assert main(("render", "mine.nest:two", "-o", "")) == 1


def test_what_a_command_measures_of_an_optimizer_is_of_a_size_to_measure(capsys) -> None:
    assert "two_alone: 525,312 parameters" in call(capsys, "bench", "mine.nest:two")[1]


def test_every_help_says_so() -> None:
    commands = parsers()
    for name in (*COMMANDS, "train"):
        assert "FILE:NAME" in commands[name].format_help()
