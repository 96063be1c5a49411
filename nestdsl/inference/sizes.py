"""Infers the size of every flow and level; N0201, N0204 and N0104 where that cannot be.

Where a size is unknown because of an earlier mistake, nothing is said about what depends on it.
"""

from __future__ import annotations

import networkx

from nestdsl.diagnostics import LIMIT, Diagnostics, Note
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import KIND_CALL, EdgeType, Flow, Input, Learning, Level, Node, Operation, Read
from nestdsl.graph.self_reference import anchored_reads, without_anchored_reads
from nestdsl.limits import MAX_SIZE
from nestdsl.source import Span
from nestdsl.vocabulary.clauses import LEARN
from nestdsl.vocabulary.signatures import LIBRARY, Kind, Takes

_SIZE_EDGES = frozenset((EdgeType.READ, EdgeType.KEY, EdgeType.VALUE, EdgeType.GENERATE))


def infer_sizes(graph: NestGraph, diagnostics: Diagnostics) -> None:
    """Fills `graph.sizes`, `graph.level_sizes` and `graph.ids`."""
    inference = _Inference(graph, diagnostics)
    flows = without_anchored_reads(graph, _SIZE_EDGES, inference.anchored)
    flows.add_nodes_from(node.id for node in graph.nodes(Input))  # even where nothing reads it
    if not networkx.is_directed_acyclic_graph(flows):
        circles = [part for part in networkx.strongly_connected_components(flows) if len(part) > 1]
        flows.remove_nodes_from([id for part in circles for id in part])
        flows.remove_edges_from(list(networkx.selfloop_edges(flows)))
    for id in networkx.topological_sort(flows):
        inference.visit(graph[id])
        inference.limit_size(graph[id])


