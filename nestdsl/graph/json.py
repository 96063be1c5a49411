"""A graph as networkx node-link JSON, readable by `networkx.node_link_graph`."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from nestdsl.graph.nest import NestGraph
from nestdsl.source import Span


def to_json(graph: NestGraph) -> str:
    """Nodes with their class, fields, size and place; edges with their type."""
    nodes = [
        {"id": id, "class": type(node).__name__, **_plain(node), "size": graph.sizes.get(id)}
        for id, node in graph.networkx.nodes(data="node")
    ]
    edges = [
        {
            "source": source,
            "target": target,
            "key": key,
            "type": data["type"].value,
            "position": data["position"],
        }
        for source, target, key, data in graph.networkx.edges(keys=True, data=True)
    ]
    whole = {
        "directed": True,
        "multigraph": True,
        "graph": {"name": graph.name},
        "nodes": nodes,
        "edges": edges,
    }
    return json.dumps(whole, indent=1, ensure_ascii=False)


def _plain(value: Any) -> Any:
    match value:
        case Span():
            return f"{value.line}:{value.column}"
        case Enum():
            return value.value
        case tuple():
            return [_plain(part) for part in value]
        case _ if is_dataclass(value):
            return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        case _:
            return value
