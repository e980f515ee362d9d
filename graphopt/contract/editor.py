"""The one writer: all that a pass may do to a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from graphopt.contract.views import Array, GraphView, NodeView, ValueView


class Editor(Protocol):
    """The one writer. Every call is recorded, so that a rewrite can be undone."""

    def constant(self, array: Array, hint: str, graph: GraphView) -> ValueView:
        """Store `array` as a new constant of `graph` under a fresh name made from `hint`."""
        ...

    def insert(
        self,
        op_type: str,
        inputs: Sequence[ValueView | None],
        *,
        before: NodeView,
        outputs: int = 1,
        attributes: Mapping[str, Any] | None = None,
        domain: str = "",
        hint: str = "",
    ) -> NodeView:
        """Insert a new node before another one; its outputs get fresh names and inferred types."""
        ...

    def set_input(self, node: NodeView, index: int, value: ValueView | None) -> None:
        """Let input `index` of `node` read `value`, lengthening the inputs where needed."""
        ...

    def set_attribute(self, node: NodeView, name: str, value: Any) -> None:
        """Set an attribute; None removes it."""
        ...

    def replace(self, old: ValueView, new: ValueView) -> None:
        """Let every reader of `old` read `new`, which has the same content.

        A graph output keeps its name.
        """
        ...

    def adopt(self, node: NodeView, index: int, value: ValueView) -> None:
        """Let output `index` of `node` be `value`, whose producer gives it up.

        For a rewrite after which `node` computes what another node computed: the name keeps its
        meaning, and the former output, which only that other node may read, goes away.
        """
        ...

    def inline(
        self, node: NodeView, body: GraphView, inputs: Sequence[ValueView | None] = ()
    ) -> Sequence[ValueView]:
        """Copy all that a body of `node` holds to the place before `node`, into its graph.

        The rewrite removes `node` afterwards: names go over from the body to its first copy, but
        for those that another graph has too.

        Args:
            node: The owner, or a call.
            body: One of its bodies, or the local function that it calls.
            inputs: What the inputs of the body are, in their order; a function's may be fewer.

        Returns:
            What the outputs of the body have become: outputs of new nodes, constants, `inputs`, or
            values that the body captures.
        """
        ...

    def remove_function(self, function: GraphView) -> None:
        """Remove a local function; refuses while anything calls it."""
        ...

    def remove(self, node: NodeView) -> None:
        """Remove a node; refuses while anything reads one of its outputs."""
        ...

    def remove_initializer(self, value: ValueView) -> None:
        """Remove an initializer; refuses while anything reads it."""
        ...
