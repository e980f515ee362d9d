"""When an operator that moves or converts elements gives back its input."""

from __future__ import annotations

from graphopt.contract import Effect, GraphView, NodeView
from graphopt.passes.eliminate._operands import (
    ALMOST,
    SAME,
    Known,
    Predicate,
    fits_into,
    input_of,
    is_small,
    listed,
    numbers,
    size_along,
)
from graphopt.passes.fuse._slices import windows_of

_TO_THE_END = 2**31 - 1
"""A Slice that ends here or later ends where its input does: dimensions are smaller."""
_MOVING = ("tf_crop_and_resize", "tf_half_pixel_for_nn")
"""Where a Resize by 1 does not read each element at its own place."""


def _cast(node: NodeView, graph: GraphView) -> Known | None:
    source, result = node.inputs[0], node.outputs[0]
    if source is None or result is None or source.dtype is None:
        return None
    return SAME if source.dtype == result.dtype else None


def _reshape(node: NodeView, graph: GraphView) -> Known | None:
    source = node.inputs[0]
    target = node.attribute("shape") if graph.opset() < 5 else numbers(input_of(node, 1))
    if source is None or source.shape is None or target is None:
        return None
    if len(target) != len(source.shape):
        return None
    copies = not node.attribute("allowzero", 0)
    proven = [
        entry == dim or (entry == 0 and copies)
        for entry, dim in zip(target, source.shape, strict=True)
    ]
    open_one = [entry == -1 for entry in target]
    # With all others proven equal, the one -1 can only be what it was.
    fits = all(p or o for p, o in zip(proven, open_one, strict=True))
    return SAME if fits and sum(open_one) <= 1 else None


def _transpose(node: NodeView, graph: GraphView) -> Known | None:
    source, perm = node.inputs[0], node.attribute("perm")
    if perm is None:
        short = source is not None and source.shape is not None and len(source.shape) <= 1
        return SAME if short else None
    return SAME if list(perm) == sorted(perm) else None


def _expand(node: NodeView, graph: GraphView) -> Known | None:
    return SAME if fits_into(numbers(input_of(node, 1)), node.inputs[0]) else None


def _tile(node: NodeView, graph: GraphView) -> Known | None:
    repeats = numbers(input_of(node, 1)) if graph.opset() >= 6 else None
    return SAME if repeats is not None and all(count == 1 for count in repeats) else None


def _pad(node: NodeView, graph: GraphView) -> Known | None:
    if graph.opset() < 11:
        pads = node.attribute("pads", node.attribute("paddings"))
    else:
        pads = numbers(input_of(node, 1))
    return SAME if pads is not None and not any(pads) else None


def _slice(node: NodeView, graph: GraphView) -> Known | None:
    windows = windows_of(node)
    if windows is None:
        return None
    whole = all(
        window.step == 1 and _takes_all(node, window.start, window.end, axis)
        for axis, window in windows.items()
    )
    return SAME if whole else None


def _takes_all(node: NodeView, start: int, end: int, axis: int) -> bool:
    source = node.inputs[0]
    if source is None or source.shape is None:
        return False
    if not -len(source.shape) <= axis < len(source.shape):
        return False
    size = size_along(source, axis)
    if size is None:
        return (start == 0 or start < -_TO_THE_END) and end >= _TO_THE_END
    return (start == 0 or start <= -size) and end >= size


def _concat(node: NodeView, graph: GraphView) -> Known | None:
    """One input, or one that is not sure to be empty along the axis."""
    if len(node.inputs) == 1:
        return SAME
    axis = node.attribute("axis", 1)
    filled = [i for i, value in enumerate(node.inputs) if size_along(value, axis) != 0]
    return (filled[0], Effect.IDENTICAL) if len(filled) == 1 else None


def _split(node: NodeView, graph: GraphView) -> Known | None:
    return SAME if len(node.outputs) == 1 else None


def _flatten(node: NodeView, graph: GraphView) -> Known | None:
    source = node.inputs[0]
    flat = source is not None and source.shape is not None and len(source.shape) == 2
    return SAME if flat and node.attribute("axis", 1) in (1, -1) else None


def _squeeze(node: NodeView, graph: GraphView) -> Known | None:
    """Without axes, or with none in the list (readings differ), where no length can be 1."""
    axes = listed(node, "axes", 1, input_since=13)
    shape = None if node.inputs[0] is None else node.inputs[0].shape
    if axes is None or axes or shape is None:
        return None
    return SAME if all(isinstance(dim, int) and dim != 1 for dim in shape) else None


def _unsqueeze(node: NodeView, graph: GraphView) -> Known | None:
    return SAME if listed(node, "axes", 1, input_since=13) == [] else None


def _gather(node: NodeView, graph: GraphView) -> Known | None:
    """Every index of an axis, in order."""
    source, indices = node.inputs[0], input_of(node, 1)
    size = size_along(source, node.attribute("axis", 0))
    if indices is None or size is None or indices.shape != (size,) or not is_small(indices):
        return None
    taken = numbers(indices) or []
    return SAME if [index % size for index in taken] == list(range(size)) else None


def _blocks(node: NodeView, graph: GraphView) -> Known | None:
    return SAME if node.attribute("blocksize") == 1 else None


def _upsample(node: NodeView, graph: GraphView) -> Known | None:
    scales = node.attribute("scales") if graph.opset() < 9 else _factors(node, 1)
    return _interpolated(node) if scales and all(scale == 1 for scale in scales) else None


def _resize(node: NodeView, graph: GraphView) -> Known | None:
    """Scales of 1, or the sizes that the input has; every element is read at its own place."""
    if node.attribute("coordinate_transformation_mode", "half_pixel") in _MOVING:
        return None
    if graph.opset() < 11:
        scales = _factors(node, 1)
        return _interpolated(node) if scales and all(scale == 1 for scale in scales) else None
    sizes, scales = numbers(input_of(node, 3)), _factors(node, 2)
    if input_of(node, 3) is not None and sizes != []:
        rank = len((node.inputs[0] and node.inputs[0].shape) or ())
        axes = node.attribute("axes") or range(rank)
        if not sizes or len(sizes) != len(axes):
            return None
        kept = all(size_along(node.inputs[0], a) == s for a, s in zip(axes, sizes, strict=True))
    else:
        kept = bool(scales) and all(scale == 1 for scale in scales or ())
    return _interpolated(node) if kept else None


def _factors(node: NodeView, index: int) -> list[float] | None:
    value = input_of(node, index)
    if value is None or not is_small(value):
        return None
    return [float(item) for item in value.array().ravel()]


def _interpolated(node: NodeView) -> Known:
    """Neighbours with a weight of 0 are no part of the result, but for infinities."""
    return SAME if node.attribute("mode", "nearest") == "nearest" else ALMOST


def _einsum(node: NodeView, graph: GraphView) -> Known | None:
    equation = str(node.attribute("equation", "")).replace(" ", "")
    taken, arrow, given = equation.partition("->")
    plain = arrow and taken == given and taken.isalpha() and len(set(taken)) == len(taken)
    return SAME if plain and len(node.inputs) == 1 else None


RULES: dict[str, Predicate] = {
    "Cast": _cast,
    "CastLike": _cast,
    "Concat": _concat,
    "DepthToSpace": _blocks,
    "Einsum": _einsum,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Pad": _pad,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "SpaceToDepth": _blocks,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Upsample": _upsample,
}
"""The operators whose elements may all stay where and what they are."""
