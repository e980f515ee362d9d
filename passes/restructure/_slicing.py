"""Slices and axes of size 1 in place of gathers: what is inserted, and what it saves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from graphopt.contract import Editor, NodeView, ValueView
from graphopt.passes.fold._facts import Dims
from graphopt.passes.fold._grids import Grids
from graphopt.passes.fold._sizes import Size

_MOST_DYING = 64
_SLICES_FROM = 10
_AXES_INPUT_FROM = 13


@dataclass(frozen=True, slots=True)
class Cut:
    """Rows from the first on, along one axis.

    Attributes:
        axis: Which.
        length: How many, where that is a number.
        holder: A tensor of one int64, or a scalar, that holds it otherwise.
    """

    axis: int
    length: int | None = None
    holder: ValueView | None = None

    @property
    def nodes(self) -> int:
        """How many nodes it takes."""
        return 2 if self.holder is not None and not self.holder.shape else 1


def cut(axis: int, length: Size, whole: Size, node: NodeView, grids: Grids) -> Cut | None:
    """A cut before a node, on an axis so long; None where nothing there holds the length."""
    if node.graph.opset() < _SLICES_FROM:
        return None
    number = length.integer
    if number is not None:
        return Cut(axis, number)
    # Where it is the smaller of something and the whole, a Slice finds that out by itself.
    for wanted in (length, *(most for most in length.most if most.smaller(whole) == length)):
        for rank in (1, 0):
            holder = grids.holding(wanted, rank, node)
            if holder is not None and holder.shape is not None and len(holder.shape) == rank:
                return Cut(axis, holder=holder)
    return None


def insert_cut(source: ValueView, found: Cut, before: NodeView, edit: Editor) -> ValueView:
    """Slice from the start to a length."""
    graph, hint = before.graph, source.name
    if found.holder is None:
        end = edit.constant(np.array([found.length], np.int64), f"{hint}_end", graph)
    elif found.holder.shape:
        end = found.holder
    else:
        end = insert_ones(found.holder, [0], before, edit)
    start = edit.constant(np.zeros(1, np.int64), f"{hint}_start", graph)
    axes = edit.constant(np.array([found.axis], np.int64), f"{hint}_axis", graph)
    return _only(edit.insert("Slice", [source, start, end, axes], before=before))


def insert_ones(
    source: ValueView,
    axes: Sequence[int],
    before: NodeView,
    edit: Editor,
    operator: str = "Unsqueeze",
) -> ValueView:
    """Unsqueeze, or Squeeze, at the given axes."""
    if before.graph.opset() < _AXES_INPUT_FROM:
        node = edit.insert(operator, [source], before=before, attributes={"axes": list(axes)})
        return _only(node)
    numbers = edit.constant(np.array(axes, np.int64), f"{source.name}_axes", before.graph)
    return _only(edit.insert(operator, [source, numbers], before=before))


def ones_to_add(before: Dims, after: Dims) -> list[int] | None:
    """Axes of `after` that an Unsqueeze adds to `before`; None where it is none."""
    added, rest = [], list(before)
    for axis, dim in enumerate(after):
        if rest and rest[0] == dim:
            rest.pop(0)
        elif dim.integer == 1:
            added.append(axis)
        else:
            return None
    return None if rest else added


def dying(node: NodeView, kept: Iterable[ValueView | None]) -> int:
    """How many nodes go away with one whose results nobody reads any more."""
    staying = {value.producer for value in kept if value is not None}
    gone, pending = {node}, [node]
    while pending and len(gone) < _MOST_DYING:
        for value in pending.pop().inputs:
            maker = None if value is None else value.producer
            if maker is None or maker in gone or maker in staying or maker.op_type == "Constant":
                continue
            if all(_is_unread(result, gone) for result in maker.outputs):
                gone.add(maker)
                pending.append(maker)
    return len(gone)


def _is_unread(value: ValueView | None, gone: set[NodeView]) -> bool:
    if value is None:
        return True
    return not value.is_graph_output and all(use.node in gone for use in value.readers)


def _only(node: NodeView) -> ValueView:
    (result,) = node.outputs
    assert result is not None
    return result
