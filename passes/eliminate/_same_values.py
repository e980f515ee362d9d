"""When a node gives back its input: one small predicate an operator.

Each looks at one node and says what the result is next to the given input: equal bits, equal but
for the sign of a zero, or nothing provable. Source: the operators' ONNX definitions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphopt.contract import Array, Dim, Effect, GraphView, NodeView, ValueView

Predicate = Callable[[NodeView, GraphView], "tuple[int, Effect] | None"]
"""Gives the index of the input that comes out again, and how exactly."""

_MAX_BYTES = 1 << 20
"""Larger operands are not searched for ones and zeros."""
_TO_THE_END = 2**31 - 1
"""A Slice that ends here or later ends where its input does: dimensions are smaller."""

_SAME = (0, Effect.IDENTICAL)


def same_values(node: NodeView, graph: GraphView) -> tuple[int, Effect] | None:
    """Which input the node's first output equals, and how exactly; None where that is not known."""
    return RULES[node.op_type](node, graph)


def _cast(node: NodeView, graph: GraphView) -> tuple[int, Effect] | None:
    source, result = node.inputs[0], node.outputs[0]
    if source is None or result is None or source.dtype is None:
        return None
    return _SAME if source.dtype == result.dtype else None


def _reshape(node: NodeView, graph: GraphView) -> tuple[int, Effect] | None:
    source = node.inputs[0]
    target = node.attribute("shape") if graph.opset() < 5 else _numbers(_input(node, 1))
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
    return _SAME if fits and sum(open_one) <= 1 else None


def _transpose(node: NodeView, graph: GraphView) -> tuple[int, Effect] | None:
    source, perm = node.inputs[0], node.attribute("perm")
    if perm is None:
        short = source is not None and source.shape is not None and len(source.shape) <= 1
        return _SAME if short else None
    return _SAME if list(perm) == sorted(perm) else None


def _expand(node: NodeView, graph: GraphView) -> tuple[int, Effect] | None:
    return _SAME if _fits_into(_numbers(_input(node, 1)), node.inputs[0]) else None


def _tile(node: NodeView, graph: GraphView) -> tuple[int, Effect] | None:
    repeats = _numbers(_input(node, 1)) if graph.opset() >= 6 else None
    return _SAME if repeats is not None and all(count == 1 for count in repeats) else None


def _pad(node: NodeView, graph: GraphView) -> tuple[int, Effect] | None:
    if graph.opset() < 11:
        pads = node.attribute("pads", node.attribute("paddings"))
    else:
        pads = _numbers(_input(node, 1))
    return _SAME if pads is not None and not any(pads) else None


def _slice(node: NodeView, graph: GraphView) -> tuple[int, Effect] | None:
    source = node.inputs[0]
    if graph.opset() < 10:
        starts, ends, axes = (node.attribute(name) for name in ("starts", "ends", "axes"))
        steps: Any = None
    else:
        starts, ends, axes, steps = (_numbers(_input(node, index)) for index in range(1, 5))
        if any(_input(node, i) is not None and a is None for i, a in ((3, axes), (4, steps))):
            return None
    if source is None or source.shape is None or starts is None or ends is None:
        return None
    axes = range(len(starts)) if axes is None else axes
    if not len(starts) == len(ends) == len(axes):
        return None
    whole = any(starts) is False and all(step == 1 for step in steps or [])
    for end, axis in zip(ends, axes, strict=True):
        dim = source.shape[axis] if -len(source.shape) <= axis < len(source.shape) else None
        whole = whole and (end >= _TO_THE_END or (isinstance(dim, int) and end >= dim))
    return _SAME if whole else None


def _one_input(node: NodeView, graph: GraphView) -> tuple[int, Effect] | None:
    return _SAME if len(node.inputs) == 1 else None


def _flatten(node: NodeView, graph: GraphView) -> tuple[int, Effect] | None:
    source = node.inputs[0]
    flat = source is not None and source.shape is not None and len(source.shape) == 2
    return _SAME if flat and node.attribute("axis", 1) in (1, -1) else None


