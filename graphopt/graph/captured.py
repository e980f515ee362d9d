"""Lending bodies the constants that they capture: inference looks at values of one graph alone."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from graphopt.model.nodes import STANDARD_DOMAINS, free_reads


def lend_constants(model: ModelProto) -> None:
    """Copy captured constants into the bodies of a weightless model, in place.

    A body that squeezes by axes of an enclosing graph has an unknown rank to inference, which
    knows captured values by type only.
    """
    _lend(model.graph, {})


def _lend(graph: GraphProto, outer: Mapping[str, TensorProto]) -> None:
    own = {name for node in graph.node for name in node.output}
    own |= {info.name for info in graph.input}
    visible = {name: tensor for name, tensor in outer.items() if name not in own}
    visible |= _constants(graph)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                wanted = dict.fromkeys(_reads(attribute.g))
                attribute.g.initializer.extend(visible[n] for n in wanted if n in visible)
                _lend(attribute.g, visible)


def _reads(body: GraphProto) -> list[str]:
    """Names that a body captures, nested bodies included."""
    whole = NodeProto()
    whole.attribute.add(name="body", type=AttributeProto.GRAPH).g.CopyFrom(body)
    return free_reads(whole)


def _constants(graph: GraphProto) -> dict[str, TensorProto]:
    """Small constants by name."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.domain in STANDARD_DOMAINS:
            for attribute in node.attribute:
                if attribute.name == "value" and attribute.HasField("t"):
                    copy = TensorProto()
                    copy.CopyFrom(attribute.t)
                    copy.name = node.output[0]
                    found[copy.name] = copy
    return found
