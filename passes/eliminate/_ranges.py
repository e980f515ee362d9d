"""What the operator that makes a value says of its numbers: bounds, and whether they are whole."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphopt.contract import NodeView, ValueView
from graphopt.passes.eliminate._operands import input_of

Bounds = tuple[Any, Any]
"""Two numbers of a tensor's own type, the lower one first."""

_DEPTH = 4
_PASSED_ON = frozenset(
    {"Expand", "Flatten", "Gather", "GlobalMaxPool", "Identity", "Reshape", "Slice", "Squeeze",
     "Tile", "Transpose", "Unsqueeze"}
)  # fmt: skip
"""Each number that they give is one that their first input holds. A window of MaxPool may lie in
its padding alone."""


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`; a NaN, and the sign of a zero, are left open."""

    low: float = -math.inf
    high: float = math.inf
    whole: bool = False


_ANY = Range()
_POSITIVE = Range(0.0)
_UNIT = Range(0.0, 1.0)
_TABLE: dict[str, Range] = {
    "Ceil": Range(whole=True),
    "Exp": _POSITIVE,
    "Floor": Range(whole=True),
    "HardSigmoid": _UNIT,
    "ReduceL2": _POSITIVE,
    "Relu": _POSITIVE,
    "Round": Range(whole=True),
    "Sigmoid": _UNIT,
    "Sign": Range(-1.0, 1.0, whole=True),
    "Softmax": _UNIT,
    "Softplus": _POSITIVE,
    "Sqrt": _POSITIVE,
    "Tanh": Range(-1.0, 1.0),
}


def range_of(value: ValueView, depth: int = _DEPTH) -> Range:
    """The bounds of a value, from the operator that makes it; infinite where nothing is known."""
    node = value.producer
    if node is None or node.is_opaque or not node.outputs or node.outputs[0] is not value:
        return _ANY
    if node.op_type in _PASSED_ON:
        source = node.inputs[0]
        return range_of(source, depth - 1) if source is not None and depth else _ANY
    rule = _RULES.get(node.op_type)
    return rule(node) if rule is not None else _TABLE.get(node.op_type, _ANY)


def _without_sign(node: NodeView) -> Range:
    """Integers overflow: the least one has no positive counterpart."""
    kind = None if node.inputs[0] is None else node.inputs[0].dtype
    return _ANY if kind is None or kind.kind in "iu" else _POSITIVE


def _of_cast(node: NodeView) -> Range:
    source, target = node.inputs[0], node.outputs[0]
    kind = None if source is None else source.dtype
    if kind is None or target is None or target.dtype is None or target.dtype.kind in "iuO":
        return _ANY
    if kind.kind == "b":
        return Range(0.0, 1.0, whole=True)
    return Range(0.0 if kind.kind == "u" else -math.inf, whole=kind.kind in "iu")


def _of_clip(node: NodeView) -> Range:
    bounds = clip_bounds(node)
    return _ANY if bounds is None else Range(float(bounds[0]), float(bounds[1]))


_RULES: dict[str, Callable[[NodeView], Range]] = {
    "Abs": _without_sign,
    "Cast": _of_cast,
    "Clip": _of_clip,
    "ReduceL1": _without_sign,
    "ReduceSumSquare": _without_sign,
}


def clip_bounds(node: NodeView) -> Bounds | None:
    """A Clip's bounds in its own type, the lower one first and never above the upper one.

    Returns:
        None where they are not constant numbers. What is left out is the type's extreme.
    """
    source = node.inputs[0]
    if source is None or source.dtype is None:
        return None
    kind = source.dtype
    if node.graph.opset() < 11:
        if kind != np.float32 or node.graph.opset() < 6:
            return None
        ends = np.finfo(kind)
        low = kind.type(node.attribute("min", float(ends.min)))
        high = kind.type(node.attribute("max", float(ends.max)))
        return min(low, high), high
    if kind.kind == "f":
        extremes = np.finfo(kind).min, np.finfo(kind).max
    elif kind.kind in "iu":
        extremes = kind.type(np.iinfo(kind).min), kind.type(np.iinfo(kind).max)
    else:
        return None
    low, high = (_bound(input_of(node, i + 1), extremes[i], kind.type) for i in (0, 1))
    if low is None or high is None:
        return None
    return (low if low <= high else high), high


def _bound(value: ValueView | None, otherwise: Any, kind: Callable[[Any], Any]) -> Any:
    if value is None:
        return kind(otherwise)
    if not value.is_constant or value.dtype is None or value.nbytes != value.dtype.itemsize:
        return None
    number = value.array().ravel()[0]
    return None if np.isnan(number) else number
