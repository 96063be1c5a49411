"""Words that are no option, command or argument are answered where they were given."""

import pytest

from nestdsl.cli.main import main
from tests.cli.commands import WITH_TORCH, WITHOUT_TORCH, parsers

PARSERS = parsers()
OPTIONS = [
    (name, option)
    for name, parser in PARSERS.items()
    for option in parser._option_string_actions
    if option.startswith("--")
]


def test_the_tables_of_commands_have_all() -> None:
    assert {name for name, *_ in (*WITHOUT_TORCH, *WITH_TORCH)} == set(PARSERS)


def refused(capsys, *arguments: str) -> str:
    """What is said of wrong usage."""
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err


def complete(name: str) -> tuple[str, ...]:
    """A command with all that it must be given."""
    return (name, "x", *(("--prompt", "x") if name == "generate" else ()))


@pytest.mark.parametrize("name", PARSERS)
def test_an_unknown_option_is_answered_with_the_usage_of_its_command(capsys, name) -> None:
    for words in (("--zzz",), ("--zzz", "1"), ("--zzz=1",), ("-z",), ("--zzz", "--yyy")):
        err = refused(capsys, *complete(name), *words)
        assert err.startswith(f"usage: nestdsl {name} ")
        assert f"\nnestdsl {name}: error: unrecognized arguments: {' '.join(words)}\n" in err


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_a_misspelt_option_is_recognized(capsys, name, option) -> None:
    letters = option.removeprefix("--")
    wrong = (letters[0] + letters, letters + "z", letters[:-1] + "z" + letters[-1])
    for word in wrong:
        if f"--{word}" in PARSERS[name]._option_string_actions:
            continue
        assert f"help: did you mean `{option}`?" in refused(capsys, *complete(name), f"--{word}", "1")


@pytest.mark.parametrize("name", [name for name in PARSERS if (name, "--set") in OPTIONS])
def test_a_parameter_of_the_program_is_no_option(capsys, name) -> None:
    for words, setting in (
        (("--lr", "1"), "lr=1"),
        (("--lr=0.5",), "lr=0.5"),
        (("--lr", "--quux"), "lr=VALUE"),
        (("--lr",), "lr=VALUE"),
        (("--hidden-size", "2"), "hidden_size=2"),
    ):
        err = refused(capsys, *complete(name), *words)
        assert f"help: a parameter of the program is set with `--set {setting}`" in err


def test_without_a_parameter_nothing_is_guessed(capsys) -> None:
    assert "help" not in refused(capsys, "check", "x", "--lr", "1").partition("error:")[2]
    assert "help" not in refused(capsys, "train", "x", "y").partition("error:")[2]
    assert refused(capsys, "--zzz", "check", "x").startswith("usage: nestdsl [-h]")
