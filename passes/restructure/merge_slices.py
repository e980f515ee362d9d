"""Make one Split of Slices that cut one tensor along one axis.

Before: a = Slice(x, 0, 8), b = Slice(x, 8, 16)        After: a, b = Split(x)

Conditions: each Slice has constant bounds, one axis and step 1; the axis has a known length; no two
overlap. What no Slice takes becomes a part that nobody reads: at most a quarter of the axis, or a
few bytes. Vectors of integers stay as they are: they are mostly shapes, which other passes follow
through Slice and not through Split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import ClassVar

import numpy as np

from graphopt.contract import (
    Context,
    Editor,
    Effect,
    GraphView,
    Rewrite,
    Skip,
    ValueView,
)
from graphopt.passes.restructure._pieces import Piece, piece_of
from graphopt.passes.restructure._splits import FIRST_OPSET, split

_FEW_BYTES = 16 << 10
"""Copying that much costs less than starting a node."""


@dataclass(frozen=True)
class MergeSlices:
    """Replace Slices that share a tensor's axis among them by one Split.

    Fires on: silero_vad. Source: ONNX operators Slice, opsets 1 to 13, and Split, opsets 2 to 18.
    """

    name: ClassVar[str] = "merge_slices"
    effect: ClassVar[Effect] = Effect.IDENTICAL

    def plan(self, graph: GraphView, context: Context) -> Iterable[Rewrite | Skip]:
        """Go through each graph once, in node order."""
        for scope in graph.nested():
            if scope.opset() >= FIRST_OPSET:
                yield from _plan(scope)


def _plan(graph: GraphView) -> Iterator[Rewrite | Skip]:
    groups: dict[tuple[ValueView, int], list[Piece]] = {}
    for node in graph.nodes:
        piece = piece_of(node) if node.op_type == "Slice" and not node.is_opaque else None
        if piece is not None:
            groups.setdefault((piece.source, piece.axis), []).append(piece)
    for pieces in groups.values():
        if len(pieces) < 2:
            continue
        refused = _refusal(pieces)
        if refused:
            yield refused
            continue
        root = pieces[0].node.outputs[0]
        assert root is not None
        yield Rewrite(root.label(), Effect.IDENTICAL, _merging(pieces))


def _refusal(pieces: list[Piece]) -> Skip | None:
    source, axis = pieces[0].source, pieces[0].axis
    shape = source.shape
    assert shape is not None
    if source.dtype is None or (len(shape) == 1 and source.dtype.kind in "iu"):
        return Skip("a shape, which other passes follow through Slice alone")
    ordered = sorted(pieces, key=lambda piece: piece.start)
    if any(a.end > b.start for a, b in pairwise(ordered)):
        return Skip("slices overlap")
    length = shape[axis]
    assert isinstance(length, int)
    unused = length - sum(piece.end - piece.start for piece in pieces)
    if 4 * unused <= length:
        return None
    others = [dim for place, dim in enumerate(shape) if place != axis]
    known = [dim for dim in others if isinstance(dim, int)]
    itemsize = np.dtype(source.dtype).itemsize
    if len(known) == len(others) and unused * prod(known) * itemsize <= _FEW_BYTES:
        return None
    return Skip("too much would be copied for nothing")


def _merging(pieces: list[Piece]) -> Callable[[Editor], None]:
    def merge(edit: Editor) -> None:
        first = pieces[0]
        assert first.source.shape is not None
        length = first.source.shape[first.axis]
        assert isinstance(length, int)
        starts = {piece.start: piece for piece in pieces}
        marks = {0, length} | {mark for piece in pieces for mark in (piece.start, piece.end)}
        bounds = sorted(marks)
        sizes = [b - a for a, b in pairwise(bounds)]
        made = split(edit, first.source, first.axis, sizes, before=first.node)
        for index, start in enumerate(bounds[:-1]):
            piece = starts.get(start)
            value = piece.node.outputs[0] if piece is not None else None
            if piece is None or value is None:
                continue
            edit.adopt(made, index, value)
            edit.remove(piece.node)

    return merge
