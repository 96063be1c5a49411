"""`python -m benchmarks.optimizers`: one small transformer, trained by each of several optimizers."""
