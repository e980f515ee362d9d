"""Putting what a body computes in the place of the node that owns it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from graphopt.contract import (
    RANDOM_OPERATORS,
    Editor,
    GraphView,
    NodeView,
    Skip,
    ValueView,
)

_ANY_IDENTITY = 16
"""Opset from which Identity takes sequences and optionals too."""


def cannot_stand_in(node: NodeView, body: GraphView) -> Skip | None:
    """Why the outputs of `body` cannot be given in the place of a node's; None where they can.

    What the body does not compute itself may need an Identity, which takes tensors alone before
    opset 16.
    """
    if body.opset() >= _ANY_IDENTITY:
        return None
    for output, result in zip(node.outputs, body.outputs, strict=False):
        made_there = result.producer is not None and result.producer.graph is body
        if output is not None and output.dtype is None and not made_there:
            return Skip("it gives on a value of unknown type")
    return None


def stand_in(node: NodeView, results: Sequence[ValueView | None], edit: Editor) -> None:
    """Let `results` stand for the outputs of a node, and remove it.

    An Identity is put between where a graph output, or a body that reads it, could not read the
    result itself.
    """
    taken_over: dict[ValueView, ValueView] = {}
    for output, given in zip(node.outputs, results, strict=False):
        if output is None or given is None or not (output.readers or output.is_graph_output):
            continue
        result = taken_over.get(given, given)
        if output.replaceable_by(result) is not None:
            made = edit.insert("Identity", [result], before=node, hint=output.name).outputs[0]
            assert made is not None
            result = made
        edit.replace(output, result)
        if output.is_graph_output:
            taken_over[result] = taken_over[given] = output
    edit.remove(node)


def needed_for(body: GraphView, values: Iterable[ValueView]) -> list[NodeView]:
    """The nodes of a body that some of its values depend on, in their order."""
    needed: set[NodeView] = set()
    following = set(values)
    for node in reversed(body.nodes):
        if following.isdisjoint(node.outputs):
            continue
        needed.add(node)
        scopes = [scope for inner in node.bodies.values() for scope in inner.nested()]
        inner_nodes = [inner for scope in scopes for inner in scope.nodes]
        for reading in (node, *inner_nodes):
            following.update(value for value in reading.inputs if value is not None)
        following.update(value for scope in scopes for value in scope.outputs)
    return [node for node in body.nodes if node in needed]


def behind_identities(value: ValueView) -> ValueView:
    """What a value is, Identity nodes looked through."""
    while (
        value.producer is not None
        and value.producer.op_type == "Identity"
        and not value.producer.is_opaque
        and value.producer.inputs[0] is not None
    ):
        value = value.producer.inputs[0]
    return value


def fold_away(nodes: Iterable[NodeView], fixed: Iterable[ValueView]) -> tuple[set[ValueView], int]:
    """What comes down to constants once some values are.

    Args:
        nodes: Nodes of a body, in their order.
        fixed: Values that are constants.

    Returns:
        All values that are constants then, and how many nodes are left.
    """
    known, left = set(fixed), 0
    for node in nodes:
        folds = not node.is_opaque and not node.bodies and node.op_type not in RANDOM_OPERATORS
        operands = [value for value in node.inputs if value is not None]
        if folds and all(value in known or value.is_constant for value in operands):
            known.update(value for value in node.outputs if value is not None)
        else:
            left += size_of(node)
    return known, left


def size_of(node: NodeView) -> int:
    """Nodes that a node stands for: itself and what is in its bodies, Constant nodes left out."""
    inner = [n for body in node.bodies.values() for g in body.nested() for n in g.nodes]
    return sum(n.op_type != "Constant" for n in (node, *inner))


def stored_bytes(body: GraphView) -> int:
    """Bytes of the constants that a body holds, deeper bodies included."""
    scopes = body.nested()
    values = [v for scope in scopes for node in scope.nodes for v in node.outputs if v is not None]
    values += [v for scope in scopes for v in scope.initializers]
    return sum(v.nbytes or 0 for v in values if v.is_constant)
