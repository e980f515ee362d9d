"""When two nodes do the same, and when a value may become a constant."""

from __future__ import annotations

from graphopt.contract import RANDOM_OPERATORS, NodeView, ValueView

_RANDOM = RANDOM_OPERATORS | {"Dropout"}


def operation_of(node: NodeView) -> tuple[object, ...]:
    """Operator, attributes and number of outputs: equal for nodes that do the same."""
    attributes = (a.SerializeToString(deterministic=True) for a in node.to_proto().attribute)
    return node.op_type, tuple(sorted(attributes)), len(node.outputs)


def is_repeatable(node: NodeView) -> bool:
    """False for what may answer differently when the same is computed again, or is not looked into.

    Random operators, Dropout, which is random when it trains, nodes of other domains, calls of
    functions, and nodes with bodies.
    """
    return not (node.is_opaque or node.bodies or node.op_type in _RANDOM)


def may_be_constant(value: ValueView) -> bool:
    """False for what a Range reads and is no scalar.

    ONNX Runtime runs such a Range on one number, but refuses to load it once that is a constant.
    """
    return value.shape == () or all(use.node.op_type != "Range" for use in value.readers)
