"""`python -m benchmarks.learning`: how well each family of blocks learns, beside a public implementation of it."""
