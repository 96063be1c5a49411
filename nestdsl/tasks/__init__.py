"""Synthetic tasks, made by rules and always the same: what `--data task:NAME` stands for."""
