"""What each node of a main graph computes from what, so that two models can be told apart."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from onnx import TensorProto

from graphopt.model import Model
from graphopt.model.nodes import free_reads, plain_domain


@dataclass(frozen=True, slots=True)
class Signature:
    """What a node computes from what: constants by content, other values by name.

    Attributes:
        operator: Domain, name, and the opset: one that was raised may mean something else by it.
    """

    operator: tuple[str, str, int]
    attributes: bytes
    inputs: tuple[str | bytes, ...]
    reads: tuple[str, ...] = field(compare=False)


def signatures(model: Model) -> dict[tuple[str, ...], Signature]:
    """The signature of every node of the main graph but Constant ones, by its outputs."""
    graph = model.proto.graph
    constants = {tensor.name: _content(model, tensor) for tensor in graph.initializer}
    for info in graph.input:
        if info.name in constants:  # overridable: its name matters, and so does its default
            constants[info.name] = info.name.encode() + constants[info.name]
    functions = {(f.domain, f.name) for f in model.proto.functions}
    bodies = hashlib.sha256()
    for function in model.proto.functions:
        bodies.update(function.SerializeToString(deterministic=True))
    opsets = {plain_domain(e.domain): e.version for e in model.proto.opset_import}
    signatures = {}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            constants[node.output[0]] = _content(model, node.attribute[0].t)
            continue
        domain = plain_domain(node.domain)
        inputs = tuple(constants.get(name, name) for name in node.input)
        reads = tuple(free_reads(node))
        attributes = hashlib.sha256()
        for attribute in sorted(node.attribute, key=lambda a: a.name):
            attributes.update(attribute.SerializeToString(deterministic=True))
        for name in reads[sum(map(bool, node.input)) :]:
            attributes.update(constants.get(name, b""))
        if (node.domain, node.op_type) in functions:
            attributes.update(bodies.digest())
        signatures[tuple(node.output)] = Signature(
            (domain, node.op_type, opsets.get(domain, 0)), attributes.digest(), inputs, reads
        )
    return signatures


def _content(model: Model, proto: TensorProto) -> bytes:
    """What tells a constant from others: its bytes, or where in the model's files they lie."""
    if proto.data_location == TensorProto.EXTERNAL:
        places = sorted((entry.key, entry.value) for entry in proto.external_data)
        return repr((proto.data_type, list(proto.dims), places)).encode()
    return model.tensor(proto).digest()
