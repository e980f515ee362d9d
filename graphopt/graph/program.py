"""A whole model as linked scopes: the main graph, the bodies in it, and its local functions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from graphopt.graph.elements import Scope
from graphopt.graph.journal import Journal
from graphopt.model import Model


@dataclass(eq=False)
class Program:
    """The graph underneath a run.

    Attributes:
        model: The model it was built from, whose messages are kept.
        main: The main graph.
        functions: Local functions, in the model's order.
        taken: Every name in use anywhere, so that a fresh one clashes with none.
        function_ids: (domain, name) of each local function; calls to them are opaque.
        journal: Every edit since it was built.
        repeated: Names that more than one graph defines, as far as copying has to know.
        shape_conflicts: Declared types that inference contradicts, which nothing trusts.
    """

    model: Model
    main: Scope
    functions: list[Scope]
    taken: set[str]
    function_ids: frozenset[tuple[str, str]]
    repeated: set[str] = field(default_factory=set)
    journal: Journal = field(default_factory=Journal)
    shape_conflicts: list[str] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)
    _copied: set[str] = field(default_factory=set)

    @property
    def tops(self) -> list[Scope]:
        """The main graph and the functions."""
        return [self.main, *self.functions]

    def scopes(self) -> list[Scope]:
        """Every scope there is, outermost first."""
        return [scope for top in self.tops for scope in top.nested()]

    def fresh(self, hint: str) -> str:
        """A name nobody uses, made from `hint`, and taken from now on."""
        base = hint or "value"
        name, number = base, self._numbers.get(base, 0)
        while name in self.taken:
            number += 1
            name = f"{base}_{number}"
        self._numbers[base] = number
        self.taken.add(name)
        return name

    def note_copied(self, names: Iterable[str]) -> None:
        """Note names that a copied body defines too: from the second copy on they are repeated.

        The first copy takes the place of what it was made from.
        """
        self.repeated.update(name for name in names if name in self._copied)
        self._copied.update(names)
