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
    SparseTensorProto,
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
    main = model.graph
    lifted = _Lifted(main)
    result.graph.CopyFrom(_graph(main, lifted, declared=declared))
    present = {info.name for info in result.graph.input}
    result.graph.input.extend(i for i in lifted.infos.values() if i.name not in present)
    return result


class _Lifted:
    """Large tensors that became inputs of the main graph.

    A body's tensor stays in its body where its name means something else outside.
    """

    def __init__(self, main: GraphProto) -> None:
        self.infos: dict[str, ValueInfoProto] = {}
        self._main = main
        self._outer = _names(main)
        self._homes: dict[str, GraphProto] = {}

    def take(self, tensor: TensorProto, name: str, home: GraphProto) -> bool:
        """Lift a tensor that `home` defines as `name`; False where the name is not free."""
        known = self._homes.setdefault(name, home)
        if known is not home or (home is not self._main and name in self._outer):
            return False
        self.infos[name] = helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims))
        return True


def _names(graph: GraphProto) -> set[str]:
    defined = {name for node in graph.node for name in node.output}
    defined |= {tensor.name for tensor in graph.initializer}
    return defined | {info.name for info in graph.input}


def _graph(graph: GraphProto, lifted: _Lifted, *, declared: bool) -> GraphProto:
    result = GraphProto(name=graph.name or "graph")
    result.input.extend(graph.input)
    inputs = {info.name for info in graph.input}
    for tensor in graph.initializer:
        if tensor.name in inputs:
            continue
        if is_small(tensor) or not lifted.take(tensor, tensor.name, graph):
            result.initializer.append(tensor)
    for sparse in graph.sparse_initializer:
        info = helper.make_tensor_value_info(
            sparse.values.name, sparse.values.data_type, list(sparse.dims)
        )
        lifted.infos.setdefault(info.name, info)
    for node in graph.node:
        held = _large_constant(node)
        if held is None or not lifted.take(held, node.output[0], graph):
            _append_node(result, node, lifted, declared=declared)
    if declared:
        result.output.extend(graph.output)
        result.value_info.extend(graph.value_info)
    else:
        result.output.extend(ValueInfoProto(name=info.name) for info in graph.output)
    return result


def _append_node(result: GraphProto, node: NodeProto, lifted: _Lifted, *, declared: bool) -> None:
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
    for field, value in function.ListFields():
        if field.name == "node" or (field.name == "value_info" and not declared):
            continue
        if hasattr(value, "extend"):
            getattr(result, field.name).extend(value)
        else:
            setattr(result, field.name, value)
    result.node.extend(map(_sparse_stub, function.node))
    return result


def _sparse_stub(node: NodeProto) -> NodeProto:
    """A function has no inputs to spare: its large constants become sparse ones without entries."""
    tensor = _large_constant(node)
    if tensor is None:
        return node
    empty = SparseTensorProto(dims=tensor.dims)
    empty.values.CopyFrom(TensorProto(data_type=tensor.data_type, dims=[0]))
    empty.indices.CopyFrom(TensorProto(data_type=TensorProto.INT64, dims=[0]))
    stub = NodeProto(op_type="Constant", name=node.name, output=node.output)
    stub.attribute.append(helper.make_attribute("sparse_value", empty))
    return stub


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
