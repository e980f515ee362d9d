"""Giving every value one name of its own again, after a tool has put new nodes into a graph.

onnx's tools number the names of what they add, graph by graph: a body may then define a name that
the graph around it has, and one graph may define a name twice.
"""

from __future__ import annotations

from collections.abc import Iterator

from onnx import GraphProto, NodeProto


def settle_names(graph: GraphProto, source: GraphProto) -> None:
    """Rename what a tool has added wherever its name is taken; the source's own names stay.

    Args:
        graph: The tool's result, nodes in an order in which they may run; it is changed.
        source: What the tool was given.
    """
    main = {name for name in _defined(source) if name}
    bodies = {name for body in _bodies(source.node) for name in _defined(body) if name}
    _Settler(main, bodies).main(graph)


def _defined(graph: GraphProto) -> Iterator[str]:
    yield from (info.name for info in graph.input)
    yield from (tensor.name for tensor in graph.initializer)
    yield from (sparse.values.name for sparse in graph.sparse_initializer)
    for node in graph.node:
        yield from node.output


def _bodies(nodes: object) -> Iterator[GraphProto]:
    for node in nodes:  # type: ignore[attr-defined]
        for attribute in node.attribute:
            for body in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                yield body
                yield from _bodies(body.node)


class _Settler:
    def __init__(self, main: set[str], bodies: set[str]) -> None:
        self._main = main
        self._bodies = bodies - main
        self._taken = main | bodies
        self._done: set[str] = set()

    def main(self, graph: GraphProto) -> None:
        """Walk the main graph; its inputs, outputs and initializers are the source's."""
        self._done = {info.name for info in graph.input}
        self._done.update(tensor.name for tensor in graph.initializer)
        names: dict[str, str] = {}
        for node in graph.node:
            self._node(node, names, inside=False)

    def _body(self, graph: GraphProto, around: dict[str, str]) -> None:
        names = dict(around)
        for info in graph.input:
            info.name = self._define(info.name, names, inside=True)
        inputs = {info.name for info in graph.input}
        for tensor in graph.initializer:
            if names.get(tensor.name, tensor.name) in inputs:
                tensor.name = names.get(tensor.name, tensor.name)
            else:
                tensor.name = self._define(tensor.name, names, inside=True)
        for node in graph.node:
            self._node(node, names, inside=True)
        for info in [*graph.output, *graph.value_info]:
            info.name = names.get(info.name, info.name)

    def _node(self, node: NodeProto, names: dict[str, str], *, inside: bool) -> None:
        node.input[:] = [names.get(name, name) for name in node.input]
        for attribute in node.attribute:
            for body in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                self._body(body, names)
        node.output[:] = [self._define(name, names, inside=inside) for name in node.output]

    def _define(self, name: str, names: dict[str, str], *, inside: bool) -> str:
        """The name under which a definition goes on, from here on in `names`."""
        if not name:
            return name
        own = name in self._bodies if inside else name in self._main and name not in self._done
        new, number = name, 0
        while not own and new in self._taken:
            number += 1
            new = f"{name}_{number}"
        self._taken.add(new)
        if not inside:
            self._done.add(new)
        names[name] = new
        return new
