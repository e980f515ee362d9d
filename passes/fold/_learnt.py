"""Run the rules over a program: all that is known of its values before it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from graphopt.contract import Context, GraphView, NodeView
from graphopt.passes.fold._contents import output_content
from graphopt.passes.fold._copies import zeros_of
from graphopt.passes.fold._dims import output_dims
from graphopt.passes.fold._facts import Facts
from graphopt.passes.fold._sizes import Symbol

T = TypeVar("T")

_MALFORMED = (IndexError, ValueError, ZeroDivisionError, RuntimeError, TypeError)
"""What rules raise on a node that no runtime would accept either (axes out of range)."""


def learnt(graph: GraphView, nodes: Sequence[NodeView], context: Context) -> Facts:
    """Facts about every value that the nodes of a graph and its bodies make; learnt once an edit.

    Args:
        graph: The main graph or a function.
        nodes: All of them, in an order in which they can run.
        context: Keeps the facts for the next pass that asks.
    """
    return context.until_edited(("facts", graph), lambda: _learnt(nodes))


def _learnt(nodes: Sequence[NodeView]) -> Facts:
    """Learn the facts.

    Where something learnt says that the model does not run with a size of 0, all is learnt again
    with that in mind.
    """
    facts = _filled(nodes, Facts())
    nonzero = set(_never_zero(nodes, facts))
    return _filled(nodes, Facts(nonzero)) if nonzero else facts


def _filled(nodes: Iterable[NodeView], facts: Facts) -> Facts:
    for node in nodes:
        known = list(_told(output_dims, node, facts) or [])
        for index, value in enumerate(node.outputs):
            if value is not None:
                facts.learn(value, known[index] if index < len(known) else None, None)
        first = node.outputs[0] if node.outputs else None
        if first is not None and node.op_type != "Constant":
            content = _told(output_content, node, facts)
            if content is not None:
                facts.learn(first, facts.dims(first), content)
    return facts


def _told(rule: Callable[[NodeView, Facts], T], node: NodeView, facts: Facts) -> T | None:
    """What a rule tells of a node; nothing where the node is not what its operator asks for."""
    if node.is_opaque:
        return None
    try:
        return rule(node, facts)
    except _MALFORMED:
        return None


def _never_zero(nodes: Iterable[NodeView], facts: Facts) -> Iterator[Symbol]:
    """Sizes that stand in a Reshape's target where a 0 would copy a dimension that is not there.

    Source: ONNX operator Reshape: 0 takes the input's dimension at the same place.
    """
    for node in nodes:
        if node.op_type != "Reshape" or node.is_opaque or node.graph.kind != "main":
            continue
        if node.attribute("allowzero", 0) or len(node.inputs) < 2 or not _is_read(node):
            continue
        source, target = facts.dims(node.inputs[0]), facts.content(node.inputs[1])
        if source is None or target is None or target.size <= len(source):
            continue
        for entry in target.ravel()[len(source) :]:
            if entry.integer is None:
                yield from (zero for zero in zeros_of(entry) or [] if zero.is_given)


def _is_read(node: NodeView) -> bool:
    return any(v is not None and (v.readers or v.is_graph_output) for v in node.outputs)
