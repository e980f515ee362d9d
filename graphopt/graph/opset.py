"""Raising a model's opset with onnx's version converter, weights left where they are."""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, helper

from graphopt.errors import ModelError, RuntimeFailure, UsageError
from graphopt.graph.light import LightCopy, lighten
from graphopt.graph.naming import settle_names
from graphopt.model import Model
from graphopt.model.messages import copy_but
from graphopt.model.nodes import STANDARD_DOMAINS
from graphopt.runtime.inference import convert

NEWEST = onnx.defs.onnx_opset_version()


def raise_opset(model: Model, version: int) -> Model:
    """A model with the same weights at a higher opset of the standard domain.

    The converter sees a weightless copy. What it cannot carry through is refused, not lost: local
    functions, and sparse tensors in bodies or attributes. Notes on nodes (metadata, doc strings) do
    not survive.

    Raises:
        UsageError: The version is below the model's own, or unknown to this onnx.
        ModelError: The model cannot be converted.
    """
    current = model.opsets.get("", 0)
    if version == current:
        return model
    if version < current:
        raise UsageError(
            f"opset {version} is below the model's own {current}", hint="an opset is only raised"
        )
    if version > NEWEST:
        raise UsageError(f"opset {version} is unknown to this onnx", hint=f"at most {NEWEST}")
    _refuse(model)
    light = lighten(model)
    try:
        converted = convert(_without_sparse(light.proto), version)
    except RuntimeFailure as error:
        raise ModelError(
            f"cannot be raised to opset {version}: {error.message[:200]}", file=model.path
        ) from error
    return model.with_proto(_merged(light, converted, version))


def _refuse(model: Model) -> None:
    problem, hint = "", None
    if model.proto.functions:
        problem, hint = "it has local functions", "inline them: `graphopt convert` does"
    elif _holds_sparse(model.proto.graph.node):
        problem = "it has sparse tensors in bodies or attributes"
    elif model.opsets.get("") == 8 and any(n.op_type == "Scan" for n in model.proto.graph.node):
        problem = "Scan means something else from opset 9 on, and onnx does not convert it"
    if problem:
        raise ModelError(
            f"cannot be raised to another opset: {problem}", file=model.path, hint=hint
        )


def _holds_sparse(nodes: Iterable[NodeProto]) -> bool:
    return any(
        attribute.HasField("sparse_tensor")
        or len(attribute.sparse_tensors)
        or len(attribute.g.sparse_initializer)
        or _holds_sparse(attribute.g.node)
        for node in nodes
        for attribute in node.attribute
    )


def _without_sparse(proto: ModelProto) -> ModelProto:
    """The same with its sparse initializers as typed inputs: the converter knows none."""
    if not proto.graph.sparse_initializer:
        return proto
    result = ModelProto()
    copy_but(result, proto, {"graph"})
    copy_but(result.graph, proto.graph, {"sparse_initializer"})
    for sparse in proto.graph.sparse_initializer:
        values = sparse.values
        result.graph.input.append(_typed(values.name, values.data_type, list(sparse.dims)))
    return result


def _typed(name: str, elem_type: int, dims: list[int]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, elem_type, dims)


def _merged(light: LightCopy, converted: ModelProto, version: int) -> ModelProto:
    """The converter's nodes, and everything else as it was."""
    source = light.model.proto
    result = ModelProto()
    copy_but(result, source, {"graph", "opset_import"})
    for entry in source.opset_import:
        standard = entry.domain in STANDARD_DOMAINS
        result.opset_import.add(domain=entry.domain, version=version if standard else entry.version)
    least = helper.find_min_ir_version_for(list(result.opset_import), ignore_unknown=True)
    result.ir_version = max(source.ir_version, least)
    copy_but(result.graph, source.graph, {"node"})
    known = {tensor.name for tensor in source.graph.initializer}
    nodes = GraphProto(node=converted.graph.node, input=source.graph.input)
    nodes.initializer.extend(t for t in converted.graph.initializer if t.name not in known)
    settle_names(nodes, light.proto.graph)
    light.restore(nodes)
    result.graph.node.extend(nodes.node)
    result.graph.initializer.extend(nodes.initializer)
    return result
