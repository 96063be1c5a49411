"""A large program is read in well under a second."""

import time

import pytest

from tests.syntax.programs import read, tree


def test_two_thousand_levels():
    levels = "\n".join(
        f"  level l{i} = linear(dim) {{\n    every {2 ** (i % 5)} steps   optimizer adamw(lr = 1e-3)\n  }}"
        for i in range(2000)
    )
    text = f"model big(dim = 64) {{\n{levels}\n}}\n"
    tree(text)
    # Processor time, and several times what it takes (0.3 s), as other work shares the machine.
    started = time.process_time()
    program = tree(text)
    assert time.process_time() - started < 1.5
    assert len(program.declarations[0].body) == 2000


_MANY = 90_000
HOSTILE = {
    "statements with `;`": "model m {\n" + " flow a = in;" * (_MANY // 5) + "}",
    "statements side by side": "model m {\n" + " flow a = in" * (_MANY // 4) + "}",
    "types": "model m(" + ", ".join(f"a{place}: int = 3" for place in range(_MANY // 6)) + ") {}",
    "comments of C": "/* x */\n" * (_MANY // 2),
    "an open comment of C": "/*" + " x\n" * _MANY,
    "names of settings": "model m {\n level a = mlp { optimizer: {" + "a b " * (_MANY // 2) + "! }}\n}",
    "settings without an end": "model m {\n level a = mlp { optimizer adamw "
    + "a = b, " * (_MANY // 4)
    + "!}\n}",
    "blanks in a setting": "model m {\n level a = mlp { optimizer adamw lr" + " " * 900_000 + "!}\n}",
    "blanks in a clause": "model m {\n level a = mlp { lr" + " " * 900_000 + "!}\n}",
    "blanks before a chunk": "model m {\n level a = mlp { learn k -> v chunk" + " " * 900_000 + "!}\n}",
    "blanks in a pair": "model m {\n level a = mlp { learn k" + " " * 900_000 + ", }\n}",
    "blanks in a call": "model m {\n k = f(x," + " " * 900_000 + "y(\n}",
    "blanks in a prefix": "model m {\n flow a = nn.Linear(" + " " * 900_000 + "(\n}",
    "blanks after operators": "model m {\n level a = mlp { learn k -> every"
    + " - " * (_MANY // 3)
    + "1 }\n}",
    "comments of C that are open": "/* " * 300_000,
    "a long name": "model m {\n flow a = " + "x" * 900_000 + " @ b\n}",
    "a long name in a call": "model m {\n flow a = f(" + "x" * 900_000 + " = [1, 2])\n}",
    "a list": "model m {\n flow a = [" + "x, " * (_MANY // 2) + "\n}",
    "a name with dashes": "model m {\n flow a" + "-a" * (_MANY // 2) + " = 3\n}",
    "points": "model m {\n flow a = x" + ".y" * (_MANY // 2) + "\n}",
    "assignments": "model m {\n" + " k = in -> linear\n" * (_MANY // 6) + "}",
    "headers with `:`": "model m:\n flow out = in\n" * (_MANY // 8),
    "blank lines before a clause": "model m {\n level a = mlp\n" + "\n" * 900_000 + " every 4 steps\n}",
    "blanks in an arrow": "model m {\n flow a = x -" + " " * 900_000 + "> y\n}",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_habit_of_another_language_takes_long_to_answer(text):
    read("model m { }")  # which makes the parser
    started = time.process_time()
    assert read(text)[1]
    assert time.process_time() - started < 1.5
