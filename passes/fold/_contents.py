"""The content of small integer tensors, as sizes with symbols: what shape arithmetic computes.

One small function an operator, run on arrays of Size objects, so that numpy itself does the moving.
Source: the operators' ONNX definitions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from graphopt.contract import NodeView
from graphopt.passes.fold._dims import axes_of, resolved
from graphopt.passes.fold._facts import MAX_ELEMENTS, Content, Facts, as_content, integers
from graphopt.passes.fold._sizes import Size, product, size

_INT_MAX = 2**31 - 1

Rule = Callable[[NodeView, Facts], "Content | None"]


def output_content(node: NodeView, facts: Facts) -> Content | None:
    """Content of the first output; None where no rule tells."""
    rule = _RULES.get(node.op_type)
    if rule is None:
        return None
    found = rule(node, facts)
    return found if found is None or found.size <= MAX_ELEMENTS else None


def _contents(node: NodeView, facts: Facts) -> list[Content] | None:
    found = [facts.content(value) for value in node.inputs]
    known = [content for content in found if content is not None]
    return known if len(known) == len(found) else None


def _shape(node: NodeView, facts: Facts) -> Content | None:
    dims = facts.dims(node.inputs[0])
    if dims is None:
        return None
    part = dims[slice(node.attribute("start", 0), node.attribute("end"))]
    found = np.empty(len(part), dtype=object)
    found[:] = part
    return found


def _size_of(node: NodeView, facts: Facts) -> Content | None:
    dims = facts.dims(node.inputs[0])
    return None if dims is None else _scalar(product(dims))


def _scalar(value: Size) -> Content:
    found = np.empty((), dtype=object)
    found[()] = value
    return found


def _gather(node: NodeView, facts: Facts) -> Content | None:
    data, indices = facts.content(node.inputs[0]), integers(facts.content(node.inputs[1]))
    if data is None or indices is None or data.ndim == 0:
        return None
    axis = node.attribute("axis", 0)
    length = data.shape[axis]
    if indices.size and not (-length <= indices.min() and indices.max() < length):
        return None
    return np.asarray(np.take(data, indices, axis=axis), dtype=object)


def _slice(node: NodeView, facts: Facts) -> Content | None:
    data = facts.content(node.inputs[0])
    if data is None:
        return None
    bounds = _bounds(node, facts, data.ndim)
    if bounds is None:
        return None
    index = [slice(None)] * data.ndim
    for start, end, axis, step in bounds:
        found = _clamped(start, end, step, data.shape[axis])
        if found is None:
            return None
        index[axis] = found
    return np.asarray(data[tuple(index)], dtype=object)


def _clamped(start: int, end: int, step: int, length: int) -> slice | None:
    """A slice as ONNX means it, which Python would partly take for an index from the end."""
    if step == 0 or (step < 0 and end >= _INT_MAX):
        return None  # ONNX Runtime and ONNX's text differ on the latter
    start, end = (bound + length if bound < 0 else bound for bound in (start, end))
    if step > 0:
        return slice(min(max(start, 0), length), min(max(end, 0), length), step)
    start, end = min(max(start, 0), length - 1), min(max(end, -1), length)
    return slice(start, None if end < 0 else end, step)


def _bounds(node: NodeView, facts: Facts, rank: int) -> list[tuple[int, int, int, int]] | None:
    if node.attribute("starts") is not None:
        starts, ends = list(node.attribute("starts")), list(node.attribute("ends"))
        steps = [1] * len(starts)
    else:
        found = [integers(facts.content(value)) for value in node.inputs[1:] if value is not None]
        if len(found) < 2 or any(array is None for array in found):
            return None
        starts, ends = (array.ravel().tolist() for array in found[:2] if array is not None)
        given = node.inputs[4] if len(node.inputs) > 4 else None
        array = integers(facts.content(given))
        steps = [1] * len(starts) if array is None else array.ravel().tolist()
    axes = axes_of(node, facts, rank, 3)
    if axes is None or not len(starts) == len(ends) == len(steps):
        return None
    axes = axes or list(range(len(starts)))
    return list(zip(starts, ends, axes, steps, strict=True)) if len(axes) == len(starts) else None


def _concat(node: NodeView, facts: Facts) -> Content | None:
    parts = _contents(node, facts)
    if parts is None or any(part.ndim == 0 for part in parts):
        return None
    return np.concatenate(parts, axis=node.attribute("axis", 0))


def _reshape(node: NodeView, facts: Facts) -> Content | None:
    if len(node.inputs) < 2:
        return None  # before opset 5 the target is an attribute
    data, target = facts.content(node.inputs[0]), integers(facts.content(node.inputs[1]))
    if data is None or target is None:
        return None
    shape = resolved(
        [size(int(entry)) for entry in target.ravel()],
        tuple(size(length) for length in data.shape),
        allowzero=bool(node.attribute("allowzero", 0)),
    )
    lengths = None if shape is None else [dim.integer or 0 for dim in shape]
    if lengths is None or int(np.prod(lengths)) != data.size:
        return None
    return data.reshape(lengths)


def _moved(node: NodeView, facts: Facts) -> Content | None:
    """Squeeze, Unsqueeze and Identity: the same elements, in the output's own shape."""
    data = facts.content(node.inputs[0])
    output = node.outputs[0]
    dims = facts.dims(output)
    if data is None or dims is None:
        return None
    lengths = [dim.integer for dim in dims]
    if any(length is None for length in lengths):
        return None
    shape = [length for length in lengths if length is not None]
    return data.reshape(shape) if int(np.prod(shape)) == data.size else None


