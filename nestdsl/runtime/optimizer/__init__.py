"""Runs optimizers written in the language: `OptimizerProgram`s of `nestdsl.graph.optimizer`.

`naive.py` is the plain reference, which levels that learn in context use too; `fast.py` moves all
weights of a model at once. Both compute with `functions.py` and `memories.py`.
"""
