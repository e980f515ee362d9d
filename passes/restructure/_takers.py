"""Nodes that take one index of an axis and drop the axis: Gather, or Slice and Squeeze."""

from __future__ import annotations

from dataclasses import dataclass

from graphopt.contract import NodeView, ValueView
from graphopt.passes.restructure._pieces import piece_of
from graphopt.passes.restructure._splits import sizes_of


@dataclass(frozen=True, slots=True)
class Taker:
    """What takes one index of an axis.

    Attributes:
        nodes: In their order; the last one writes what was taken.
        axis: Counted from the front.
        index: From the front, or below 0 from the end.
    """

    nodes: list[NodeView]
    axis: int
    index: int

    @property
    def result(self) -> ValueView:
        """What was taken."""
        found = self.nodes[-1].outputs[0]
        assert found is not None
        return found


def is_taken_apart(value: ValueView) -> bool:
    """Tell, at a look, whether nodes that may be takers read a value."""
    uses = value.readers
    if len(uses) == 1 and uses[0].node.op_type == "Split":
        first = uses[0].node.outputs[0]
        return first is not None and any(use.node.op_type == "Squeeze" for use in first.readers)
    return sum(use.node.op_type in _READERS for use in uses) > 1


def takers_of(value: ValueView, rank: int) -> tuple[list[Taker], list[NodeView]] | None:
    """All readers of a value as takers, and the Split that some of them share.

    Returns:
        None where something else reads the value too.
    """
    uses = value.readers
    split = uses[0].node
    if len(uses) == 1 and split.op_type == "Split" and not uses[0].index:
        found = _parts(split, rank)
        return None if found is None else (found, [split])
    takers = []
    for use in uses:
        reads = _READERS.get(use.node.op_type)
        plain = not use.index and not use.node.is_opaque and use.node.graph is value.graph
        taker = reads(use.node, rank) if reads is not None and plain else None
        if taker is None:
            return None
        takers.append(taker)
    return takers, []


def dropped_axes(node: NodeView, rank: int) -> list[int] | None:
    """What a Squeeze drops, counted from the front; None where it does not say so itself."""
    axes = node.attribute("axes")
    if axes is None:
        given = node.inputs[1] if len(node.inputs) > 1 else None
        axes = given.array().ravel() if given is not None and given.is_constant else None
    if axes is None:
        return None
    found = [int(axis) + rank if axis < 0 else int(axis) for axis in axes]
    return found if all(0 <= axis < rank for axis in found) else None


def _gather(node: NodeView, rank: int) -> Taker | None:
    axis, index = int(node.attribute("axis", 0)), node.inputs[1]
    axis = axis + rank if axis < 0 else axis
    if index is None or not index.is_constant or index.shape != () or node.outputs[0] is None:
        return None
    return Taker([node], axis, int(index.array())) if 0 <= axis < rank else None


def _slice(node: NodeView, rank: int) -> Taker | None:
    piece = piece_of(node)
    if piece is None or piece.end - piece.start != 1:
        return None
    squeeze = _squeezed(node.outputs[0], piece.axis, rank)
    return None if squeeze is None else Taker([node, squeeze], piece.axis, piece.start)


def _parts(node: NodeView, rank: int) -> list[Taker] | None:
    sizes = None if node.is_opaque else sizes_of(node)
    axis = int(node.attribute("axis", 0))
    axis = axis + rank if axis < 0 else axis
    if sizes is None or set(sizes) != {1} or not 0 <= axis < rank:
        return None
    squeezes = [_squeezed(value, axis, rank) for value in node.outputs]
    found = [squeeze for squeeze in squeezes if squeeze is not None]
    if len(found) < len(squeezes):
        return None
    return [Taker([squeeze], axis, index) for index, squeeze in enumerate(found)]


def _squeezed(value: ValueView | None, axis: int, rank: int) -> NodeView | None:
    """The Squeeze of one axis that alone reads a value."""
    if value is None or value.is_graph_output or len(value.readers) != 1:
        return None
    node = value.readers[0].node
    if node.op_type != "Squeeze" or node.is_opaque or node.graph is not value.graph:
        return None
    return node if dropped_axes(node, rank) == [axis] and node.outputs[0] is not None else None


_READERS = {"Gather": _gather, "Slice": _slice}
