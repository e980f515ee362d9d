"""Remove nodes whose outputs nobody reads, and initializers nobody reads.

Before: x -> Relu -> y (unread), w (unread)        After: nothing of it

Graph inputs and outputs stay, and so do initializers that callers may override. Nodes of other
domains and calls of local functions stay: what they do beside their outputs is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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


@dataclass(frozen=True)
class EliminateDeadNodes:
    """Remove what no output depends on, from the last node to the first.

    Fires on: silero_vad, resnet_20. Source: dead code elimination.
    """

    name: ClassVar[str] = "eliminate_dead_nodes"
    effect: ClassVar[Effect] = Effect.IDENTICAL

    def plan(self, graph: GraphView, context: Context) -> Iterable[Rewrite | Skip]:
        """Go through every graph backwards, so that one round removes whole dead chains."""
        for scope in reversed(graph.nested()):
            for node in reversed(scope.nodes):
                yield from _dead_node(node)
        for scope in graph.nested():
            for value in scope.initializers:
                if not value.readers and not value.is_graph_output:
                    yield Rewrite(value.label(), Effect.IDENTICAL, _removal(value))


def _dead_node(node: NodeView) -> Iterable[Rewrite | Skip]:
    if any(v is not None and (v.readers or v.is_graph_output) for v in node.outputs):
        return
    if _has_opaque(node):
        yield Skip("unread, but left alone: excluded, of another domain, or a function")
        return
    root = next((v.label() for v in node.outputs if v is not None), node.label())
    yield Rewrite(root, Effect.IDENTICAL, lambda edit: edit.remove(node))


def _has_opaque(node: NodeView) -> bool:
    return node.is_opaque or any(
        inner.is_opaque
        for body in node.bodies.values()
        for scope in body.nested()
        for inner in scope.nodes
    )


def _removal(value: ValueView) -> Callable[[Editor], None]:
    def remove(edit: Editor) -> None:
        edit.remove_initializer(value)

    return remove