def _dropout(node: NodeView, graph: GraphView) -> tuple[int, Effect] | None:
    if len(node.outputs) > 1 and node.outputs[1] is not None:
        return None
    if graph.opset() < 7:
        return _SAME if node.attribute("is_test", 0) else None
    training = _input(node, 2)
    if training is None:
        return _SAME
    return _SAME if training.is_constant and not training.array().any() else None


def _mul(node: NodeView, graph: GraphView) -> tuple[int, Effect] | None:
    return _beside(node, graph, (0, 1), lambda operand: _exact(operand == 1))


def _div(node: NodeView, graph: GraphView) -> tuple[int, Effect] | None:
    return _beside(node, graph, (0,), lambda operand: _exact(operand == 1))


def _add(node: NodeView, graph: GraphView) -> tuple[int, Effect] | None:
    # x + 0.0 turns -0.0 into 0.0; x + -0.0 keeps it.
    return _beside(node, graph, (0, 1), lambda operand: _zeros(operand, negative=True))


def _sub(node: NodeView, graph: GraphView) -> tuple[int, Effect] | None:
    return _beside(node, graph, (0,), lambda operand: _zeros(operand, negative=False))


def _and(node: NodeView, graph: GraphView) -> tuple[int, Effect] | None:
    return _beside(node, graph, (0, 1), _exact)


def _or(node: NodeView, graph: GraphView) -> tuple[int, Effect] | None:
    return _beside(node, graph, (0, 1), lambda operand: _exact(~operand))


def _beside(
    node: NodeView,
    graph: GraphView,
    kept: tuple[int, ...],
    judge: Callable[[Array], Effect | None],
) -> tuple[int, Effect] | None:
    """Look for an operand that leaves the other one as it is, values and shape."""
    if len(node.inputs) != 2:
        return None
    for index in kept:
        source, operand = node.inputs[index], node.inputs[1 - index]
        if source is None or operand is None or not _is_small(operand):
            continue
        array = operand.array()
        if graph.opset() < 7 and (index or array.size != 1):
            continue  # the older opsets align the second operand by an attribute
        if not _fits_into(list(array.shape), source):
            continue
        effect = judge(array)
        if effect is not None:
            return index, effect
    return None


def _exact(holds: Array) -> Effect | None:
    return Effect.IDENTICAL if np.asarray(holds).all() else None


def _zeros(operand: Array, *, negative: bool) -> Effect | None:
    if (operand != 0).any():
        return None
    if operand.dtype.kind in "iu" or (np.signbit(operand) == negative).all():
        return Effect.IDENTICAL
    return Effect.ROUNDING


def _is_small(value: ValueView) -> bool:
    return value.is_constant and (value.nbytes or 0) <= _MAX_BYTES


def _input(node: NodeView, index: int) -> ValueView | None:
    return node.inputs[index] if len(node.inputs) > index else None


def _numbers(value: ValueView | None) -> list[int] | None:
    if value is None or not _is_small(value):
        return None
    return [int(item) for item in value.array().ravel()]


def _fits_into(shape: list[Any] | None, source: ValueView | None) -> bool:
    """Tell whether broadcasting `source` with `shape` is sure to leave it as it is."""
    if shape is None or source is None:
        return False
    if not shape:
        return True
    known: tuple[Dim, ...] | None = source.shape
    if known is None or len(shape) > len(known):
        return False
    pairs = zip(reversed(shape), reversed(known), strict=False)
    return all(length == 1 or (isinstance(length, int) and length == dim) for length, dim in pairs)


RULES: dict[str, Predicate] = {
    "Add": _add,
    "And": _and,
    "Cast": _cast,
    "CastLike": _cast,
    "Concat": _one_input,
    "Div": _div,
    "Dropout": _dropout,
    "Expand": _expand,
    "Flatten": _flatten,
    "Max": _one_input,
    "Mean": _one_input,
    "Min": _one_input,
    "Mul": _mul,
    "Or": _or,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "Sub": _sub,
    "Sum": _one_input,
    "Tile": _tile,
    "Transpose": _transpose,
}
"""The operators that may do nothing."""
