"""Raising a model's opset with onnx's version converter, weights left where they are."""

from __future__ import annotations

import onnx
from onnx import GraphProto, ModelProto, NodeProto, helper

from graphopt.errors import ModelError, RuntimeFailure, UsageError
from graphopt.graph.skeleton import large_constant, skeleton
from graphopt.model import Model
from graphopt.model.messages import copy_but
from graphopt.model.nodes import STANDARD_DOMAINS
from graphopt.runtime.inference import convert

NEWEST = onnx.defs.onnx_opset_version()


def raise_opset(model: Model, version: int) -> Model:
    """A model with the same weights at a higher opset of the standard domain.

    The converter sees a weightless copy. What it cannot carry through is refused, not lost: bodies,
    local functions and sparse initializers. Notes on nodes (metadata, doc strings) do not survive.

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
    _refuse(model.proto)
    try:
        converted = convert(skeleton(model.proto, declared=True), version)
    except RuntimeFailure as error:
        raise ModelError(
            f"cannot be raised to opset {version}: {error.message[:200]}", file=model.path
        ) from error
    return model.with_proto(_merged(model.proto, converted, version))


def _refuse(proto: ModelProto) -> None:
    problem = None
    if proto.functions:
        problem = "it has local functions"
    elif proto.graph.sparse_initializer:
        problem = "it has sparse initializers"
    body = next((n for n in proto.graph.node if any(a.HasField("g") for a in n.attribute)), None)
    if body is not None:
        problem = f"its {body.op_type} node {body.name or body.output[0]!r} has bodies"
    if problem:
        raise ModelError(f"cannot be raised to another opset: {problem}")


def _merged(source: ModelProto, converted: ModelProto, version: int) -> ModelProto:
    """The converter's nodes, and everything else as it was."""
    result = ModelProto()
    copy_but(result, source, {"graph", "opset_import"})
    for entry in source.opset_import:
        standard = entry.domain in STANDARD_DOMAINS
        result.opset_import.add(domain=entry.domain, version=version if standard else entry.version)
    least = helper.find_min_ir_version_for(list(result.opset_import), ignore_unknown=True)
    result.ir_version = max(source.ir_version, least)
    result.graph.CopyFrom(_graph(source.graph, converted.graph))
    return result


def _graph(source: GraphProto, converted: GraphProto) -> GraphProto:
    result = GraphProto()
    result.CopyFrom(source)
    known = {tensor.name for tensor in source.initializer}
    result.initializer.extend(t for t in converted.initializer if t.name not in known)
    lifted: list[NodeProto] = [n for n in source.node if large_constant(n) is not None]
    del result.node[:]
    result.node.extend([*lifted, *converted.node])
    return result
