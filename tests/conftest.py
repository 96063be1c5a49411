"""What every room's tests share."""

import os

import hypothesis

# Two workers on two cores: a torch that spreads each small operation over both only slows both down.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine is no failure of the code, and a run in CI must be repeatable.
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.register_profile("search", deadline=None, max_examples=2000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
