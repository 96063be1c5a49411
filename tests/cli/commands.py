"""Every command with arguments that work, for the tests that walk all of them."""

import argparse

from nestdsl.cli.arguments import CommandParser
from nestdsl.cli.commands import parser

PROGRAM = """# a program → with signs: é, ½, 日本
model m(dim = 8) {
  input ids(256)
  level   embed = embedding(dim)
  level memory = matrix(2) { learn k -> h  every 1 token, chunk 4 }
  level head = linear(256)
  flow h = in -> embed
  flow k = h -> l2_normalize(2)
  flow out = h + memory(k) -> head
  train { optimizer adamw }
}
"""
TEXT = "the quick brown fox jumps over the lazy dog\n" * 80

QUICK = ("--eager", "--batch", "2", "--tokens", "16", "--steps", "1")

WITHOUT_TORCH = (
    ("check", "m.nest"),
    ("check", "m.nest", "wrong.nest", "--format", "json"),
    ("check", "wrong.nest", "--format", "github"),
    ("check", "wrong.nest"),
    ("fmt", "m.nest", "--check"),
    ("fmt", "m.nest", "--diff"),
    ("compile", "m.nest"),
    ("compile", "m.nest", "--emit", "ast"),
    ("compile", "m.nest", "--emit", "graph"),
    ("compile", "m.nest", "--emit", "plan"),
    ("render", "m.nest", "-o", "m.dot"),
    ("explain", "m.nest"),
    ("explain", "m.nest", "--latex"),
    ("explain", "N0504"),
    ("explain", "std.optim:m3"),
)
WITH_TORCH = (
    ("compile", "m.nest", "--emit", "python"),
    ("bench", "m.nest", *QUICK),
    ("train", "m.nest", "--data", "text.txt", "--out", "new", *QUICK),
    ("eval", "run"),
    ("generate", "run", "--prompt", "the é →", "--tokens", "4"),
)


def parsers() -> dict[str, CommandParser]:
    """The parser of every command by its name, with all arguments."""
    (subparsers,) = (one for one in parser()._actions if isinstance(one, argparse._SubParsersAction))
    for command in subparsers.choices.values():
        command.load()
    return dict(subparsers.choices)
