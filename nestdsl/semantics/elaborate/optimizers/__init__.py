"""Optimizers written in the language: from their declarations to `OptimizerProgram`s."""
