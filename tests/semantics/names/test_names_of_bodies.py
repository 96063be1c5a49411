"""The names of a body: any will do, each once, and each is what it was declared as."""

import pytest

from tests.semantics.programs import codes, messages, model


@pytest.mark.parametrize(
    "name", ["train", "step", "state", "forward", "in_", "index", "self", "none", "default"]
)
def test_any_name_may_be_given(name):
    assert codes(model(f"level {name} = linear\nflow out = in -> {name}")) == []
    assert codes(model(f"flow {name} = in\nflow out = {name} + 1")) == []
    assert codes(model(f"flow out = in * {name}", parameters=f"{name} = 2")) == []


def test_names_that_are_taken():
    assert codes(model("level in = linear\nflow out = in")) == ["N0102"]
    assert codes(model("level out = linear\nflow x = in -> out")) == ["N0104"]
    assert codes(model("flow x = in", parameters="out = 2")) == ["N0303", "N0102"]
    assert codes(model("flow out = in", parameters="in = 2")) == ["N0102"]


def test_a_level_is_no_kind():
    for text in (
        "level a = b\nlevel b = linear",
        "level b = linear\nlevel a = b",
        "level a = a\nlevel b = linear",
    ):
        assert messages(model(text + "\nflow out = in -> b"))[0].endswith(
            "is a level, not a kind of level or a block"
        )


def test_what_could_not_be_read_is_not_reported_again():
    text = """
level a = linear(
level b = nothing(3)
flow c = in + + 2
flow d = in -> a -> b -> c
flow out = d + c + (in -> b -> linear(8))
"""
    assert sorted(codes(model(text))) == ["N0001", "N0002", "N0101"]
