"""How a factor on what a node writes becomes one on what it reads, and the other way round.

A scale is float64: of shape () where it is one factor for all elements, else of the value's rank,
1 along each axis that it does not vary along. Source: the operators' ONNX definitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from graphopt.contract import Array, Dim, NodeView, ValueView

Shape = Sequence[Dim]

RESHAPING = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
"""Operators that keep the elements in their order."""
_EVEN = frozenset(
    {"AveragePool", "DepthToSpace", "Expand", "GlobalAveragePool", "Neg", "ReduceMean", "ReduceSum",
     "SpaceToDepth", "Tile"}
)  # fmt: skip
"""Others that a factor for all elements passes."""
SUMMING = frozenset({"AveragePool", "GlobalAveragePool", "ReduceMean", "ReduceSum"})
"""Those of them that add elements up."""
_EVEN_ABOVE_ZERO = frozenset(
    {"GlobalMaxPool", "LeakyRelu", "MaxPool", "PRelu", "ReduceMax", "ReduceMin", "Relu"}
)
"""Those that it passes where it is above 0."""
CHOOSING = frozenset({"Gather", "Slice"})
PASSING = RESHAPING | _EVEN | _EVEN_ABOVE_ZERO | CHOOSING | {"Split", "Transpose"}
"""All that a factor on the first input may pass."""
_MOST = 65_536
"""A factor that takes more numbers is not followed."""


def scale_of(constant: ValueView, value: ValueView) -> Array | None:
    """A constant operand as the scale of the other one; None where it widens that one."""
    shape, other = constant.shape, value.shape
    if shape == ():
        return constant.array().astype(np.float64)
    if shape is None or other is None or len(shape) > len(other):
        return None
    if (constant.nbytes or 0) > 8 * _MOST:
        return None
    wide = [1] * (len(other) - len(shape)) + list(shape)
    if any(length not in (1, dim) for length, dim in zip(wide, other, strict=True)):
        return None
    return narrowed(constant.array().astype(np.float64).reshape([int(str(n)) for n in wide]))


def narrowed(scale: Array) -> Array:
    """The same scale, 1 along the axes that it does not vary along."""
    for axis in range(scale.ndim):
        if scale.shape[axis] > 1:
            first = scale.take([0], axis=axis)
            scale = first if (scale == first).all() else scale
    return scale.reshape(()) if scale.size == 1 else scale


def fits(scale: Array, value: ValueView) -> bool:
    """Tell whether a scale is one of a value, and widens nothing."""
    if scale.ndim == 0:
        return True
    shape = value.shape
    if shape is None or len(shape) != scale.ndim or scale.size > _MOST:
        return False
    return all(length in (1, dim) for length, dim in zip(scale.shape, shape, strict=True))


def along(scale: Array, axis: int) -> Array | None:
    """The factors along one axis; None where the scale varies along another one."""
    if scale.ndim == 0:
        return scale.reshape(1)
    axis %= scale.ndim
    return scale.ravel() if scale.shape[axis] == scale.size else None


def before(node: NodeView, index: int, scale: Array) -> Array | None:
    """The scale of the first input that gives output `index` this one and the others none."""
    source, result = node.inputs[0], node.outputs[index]
    if source is None or result is None:
        return None
    if node.op_type == "Split":
        parts = _parts(node)
        return None if parts is None else _spread(scale, source, *parts[index])
    if node.op_type in CHOOSING:
        if scale.ndim == 0 and is_alone(source, node):
            return scale
        part = chosen(node)
        return None if part is None else _spread(_restored(scale, node, part[0]), source, *part)
    if node.op_type == "Transpose":
        perm = _perm(node, scale)
        return scale if scale.ndim == 0 else scale.transpose(np.argsort(perm))
    return _reshaped(node, scale, result, source, adds=node.op_type == "Squeeze")


def after(node: NodeView, scale: Array) -> list[Array] | None:
    """The scales of the outputs where the first input has this one."""
    source = node.inputs[0]
    results = [value for value in node.outputs if value is not None]
    if source is None or len(results) != len(node.outputs):
        return None
    if node.op_type == "Split" or node.op_type in CHOOSING:
        if scale.ndim == 0:
            return [scale] * len(results)
        parts = _parts(node) if node.op_type == "Split" else [chosen(node)]
        if parts is None or len(parts) != len(results):
            return None
        found = [None if part is None else _taken(scale, node, *part) for part in parts]
        known = [part for part in found if part is not None]
        return known if len(known) == len(found) else None
    if node.op_type == "Transpose":
        perm = _perm(node, scale)
        return [scale if scale.ndim == 0 else scale.transpose(perm)]
    adds = node.op_type == "Unsqueeze"
    made = _reshaped(node, scale, source, results[0], adds=adds) if len(results) == 1 else None
    return None if made is None else [made]


def _reshaped(
    node: NodeView, scale: Array, given: ValueView, wanted: ValueView, *, adds: bool
) -> Array | None:
    if node.op_type in ("Squeeze", "Unsqueeze"):
        axes = _axes(node, wanted if adds else given)
        if scale.ndim and axes:
            return np.expand_dims(scale, axes) if adds else narrowed(scale.squeeze(axes))
    if node.op_type in RESHAPING:
        return carried(scale, given.shape, wanted.shape)
    if scale.ndim:
        return None
    if node.op_type in _EVEN_ABOVE_ZERO:
        return scale if scale > 0 and len(node.outputs) == 1 else None
    return scale if node.op_type in _EVEN else None


def _axes(node: NodeView, longer: ValueView) -> tuple[int, ...] | None:
    """The axes of length 1 that a Squeeze or Unsqueeze names, counted from the front."""
    axes = node.attribute("axes")
    given = node.inputs[1] if len(node.inputs) > 1 else None
    if axes is None and given is not None and given.is_constant and (given.nbytes or 0) <= 512:
        axes = given.array().ravel().tolist()
    if axes is None or longer.shape is None:
        return None
    rank = len(longer.shape)
    return tuple(sorted(axis % rank for axis in axes))


def _perm(node: NodeView, scale: Array) -> list[int]:
    return list(node.attribute("perm") or reversed(range(scale.ndim)))


def carried(scale: Array, source: Shape | None, target: Shape | None) -> Array | None:
    """A scale of a value of shape `source` as one of its elements in shape `target`.

    Only the last dimensions need be known: those within which it varies.
    """
    if scale.ndim == 0:
        return scale
    if source is None or target is None or len(source) != scale.ndim:
        return None
    first = next(axis for axis, length in enumerate(scale.shape) if length > 1)
    for start in range(first, -1, -1):
        block = _lengths(source[start:])
        if block is None:
            return None
        for other in range(len(target)):
            made = _lengths(target[other:])
            if made is not None and prod(made) == prod(block) and 0 < prod(block) <= _MOST:
                wide = np.broadcast_to(scale.reshape(scale.shape[start:]), block)
                return narrowed(wide.reshape([1] * other + made))
    return None


def _lengths(shape: Shape) -> list[int] | None:
    found = [length for length in shape if isinstance(length, int)]
    return found if len(found) == len(shape) else None


def is_alone(value: ValueView, reader: NodeView) -> bool:
    """Tell whether only one node reads the elements of a value; its shape may be read."""
    readers = [use.node for use in value.readers if use.node.op_type not in ("Shape", "Size")]
    return readers == [reader]


Part = tuple[int, list[int]]
"""An axis, and positions along it."""


def _parts(node: NodeView) -> list[Part] | None:
    """What each output of a Split takes."""
    source, results = node.inputs[0], node.outputs
    if source is None or source.shape is None:
        return None
    axis = int(node.attribute("axis", 0)) % len(source.shape)
    shapes = [None if value is None else value.shape for value in results]
    lengths = _lengths([None if shape is None else shape[axis] for shape in shapes])
    if lengths is None or sum(lengths) != source.shape[axis]:
        return None
    ends = np.cumsum(lengths).tolist()
    return [(axis, list(range(e - n, e))) for e, n in zip(ends, lengths, strict=True)]


def chosen(node: NodeView) -> Part | None:
    """What a Gather or a Slice along one axis takes, each position once; None where not known."""
    source = node.inputs[0]
    shape = None if source is None else source.shape
    if node.op_type not in CHOOSING or shape is None or node.is_opaque:
        return None
    numbers = _numbers(node)
    if numbers is None:
        return None
    axis = int(node.attribute("axis", 0)) if node.op_type == "Gather" else numbers.pop("axis")[0]
    if not -len(shape) <= axis < len(shape) or not isinstance(length := shape[axis], int):
        return None
    if node.op_type == "Gather":
        found = [n + length if n < 0 else n for n in numbers["indices"]]
    else:
        (start,), (end,), (step,) = numbers["start"], numbers["end"], numbers["step"]
        if step <= 0:
            return None
        found = list(range(length))[start:end:step]
    valid = len(set(found)) == len(found) and all(0 <= n < length for n in found)
    return (axis % len(shape), found) if valid and found else None


def _numbers(node: NodeView) -> dict[str, list[int]] | None:
    """Constant indices of a Gather, or bounds of a Slice along one axis."""
    names = ["indices"] if node.op_type == "Gather" else ["start", "end", "axis", "step"]
    found = {"step": [1]}
    for name, value in zip(names, node.inputs[1:], strict=False):
        if value is None or not value.is_constant or (value.nbytes or 0) > 8 * _MOST:
            return None
        array = value.array()
        if array.ndim > 1 or (name != "indices" and array.size != 1):
            return None
        found[name] = [int(n) for n in array.ravel()]
    return found if set(names) <= set(found) else None


def _restored(scale: Array, node: NodeView, axis: int) -> Array:
    """A scale of what a Gather of one index writes, with the axis that it lost."""
    indices = node.inputs[1] if node.op_type == "Gather" else None
    lost = indices is not None and indices.shape == ()
    return np.expand_dims(scale, axis) if lost and scale.ndim else scale


def _spread(scale: Array, source: ValueView, axis: int, positions: list[int]) -> Array | None:
    """The scale of a whole whose part has this one."""
    shape = source.shape
    assert shape is not None
    length = shape[axis]
    wide = scale if scale.ndim else scale.reshape([1] * len(shape))
    if not isinstance(length, int) or wide.ndim != len(shape) or wide.size * length > _MOST:
        return None
    if wide.shape[axis] not in (1, len(positions)):
        return None
    made = np.ones([*wide.shape[:axis], length, *wide.shape[axis + 1 :]])
    index: list[slice | list[int]] = [slice(None)] * len(shape)
    index[axis] = positions
    made[tuple(index)] = wide
    return narrowed(made)


def _taken(scale: Array, node: NodeView, axis: int, positions: list[int]) -> Array | None:
    """The scale of a part of what has this one."""
    part = scale if scale.shape[axis] == 1 else scale.take(positions, axis=axis)
    indices = node.inputs[1] if node.op_type == "Gather" else None
    if indices is not None and indices.shape == ():
        part = part.take(0, axis=axis)
    return narrowed(part)
