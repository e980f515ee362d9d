"""A model without its weights: what inference and the checker need, and nothing that costs memory.

Large tensors become typed inputs. Overridable initializers become plain inputs, so that nothing is
ever concluded from a value that a caller may replace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from onnx import (
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    OperatorSetIdProto,
    SparseTensorProto,
    TensorProto,
    ValueInfoProto,
    helper,
)

from graphopt.model.messages import copy_but
from graphopt.model.nodes import STANDARD_DOMAINS, plain_domain
from graphopt.model.tensor import packed_bytes

_UNNEEDED = frozenset({"node", "doc_string", "metadata_props"})
_SPARSE_CONSTANTS = 11
"""Opset from which a Constant may be sparse."""
KEPT_BYTES = 4096
"""Tensors up to this size stay: shape arithmetic reads them."""


def skeleton(model: ModelProto, *, declared: bool) -> ModelProto:
    """Copy a model without its large tensors.

    Args:
        model: The whole model; it is not changed.
        declared: Keep declared value_info and output types; without them inference speaks alone.
    """
    result = ModelProto(ir_version=model.ir_version)
    for entry in model.opset_import:
        result.opset_import.add(domain=plain_domain(entry.domain), version=entry.version)
    result.functions.extend(_function(f, declared=declared) for f in model.functions)
    opset = _standard_opset(model.opset_import)
    result.graph.CopyFrom(_main(model.graph, opset, declared=declared))
    return result


def _main(graph: GraphProto, opset: int, *, declared: bool) -> GraphProto:
    """The main graph, its large tensors as further inputs."""
    result = _graph(graph, declared=declared, keep=is_small, opset=opset)
    present = {info.name for info in graph.input}
    for tensor in graph.initializer:
        if not is_small(tensor) and tensor.name not in present:
            result.input.append(_typed(tensor.name, tensor.data_type, tensor.dims))
    for sparse in graph.sparse_initializer:
        if sparse.values.name in present:
            continue
        result.input.append(_typed(sparse.values.name, sparse.values.data_type, sparse.dims))
    for node in graph.node:
        held = large_constant(node)
        if held is not None:
            result.input.append(_typed(node.output[0], held.data_type, held.dims))
    return result


def _body(graph: GraphProto, opset: int, *, declared: bool) -> GraphProto:
    """A body: it has no inputs to spare, so that its large tensors become empty sparse ones."""
    stubs = opset >= _SPARSE_CONSTANTS

    def keep(tensor: TensorProto) -> bool:
        return is_small(tensor) or not stubs

    result = _graph(graph, declared=declared, keep=keep, opset=opset)
    large = [(tensor.name, tensor) for tensor in graph.initializer if not keep(tensor)]
    for node in graph.node:
        held = large_constant(node)
        if held is not None and stubs:
            large.append((node.output[0], held))
    nodes = [_sparse_constant(name, tensor.data_type, tensor.dims) for name, tensor in large]
    for sparse in graph.sparse_initializer:
        values = sparse.values
        nodes.append(_sparse_constant(values.name, values.data_type, sparse.dims))
    if nodes:
        rest = list(result.node)
        del result.node[:]
        result.node.extend([*nodes, *rest])
    return result


def _graph(
    graph: GraphProto, *, declared: bool, keep: Callable[[TensorProto], bool], opset: int
) -> GraphProto:
    result = GraphProto(name=graph.name or "graph")
    result.input.extend(graph.input)
    inputs = {info.name for info in graph.input}
    result.initializer.extend(t for t in graph.initializer if keep(t) and t.name not in inputs)
    for node in graph.node:
        held = large_constant(node)
        if held is None or keep(held):
            result.node.append(_light(node, opset, declared=declared))
    if declared:
        result.output.extend(graph.output)
        result.value_info.extend(graph.value_info)
    else:
        result.output.extend(ValueInfoProto(name=info.name) for info in graph.output)
    return result


def _light(node: NodeProto, opset: int, *, declared: bool) -> NodeProto:
    """The node itself, or a copy with light bodies."""
    domain = plain_domain(node.domain)  # the checker knows the standard one by this name alone
    if domain == node.domain and not any(a.HasField("g") for a in node.attribute):
        return node
    copy = NodeProto(op_type=node.op_type, domain=domain, name=node.name)
    copy.overload = node.overload
    copy.input.extend(node.input)
    copy.output.extend(node.output)
    for attribute in node.attribute:
        if attribute.HasField("g"):
            body = _body(attribute.g, opset, declared=declared)
            copy.attribute.append(helper.make_attribute(attribute.name, body))
        else:
            copy.attribute.append(attribute)
    return copy


def _function(function: FunctionProto, *, declared: bool) -> FunctionProto:
    result = FunctionProto()
    copy_but(result, function, _UNNEEDED if declared else _UNNEEDED | {"value_info"})
    opset = _standard_opset(function.opset_import)
    for node in function.node:
        held = large_constant(node)
        if held is None or opset < _SPARSE_CONSTANTS:
            result.node.append(_light(node, opset, declared=declared))
        else:
            result.node.append(_sparse_constant(node.output[0], held.data_type, held.dims))
    return result


def _standard_opset(imports: Iterable[OperatorSetIdProto]) -> int:
    return next((e.version for e in imports if e.domain in STANDARD_DOMAINS), 0)


def _sparse_constant(name: str, elem_type: int, dims: Sequence[int]) -> NodeProto:
    """A Constant of that type and shape, with no entries."""
    empty = SparseTensorProto(dims=dims)
    empty.values.CopyFrom(TensorProto(name=name, data_type=elem_type, dims=[0]))
    empty.indices.CopyFrom(TensorProto(data_type=TensorProto.INT64, dims=[0]))
    return helper.make_node("Constant", [], [name], sparse_value=empty)


def _typed(name: str, elem_type: int, dims: Sequence[int]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, elem_type, list(dims))


def large_constant(node: NodeProto) -> TensorProto | None:
    """The tensor of a Constant node that holds a large one, else None."""
    if node.op_type != "Constant" or node.domain not in STANDARD_DOMAINS:
        return None
    tensor = next((a.t for a in node.attribute if a.HasField("t")), None)
    return None if tensor is None or is_small(tensor) else tensor


def is_small(tensor: TensorProto) -> bool:
    """True for an embedded tensor of at most KEPT_BYTES."""
    if tensor.data_location == TensorProto.EXTERNAL:
        return False
    count = 1
    for dim in tensor.dims:
        count *= max(dim, 0)
    return packed_bytes(tensor.data_type, count) <= KEPT_BYTES
