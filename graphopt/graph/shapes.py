"""Shapes: ONNX inference with data propagation over a weightless copy.

Inference speaks first. A declared type (value_info, outputs) counts only where inference has
nothing to say, since files do declare them wrongly; those it contradicts are listed, never used.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TypeProto, ValueInfoProto, helper
from onnx.shape_inference import InferenceError, infer_node_outputs

from graphopt.contract import Dim
from graphopt.graph.captured import lend_constants
from graphopt.graph.carried import drop_unproven
from graphopt.graph.elements import Node, Scope, Tensor, ValueType, Weight
from graphopt.graph.program import Program
from graphopt.graph.skeleton import KEPT_BYTES, skeleton
from graphopt.graph.views import constant_node_data, node_proto
from graphopt.model.tensor import element_type, numpy_dtype
from graphopt.runtime.inference import infer

_FAILURES = (InferenceError, RuntimeError, ValueError, TypeError, KeyError, IndexError)


def annotate(program: Program, proto: ModelProto) -> None:
    """Write what is known of every value's type into the graph.

    Args:
        program: The graph.
        proto: The same graph as a message.
    """
    bare = skeleton(proto, declared=False)
    lend_constants(bare)
    inferred = infer(bare)
    while drop_unproven(bare, inferred):
        inferred = infer(bare)
    program.journal.revision += 1
    conflicts: list[str] = []
    _adopt(program.main, inferred.graph, proto.graph, conflicts)
    if _fill(inferred.graph, proto.graph):
        # What a declaration opened up lets inference go on behind it.
        again = infer(inferred)
        _adopt(program.main, again.graph, proto.graph, conflicts)
    program.shape_conflicts = sorted(set(conflicts))


def infer_bound(proto: ModelProto, shapes: dict[str, tuple[int, ...]]) -> ModelProto:
    """A weightless copy with inferred types, once the main graph's inputs have given shapes."""
    bare = skeleton(proto, declared=False)
    for info in bare.graph.input:
        if info.name in shapes and info.type.HasField("tensor_type"):
            elem = info.type.tensor_type.elem_type
            info.CopyFrom(helper.make_tensor_value_info(info.name, elem, list(shapes[info.name])))
    return infer(bare)


def bind_inputs(proto: ModelProto, shapes: dict[str, tuple[int, ...]]) -> dict[str, ValueType]:
    """Types of the main graph's values once its inputs have the given shapes."""
    return graph_types(infer_bound(proto, shapes).graph)


def infer_outputs(node: Node) -> list[ValueType]:
    """What one node's outputs are, from what is known of its inputs."""
    version = node.scope.opsets.get(node.domain, 0)
    unknown = [ValueType() for _ in node.outputs]
    try:
        schema = onnx.defs.get_schema(node.op, version, node.domain)
        found = infer_node_outputs(
            schema,
            node_proto(node),
            {v.name: p for v in node.inputs if v.name and (p := _type_proto(v)) is not None},
            {v.name: t for v in node.inputs if v.name and (t := _small_tensor(v)) is not None},
            opset_imports=[helper.make_opsetid(d, n) for d, n in node.scope.opsets.items()],
        )
    except (onnx.defs.SchemaError, onnx.checker.ValidationError, *_FAILURES):
        return unknown
    return [_value_type(found[v.name]) if v.name in found else ValueType() for v in node.outputs]


def _adopt(
    scope: Scope, inferred: GraphProto, declared: GraphProto | None, conflicts: list[str]
) -> None:
    types = graph_types(inferred)
    stated = {} if declared is None else graph_types(declared)
    for name, value in scope.names.items():
        if isinstance(value, Weight):
            continue
        known = types.get(name, ValueType())
        if declared is not None and name in stated and contradicts(stated[name], known):
            conflicts.append(f"{scope.path}/{name}" if scope.path else name)
        if known.dtype is not None or known.shape is not None:
            value.type_known = known
    by_output = {_key(node): node for node in inferred.node}
    said = {} if declared is None else {_key(node): node for node in declared.node}
    for node in scope.nodes:
        if node.bodies:
            key = tuple(v.name for v in node.outputs)
            _adopt_bodies(node, by_output.get(key), said.get(key), conflicts)


def _adopt_bodies(
    node: Node, inferred: NodeProto | None, declared: NodeProto | None, conflicts: list[str]
) -> None:
    graphs = {} if inferred is None else {a.name: a.g for a in inferred.attribute}
    stated = {} if declared is None else {a.name: a.g for a in declared.attribute}
    for name, body in node.bodies.items():
        if name in graphs:
            _adopt(body, graphs[name], stated.get(name), conflicts)


def _fill(inferred: GraphProto, declared: GraphProto) -> bool:
    """Give inference the declared types of values it knows nothing about."""
    known = graph_types(inferred)
    missing = [
        info
        for info in [*declared.value_info, *declared.output]
        if known.get(info.name, ValueType()).shape is None
        and _value_type(info.type).shape is not None
    ]
    inferred.value_info.extend(missing)
    return bool(missing)


def contradicts(stated: ValueType, known: ValueType) -> bool:
    """Tell whether a declared type cannot be what inference found."""
    if stated.dtype is not None and known.dtype is not None and stated.dtype != known.dtype:
        return True
    if stated.shape is None or known.shape is None:
        return False
    if len(stated.shape) != len(known.shape):
        return True
    return any(
        isinstance(a, int) and isinstance(b, int) and a != b
        for a, b in zip(stated.shape, known.shape, strict=True)
    )


def _key(node: NodeProto) -> tuple[str, ...]:
    return tuple(node.output)


def graph_types(graph: GraphProto) -> dict[str, ValueType]:
    """Types that a graph states of its own values, bodies not included."""
    infos: Iterable[ValueInfoProto] = [*graph.value_info, *graph.output, *graph.input]
    types: dict[str, ValueType] = {}
    for info in infos:
        found = _value_type(info.type)
        if found.shape is not None or info.name not in types:
            types[info.name] = found
    return types


def _value_type(proto: TypeProto) -> ValueType:
    if not proto.HasField("tensor_type"):
        return ValueType()
    tensor = proto.tensor_type
    dtype = numpy_dtype(tensor.elem_type) if tensor.elem_type else None
    if not tensor.HasField("shape"):
        return ValueType(dtype, None)
    return ValueType(dtype, tuple(_dim(dim) for dim in tensor.shape.dim))


def _dim(dim: Any) -> Dim:
    if dim.HasField("dim_value"):
        return int(dim.dim_value) if dim.dim_value >= 0 else None
    return dim.dim_param or None


def _type_proto(value: Tensor) -> TypeProto | None:
    known = value.type_known
    if known.dtype is None:
        return None
    return helper.make_tensor_type_proto(element_type(known.dtype), known.shape)


def _small_tensor(value: Tensor) -> onnx.TensorProto | None:
    data = value.data if isinstance(value, Weight) else None
    if data is None and value.inputs:
        data = constant_node_data(value.inputs[0])
    if data is None or data.is_external or data.nbytes > KEPT_BYTES:
        return None
    return data.proto
