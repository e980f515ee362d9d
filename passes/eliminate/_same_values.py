"""When a node gives back its input: one small predicate an operator.

Each looks at one node and says what the result is next to the given input: equal bits, equal but
for the sign of a zero, or nothing provable. Source: the operators' ONNX definitions.
"""

from __future__ import annotations

from graphopt.contract import GraphView, NodeView
from graphopt.passes.eliminate import _same_arithmetic, _same_layout
from graphopt.passes.eliminate._operands import SAME, Known, Predicate


def same_values(node: NodeView, graph: GraphView) -> Known | None:
    """Which input the node's first output equals, and how exactly; None where that is not known."""
    return RULES[node.op_type](node, graph)


def _one_input(node: NodeView, graph: GraphView) -> Known | None:
    return SAME if len(node.inputs) == 1 else None


def _largest(node: NodeView, graph: GraphView) -> Known | None:
    return _one_input(node, graph) or _same_arithmetic.largest_of(node, graph)


def _least(node: NodeView, graph: GraphView) -> Known | None:
    return _one_input(node, graph) or _same_arithmetic.least_of(node, graph)


RULES: dict[str, Predicate] = {
    **_same_arithmetic.RULES,
    **_same_layout.RULES,
    "Max": _largest,
    "Mean": _one_input,
    "Min": _least,
    "Sum": _one_input,
}
"""The operators that may do nothing."""
