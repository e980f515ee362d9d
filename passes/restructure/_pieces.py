"""A Slice of one axis by constant bounds, as numbers."""

from __future__ import annotations

from dataclasses import dataclass

from graphopt.contract import NodeView, ValueView
from graphopt.passes.fuse._slices import windows_of


@dataclass(frozen=True, slots=True)
class Piece:
    """A Slice of one axis: what it takes, from `start` up to `end`, where `start < end`."""

    node: NodeView
    source: ValueView
    axis: int
    start: int
    end: int


def piece_of(node: NodeView) -> Piece | None:
    """Read a Slice; None where it is not of that kind."""
    source, result = node.inputs[0], node.outputs[0]
    if source is None or result is None or source.shape is None:
        return None
    windows = windows_of(node)
    if windows is None or len(windows) != 1:
        return None
    ((axis, window),) = windows.items()
    length = source.shape[axis] if 0 <= axis < len(source.shape) else None
    if window.step != 1 or not isinstance(length, int):
        return None
    bounds = (window.start, window.end)
    start, end = (min(max(b + length if b < 0 else b, 0), length) for b in bounds)
    return Piece(node, source, axis, start, end) if start < end else None