def _transpose(node: NodeView, facts: Facts) -> Content | None:
    data = facts.content(node.inputs[0])
    return None if data is None else data.transpose(node.attribute("perm"))


def _cast(node: NodeView, facts: Facts) -> Content | None:
    data, output = facts.content(node.inputs[0]), node.outputs[0]
    if data is None or output is None or output.dtype is None or output.dtype.kind not in "iu":
        return None
    return data


def _arithmetic(combine: Callable[[Size, Size], Size | None]) -> Rule:
    def rule(node: NodeView, facts: Facts) -> Content | None:
        parts = _contents(node, facts)
        if parts is None or len(parts) != 2 or node.attribute("broadcast", 0):
            return None
        try:
            pairs = np.broadcast(*parts)
        except ValueError:
            return None
        found = np.empty(pairs.shape, dtype=object)
        for index, (first, second) in zip(np.ndindex(*pairs.shape), pairs, strict=True):
            result = combine(first, second)
            if result is None:
                return None
            found[index] = result
        return found

    return rule


def _modulo(node: NodeView, facts: Facts) -> Content | None:
    if node.attribute("fmod", 0):
        return None
    return _arithmetic(lambda a, b: a.remainder(b))(node, facts)


def _equal(first: Size, second: Size) -> Size | None:
    if first == second:
        return size(1)
    difference = first - second
    apart = difference.integer is not None or _is_positive(difference) or _is_positive(-difference)
    return size(0) if apart else None


def _is_positive(value: Size) -> bool:
    return (value - 1).is_nonnegative


def _greater(first: Size, second: Size) -> Size | None:
    if _is_positive(first - second):
        return size(1)
    return size(0) if (second - first).is_nonnegative else None


def _largest(first: Size, second: Size) -> Size | None:
    if (first - second).is_nonnegative:
        return first
    return second if (second - first).is_nonnegative else None


def _smallest(first: Size, second: Size) -> Size | None:
    larger = _largest(first, second)
    return None if larger is None else (second if larger == first else first)


def _where(node: NodeView, facts: Facts) -> Content | None:
    condition = integers(facts.content(node.inputs[0]))
    first, second = facts.content(node.inputs[1]), facts.content(node.inputs[2])
    if condition is None or first is None or second is None:
        return None
    try:
        return np.asarray(np.where(condition.astype(bool), first, second), dtype=object)
    except ValueError:
        return None


def _not(node: NodeView, facts: Facts) -> Content | None:
    found = integers(facts.content(node.inputs[0]))
    return None if found is None else as_content(1 - found)


def _filled(node: NodeView, facts: Facts) -> Content | None:
    lengths = integers(facts.content(node.inputs[0]))
    value = np.asarray(node.attribute("value", np.zeros(1, np.float32)))
    if lengths is None or value.dtype.kind not in "iub" or value.size != 1:
        return None
    if lengths.size and (lengths.min() < 0 or int(np.prod(lengths, dtype=object)) > MAX_ELEMENTS):
        return None
    return as_content(np.full(lengths.ravel().tolist(), value.ravel()[0]))


def _multiplied(node: NodeView, facts: Facts) -> Content | None:
    """ReduceProd over a whole vector: the number of elements."""
    data, dims = facts.content(node.inputs[0]), facts.dims(node.outputs[0])
    if data is None or dims is None or any(dim.integer != 1 for dim in dims):
        return None
    return np.full([1] * len(dims), product(data.ravel()), dtype=object)


_RULES: dict[str, Rule] = {
    "Add": _arithmetic(lambda a, b: a + b),
    "Cast": _cast,
    "Concat": _concat,
    "ConstantOfShape": _filled,
    "Div": _arithmetic(lambda a, b: a.quotient(b)),
    "Equal": _arithmetic(_equal),
    "Gather": _gather,
    "Greater": _arithmetic(_greater),
    "Identity": _moved,
    "Less": _arithmetic(lambda a, b: _greater(b, a)),
    "Max": _arithmetic(_largest),
    "Min": _arithmetic(_smallest),
    "Mod": _modulo,
    "Mul": _arithmetic(lambda a, b: a * b),
    "Not": _not,
    "ReduceProd": _multiplied,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size_of,
    "Slice": _slice,
    "Squeeze": _moved,
    "Sub": _arithmetic(lambda a, b: a - b),
    "Transpose": _transpose,
    "Unsqueeze": _moved,
    "Where": _where,
}
