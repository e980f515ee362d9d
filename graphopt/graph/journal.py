"""The undo journal: every edit as a change that can be undone and redone.

Roll-back and bisection both walk it, so that no copy of the graph is ever needed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol

from graphopt.contract import Effect
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
    """The inputs or outputs of a node become `after`."""

    node: Node
    side: str
    before: list[Tensor]
    after: list[Tensor]

    def do(self) -> None:
        """Apply it."""
        setattr(self.node, self.side, list(self.after))
        self.node.edits += 1
        _count(self.node.scope, 1)

    def undo(self) -> None:
        """Take it back."""
        setattr(self.node, self.side, list(self.before))
        self.node.edits -= 1
        _count(self.node.scope, -1)

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


@dataclass(slots=True)
class Transaction:
    """The edits of one rewrite, taken back or redone together.

    Attributes:
        pass_name: The pass that asked for them.
        root: Where it was: the root node's first output, or what a whole-graph pass named.
        label: How reports name the root.
        ordinal: How many rewrites of this pass at this root came before.
        effect: What the rewrite may do to the answers.
    """

    pass_name: str
    root: str
    label: str
    ordinal: int
    effect: Effect
    changes: list[Change] = field(default_factory=list)

    def undo(self) -> None:
        """Take every change back, last one first."""
        for change in reversed(self.changes):
            change.undo()

    def redo(self) -> None:
        """Apply every change again."""
        for change in self.changes:
            change.do()


@dataclass(slots=True)
class Journal:
    """Transactions that stand, in order, and those undone but still known."""

    done: list[Transaction] = field(default_factory=list)
    undone: list[Transaction] = field(default_factory=list)
    _counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def append(self, transaction: Transaction) -> None:
        """Note a transaction that was just made; what was undone before it is given up."""
        self.undone.clear()
        self._stand(transaction)

    def move_to(self, length: int) -> None:
        """Undo or redo until `length` transactions stand."""
        while len(self.done) > length:
            transaction = self.done.pop()
            self._counts[transaction.pass_name, transaction.root] -= 1
            transaction.undo()
            self.undone.append(transaction)
        while len(self.done) < length:
            transaction = self.undone.pop()
            transaction.redo()
            self._stand(transaction)

    def forget_undone(self) -> None:
        """Give up redoing what was undone."""
        self.undone.clear()

    def ordinal(self, pass_name: str, root: str) -> int:
        """How many standing rewrites of this pass have this root."""
        return self._counts[pass_name, root]

    def _stand(self, transaction: Transaction) -> None:
        self.done.append(transaction)
        self._counts[transaction.pass_name, transaction.root] += 1
