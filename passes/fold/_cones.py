"""Constant cones: what folding a connected set of constant nodes adds to a model and frees.

One node at a time misjudges: three slices of a weight and the Concat that reorders them add nothing
in the end, while the transpose of a weight that others still read adds all of itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from graphopt.contract import GraphView, NodeView, ValueView
from graphopt.passes._operations import operation_of

LINKING_BYTES = 1024
"""Constants below this size do not tie cones together: everybody shares a zero."""

Operands = Callable[[NodeView], "list[ValueView] | None"]
Size = Callable[[ValueView], "int | None"]


@dataclass(slots=True)
class Cone:
    """Nodes that depend on constants alone and on each other.

    Attributes:
        nodes: In graph order.
        added: Bytes of results that others read, by the node that makes them.
        repeated: Bytes among them that equal others: nodes that do the same to the same constants.
        freed: Bytes of constants that nobody else reads.
    """

    nodes: list[NodeView] = field(default_factory=list)
    added: dict[NodeView, int] = field(default_factory=dict)
    repeated: int = 0
    freed: int = 0

    @property
    def growth(self) -> int:
        """Bytes that folding all of it adds to the model."""
        return sum(self.added.values()) - self.repeated - self.freed

    def needed_for(self, ends: Iterable[NodeView]) -> list[NodeView]:
        """The nodes that the given ones depend on, themselves included, in graph order."""
        members, wanted, pending = set(self.nodes), set(), list(ends)
        while pending:
            node = pending.pop()
            if node in wanted or node not in members:
                continue
            wanted.add(node)
            pending += [v.producer for v in node.inputs if v is not None and v.producer is not None]
        return [node for node in self.nodes if node in wanted]


def find_cones(graphs: Iterable[GraphView], operands: Operands, size: Size) -> list[Cone]:
    """Group the nodes that could be evaluated.

    Args:
        graphs: A graph and its bodies, outermost first.
        operands: The values whose content a node needs; None for a node that is never folded.
        size: Bytes of a value, None when unknown.
    """
    reads: dict[NodeView, list[ValueView]] = {}
    sizes: dict[ValueView, int] = {}
    groups = _Groups()
    for node in (node for graph in graphs for node in graph.nodes):
        needed = operands(node)
        if not needed or not all(v in sizes or v.is_constant for v in needed):
            continue
        reads[node] = needed
        known = [sizes.get(v, v.nbytes or 0) for v in needed]
        for output in _outputs(node):
            found = size(output)
            sizes[output] = sum(known) if found is None else found
        for value, nbytes in zip(needed, known, strict=True):
            if value in sizes or nbytes >= LINKING_BYTES:
                groups.link(node, value.producer if value in sizes else value)
    cones: dict[object, Cone] = {}
    for node in reads:
        cones.setdefault(groups.root(node), Cone()).nodes.append(node)
    for cone in cones.values():
        _weigh(cone, reads, sizes)
    return list(cones.values())


def _weigh(cone: Cone, reads: dict[NodeView, list[ValueView]], sizes: dict[ValueView, int]) -> None:
    members = set(cone.nodes)
    numbers = _numbered(cone.nodes)
    counted = set()
    for node in cone.nodes:
        ends = [v for v in _outputs(node) if any(use.node not in members for use in v.readers)]
        if not ends:
            continue
        cone.added[node] = sum(sizes[value] for value in ends)
        if numbers[node] in counted and node.graph.stores_initializers:
            cone.repeated += cone.added[node]
        counted.add(numbers[node])
    constants = dict.fromkeys(v for n in cone.nodes for v in reads[n] if v not in sizes)
    cone.freed = sum(
        value.nbytes or 0
        for value in constants
        if not value.is_graph_output and all(use.node in members for use in value.readers)
    )


def _numbered(nodes: Iterable[NodeView]) -> dict[NodeView, int]:
    """A number for each node; nodes that compute the same from the same constants share one."""
    known: dict[object, int] = {}
    found: dict[NodeView, int] = {}
    for node in nodes:
        operands: list[object] = []
        for value in node.inputs:
            producer = value.producer if value is not None else None
            if producer in found and value is not None:
                operands.append((found[producer], producer.outputs.index(value)))
            elif value is not None and value.is_constant and (value.nbytes or 0) < LINKING_BYTES:
                operands.append(value.digest())
            else:
                operands.append(value)
        key = (operation_of(node), tuple(operands))
        found[node] = known.setdefault(key, len(known))
    return found


def _outputs(node: NodeView) -> list[ValueView]:
    return [value for value in node.outputs if value is not None]


class _Groups:
    """Union-find over nodes and the constants that tie them together."""

    def __init__(self) -> None:
        self._parent: dict[object, object] = {}

    def root(self, item: object) -> object:
        self._parent.setdefault(item, item)
        while self._parent[item] is not item:
            self._parent[item] = self._parent[self._parent[item]]
            item = self._parent[item]
        return item

    def link(self, node: NodeView, other: object) -> None:
        self._parent[self.root(other)] = self.root(node)
