"""The registry of diagnostic codes. Each has a page in `pages/`, a golden file and a hint."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of mistake: its number, its title and how severe it is by itself."""

    name: str
    title: str
    severity: Severity = Severity.ERROR


_ALL = (
    # N00xx: text
    Code("N0001", "syntax"),
    Code("N0002", "unclosed brace, bracket or string"),
    Code("N0003", "file not found, not readable or not UTF-8"),
    Code("N0004", "limit exceeded"),
    # N01xx: names
    Code("N0101", "unknown name"),
    Code("N0102", "defined twice"),
    Code("N0103", "unknown, missing or repeated argument"),
    Code("N0104", "wrong kind of thing here"),
    Code("N0105", "import cycle or missing module"),
    Code("N0106", "unknown parameter in an override"),
    # N02xx: sizes and values
    Code("N0201", "flow sizes differ"),
    Code("N0202", "not a whole or positive number"),
    Code("N0203", "value out of range"),
    Code("N0204", "does not divide"),
    # N03xx: the graph
    Code("N0301", "cycle of reads"),
    Code("N0302", "not causal"),
    Code("N0303", "no `out`, or no `update`"),
    Code("N0304", "flow, level or parameter that nothing uses", Severity.WARNING),
    Code("N0305", "level whose state nothing ever changes or trains", Severity.WARNING),
    Code("N0306", "optimizer whose update climbs", Severity.WARNING),
    # N04xx: levels and clocks
    Code("N0401", "unit missing or unknown"),
    Code("N0402", "periods that do not divide one another"),
    Code("N0403", "chunk outside its period"),
    Code("N0404", "optimizer cannot drive this"),
    Code("N0405", "clause has no meaning here"),
    Code("N0406", "period longer than the sequence: the level never updates", Severity.WARNING),
    Code("N0407", "in the language, not yet in this compiler"),
    # N05xx: data and runs
    Code("N0501", "data does not fit the model's input"),
    Code("N0502", "checkpoint that is damaged, or of another program"),
    Code("N0503", "not enough memory for this program"),
    Code("N0504", "output cannot be written"),
    Code("N0505", "training diverged"),
    Code("N0506", "kind or function from Python that is not as declared"),
)

CODES: dict[str, Code] = {code.name: code for code in _ALL}
