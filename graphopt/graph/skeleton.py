"""A model without its weights: what inference and the checker need, and nothing that costs memory.

Large tensors become typed inputs. Overridable initializers become plain inputs, so that nothing is
ever concluded from a value that a caller may replace.
"""

from __future__ import annotations

from onnx import (
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
)

from graphopt.model.tensor import packed_bytes

KEPT_BYTES = 4096
"""Tensors up to this size stay: shape arithmetic reads them."""


def skeleton(model: ModelProto, *, declared: bool) -> ModelProto:
    """Copy a model without its large tensors.

    Args:
        model: The whole model; it is not changed.
        declared: Keep declared value_info and output types; without them inference speaks alone.
    """
    result = ModelProto(ir_version=model.ir_version)
    result.opset_import.extend(model.opset_import)
    result.functions.extend(_function(f, declared=declared) for f in model.functions)
    lifted: dict[str, ValueInfoProto] = {}
    result.graph.CopyFrom(_graph(model.graph, lifted, declared=declared))
    present = {info.name for info in result.graph.input}
    result.graph.input.extend(info for name, info in lifted.items() if name not in present)
    return result


def _graph(graph: GraphProto, lifted: dict[str, ValueInfoProto], *, declared: bool) -> GraphProto:
    result = GraphProto(name=graph.name or "graph")
    result.input.extend(graph.input)
    inputs = {info.name for info in graph.input}
    for tensor in graph.initializer:
        if tensor.name in inputs:
            continue
        if is_small(tensor):
            result.initializer.append(tensor)
        else:
            _lift(tensor, tensor.name, lifted)
    for sparse in graph.sparse_initializer:
        info = helper.make_tensor_value_info(
            sparse.values.name, sparse.values.data_type, list(sparse.dims)
        )
        lifted.setdefault(info.name, info)
    for node in graph.node:
        held = _large_constant(node)
        if held is not None:
            _lift(held, node.output[0], lifted)
        else:
            _append_node(result, node, lifted, declared=declared)
    if declared:
        result.output.extend(graph.output)
        result.value_info.extend(graph.value_info)
    else:
        result.output.extend(ValueInfoProto(name=info.name) for info in graph.output)
    return result


def _append_node(
    result: GraphProto, node: NodeProto, lifted: dict[str, ValueInfoProto], *, declared: bool
) -> None:
    if not any(a.HasField("g") for a in node.attribute):
        result.node.append(node)
        return
    copy = result.node.add()
    copy.op_type, copy.domain, copy.name = node.op_type, node.domain, node.name
    copy.overload = node.overload
    copy.input.extend(node.input)
    copy.output.extend(node.output)
    for attribute in node.attribute:
        if attribute.HasField("g"):
            body = _graph(attribute.g, lifted, declared=declared)
            copy.attribute.append(helper.make_attribute(attribute.name, body))
        else:
            copy.attribute.append(attribute)


def _function(function: FunctionProto, *, declared: bool) -> FunctionProto:
    result = FunctionProto()
    result.CopyFrom(function)
    if not declared:
        result.ClearField("value_info")
    return result


def _large_constant(node: NodeProto) -> TensorProto | None:
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx"):
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


def _lift(tensor: TensorProto, name: str, lifted: dict[str, ValueInfoProto]) -> None:
    info = helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims))
    lifted.setdefault(name, info)
