"""Primitive edits of a graph, each of which can be taken back and made again."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Protocol

from graphopt.graph.elements import Node, Scope, Tensor, Weight


class Change(Protocol):
    """One primitive edit."""

    def do(self) -> None:
        """Apply it."""

    def undo(self) -> None:
        """Take it back; valid right after `do`, or after every later change was undone."""

    def is_empty(self) -> bool:
        """True when doing it would change nothing."""
        ...


def _count(scope: Scope | None, step: int) -> None:
    while scope is not None:
        scope.edits += step
        scope = scope.parent


@dataclass(slots=True)
class SetLinks:
    """The inputs or outputs of a node become `after`.

    Only what differs is unlinked and linked: a constant may have thousands of readers, and looking
    for one among them takes as long as there are others before it.
    """

    node: Node
    side: str
    before: list[Tensor]
    after: list[Tensor]

    def do(self) -> None:
        """Apply it."""
        self._relink(self.after)
        self.node.edits += 1
        _count(self.node.scope, 1)

    def undo(self) -> None:
        """Take it back."""
        self._relink(self.before)
        self.node.edits -= 1
        _count(self.node.scope, -1)

    def _relink(self, wanted: list[Tensor]) -> None:
        links = getattr(self.node, self.side)
        back = "outputs" if self.side == "inputs" else "inputs"
        had, needed = Counter(links), Counter(wanted)
        for value in (had - needed).elements():
            list.remove(getattr(value, back), self.node)
        for value in (needed - had).elements():
            list.append(getattr(value, back), self.node)
        list.__setitem__(links, slice(None), wanted)  # past the synchronising that was just done

    def is_empty(self) -> bool:
        """True when the links stay as they are."""
        return self.before == self.after


@dataclass(slots=True)
class SetAttributes:
    """The attributes of a node, in their order, become `after`."""

    node: Node
    before: dict[str, Any]
    after: dict[str, Any]

    def do(self) -> None:
        """Apply it."""
        self.node.attrs = dict(self.after)
        self.node.edits += 1
        _count(self.node.scope, 1)

    def undo(self) -> None:
        """Take it back."""
        self.node.attrs = dict(self.before)
        self.node.edits -= 1
        _count(self.node.scope, -1)

    def is_empty(self) -> bool:
        """True when nothing differs."""
        return self.before == self.after


@dataclass(slots=True)
class PlaceNode:
    """A node comes into its scope, or leaves it; its links are other changes."""

    node: Node
    present: bool

    def do(self) -> None:
        """Apply it."""
        self._place(self.present)
        _count(self.node.scope, 1)

    def undo(self) -> None:
        """Take it back."""
        self._place(not self.present)
        _count(self.node.scope, -1)

    def _place(self, present: bool) -> None:
        if present:
            self.node.scope.nodes[self.node] = None
        else:
            del self.node.scope.nodes[self.node]

    def is_empty(self) -> bool:
        """Never: it is there afterwards and was not before, or the other way round."""
        return False


@dataclass(slots=True)
class PlaceWeight:
    """An initializer comes into its scope, or leaves it."""

    weight: Weight
    present: bool

    def do(self) -> None:
        """Apply it."""
        self._place(self.present)
        _count(self.weight.scope, 1)

    def undo(self) -> None:
        """Take it back."""
        self._place(not self.present)
        _count(self.weight.scope, -1)

    def _place(self, present: bool) -> None:
        scope = self.weight.scope
        if present:
            scope.weights[self.weight] = None
            scope.names[self.weight.name] = self.weight
        else:
            del scope.weights[self.weight]
            del scope.names[self.weight.name]

    def is_empty(self) -> bool:
        """Never: it is there afterwards and was not before, or the other way round."""
        return False


@dataclass(slots=True)
class PlaceName:
    """A value's name becomes defined in its scope, or stops being so."""

    value: Tensor
    scope: Scope
    present: bool

    def do(self) -> None:
        """Apply it."""
        self._place(self.present)

    def undo(self) -> None:
        """Take it back."""
        self._place(not self.present)

    def _place(self, present: bool) -> None:
        if present:
            self.scope.names[self.value.name] = self.value
        else:
            del self.scope.names[self.value.name]

    def is_empty(self) -> bool:
        """Never: it is there afterwards and was not before, or the other way round."""
        return False


@dataclass(slots=True)
class DropFunction:
    """A local function leaves the model."""

    functions: list[Scope]
    function: Scope
    main: Scope
    index: int

    def do(self) -> None:
        """Apply it."""
        del self.functions[self.index]
        _count(self.main, 1)

    def undo(self) -> None:
        """Take it back."""
        self.functions.insert(self.index, self.function)
        _count(self.main, -1)

    def is_empty(self) -> bool:
        """Never."""
        return False


@dataclass(slots=True)
class SetType:
    """What is known of a value's type becomes `after`."""

    value: Tensor
    before: Any
    after: Any

    def do(self) -> None:
        """Apply it."""
        self.value.type_known = self.after

    def undo(self) -> None:
        """Take it back."""
        self.value.type_known = self.before

    def is_empty(self) -> bool:
        """True when nothing new is known."""
        return bool(self.before == self.after)
