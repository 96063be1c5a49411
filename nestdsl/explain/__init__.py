"""The white box: what every level of a model is, and the equation by which it moves.

Reads the graph and the plan, never torch. `as_text(graph, plan)` and `as_latex(graph, plan)`
write the page, `sections` is the same as data, and an `Explanation` is what `Nest.explain` gives.
"""

from nestdsl.explain.page import Explanation, as_latex, as_text, sections

__all__ = ["Explanation", "as_latex", "as_text", "sections"]
