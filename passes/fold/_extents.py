"""Dimensions of what operators cut out of tensors, gather, or fill: Slice, Split, Range, ...

One small function an operator. A length that has no polynomial becomes a symbol named after what it
is computed from, so that equal cuts stay equal. Source: the operators' ONNX definitions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphopt.contract import NodeView
from graphopt.passes.fold._facts import Dims, Facts
from graphopt.passes.fold._sizes import Size, derived, size

Rule = Callable[[NodeView, Facts], "Sequence[Dims | None]"]

_TO_THE_END = 2**31 - 1
"""A Slice that ends here or later ends where its input does: dimensions are smaller."""


def _slice(node: NodeView, facts: Facts) -> Sequence[Dims | None]:
    dims = facts.dims(node.inputs[0])
    if dims is None:
        return []
    if node.attribute("starts") is not None:
        bounds = [_sizes(node.attribute(name)) for name in ("starts", "ends", "axes")]
    else:
        bounds = [_content(node, facts, index) for index in (1, 2, 3)]
    starts, ends, axes = bounds
    steps = _content(node, facts, 4) if _has(node, 4) else [size(1)] * len(starts or [])
    if _has(node, 3) and axes is None:
        return []
    if starts is None or ends is None or steps is None:
        return []
    where = _axes(axes if axes is not None else _sizes(range(len(starts))), len(dims))
    if where is None or not len(starts) == len(ends) == len(where) == len(steps):
        return []
    found = list(dims)
    for axis, start, end, step in zip(where, starts, ends, steps, strict=True):
        found[axis] = cut(dims[axis], start, end, step)
    return [tuple(found)]


def cut(length: Size, start: Size, end: Size, step: Size) -> Size:
    """How long a slice of something that long is."""
    named = derived("slice", (length, start, end, step))
    if step.integer != 1:
        return named
    first, last = _clamped(start, length), _clamped(end, length)
    if first is None or last is None:
        return named
    if not first.terms:
        return last
    return last - first if (last - first).is_nonnegative else named


def _clamped(bound: Size, length: Size) -> Size | None:
    """Where a bound lies between 0 and the length; None where that is not known."""
    if bound.integer is not None and bound.integer >= _TO_THE_END:
        return length
    if bound.is_nonnegative:
        return bound.smaller(length)
    if bound.integer is not None and bound.integer <= -_TO_THE_END:
        return size(0)
    from_end = length + bound
    return from_end if bound.integer is not None and from_end.is_nonnegative else None


def _split(node: NodeView, facts: Facts) -> Sequence[Dims | None]:
    dims = facts.dims(node.inputs[0])
    if dims is None or not dims:
        return []
    axis = node.attribute("axis", 0) % len(dims)
    given = node.attribute("split")
    parts = _content(node, facts, 1) if _has(node, 1) else None if given is None else _sizes(given)
    if parts is None:
        if _has(node, 1):
            return []
        share = dims[axis].divided(size(len(node.outputs)))
        if share is None:
            return []
        parts = [share] * len(node.outputs)
    return [(*dims[:axis], part, *dims[axis + 1 :]) for part in parts]


def _range(node: NodeView, facts: Facts) -> Sequence[Dims | None]:
    contents = [facts.content(value) for value in node.inputs]
    ends = [content.ravel()[0] for content in contents if content is not None and content.size == 1]
    if len(ends) != 3:
        return []
    start, limit, step = ends
    count = limit - start
    if step.integer == 1 and count.is_nonnegative:
        return [(count,)]
    return [(derived("range", (start, limit, step)),)]


def _tile(node: NodeView, facts: Facts) -> Sequence[Dims | None]:
    dims, repeats = facts.dims(node.inputs[0]), _content(node, facts, 1)
    if dims is None or repeats is None or len(repeats) != len(dims):
        return []
    return [tuple(dim * count for dim, count in zip(dims, repeats, strict=True))]


def _pad(node: NodeView, facts: Facts) -> Sequence[Dims | None]:
    dims = facts.dims(node.inputs[0])
    given = node.attribute("pads", node.attribute("paddings"))
    pads = _content(node, facts, 1) if given is None else _sizes(given)
    if dims is None or pads is None or _has(node, 3) or len(pads) != 2 * len(dims):
        return []
    made = [dim + pads[i] + pads[i + len(dims)] for i, dim in enumerate(dims)]
    return [tuple(made)] if all(dim.is_nonnegative for dim in made) else []


def _gather_elements(node: NodeView, facts: Facts) -> Sequence[Dims | None]:
    return [facts.dims(node.inputs[1])]


def _gather_nd(node: NodeView, facts: Facts) -> Sequence[Dims | None]:
    data, indices = facts.dims(node.inputs[0]), facts.dims(node.inputs[1])
    depth = indices[-1].integer if indices else None
    if data is None or not indices or depth is None:
        return []
    return [(*indices[:-1], *data[node.attribute("batch_dims", 0) + depth :])]


def _pooled(node: NodeView, facts: Facts) -> Sequence[Dims | None]:
    dims = facts.dims(node.inputs[0])
    return [] if dims is None else [(*dims[:2], *(size(1) for _ in dims[2:]))]


def _has(node: NodeView, index: int) -> bool:
    return len(node.inputs) > index and node.inputs[index] is not None


def _content(node: NodeView, facts: Facts, index: int) -> list[Size] | None:
    content = facts.content(node.inputs[index]) if _has(node, index) else None
    return None if content is None else list(content.ravel())


def _sizes(numbers: Sequence[int] | None) -> list[Size] | None:
    return None if numbers is None else [size(int(number)) for number in numbers]


def _axes(axes: Sequence[Size] | None, rank: int) -> list[int] | None:
    numbers = [axis.integer for axis in axes or []]
    found = [axis + rank if axis < 0 else axis for axis in numbers if axis is not None]
    valid = len(found) == len(numbers) == len(set(found)) and all(0 <= a < rank for a in found)
    return found if valid else None


EXTENTS: dict[str, Rule] = {
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "GlobalAveragePool": _pooled,
    "GlobalLpPool": _pooled,
    "GlobalMaxPool": _pooled,
    "Pad": _pad,
    "Range": _range,
    "Slice": _slice,
    "Split": _split,
    "Tile": _tile,
}
"""Operators whose results have lengths of their own."""
