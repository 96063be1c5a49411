"""The limits of a program's text. Each is reported as N0004 with its number.

They keep hostile or runaway input from costing more than about a second, and are far above
what a program needs: a model of 2,000 levels has about 6,000 lines and 45,000 words.
"""

MAX_FILE_BYTES = 1024 * 1024
"""Size of one file."""

MAX_WORDS = 100_000
"""Words, numbers and signs in one file."""

MAX_NESTING = 100
"""Depth of brackets and of operators in one expression: later passes recurse over it."""

MAX_NUMBER_DIGITS = 40
"""Characters of one number as written."""

MAX_NAME_LENGTH = 200
"""Characters of one name."""

MAX_DIAGNOSTICS = 100
"""Mistakes reported for one file before reading stops."""

MAX_MISTAKES = 1000
"""Mistakes that reading goes on after in one file, those counted that are not reported by themselves."""

MAX_STRAY_LINES = 3
"""Top-level lines that cannot be read, and outnumber what can, in a text that still counts as a program."""

MAX_SHOWN = 20
"""Diagnostics that a command prints as text; the rest is counted."""

MAX_SETTING = 10_000
"""Characters of one `--set NAME=VALUE`."""

MAX_WHOLE = 2**63
"""Size of a whole number that compile-time arithmetic computes, and that an argument can be."""

MAX_SIZE = 2**31 - 1
"""Size of one flow: numbers for each token, or ids of an input."""

MAX_NUMBERS = 2**48
"""Numbers in the weights of one level, or in what it keeps for each sequence."""

MAX_MODULES = 200
"""Files that one program uses."""

MAX_PROGRAM_CHARACTERS = 2 * MAX_FILE_BYTES
"""Characters of all files that one program uses, without its own."""

MAX_MODELS = 1_000
"""Models of one file."""

MAX_LEVELS = 5_000
"""Levels of one model, copies counted."""

MAX_NODES = 20_000
"""Levels, flows and operations of all models of one program, copies counted."""

MAX_BLOCK_DEPTH = 30
"""Blocks within blocks, and optimizers that leave their rest to others: elaboration recurses over them."""

MAX_OPTIMIZER_PARTS = 50_000
"""Names, numbers and operations of all optimizers of one program, for each use with other values."""

MAX_GUESSES = 100
"""Known names that are compared with one that is not known, for what was meant."""

MAX_LISTED = 40
"""Names that one message lists."""

MAX_PATH_LENGTH = 1000
"""Characters of a path that a program names."""

MAX_PARAMETER_DEPTH = 30
"""Parameters that are computed from one another: elaboration recurses over them."""

MAX_OPEN_EXPRESSIONS = 150
"""Expressions within expressions, those of blocks within blocks counted."""
