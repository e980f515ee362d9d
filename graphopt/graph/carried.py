"""What the inputs of Loop and Scan bodies are declared to be, kept only where it is proven.

A file may declare any shape for what a Loop carries, and a runtime only warns when the second turn
brings another one. A declared dimension holds if the first turn's value has it, and if, granted
that it holds, the body's result has it too: then it holds in every turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TypeProto

from graphopt.model.nodes import STANDARD_DOMAINS

Types = Mapping[str, TypeProto]


def drop_unproven(bare: ModelProto, inferred: ModelProto) -> bool:
    """Take declared dimensions of body inputs out of a model that inference does not bear out.

    Args:
        bare: A weightless model, changed in place.
        inferred: The same with inferred types, granted what is declared.

    Returns:
        True when something was taken out, so that inference has to speak again.
    """
    changes = [_reviewed(*pair) for pair in _pairs(bare.graph, inferred.graph, {})]
    return any(changes)


def _pairs(
    bare: GraphProto, inferred: GraphProto, outer: Types
) -> Iterator[tuple[NodeProto, NodeProto, Types]]:
    """Loop and Scan nodes in both models, with the types of what they can see."""
    types = {**outer, **_types(inferred)}
    for node, known in zip(bare.node, inferred.node, strict=True):
        if node.op_type in ("Loop", "Scan") and node.domain in STANDARD_DOMAINS:
            yield node, known, types
        for one, other in zip(node.attribute, known.attribute, strict=True):
            if one.type == AttributeProto.GRAPH:
                yield from _pairs(one.g, other.g, types)


def _types(graph: GraphProto) -> dict[str, TypeProto]:
    found = {info.name: info.type for info in [*graph.output, *graph.value_info, *graph.input]}
    for tensor in graph.initializer:
        shaped = TypeProto()
        for length in tensor.dims:
            shaped.tensor_type.shape.dim.add(dim_value=length)
        shaped.tensor_type.shape.SetInParent()
        found[tensor.name] = shaped
    return found


def _reviewed(node: NodeProto, known: NodeProto, types: Types) -> bool:
    """Review one node's body inputs; tell whether something was taken out."""
    body = next((a.g for a in node.attribute if a.name == "body"), None)
    seen = next((a.g for a in known.attribute if a.name == "body"), None)
    if body is None or seen is None:
        return False
    inside = _types(seen)
    results = [inside.get(info.name) for info in seen.output]
    changed = False
    for index, info in enumerate(body.input):
        first, turn = _sources(node, index, results, types)
        changed |= _prune(info.type, first, turn)
    return changed


def _sources(
    node: NodeProto, index: int, results: list[TypeProto | None], types: Types
) -> tuple[TypeProto | None, TypeProto | None]:
    """The type of a body input in the first turn, and in those that follow."""
    if node.op_type == "Loop":
        if index < 2:
            scalar = TypeProto()
            scalar.tensor_type.shape.SetInParent()
            return scalar, scalar
        carried, result = index, index - 1
    else:
        scanned = next((a.i for a in node.attribute if a.name == "num_scan_inputs"), 0)
        carried = result = index
        if index >= len(node.input) - scanned:
            return None, None
    name = node.input[carried] if carried < len(node.input) else ""
    return types.get(name), results[result] if result < len(results) else None


def _prune(declared: TypeProto, first: TypeProto | None, turn: TypeProto | None) -> bool:
    """Take out of a declared type what the two others do not both have."""
    if not declared.tensor_type.HasField("shape"):
        return False
    dims = declared.tensor_type.shape.dim
    others = [t.tensor_type.shape.dim for t in (first, turn) if t and _has_rank(t, len(dims))]
    if len(others) < 2:
        declared.tensor_type.ClearField("shape")
        return True
    changed = False
    for axis, dim in enumerate(dims):
        same = all(other[axis].dim_value == dim.dim_value for other in others)
        if dim.HasField("dim_value") and not same:
            dim.Clear()
            changed = True
    return changed


def _has_rank(known: TypeProto, rank: int) -> bool:
    return known.tensor_type.HasField("shape") and len(known.tensor_type.shape.dim) == rank
