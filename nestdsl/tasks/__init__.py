"""The formal languages of `--data task:NAME`: strings by rules, always the same."""
