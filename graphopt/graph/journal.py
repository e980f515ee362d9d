"""The undo journal: every edit as a change that can be undone and redone.

Roll-back and bisection both walk it, so that no copy of the graph is ever needed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from graphopt.contract import Effect
from graphopt.graph.changes import Change


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
    """Transactions that stand, in order, and those undone but still known.

    Attributes:
        done: Those that stand.
        undone: Those that `move_to` could make again.
        revision: Another number after every change.
    """

    done: list[Transaction] = field(default_factory=list)
    undone: list[Transaction] = field(default_factory=list)
    revision: int = 0
    _counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def append(self, transaction: Transaction) -> None:
        """Note a transaction that was just made; what was undone before it is given up."""
        self.undone.clear()
        self.revision += 1
        self._stand(transaction)

    def move_to(self, length: int) -> None:
        """Undo or redo until `length` transactions stand."""
        self.revision += 1
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
