"""The third phase: what is known at compile time, such as parameters, arguments and clauses."""
