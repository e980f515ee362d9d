"""Which nodes of a candidate changed, grouped, and how the main graphs around them are wired."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from onnx import NodeProto

from graphopt.model import Model
from graphopt.model.nodes import free_reads
from graphopt.verify.signatures import signatures


@dataclass(frozen=True, slots=True)
class Region:
    """Changed nodes that hang together.

    Attributes:
        nodes: In graph order.
        results: Those of their outputs that the original computes too, by the same names.
    """

    nodes: tuple[NodeProto, ...]
    results: tuple[str, ...]


@dataclass(slots=True)
class Wiring:
    """A main graph by name.

    Attributes:
        producers: The node behind each value.
        constants: Initializers that nobody can override.
    """

    model: Model
    producers: dict[str, NodeProto] = field(default_factory=dict)
    constants: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, model: Model) -> Wiring:
        """Index a model's main graph."""
        graph = model.proto.graph
        overridable = {info.name for info in graph.input}
        found = cls(model)
        found.constants = {tensor.name for tensor in graph.initializer} - overridable
        for node in graph.node:
            found.producers.update(dict.fromkeys(filter(None, node.output), node))
        return found

    def in_order(self, nodes: Iterable[NodeProto]) -> list[NodeProto]:
        """The nodes, each once, in graph order."""
        wanted = {tuple(node.output) for node in nodes}
        return [node for node in self.model.proto.graph.node if tuple(node.output) in wanted]

    def with_constants(self, nodes: list[NodeProto]) -> list[NodeProto]:
        """The nodes and the Constant nodes that they read."""
        read = [self.producers.get(name) for node in nodes for name in free_reads(node)]
        constants = [n for n in read if n is not None and n.op_type == "Constant"]
        return self.in_order([*nodes, *constants])

    def reads_from_outside(self, nodes: list[NodeProto], *, constants: bool = False) -> list[str]:
        """What the nodes read and do not compute; with or without initializers."""
        own = {name for node in nodes for name in node.output}
        read = dict.fromkeys(name for node in nodes for name in free_reads(node))
        outside = [name for name in read if name not in own]
        return [name for name in outside if constants or name not in self.constants]

    def needed(self, results: Iterable[str], given: set[str]) -> tuple[list[NodeProto], set[str]]:
        """The nodes that compute `results` from `given`, and what they need beside it."""
        wanted: list[NodeProto] = []
        seen: set[str] = set()
        missing: set[str] = set()
        pending = list(results)
        while pending:
            name = pending.pop()
            if name in seen or name in given or name in self.constants:
                continue
            seen.add(name)
            node = self.producers.get(name)
            if node is None:
                missing.add(name)
            else:
                wanted.append(node)
                pending += free_reads(node)
        return self.in_order(wanted), missing


def find_regions(before: Model, after: Model) -> list[Region]:
    """Group the candidate's changed nodes; a value that the original computes too is a border."""
    known = signatures(before)
    found = signatures(after)
    computed = {name for names in known for name in names if name}
    groups: dict[int, list[NodeProto]] = {}
    home: dict[str, int] = {}
    for index, node in enumerate(after.proto.graph.node):
        outputs = tuple(node.output)
        if outputs not in found or known.get(outputs) == found[outputs]:
            continue
        groups[index] = [node]
        inner = {home[name] for name in free_reads(node) if name in home and name not in computed}
        for other in sorted(inner):
            groups[index] = [*groups.pop(other), *groups[index]]
        for member in groups[index]:
            home.update(dict.fromkeys(filter(None, member.output), index))
    return [
        Region(tuple(nodes), results)
        for nodes in groups.values()
        if (results := tuple(n for node in nodes for n in node.output if n in computed))
    ]
