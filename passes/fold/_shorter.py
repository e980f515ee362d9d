"""Cheaper ways to compute sizes that are known as such: one node in place of a chain.

Shape -> Gather -> Unsqueeze is Shape(start, end) where the opset has it (15), or a Gather with a
vector of indices; a number beside the vector of it is a Squeeze; a Where over known numbers and
sizes is a Concat. Each rewrite makes as many nodes as it removes, and what fed them mostly dies.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np

from graphopt.contract import Editor, Effect, GraphView, NodeView, Rewrite, ValueView
from graphopt.passes.fold._facts import Dims, Facts, integers
from graphopt.passes.fold._sizes import Size

_SLICED_SHAPE = 15
"""Opset from which Shape has start and end."""
_KEPT = frozenset({"Shape", "Concat", "Constant", "Squeeze"})
"""Operators that are as cheap as a Shape, which would replace them."""
_MAX_STEPS = 12
"""How many nodes above a value are searched for the Shape that it comes from."""


def shortened(graph: GraphView, facts: Facts) -> Iterator[Rewrite]:
    """Give sizes shorter ways, in a graph and then in its bodies."""
    known = [(value, facts.dims(value)) for value in graph.inputs if graph.kind == "main"]
    sources = [(value, dims) for value, dims in known if dims]
    yield from _in_graph(graph, facts, sources)


def _in_graph(
    graph: GraphView, facts: Facts, sources: Sequence[tuple[ValueView, Dims]]
) -> Iterator[Rewrite]:
    vectors: dict[Size, ValueView] = {}
    numbers: list[tuple[ValueView, Size]] = []
    for node in graph.nodes:
        for body in node.bodies.values():
            yield from _in_graph(body, facts, sources)
        value = node.outputs[0] if node.outputs else None
        content = facts.content(value)
        if value is None or content is None or value.dtype != np.int64 or node.is_opaque:
            continue
        if integers(content) is not None or not (value.readers or value.is_graph_output):
            continue
        entries = list(content.ravel())
        if content.ndim == 1:
            yield from _vector(node, value, entries, facts, sources, vectors)
            if len(entries) == 1:
                vectors.setdefault(entries[0], value)
        elif content.ndim == 0 and node.op_type == "Gather" and graph.opset() >= _SLICED_SHAPE:
            numbers.append((value, entries[0]))
    for value, entry in numbers:
        if entry in vectors and (value.readers or value.is_graph_output):
            yield from _number(value, vectors[entry])


def _vector(
    node: NodeView,
    value: ValueView,
    entries: Sequence[Size],
    facts: Facts,
    sources: Sequence[tuple[ValueView, Dims]],
    vectors: dict[Size, ValueView],
) -> Iterator[Rewrite]:
    if node.op_type not in _KEPT or (node.op_type == "Concat" and len(node.inputs) > 1):
        above = _shapes_above(node)
        if node.graph.opset() >= _SLICED_SHAPE:
            own = [shape.inputs[0] for shape in above]
            beside = [(v, d) for v in own if v is not None and (d := facts.dims(v))]
            for source, dims in [*sources, *beside]:
                start = _run(entries, dims)
                if start is not None:
                    attributes = {"start": start, "end": start + len(entries)}
                    if len(entries) == len(dims):
                        attributes = {}
                    yield _instead(node, value, "Shape", [source], attributes)
                    return
        elif node.op_type != "Gather" and node.graph.stores_initializers:
            yield from _gathered(node, value, entries, facts, above)
            return
    if node.op_type not in _KEPT or node.op_type == "Concat":
        yield from _joined(node, value, entries, vectors)


def _shapes_above(node: NodeView) -> list[NodeView]:
    """Shape nodes of the same graph from which a value is computed, the nearest first."""
    found, pending, seen = [], [node], {node}
    for _ in range(_MAX_STEPS):
        if not pending:
            break
        for value in pending.pop(0).inputs:
            producer = value.producer if value is not None else None
            if producer is None or producer in seen or producer.graph is not node.graph:
                continue
            seen.add(producer)
            if producer.op_type == "Shape" and not producer.is_opaque:
                found.append(producer)
            else:
                pending.append(producer)
    return found


def _run(entries: Sequence[Size], dims: Dims) -> int | None:
    """Where the entries stand one after another among the dimensions."""
    count = len(entries)
    for start in range(len(dims) - count + 1):
        if tuple(entries) == tuple(dims[start : start + count]):
            return start
    return None


def _gathered(
    node: NodeView,
    value: ValueView,
    entries: Sequence[Size],
    facts: Facts,
    above: Sequence[NodeView],
) -> Iterator[Rewrite]:
    """Where Shape has no start and end: a Gather with a vector of indices."""
    for shape in above:
        dims, output = facts.dims(shape.inputs[0]), shape.outputs[0]
        if dims is None or output is None or not all(entry in dims for entry in entries):
            continue
        indices = np.array([dims.index(entry) for entry in entries], np.int64)

        def give(edit: Editor, output: ValueView = output, indices: Any = indices) -> None:
            stored = edit.constant(indices, f"{value.name}_indices", node.graph)
            made = edit.insert("Gather", [output, stored], before=node, attributes={"axis": 0})
            edit.adopt(made, 0, value)
            edit.remove(node)

        yield Rewrite(value.label(), Effect.IDENTICAL, give)
        return


def _frees(node: NodeView, kept: Collection[ValueView]) -> bool:
    """True where something that only this node reads goes away with it."""
    return any(
        value is not None
        and value.producer is not None
        and value not in kept
        and not value.is_constant
        and not value.is_graph_output
        and all(use.node is node for use in value.readers)
        for value in node.inputs
    )


def _joined(
    node: NodeView, value: ValueView, entries: Sequence[Size], vectors: dict[Size, ValueView]
) -> Iterator[Rewrite]:
    """A Concat of numbers and of vectors that are there already."""
    if len(entries) < 2 or not all(e.integer is not None or e in vectors for e in entries):
        return
    if not _frees(node, {vectors[e] for e in entries if e.integer is None}):
        return

    def give(edit: Editor) -> None:
        parts: list[ValueView] = []
        pending: list[int] = []
        for entry in [*entries, None]:
            if entry is not None and entry.integer is not None:
                pending.append(entry.integer)
                continue
            if pending:
                array = np.array(pending, np.int64)
                parts.append(edit.constant(array, f"{value.name}_numbers", node.graph))
                pending = []
            if entry is not None:
                parts.append(vectors[entry])
        made = edit.insert("Concat", parts, before=node, attributes={"axis": 0})
        edit.adopt(made, 0, value)
        edit.remove(node)

    if node.graph.stores_initializers:
        yield Rewrite(value.label(), Effect.IDENTICAL, give)


def _number(value: ValueView, vector: ValueView) -> Iterator[Rewrite]:
    """A size as a number, where the vector that holds it is computed too.

    Where the vector comes later, it is moved up: it is a Shape that can stand anywhere behind the
    tensor whose dimensions it reads.
    """
    node, shape = value.producer, vector.producer
    if node is None or shape is None or shape.graph is not node.graph or shape.op_type != "Shape":
        return
    source = shape.inputs[0]
    if source is None or not (source.is_graph_input or source is _source_of(node)):
        return

    def give(edit: Editor) -> None:
        moved = edit.insert("Shape", [source], before=node, attributes=dict(shape.attributes))
        edit.adopt(moved, 0, vector)
        edit.remove(shape)
        made = edit.insert("Squeeze", [vector], before=node)
        edit.adopt(made, 0, value)
        edit.remove(node)

    yield Rewrite(value.label(), Effect.IDENTICAL, give)


def _source_of(node: NodeView) -> ValueView | None:
    """The tensor of whose Shape a node gathers."""
    shape = node.inputs[0].producer if node.inputs and node.inputs[0] is not None else None
    return shape.inputs[0] if shape is not None and shape.op_type == "Shape" else None


def _instead(
    node: NodeView,
    value: ValueView,
    op_type: str,
    inputs: Sequence[ValueView],
    attributes: dict[str, Any],
) -> Rewrite:
    def give(edit: Editor) -> None:
        made = edit.insert(op_type, inputs, before=node, attributes=attributes)
        edit.adopt(made, 0, value)
        edit.remove(node)

    return Rewrite(value.label(), Effect.IDENTICAL, give)
