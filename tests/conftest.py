"""What every room's tests share."""

import os
import signal
from collections.abc import Iterator

import hypothesis
import pytest

# Two workers on two cores: a torch that spreads each small operation over both only slows both down.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine is no failure of the code, and a run in CI must be repeatable.
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.register_profile("search", deadline=None, max_examples=2000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture
def interrupts_arrive() -> Iterator[None]:
    """Ctrl-C reaches the test and what it starts, also where `make test &` of a script has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
