"""Put arithmetic with a constant row into the table whose rows are gathered.

Before: ids -> Gather(table, .) -> Add(row) -> y        After: ids -> Gather(table + row, .) -> y

Add, Sub and Mul, with the constant on either side: an embedding that is scaled, or that one row is
added to for every token. Each element meets the same operand as before, in the same arithmetic.

Conditions: table and operand are constants of one type, float or double or 16 to 64 bits of
integer; the table's rows absorb the operand without becoming wider; nothing else reads the table or
what is gathered; the gather is along the first axis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.contract import (
    Array,
    Context,
    Editor,
    Effect,
    GraphView,
    NodeView,
    Skip,
    ValueView,
)

_OPERATORS: dict[str, Callable[[Array, Array], Array]] = {
    "Add": np.add,
    "Mul": np.multiply,
    "Sub": np.subtract,
}
_TYPES = frozenset(np.dtype(name) for name in ("f4", "f8", "i2", "i4", "i8"))
"""Types in which every runtime rounds, or wraps around, in one way."""
_BROADCASTS_FROM = 7


@dataclass(frozen=True, slots=True)
class Found:
    """A Gather, the arithmetic behind it, and which of its inputs is gathered."""

    gather: NodeView
    node: NodeView
    index: int
    table: ValueView
    operand: ValueView
    effect: Effect = Effect.IDENTICAL


@dataclass(frozen=True)
class FuseGatherAffine:
    """Fuse Add, Sub or Mul of a constant row into the constant table of a Gather.

    Fires on synthetic graphs only among the catalogue's models (and on exported transformers).
    Source: ONNX operators Gather, Add, Sub and Mul, from opset 7 on.
    """

    name: ClassVar[str] = "fuse_gather_affine"
    effect: ClassVar[Effect] = Effect.IDENTICAL
    roots: ClassVar[tuple[str, ...]] = tuple(_OPERATORS)

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | Skip | None:
        """Look at what is done to gathered rows."""
        for index in (0, 1):
            source, operand = node.inputs[index], node.inputs[1 - index]
            gather = source.producer if source is not None else None
            if gather is None or gather.op_type != "Gather" or gather.is_opaque:
                continue
            table = gather.inputs[0]
            if source is None or operand is None or table is None or source is operand:
                continue
            if table.is_constant and operand.is_constant:
                found = Found(gather, node, index, table, operand)
                return _refusal(found, source) or found
        return None

    def rewrite(self, match: Found, edit: Editor) -> None:
        """Compute the new table and gather from it."""
        table = match.table.array()
        operand = match.operand.array()
        row = operand.reshape(_row_shape(operand.shape, table.ndim - 1))
        operands = (row, table) if match.index else (table, row)
        with np.errstate(all="ignore"):
            made = _OPERATORS[match.node.op_type](*operands).astype(table.dtype)
        edit.set_input(match.gather, 0, edit.constant(made, match.table.name, match.gather.graph))
        target = match.node.outputs[0]
        assert target is not None
        edit.adopt(match.gather, 0, target)
        edit.remove(match.node)


def _refusal(found: Found, gathered: ValueView) -> Skip | None:
    table, operand, graph = found.table, found.operand, found.node.graph
    if graph.opset() < _BROADCASTS_FROM or found.gather.graph is not graph:
        return Skip("the gather is not beside it, or broadcasting is not ONNX's of today")
    if found.gather.attribute("axis", 0) or gathered.shape is None:
        return Skip("the gather is not along the first axis, or of unknown rank")
    if gathered.is_graph_output or len(gathered.readers) != 1:
        return Skip("the rows are read elsewhere")
    if table.is_graph_output or len(table.readers) != 1:
        return Skip("the table is read elsewhere")
    if table.dtype != operand.dtype or table.dtype not in _TYPES:
        return Skip("types differ, or their arithmetic does")
    fits = _fits(operand.shape, table.shape, len(gathered.shape))
    return None if fits else Skip("the operand is wider than a row")


def _fits(operand: tuple[object, ...] | None, table: tuple[object, ...] | None, rank: int) -> bool:
    """Tell whether every row absorbs the operand, wherever it comes out."""
    if operand is None or table is None or len(operand) > rank:
        return False
    row = table[1:]
    ahead = max(len(operand) - len(row), 0)
    if any(length != 1 for length in operand[:ahead]):
        return False
    pairs = zip(reversed(operand[ahead:]), reversed(row), strict=False)
    return all(length in (1, own) for length, own in pairs)


def _row_shape(shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """The operand's shape without axes of size 1 that stand before a row's own."""
    return shape[max(len(shape) - rank, 0) :]
