"""A Slice of one axis by constant bounds, as numbers."""

from __future__ import annotations

from dataclasses import dataclass

from graphopt.contract import NodeView, ValueView


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
    if node.graph.opset() < 10:
        names = ("starts", "ends", "axes")
        found = [node.attribute(name, [0] if name == "axes" else None) for name in names]
    else:
        steps = _numbers(node, 4, default=[1])
        found = [_numbers(node, i, default=[0]) if steps == [1] else None for i in (1, 2, 3)]
    if any(numbers is None or len(numbers) != 1 for numbers in found):
        return None
    start, end, axis = (int(numbers[0]) for numbers in found)
    rank = len(source.shape)
    axis = axis + rank if axis < 0 else axis
    length = source.shape[axis] if 0 <= axis < rank else None
    if not isinstance(length, int):
        return None
    start, end = (min(max(b + length if b < 0 else b, 0), length) for b in (start, end))
    return Piece(node, source, axis, start, end) if start < end else None


def _numbers(node: NodeView, index: int, *, default: list[int]) -> list[int] | None:
    value = node.inputs[index] if len(node.inputs) > index else None
    if value is None:
        return default
    if not value.is_constant or value.shape != (1,):
        return None
    return [int(number) for number in value.array()]
