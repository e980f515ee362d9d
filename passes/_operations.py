"""When two nodes do the same, and when a value may become a constant."""

from __future__ import annotations

from graphopt.contract import NodeView, ValueView


def operation_of(node: NodeView) -> tuple[object, ...]:
    """Operator, attributes and number of outputs: equal for nodes that do the same."""
    attributes = (a.SerializeToString(deterministic=True) for a in node.to_proto().attribute)
    return node.op_type, tuple(sorted(attributes)), len(node.outputs)


def may_be_constant(value: ValueView) -> bool:
    """False for what a Range reads and is no scalar.

    ONNX Runtime runs such a Range on one number, but refuses to load it once that is a constant.
    """
    return value.shape == () or all(use.node.op_type != "Range" for use in value.readers)
