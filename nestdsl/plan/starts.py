"""How levels start, as options of a plan: `init` is the word, `init_std` and so on its number.

`init_trained` is there for a memory whose start is trained and says more than `learned`.
"""

from __future__ import annotations

from nestdsl.graph.nodes import Learning, Level
from nestdsl.plan.plan import LevelPlan, Pairs
from nestdsl.plan.wellformed import require, require_arguments, require_member
from nestdsl.vocabulary.signatures import LIBRARY, STARTS, Value
from nestdsl.vocabulary.starts import ALWAYS_TRAINED, LEARNED

WORD, TRAINED = "init", "init_trained"
NUMBERS = {word: f"init_{spec.name}" for word, spec in STARTS.items() if spec}
"""The option that holds the number of a start."""
OPTIONS = (WORD, TRAINED, *NUMBERS.values())


def start_options(level: Level) -> Pairs:
    """The options that say how a level starts; none for the start that its kind learns from."""
    init = level.init
    if init.kind == LEARNED or LIBRARY.kinds[level.kind].is_nonparametric:
        return ()
    options: list[tuple[str, Value]] = [(WORD, init.kind)]
    if init.kind in NUMBERS:
        options.append((NUMBERS[init.kind], init.number))
    is_memory = level.learning is Learning.ASSOCIATION
    if is_memory and init.trained and init.kind not in ALWAYS_TRAINED:
        options.append((TRAINED, True))
    return tuple(options)


def without_start(options: Pairs) -> Pairs:
    """The options that say something else."""
    return tuple(pair for pair in options if pair[0] not in OPTIONS)


def word_of(level: LevelPlan) -> str:
    """The word by which a level starts."""
    return str(dict(level.options).get(WORD, LEARNED))


def number_of(level: LevelPlan) -> float | None:
    """The number of that word; None if it takes none."""
    number = dict(level.options).get(NUMBERS.get(word_of(level), ""))
    return number if isinstance(number, int | float) else None


def is_trained(level: LevelPlan) -> bool:
    """Whether the outer levels train the start of a level; that of a memory may be fixed."""
    is_said = bool(dict(level.options).get(TRAINED, False))
    return not level.association or is_said or word_of(level) in ALWAYS_TRAINED


def verify_start(level: LevelPlan) -> None:
    """Raises OddPlanError for a start that no program gives."""
    here, options = f"`{level.attribute}`", dict(level.options)
    given = {name for name in options if name in OPTIONS}
    word, kind = options.get(WORD, LEARNED), LIBRARY.kinds.get(level.kind)
    require_member(word, STARTS, f"{WORD} of {here}")
    assert isinstance(word, str)
    spec, wanted = STARTS[word], {WORD} if WORD in given else set()
    if spec is not None:
        name = NUMBERS[word]
        require(name in given, f"{here} does not say `{name}`")
        require_arguments(((spec.name, options[name]),), (spec,), here)
        wanted.add(name)
    if TRAINED in given:
        require(options[TRAINED] is True, f"{TRAINED} of {here} is odd")
        is_said = level.association and word not in ALWAYS_TRAINED
        require(is_said, f"{here} is not a memory whose start could be fixed")
        wanted.add(TRAINED)
    require(given == wanted, f"{here} starts in two ways")
    if kind is None or word == LEARNED:
        return
    require(word in kind.starts, f"the start of {here} has no meaning for its kind")
    if word == "identity":
        require(level.input_size == level.output_size, f"{here} is no identity: its sizes differ")
