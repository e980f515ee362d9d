"""The graph's own rules, on the nodes that an edit touched."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from graphopt.graph.elements import Node, Scope, Tensor, Weight


def broken(nodes: Iterable[Node]) -> str:
    """Say what is wrong with the nodes an edit touched; empty when nothing is.

    Every input must be defined and visible, the number of inputs and outputs and the attributes
    must be what the operator's schema at this opset allows.
    """
    for node in nodes:
        if node not in node.scope.nodes:
            continue
        problem = _links(node) or _schema(node)
        if problem:
            return f"{node.op} {node.name}: {problem}"
    return ""


def _links(node: Node) -> str:
    for value in node.inputs:
        if value.name and not _visible(value, node.scope):
            return f"input {value.name!r} is not defined there"
    for value in node.outputs:
        if value.name and node.scope.names.get(value.name) is not value:
            return f"output {value.name!r} is not the value of that name"
    return ""


def _visible(value: Tensor, scope: Scope | None) -> bool:
    while scope is not None:
        if scope is value.scope:
            if isinstance(value, Weight):
                return value in scope.weights
            return bool(value.is_input or value.default or scope.names.get(value.name) is value)
        scope = scope.parent
    return False


def _schema(node: Node) -> str:
    try:
        schema = onnx.defs.get_schema(node.op, node.scope.opsets.get(node.domain, 0), node.domain)
    except onnx.defs.SchemaError:
        return "" if node.proto is not None else "no such operator at this opset"
    if not schema.min_input <= len(node.inputs) <= schema.max_input:
        return f"{len(node.inputs)} inputs"
    if not schema.min_output <= len(node.outputs) <= schema.max_output:
        return f"{len(node.outputs)} outputs"
    unknown = [name for name in node.attrs if name not in schema.attributes]
    if unknown and node.proto is None:
        return f"no attribute {unknown[0]!r} at this opset"
    return ""
