"""The memories of a body that was read which work as one: see `verify.py`."""

from __future__ import annotations

from collections.abc import Mapping

from nestdsl.plan.plan import Body, LevelPlan, SharedPlan, Sharing
from nestdsl.plan.sharing import signature
from nestdsl.plan.starts import is_trained, word_of
from nestdsl.plan.wellformed import require, require_identifier, require_member
from nestdsl.vocabulary.signatures import LIBRARY, Memory


def verify_shared(body: Body) -> None:
    """Raises OddPlanError where memories could not work as the plan says."""
    levels = {level.attribute: level for level in body.levels}
    stateless = {level.attribute for level in body.levels if level.association and not level.stateful}
    members = [name for shared in body.shared for name in shared.members]
    require(len(members) == len(set(members)), f"a memory of `{body.name}` works with others in two ways")
    require(stateless == set(members), f"which memories of `{body.name}` keep no state is odd")
    for shared in body.shared:
        here = f"`{require_identifier(shared.attribute, 'what stands for memories')}`"
        require(len(shared.members) > 1, f"{here} stands for too few memories")
        for name in shared.members:
            require_member(name, levels, f"what {here} stands for")
            level = levels[name]
            is_fit = LIBRARY.memory(level.kind) is Memory.MATRIX and level.association and not level.carried
            require(is_fit and signature(level) == signature(levels[shared.members[0]]), f"{here} is odd")
        if shared.form is Sharing.ONE_PRODUCT:
            _verify_product(shared, levels, here)
        else:
            require(shared.attribute not in levels and not shared.source, f"{here} is a level by itself")


def _verify_product(shared: SharedPlan, levels: Mapping[str, LevelPlan], here: str) -> None:
    """The memories that stand for others have the rule of these, and no weights."""
    first = levels[shared.members[0]]
    require_identifier(shared.source or shared.attribute, here)
    for name, word in (
        (shared.attribute, "identity"),
        *(((shared.source, "zeros"),) if shared.source else ()),
    ):
        require_member(name, levels, f"what {here} is made of")
        level = levels[name]
        is_alike = level.association and signature(level) == signature(first)
        is_bare = word_of(level) == word and not is_trained(level)
        require(is_alike and is_bare, f"`{name}` of {here} is no such memory")
    for name in shared.members:
        has_start = word_of(levels[name]) != "zeros" or is_trained(levels[name])
        require(has_start, f"`{name}` has no start that {here} could be a factor of")
