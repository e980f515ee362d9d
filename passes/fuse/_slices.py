"""Slices as lists of windows, one an axis, and two of them in a row as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graphopt.contract import Array, Dim, NodeView, ValueView

_FAR = 2**31 - 1
"""No dimension is longer: a window that ends there or later ends where its axis does."""
_END = np.iinfo(np.int64).max
_BEGINNING = np.iinfo(np.int64).min
_MAX_AXES = 64


@dataclass(frozen=True, slots=True)
class Window:
    """What a Slice takes of one axis, as ONNX writes it."""

    start: int
    end: int
    step: int = 1


def windows_of(node: NodeView) -> dict[int, Window] | None:
    """A Slice's windows by axis, as it counts them; None where they are not constant."""
    source = node.inputs[0]
    if node.graph.opset() < 10:
        lists = [node.attribute(name) for name in ("starts", "ends", "axes")] + [None]
    else:
        given = [*node.inputs[1:5], None, None][:4]
        lists = [_numbers(value) for value in given]
        if any(v is not None and row is None for v, row in zip(given, lists, strict=True)):
            return None
    starts, ends, axes, steps = lists
    if source is None or starts is None or ends is None:
        return None
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if len({len(starts), len(ends), len(axes), len(steps)}) != 1 or 0 in steps:
        return None
    rank = None if source.shape is None else len(source.shape)
    if rank is None and any(axis < 0 for axis in axes):
        return None
    counted = [axis if rank is None or axis >= 0 else axis + rank for axis in axes]
    if len(set(counted)) != len(counted):
        return None
    rows = zip(starts, ends, steps, strict=True)
    return dict(zip(counted, (Window(*row) for row in rows), strict=True))


def composed(
    inner: dict[int, Window], outer: dict[int, Window], shape: Sequence[Dim] | None
) -> dict[int, Window] | None:
    """One Slice's windows that take what the outer's take of what the inner's took.

    Args:
        inner: Applied first.
        outer: Applied to the result.
        shape: What is known of the dimensions that the inner one reads.
    """
    made = dict(inner)
    for axis, window in outer.items():
        size = shape[axis] if shape is not None and axis < len(shape) else None
        if axis not in inner:
            made[axis] = window
            continue
        both = _within(inner[axis], window, size if isinstance(size, int) else None)
        if both is None:
            return None
        made[axis] = both
    return made


def _within(inner: Window, outer: Window, size: int | None) -> Window | None:
    if size is not None:
        taken = _taken(_taken(range(size), inner), outer)
        if not taken:
            return Window(0, 0)
        end = taken.stop if taken.stop >= 0 else _BEGINNING
        return Window(taken.start, end, taken.step)
    if inner.step != 1 or outer.step != 1 or inner.start < 0 or outer.start < 0:
        return None
    start = inner.start + outer.start
    if start >= _FAR:
        return None
    last = _last(inner, outer)
    return None if last is None else Window(start, last)


def _last(inner: Window, outer: Window) -> int | None:
    """Where the outer window ends on the axis of an unknown length; None where that depends."""
    if outer.end >= _FAR:
        return inner.end
    if outer.end >= 0:
        end = inner.start + outer.end
        if inner.end >= _FAR:
            return end
        return min(inner.end, end) if inner.end >= 0 else None
    if inner.end >= _FAR:
        return outer.end
    both = inner.end + outer.end
    return both if inner.end < 0 and both > -_FAR else None


def _taken(row: range, window: Window) -> range:
    """What a window takes; ONNX lets one that goes back from before the first begin there."""
    start = 0 if window.step < 0 and window.start < -len(row) else window.start
    return row[start : window.end : window.step]


def inputs_for(windows: dict[int, Window]) -> list[Array]:
    """Starts, ends, axes, and steps unless all of them are 1."""
    rows = [windows[axis] for axis in sorted(windows)]
    columns = [[row.start for row in rows], [row.end for row in rows], sorted(windows)]
    if any(row.step != 1 for row in rows):
        columns.append([row.step for row in rows])
    return [np.array(column, dtype=np.int64) for column in columns]


def _numbers(value: ValueView | None) -> list[int] | None:
    if value is None or not value.is_constant or (value.nbytes or 0) > 8 * _MAX_AXES:
        return None
    return [int(item) for item in value.array().ravel()]