class _Inference:
    def __init__(self, graph: NestGraph, diagnostics: Diagnostics) -> None:
        self.graph = graph
        self.diagnostics = diagnostics
        self.sizes = graph.sizes
        self.ids = graph.ids
        self.read_at: dict[str, Span] = {}
        self.anchored = anchored_reads(graph)

    def visit(self, node: Node) -> None:
        match node:
            case Input():
                self.sizes[node.id] = node.size
                if node.takes is Takes.IDS:
                    self.ids.add(node.id)
            case Flow():
                source = self.graph.source(node.id, EdgeType.READ)
                if source in self.sizes:
                    self.sizes[node.id] = self.sizes[source]
                    if source in self.ids:
                        self.ids.add(node.id)
                        if node.id == "out":
                            self._size(node.id, node.span)
            case Operation():
                self._operation(node)
            case Level() if node.learning is Learning.ASSOCIATION:
                self._memory(node)
            case Read():
                self._read(node)

    def limit_size(self, node: Node) -> None:
        """N0004 for a flow that is larger than any; nothing is said of what is computed from it."""
        size = self.sizes.get(node.id, 0)
        if size > MAX_SIZE:
            del self.sizes[node.id]
            self.diagnostics.report(
                LIMIT,
                f"the size of a flow is at most {MAX_SIZE:,}; this is {shown_number(size)}",
                node.span,
                "choose smaller sizes",
            )

    def _size(self, id: str, span: Span) -> int | None:
        """The size of a flow of vectors."""
        if id in self.ids:
            report_ids(span, self.diagnostics)
            return None
        return self.sizes.get(id)

    # --- operations ------------------------------------------------------------------------

    def _operation(self, node: Operation) -> None:
        sizes = [self._size(operand, node.span) for operand in node.operands if isinstance(operand, str)]
        known = tuple(size for size in sizes if size is not None)
        if len(known) < len(sizes):
            return
        options = dict(node.options)
        function = LIBRARY.functions.get(node.function)
        if function is not None and (not function.flows or function.is_custom):
            self.sizes[node.id] = function.output_size(known, options)
            return
        largest = max(known, default=1)
        if any(size not in (1, largest) for size in known):
            self.diagnostics.report(
                "N0201",
                f"the sizes {' and '.join(map(str, known))} differ",
                node.span,
                "make them equal with `-> linear(size)`; a flow of size 1 fits any",
            )
            return
        heads = options.get("heads", 1)
        if isinstance(heads, int) and not self._divides(heads, largest, "this flow", node.span):
            return
        self.sizes[node.id] = largest

    def _divides(self, heads: int, size: int, what: str, span: Span) -> bool:
        if size % heads == 0:
            return True
        below, above = size - size % heads, size - size % heads + heads
        near = f"{below} or {above}" if below else f"{above}"
        self.diagnostics.report(
            "N0204",
            f"{heads} heads do not divide {what} of size {size}",
            span,
            f"choose a size such as {near}, or another number of heads",
        )
        return False

    # --- levels ----------------------------------------------------------------------------

    def _memory(self, level: Level) -> None:
        """A memory's sizes are those of the key and the value that it learns."""
        key_flow, value_flow = (self.graph.source(level.id, edge) for edge in (EdgeType.KEY, EdgeType.VALUE))
        if key_flow is None or value_flow is None:
            return
        span = level.clause(LEARN)
        key, value = self._size(key_flow, span), self._size(value_flow, span)
        if key is None or value is None:
            return
        arguments = dict(level.arguments)
        pairs = arguments.get("pairs")
        if isinstance(pairs, int) and pairs > 1:
            if not self._holds_pairs(level, pairs, key, "keys") or not self._holds_pairs(
                level, pairs, value, "values"
            ):
                return
            key, value = key // pairs, value // pairs
        heads = arguments.get("heads")
        if isinstance(heads, int):
            sizes = {key: "keys and values"} if key == value else {key: "keys", value: "values"}
            call = level.place(KIND_CALL) or level.span
            # Of heads that divide neither, the keys are enough to say so.
            if not all(self._divides(heads, size, what, call) for size, what in sizes.items()):
                return
            if arguments.get("rotary") and (key // heads) % 2:
                self.diagnostics.report(
                    "N0204",
                    f"rotary positions turn pairs of numbers, but each head's key has size {key // heads}",
                    call,
                    "choose a size that is even for each head, or write `rotary = false`",
                )
                return
        known = self.graph.level_sizes.setdefault(level.id, (key, value))
        if known != (key, value):
            self.diagnostics.report(
                "N0201",
                f"`{level.name}` makes its own keys or values, of size {known[1]}, "
                f"but learns keys of size {key} and values of size {value}",
                span,
                "make all of these sizes equal",
            )

    def _holds_pairs(self, level: Level, pairs: int, size: int, what: str) -> bool:
        if size % pairs == 0:
            return True
        self.diagnostics.report(
            "N0204",
            f"`{level.name}` learns {pairs} pairs for each token, which do not divide {what} of size {size}",
            level.clause(LEARN),
            "put flows of equal size side by side: `learn concat(k, other_k) -> concat(v, other_v)`",
        )
        return False

    def _read(self, read: Read) -> None:
        if read.level not in self.graph:
            return
        level = self.graph.level(read.level)
        kind = LIBRARY.kinds[level.kind]
        if kind.takes is Takes.IDS:
            if read.operand not in self.ids and read.operand in self.sizes:
                self.diagnostics.report(
                    "N0104",
                    f"`{level.kind}` reads ids, and these are vectors",
                    read.span,
                    "use `linear(size)` for vectors",
                )
                return
            size = self.sizes.get(read.operand)
        else:
            size = self._size(read.operand, read.span)
        if size is None:
            return
        known = self.graph.level_sizes.get(level.id)
        if known is None:
            if level.learning is Learning.ASSOCIATION and read.id not in self.anchored:
                return
            # A memory that makes its own target is square, unless its target turns out otherwise.
            if not self._infer(level, kind, size, read.span):
                return
            known = self.graph.level_sizes[level.id]
            self.read_at[level.id] = read.span
        if known[0] != size:
            first = self.read_at.get(level.id, level.clause(LEARN))
            self.diagnostics.report(
                "N0201",
                f"`{level.name}` reads flows of size {known[0]}; this one has size {size}",
                read.span,
                "make it equal with `-> linear(size)`, or declare a second level",
                (Note(f"here its size is {known[0]}", first),),
            )
            return
        self.sizes[read.id] = known[1]

    def _infer(self, level: Level, kind: Kind, size: int, span: Span) -> bool:
        arguments = dict(level.arguments)
        output = kind.output_size(arguments, size)
        heads = arguments.get("heads")
        if isinstance(heads, int) and not self._divides(heads, size, "a flow", span):
            return False
        self.graph.level_sizes[level.id] = (size, output)
        return True


def report_ids(span: Span, diagnostics: Diagnostics) -> None:
    """N0104 where vectors are needed."""
    diagnostics.report(
        "N0104",
        "these are ids, which cannot be computed with",
        span,
        "make vectors of them first: `in -> embedding(dim) -> ...`",
    )


def shown_number(number: int) -> str:
    """A number that may be larger than any that one can read."""
    return f"{number:,}" if number < 10**15 else f"{number:.3g}" if number < 10**300 else "far more"
