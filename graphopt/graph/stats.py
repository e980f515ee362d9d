"""What a model is made of, counted from its protobuf; unknown stays None."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from graphopt.graph.elements import ValueType
from graphopt.graph.macs import RULES, UNCOUNTED
from graphopt.graph.shapes import graph_types, infer_bound
from graphopt.model import Model
from graphopt.model.nodes import STANDARD_DOMAINS, free_reads, nodes_within
from graphopt.model.tensor import element_type, is_floating, packed_bytes
from graphopt.model.tensors import model_tensors
from graphopt.report import ModelStats

SPARSITY_LIMIT = 32 << 20
"""Bytes of weights up to which zeros are counted; beyond it sparsity is unknown."""

Types = dict[str, ValueType]


def measure(model: Model, shapes: dict[str, tuple[int, ...]] | None = None) -> ModelStats:
    """Count what a model is made of.

    Args:
        model: The model; its weights are not read beyond SPARSITY_LIMIT.
        shapes: Input shapes for MACs and activations. Where none is given an open first dimension
            counts as 1, and other open ones make the two unknown.
    """
    proto = model.proto
    nodes = list(every_node(proto))
    ops = Counter(_op_name(node) for node in nodes)
    tensors = [model.tensor(tensor) for tensor in model_tensors(proto)]
    dtypes: Counter[str] = Counter()
    for tensor in tensors:
        dtypes[_type_name(tensor.elem_type)] += tensor.nbytes
    floats = [t for t in tensors if t.dtype is not None and is_floating(t.dtype)]
    bound = _bound_shapes(model, shapes or {})
    inferred = infer_bound(proto, bound)
    outer = {t.name: ValueType(None, tuple(t.dims)) for t in proto.graph.initializer}
    # Weights of Constant nodes stand among the inputs of the weightless copy.
    fed = {info.name for info in proto.graph.input}
    outer |= {i.name: ValueType() for i in inferred.graph.input if i.name not in fed}
    return ModelStats(
        nodes=len(nodes),
        constant_nodes=ops["Constant"],
        ops=dict(sorted(ops.items(), key=lambda item: (-item[1], item[0]))),
        initializers=sum(_stored(graph) for graph in _all_graphs(proto)),
        parameters=sum(math.prod(t.shape) for t in floats),
        weight_bytes=sum(t.nbytes for t in tensors),
        file_bytes=model.file_bytes,
        macs=None if proto.functions else _graph_macs(inferred.graph, outer),
        peak_activation_bytes=_peak(inferred.graph, outer),
        macs_at={name: list(shape) for name, shape in bound.items()},
        dtypes=dict(sorted(dtypes.items())),
        sparsity=_sparsity(model),
        opaque_nodes=sum(node.domain not in STANDARD_DOMAINS for node in nodes),
        functions=len(proto.functions),
        ir_version=proto.ir_version,
        opsets=dict(model.opsets),
    )


def _type_name(elem_type: int) -> str:
    if elem_type not in TensorProto.DataType.values():
        return f"type {elem_type}"
    return str(TensorProto.DataType.Name(elem_type)).lower()


def _op_name(node: NodeProto) -> str:
    return node.op_type if node.domain in STANDARD_DOMAINS else f"{node.domain}::{node.op_type}"


def _all_graphs(proto: ModelProto) -> Iterator[GraphProto]:
    yield proto.graph
    for attribute in (attribute for node in every_node(proto) for attribute in node.attribute):
        yield from [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]


def _stored(graph: GraphProto) -> int:
    return len(graph.initializer) + len(graph.sparse_initializer)


def every_node(proto: ModelProto) -> Iterator[NodeProto]:
    """The nodes of a model, those of bodies and functions included."""
    yield from nodes_within(proto.graph.node)
    for function in proto.functions:
        yield from nodes_within(function.node)


def _bound_shapes(model: Model, shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    defaults = {tensor.name for tensor in model.proto.graph.initializer}
    bound = {}
    for info in model.proto.graph.input:
        tensor = info.type.tensor_type
        if info.name in shapes:
            bound[info.name] = tuple(shapes[info.name])
        elif info.name not in defaults and tensor.HasField("shape"):
            dims = [d.dim_value if d.dim_value > 0 else None for d in tensor.shape.dim]
            if dims and dims[0] is None:
                dims[0] = 1
            if all(dim is not None for dim in dims):
                bound[info.name] = tuple(dim for dim in dims if dim is not None)
    return bound


def _graph_macs(graph: GraphProto, outer: Types) -> int | None:
    types = {**outer, **graph_types(graph)}
    for tensor in graph.initializer:
        types[tensor.name] = ValueType(None, tuple(tensor.dims))
    total = 0
    for node in graph.node:
        found = _node_macs(node, types)
        if found is None:
            return None
        total += found
    return total


def _node_macs(node: NodeProto, types: Types) -> int | None:
    bodies = [a.g for a in node.attribute if a.HasField("g")]
    if bodies:
        counts = [_graph_macs(body, types) for body in bodies]
        if any(count is None for count in counts):
            return None
        # One branch of an If runs; how often a loop turns is not known.
        most = max(count or 0 for count in counts)
        return most if node.op_type == "If" or most == 0 else None
    if node.op_type in UNCOUNTED or node.domain not in (*STANDARD_DOMAINS, "ai.onnx.ml"):
        return None
    rule = RULES.get(node.op_type)
    if rule is None:
        return 0
    inputs = _known_shapes(types, node.input)
    outputs = _known_shapes(types, node.output)
    if inputs is None or outputs is None:
        return None
    try:
        return rule(node, inputs, outputs)
    except (ValueError, IndexError, StopIteration, AttributeError, TypeError):
        return None


def _known_shapes(types: Types, names: Iterable[str]) -> list[tuple[int, ...]] | None:
    """The shapes of the values named; None where one is not known in full."""
    found = []
    for name in filter(None, names):
        shape = _known_shape(types, name)
        if shape is None:
            return None
        found.append(shape)
    return found


def _known_shape(types: Types, name: str) -> tuple[int, ...] | None:
    shape = types[name].shape if name in types else None
    if shape is None or not all(isinstance(dim, int) for dim in shape):
        return None
    return tuple(dim for dim in shape if isinstance(dim, int))


def _peak(graph: GraphProto, outer: Types) -> int | None:
    """Largest sum of live activations while nodes run in file order; bodies not counted."""
    types = {**outer, **graph_types(graph)}
    last_read = {name: step for step, node in enumerate(graph.node) for name in free_reads(node)}
    results = {info.name for info in graph.output}
    weights = set(outer) | {tensor.name for tensor in graph.initializer}
    weights |= {name for node in graph.node if node.op_type == "Constant" for name in node.output}
    live: dict[str, int] = {}
    peak = 0
    for step, node in enumerate(graph.node):
        for name in [*node.input, *node.output]:
            if not name or name in weights or name in live:
                continue
            size = _bytes(types, name)
            if size is None:
                return None
            live[name] = size
        peak = max(peak, sum(live.values()))
        for name in list(live):
            if last_read.get(name, -1) <= step and name not in results:
                del live[name]
    return peak


def _bytes(types: Types, name: str) -> int | None:
    shape = _known_shape(types, name)
    dtype = types[name].dtype if name in types else None
    if shape is None or dtype is None or dtype.kind == "O":
        return None
    return packed_bytes(element_type(dtype), math.prod(shape))


def _sparsity(model: Model) -> float | None:
    if model.weight_bytes > SPARSITY_LIMIT:
        return None
    zeros = total = 0
    for proto in model_tensors(model.proto):
        tensor = model.tensor(proto)
        if tensor.dtype is not None and is_floating(tensor.dtype):
            array = tensor.array()
            total += array.size
            zeros += array.size - int(np.count_nonzero(array))
    return zeros / total if total else None
