"""Constant cones: what folding a connected set of constant nodes adds to a model and frees.

One node at a time misjudges: three slices of a weight and the Concat that reorders them add nothing
in the end, while the transpose of a weight that others still read adds all of itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from graphopt.contract import GraphView, NodeView, ValueView

_LINKING_BYTES = 1024
"""Constants below this size do not tie cones together: everybody shares a zero."""


@dataclass(slots=True)
class Cone:
    """Nodes that depend on constants alone and on each other.

    Attributes:
        nodes: In graph order.
        growth: Bytes of results that others read, less bytes of constants nobody else reads.
    """

    nodes: list[NodeView] = field(default_factory=list)
    growth: int = 0


def find_cones(
    graph: GraphView,
    operands: Callable[[NodeView], Sequence[ValueView] | None],
    size: Callable[[ValueView], int | None],
) -> list[Cone]:
    """Group the nodes of one graph (bodies not included) that could be evaluated.

    Args:
        graph: The graph.
        operands: The values whose content a node needs; None for a node that is never folded.
        size: Bytes of a value, None when unknown.
    """
    reads: dict[NodeView, Sequence[ValueView]] = {}
    sizes: dict[ValueView, int] = {}
    groups = _Groups()
    for node in graph.nodes:
        needed = operands(node)
        if not needed or not all(v.is_constant or v in sizes for v in needed):
            continue
        reads[node] = needed
        groups.add(node)
        known = [v.nbytes or 0 if v.is_constant else sizes[v] for v in needed]
        for output in node.outputs:
            if output is not None:
                found = size(output)
                sizes[output] = sum(known) if found is None else found
        for value in needed:
            if not value.is_constant or (value.nbytes or 0) >= _LINKING_BYTES:
                groups.link(node, value)
    cones: dict[object, Cone] = {}
    for node in reads:
        cones.setdefault(groups.root(node), Cone()).nodes.append(node)
    for cone in cones.values():
        cone.growth = _growth(cone, reads, sizes)
    return list(cones.values())


def _growth(
    cone: Cone, reads: dict[NodeView, Sequence[ValueView]], sizes: dict[ValueView, int]
) -> int:
    members = set(cone.nodes)
    added = sum(
        sizes[output]
        for node in cone.nodes
        for output in node.outputs
        if output is not None and any(use.node not in members for use in output.readers)
    )
    constants = {v for node in cone.nodes for v in reads[node] if v.is_constant}
    freed = sum(
        value.nbytes or 0
        for value in constants
        if not value.is_graph_output and all(use.node in members for use in value.readers)
    )
    return added - freed


class _Groups:
    """Union-find over nodes; the values that link them are keys too."""

    def __init__(self) -> None:
        self._parent: dict[object, object] = {}

    def add(self, item: object) -> None:
        self._parent.setdefault(item, item)

    def root(self, item: object) -> object:
        while self._parent[item] is not item:
            self._parent[item] = self._parent[self._parent[item]]
            item = self._parent[item]
        return item

    def link(self, node: NodeView, value: ValueView) -> None:
        key: object = value if value.is_constant else value.producer
        self.add(key)
        self._parent[self.root(key)] = self.root(node)


def in_small_cones(cones: Iterable[Cone], max_growth: int) -> set[NodeView]:
    """Nodes of the cones that add at most `max_growth` bytes."""
    return {node for cone in cones if cone.growth <= max_growth for node in cone.nodes}
