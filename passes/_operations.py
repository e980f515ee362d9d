"""When two nodes do the same, whatever they do it to."""

from __future__ import annotations

from graphopt.contract import NodeView


def operation_of(node: NodeView) -> tuple[object, ...]:
    """Operator, attributes and number of outputs: equal for nodes that do the same."""
    attributes = (a.SerializeToString(deterministic=True) for a in node.to_proto().attribute)
    return node.op_type, tuple(sorted(attributes)), len(node.outputs)
