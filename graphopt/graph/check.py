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
        problem = _links(node) or _schema(node) or _cycle(node)
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


def _visible(value: Tensor, scope: Scope) -> bool:
    if scope.look_up(value.name) is not value:
        return False
    return not isinstance(value, Weight) or value in value.scope.weights


def _cycle(node: Node) -> str:
    """Look for a cycle through a node, only where its inputs come from nodes that stand later."""
    outer: Node | None = node
    while outer is not None:
        for value in node.inputs:
            for producer in value.inputs:
                later = producer.scope is outer.scope and producer.rank >= outer.rank
                if later and (producer is outer or _reaches(outer, producer)):
                    return "the graph has a cycle"
        outer = outer.scope.owner
    return ""


def _reaches(start: Node, goal: Node) -> bool:
    """True when `goal` depends on `start`."""
    pending, seen = [start], {start}
    while pending:
        for value in pending.pop().outputs:
            for reader in value.outputs:
                while reader.scope is not goal.scope and reader.scope.owner is not None:
                    reader = reader.scope.owner
                if reader is goal:
                    return True
                if reader not in seen:
                    seen.add(reader)
                    pending.append(reader)
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
