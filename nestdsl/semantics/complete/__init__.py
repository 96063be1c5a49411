"""The fifth phase: what the clauses of levels and `train` say, once all flows of a model are known."""
