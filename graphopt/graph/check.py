"""The graph's own rules, on the nodes that an edit touched."""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx.defs import OpSchema

from graphopt.graph.elements import Node, Scope, Tensor, Weight


def broken(nodes: Iterable[Node], functions: frozenset[tuple[str, str]] = frozenset()) -> str:
    """Say what is wrong with the nodes an edit touched; empty when nothing is.

    Every input must be defined and visible, the number of inputs and outputs and the attributes
    must be what the operator's schema at this opset allows.

    Args:
        nodes: The nodes.
        functions: (domain, name) of the model's local functions, whose calls have no schema.
    """
    for node in nodes:
        if node not in node.scope.nodes:
            continue
        problem = _links(node) or _cycle(node)
        if not problem and (node.domain, node.op) not in functions:
            problem = _schema(node)
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
    for index, value in enumerate(node.inputs):
        formal = schema.inputs[min(index, len(schema.inputs) - 1)]
        if not value.name and formal.option == OpSchema.FormalParameterOption.Single:
            return f"input {index} is required"
    if node.proto is None:
        needed = [name for name, spec in schema.attributes.items() if spec.required]
        missing = [name for name in needed if name not in node.attrs]
        if missing:
            return f"attribute {missing[0]!r} is required"
    unknown = [name for name in node.attrs if name not in schema.attributes]
    if unknown and node.proto is None:
        return f"no attribute {unknown[0]!r} at this opset"
    return ""
