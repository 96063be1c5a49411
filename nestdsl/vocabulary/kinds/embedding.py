"""`embedding`: a table of one vector for each id."""

from nestdsl.vocabulary.arguments import whole
from nestdsl.vocabulary.kinds.parts import W, X
from nestdsl.vocabulary.starts import Beginning, normal
from nestdsl.vocabulary.terms import ONE, apply
from nestdsl.vocabulary.types import Kind, Takes

EMBEDDING = Kind(
    "embedding",
    "a vector for each id",
    (whole("dim"),),
    takes=Takes.IDS,
    output_size=lambda a, size: int(a["dim"] or 0),
    parameters=lambda a, in_, out: (("weight", (in_, out)),),
    has_matrices=False,  # each row is moved by few tokens
    begins=lambda a, role: (Beginning(W, normal(ONE)),),
    lacks_start={"identity": "reads ids, and so is never the identity"},
    equation=lambda a, is_residual: apply("row", W, X),
    takes_input_size=True,
)
