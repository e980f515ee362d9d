"""Declared types (inputs, outputs, value_info), brought in line with what inference finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from onnx import GraphProto, ModelProto, NodeProto, TensorShapeProto, TypeProto, ValueInfoProto

from graphopt.contract import Dim
from graphopt.graph.skeleton import skeleton
from graphopt.runtime.inference import infer

MADE_UP = "unk__"
"""How onnx's inference names sizes that it knows nothing about."""

Merge = Callable[[Dim, Dim], Dim]
"""From a declared dimension and an inferred one, what to declare."""


def inferred_graph(proto: ModelProto) -> GraphProto:
    """The main graph, weightless, with inferred types; declared ones where inference is silent."""
    found = infer(skeleton(proto, declared=False))
    known = {info.name for info in _infos(found.graph) if has_shape(info.type)}
    declared = [*proto.graph.value_info, *proto.graph.output]
    missing = [i for i in declared if i.name not in known and has_shape(i.type)]
    if missing:
        # What a declaration opens up lets inference go on behind it.
        found.graph.value_info.extend(missing)
        found = infer(found)
    return found.graph


def value_types(graph: GraphProto) -> dict[str, TypeProto]:
    """Types that a graph states of its own values; of inputs and outputs before value_info."""
    types: dict[str, TypeProto] = {}
    for info in _infos(graph):
        if info.name not in types or has_shape(info.type):
            types[info.name] = info.type
    return types


def refresh(graph: GraphProto, inferred: GraphProto, merge: Merge) -> None:
    """Rewrite declared shapes of values and outputs, bodies included, from inferred ones.

    Element types stay, and so does what inference is silent about. A declared rank that inference
    contradicts gives way.

    Args:
        graph: The graph; it is changed.
        inferred: The same graph with inferred types.
        merge: Decides each dimension.
    """
    types = value_types(inferred)
    for info in [*graph.value_info, *graph.output]:
        found = types.get(info.name)
        if found is not None and has_shape(found) and has_shape(info.type):
            _merge(info.type, found, merge)
    nodes = {tuple(node.output): node for node in inferred.node}
    for node in graph.node:
        other = nodes.get(tuple(node.output))
        if other is not None:
            for body, match in _pairs(node, other):
                refresh(body, match, merge)


def _pairs(node: NodeProto, other: NodeProto) -> Iterator[tuple[GraphProto, GraphProto]]:
    bodies = {a.name: a.g for a in other.attribute if a.HasField("g")}
    for attribute in node.attribute:
        if attribute.HasField("g") and attribute.name in bodies:
            yield attribute.g, bodies[attribute.name]


def _merge(declared: TypeProto, found: TypeProto, merge: Merge) -> None:
    old, new = dims_of(declared), inferred_dims(found)
    assert old is not None
    assert new is not None
    if len(old) != len(new):
        merged = new
    else:
        merged = tuple(merge(a, b) for a, b in zip(old, new, strict=True))
    if merged != old:
        set_dims(declared, merged)


def has_shape(kind: TypeProto) -> bool:
    """True for a tensor type of known rank."""
    return kind.HasField("tensor_type") and kind.tensor_type.HasField("shape")


def dims_of(kind: TypeProto) -> tuple[Dim, ...] | None:
    """The dimensions of a tensor type; None where the rank is not known, or of another kind.

    What exporters write for "any" is None: sizes below 1, and names without a letter such as `?`.
    """
    if not has_shape(kind):
        return None
    return tuple(_dim(dim) for dim in kind.tensor_type.shape.dim)


def inferred_dims(kind: TypeProto) -> tuple[Dim, ...] | None:
    """The dimensions that inference found: those that it made a name up for are None."""
    dims = dims_of(kind)
    if dims is None:
        return None
    return tuple(None if isinstance(d, str) and d.startswith(MADE_UP) else d for d in dims)


def _dim(dim: TensorShapeProto.Dimension) -> Dim:
    if dim.HasField("dim_value"):
        return int(dim.dim_value) if dim.dim_value > 0 else None
    name = str(dim.dim_param)
    return name if any(character.isalpha() for character in name) else None


def set_dims(kind: TypeProto, dims: Iterable[Dim]) -> None:
    """Write the dimensions of a tensor type; those that say the same already keep their messages.

    Args:
        kind: A tensor type; it is changed.
        dims: Sizes, symbols, or None for an unnamed open dimension.
    """
    wanted = list(dims)
    if not has_shape(kind) or len(kind.tensor_type.shape.dim) != len(wanted):
        kind.tensor_type.ClearField("shape")
        kind.tensor_type.shape.SetInParent()
        for _ in wanted:
            kind.tensor_type.shape.dim.add()
    for message, dim in zip(kind.tensor_type.shape.dim, wanted, strict=True):
        if _dim(message) == dim:
            continue
        message.Clear()
        if isinstance(dim, int):
            message.dim_value = dim
        elif dim is not None:
            message.dim_param = dim


def tensor_types(kind: TypeProto) -> Iterator[TypeProto]:
    """The tensor types in a type: itself, or those inside a sequence or an optional."""
    if kind.HasField("tensor_type"):
        yield kind
    elif kind.HasField("sequence_type"):
        yield from tensor_types(kind.sequence_type.elem_type)
    elif kind.HasField("optional_type"):
        yield from tensor_types(kind.optional_type.elem_type)


def _infos(graph: GraphProto) -> Iterator[ValueInfoProto]:
    yield from graph.value_info
    yield from graph.output
    yield from graph.input
