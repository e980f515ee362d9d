"""Keep one of several nodes that compute the same.

Before: a = Relu(x), b = Relu(x)        After: both readers read a

The same means: operator, attributes and inputs are equal, small constants by their bytes; in either
order where that makes no difference, as for Add and Mul. A node in a body gives way to one before
it in an enclosing graph. Never merged: random operators, nodes of other domains, calls of
functions, nodes with bodies.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import ClassVar

from graphopt.contract import (
    Context,
    Editor,
    Effect,
    GraphView,
    NodeView,
    Rewrite,
    Skip,
    ValueView,
)
from graphopt.passes._operations import is_repeatable, operation_of

_EITHER_ORDER = frozenset(
    {"Add", "And", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Equal", "Mul", "Or", "Xor"}
)
"""Equal bits with the inputs in another order. Max and Min may differ for zeros and NaNs."""

_SMALL_BYTES = 1024

Key = tuple[object, ...]


@dataclass(frozen=True)
class DeduplicateNodes:
    """Let the readers of equal nodes read the first of them.

    Fires on: silero_vad, ppocr_rec. Source: common subexpression elimination.
    """

    name: ClassVar[str] = "deduplicate_nodes"
    effect: ClassVar[Effect] = Effect.IDENTICAL

    def plan(self, graph: GraphView, context: Context) -> Iterable[Rewrite | Skip]:
        """Go in node order, so that the inputs of later nodes are merged before they are."""
        yield from _walk(graph, {})


def _walk(graph: GraphView, seen: MutableMapping[Key, NodeView]) -> Iterator[Rewrite]:
    for node in graph.nodes:
        for body in node.bodies.values():
            yield from _walk(body, ChainMap({}, seen))
        # Constant nodes are deduplicate_initializers' matter.
        if node.op_type == "Constant" or not is_repeatable(node) or not _results(node):
            continue
        first = seen.setdefault(_key(node), node)
        if first is not node and _can_stand_for(first, node):
            label = next(value.label() for value in node.outputs if value is not None)
            yield Rewrite(label, Effect.IDENTICAL, _merging(node, first))


def _key(node: NodeView) -> Key:
    operands = tuple(map(_operand, node.inputs))
    # The older opsets align the second operand with the first.
    if node.op_type in _EITHER_ORDER and node.graph.opset() >= 7:
        return operation_of(node), len(operands), frozenset(operands)
    return operation_of(node), operands


def _operand(value: ValueView | None) -> object:
    """What stands for an input: views are equal by identity, as a name may mean another value."""
    if value is not None and value.is_constant and (value.nbytes or 0) <= _SMALL_BYTES:
        return value.digest()
    return value


def _results(node: NodeView) -> bool:
    return any(v is not None and (v.readers or v.is_graph_output) for v in node.outputs)


def _can_stand_for(first: NodeView, node: NodeView) -> bool:
    pairs = zip(first.outputs, node.outputs, strict=True)
    return all(b is None or (a is not None and b.replaceable_by(a) is None) for a, b in pairs)


def _merging(node: NodeView, first: NodeView) -> Callable[[Editor], None]:
    def merge(edit: Editor) -> None:
        for value, other in zip(node.outputs, first.outputs, strict=True):
            if value is not None and other is not None:
                edit.replace(value, other)
        edit.remove(node)

    return merge
