"""`python -m benchmarks.learning`: how well blocks learn, beside public implementations."""
