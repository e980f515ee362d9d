"""What index tensors hold: for each integer or boolean tensor, the form of its elements.

An index algebra over _facts: `Add(Unsqueeze(Range(S), [0]), Mul(Unsqueeze(Range(B), [1]), S))` has
the form `axis 0 + S * axis 1`, and `Greater(Range(n), -1)` the form 1. A tensor of index tuples has
one form for each place on its last axis.

Forms hold for every element that exists; of an empty tensor they say nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from graphopt.contract import Array, Context, GraphView, NodeView, ValueView
from graphopt.passes.fold._facts import Content, Dims, Facts
from graphopt.passes.fold._forms import coordinate, settled, symbols
from graphopt.passes.fold._learnt import learnt
from graphopt.passes.fold._sizes import Size, size

Parts = tuple[Size, ...]
Rule = Callable[[NodeView, "Grids"], "Parts | None"]

_MAX_BYTES = 1 << 20
"""Larger constants are not searched for grids: they are weights."""
_WIDE = 2**31
_COORDINATES = symbols(coordinate(place) for place in range(8))

_MALFORMED = (IndexError, ValueError, ZeroDivisionError, RuntimeError, TypeError)
"""What rules raise on a node that no runtime would accept either (axes out of range)."""


class Grids:
    """What is known of the values of one program, the forms of their elements among it."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._parts: dict[ValueView, Parts | None] = {}
        self._holders: dict[tuple[int, Size], list[ValueView]] = {}
        self._order: dict[NodeView, int] = {}

    def dims(self, value: ValueView | None) -> Dims | None:
        """The shape, None when not even the rank is known."""
        return self._facts.dims(value)

    def content(self, value: ValueView | None) -> Content | None:
        """The values of a small integer or boolean tensor; None where they are not known."""
        return self._facts.content(value)

    def parts(self, value: ValueView | None) -> Parts | None:
        """One form, or as many as the last axis is long; None where nothing is known."""
        if value is None:
            return None
        if value not in self._parts:
            self._parts[value] = self._of_content(value) or constant_parts(value)
        return self._parts[value]

    def form(self, value: ValueView | None) -> Size | None:
        """The one form of all elements."""
        parts = self.parts(value)
        return parts[0] if parts is not None and len(parts) == 1 else None

    def uniform(self, value: ValueView | None) -> int | None:
        """The number that every element is; None where they differ or it is not known."""
        form = self.form(value)
        return None if form is None else form.integer

    def holding(self, number: Size, rank: int, before: NodeView) -> ValueView | None:
        """A tensor of one int64, of this rank, that holds a size and is there before a node."""
        limit = self._order.get(before, 0)
        for value in self._holders.get((rank, number), ()):
            maker = value.producer
            here = maker is not None and maker.outputs and value.graph is before.graph
            if here and maker is not None and self._order.get(maker, limit) < limit:
                return value
        return None

    def take(self, node: NodeView, rule: Rule | None) -> None:
        """Learn the form of a node's first output from those of its inputs."""
        self._order[node] = len(self._order)
        first = node.outputs[0] if node.outputs else None
        if first is None or first.is_constant or not _is_counted(first):
            return
        self._hold(first)
        parts = self._of_content(first)
        if parts is None and rule is not None and not node.is_opaque:
            try:
                parts = rule(node, self)
            except _MALFORMED:
                return
        self._parts[first] = self._kept(parts, first, node)

    def _kept(self, parts: Parts | None, value: ValueView, node: NodeView) -> Parts | None:
        """Forms that the tensor's own arithmetic gives too, without coordinates that are 0."""
        if parts is None:
            return None
        found = [settled(form, self.dims(value)) for form in parts]
        kept = [f for f in found if f is not None and _holds(f, value) and self._says(f, node)]
        return tuple(kept) if len(kept) == len(parts) else None

    def _says(self, form: Size, node: NodeView) -> bool:
        """Tell whether a form says what it is made of: the node's operands, and coordinates.

        A polynomial that grew too long becomes a symbol of its own, which no longer does.
        """
        made = symbols([form]) - _COORDINATES
        if not made:
            return True
        content = self.content(node.outputs[0])
        given = [] if content is None else list(content.ravel())
        for value in node.inputs:
            given += self.parts(value) or ()
        return made <= symbols(given)

    def _of_content(self, value: ValueView) -> Parts | None:
        content = self.content(value)
        if content is None or not content.size or not _is_counted(value):
            return None
        first: Size = content.ravel()[0]
        return (first,) if all(entry == first for entry in content.ravel()) else None

    def _hold(self, value: ValueView) -> None:
        content = self.content(value)
        if content is not None and content.size == 1 and value.dtype == np.int64:
            number: Size = content.ravel()[0]
            if number.integer is None:
                self._holders.setdefault((content.ndim, number), []).append(value)


def learn_grids(
    graph: GraphView, nodes: Sequence[NodeView], rules: Mapping[str, Rule], context: Context
) -> Grids:
    """Learn all there is to know of a graph's values; nodes come in an order they can run in."""
    return context.until_edited(
        ("grids", graph), lambda: _learn(learnt(graph, nodes, context), nodes, rules)
    )


def _learn(facts: Facts, nodes: Sequence[NodeView], rules: Mapping[str, Rule]) -> Grids:
    grids = Grids(facts)
    for node in nodes:
        grids.take(node, rules.get(node.op_type))
    return grids


def _is_counted(value: ValueView) -> bool:
    return value.dtype in (np.dtype(np.int32), np.dtype(np.int64), np.dtype(np.bool_))


def _holds(form: Size, value: ValueView) -> bool:
    """False where the tensor's own arithmetic might have wrapped around.

    Coordinates are below dimensions, and those below 2**31; products of dimensions fit into 64
    bits, but not into 32.
    """
    if value.dtype == np.bool_:
        return form.integer in (0, 1)
    if form.integer is not None:
        return -_WIDE <= form.integer < _WIDE
    if value.dtype == np.int64:
        return form.is_below(_WIDE)
    return len(form.terms) == 1 and form.degree == 1 and form.terms[0][1] in (1, -1)


def constant_parts(value: ValueView) -> Parts | None:
    """Constants of equal entries, and those that count up from 0 along their one long axis."""
    if not value.is_constant or not _is_counted(value) or (value.nbytes or 0) > _MAX_BYTES:
        return None
    array = value.array()
    if not array.size or not _is_numbers(value.shape):
        return None
    flat = array.ravel()
    if (flat == flat[0]).all():
        return (size(int(flat[0])),)
    return _counting(array) if max(array.shape) == array.size else None


def _counting(array: Array) -> Parts | None:
    if array.dtype == np.bool_ or (array.ravel() != np.arange(array.size)).any():
        return None
    return (coordinate(array.ndim - 1 - array.shape.index(array.size)),)


def _is_numbers(shape: Sequence[object] | None) -> bool:
    return shape is not None and all(isinstance(dim, int) for dim in shape)
