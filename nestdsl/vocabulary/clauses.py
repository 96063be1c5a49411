"""The clauses of a level, one row each. `semantics/values/clauses.py` reads what they say.

`meaning` and `default` are cells of the table in `docs/language.md`, which a test makes from these rows.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clause:
    """A clause of a level.

    forms: as a program writes it, each with its meaning and what holds if it is left out. of_pairs: it is
    only of levels that learn `key -> value`; not_across: why it has no meaning for a level whose weights live
    across sequences, empty where it has one. of_gradients: memories inside of optimizers have it too.
    """

    name: str
    forms: tuple[tuple[str, str, str], ...]
    of_pairs: bool = False
    not_across: str = ""
    of_gradients: bool = False


EVERY = Clause(
    "every",
    (
        (
            "every N steps",
            "the level moves once in N optimizer steps, by the mean of the gradients gathered since "
            "(Behrouz et al., 2025, Eq. 71)",
            "as `train` says: `every 1 step`",
        ),
        (
            "every N tokens",
            "the level lives in context: each sequence has its own state, which starts at `init`",
            "",
        ),
    ),
    of_gradients=True,
)
CHUNK = Clause(
    "chunk",
    ((", chunk C", "how many tokens a memory works on at once (next section)", "1"),),
    of_pairs=True,
    not_across="only levels that change at every token have chunks",
)
LEARN = Clause(
    "learn",
    (
        (
            "learn key -> value",
            "the level learns to answer `key` with `value`",
            "`learn surprise`: the gradient of the loss of the model",
        ),
    ),
    of_gradients=True,
)
OBJECTIVE = Clause(
    "objective",
    (
        (
            "objective",
            "of a memory: `l2` (half the squared error), `dot` or `lp(p)`; of `train`: `cross_entropy` or "
            "`mse`",
            "`l2`; by the input",
        ),
    ),
    of_pairs=True,
    not_across="it learns from the surprise of the whole model",
)
OPTIMIZER = Clause("optimizer", (("optimizer", "next section", "`gd` with step 1; that of `train`"),))
INIT = Clause(
    "init",
    (
        (
            "init",
            'how the weights start: next table; or `from other_level` or `from "file:key"` (see below)',
            "`learned`",
        ),
    ),
)
READ = Clause(
    "read",
    (
        (
            "read",
            "`after` the token has written, `before`, or at the `anchor`: the start of the chunk",
            "`after`",
        ),
    ),
    of_pairs=True,
    not_across="its state does not change while a sequence is read",
    of_gradients=True,
)
GRADIENT = Clause(
    "gradient",
    (
        (
            "gradient",
            "whether outer levels differentiate `through` what the level learns, `stop` there, or "
            "`truncated(n)`: see below",
            "`through` for memories, `stop` for levels that learn from surprise in context",
        ),
    ),
    not_across="nothing happens in context that one could differentiate through",
)
RESET = Clause(
    "reset",
    (
        (
            "reset",
            "`context`: starts again with each sequence; `parent`: also whenever the level of `init from` "
            "moves; `never`: goes on along a stream of sequences",
            "`context`",
        ),
    ),
    not_across="its state lives across sequences",
)
FROZEN = Clause("frozen", (("frozen", "never moves", ""),))

CLAUSES: tuple[Clause, ...] = (
    EVERY,
    CHUNK,
    LEARN,
    OBJECTIVE,
    OPTIMIZER,
    INIT,
    READ,
    GRADIENT,
    RESET,
    FROZEN,
)
BY_NAME = {clause.name: clause for clause in CLAUSES}
