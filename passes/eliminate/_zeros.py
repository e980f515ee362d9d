"""Values that are zero everywhere, whatever their shapes turn out to be."""

from __future__ import annotations

import numpy as np

from graphopt.contract import Effect, ValueView
from graphopt.passes.eliminate._operands import is_small

_DEPTH = 10
_PASSED_ON = frozenset(
    {"Cast", "CastLike", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split",
     "Squeeze", "Tile", "Transpose", "Unsqueeze"}
)  # fmt: skip
"""All numbers that they give are made of those of their first input."""


def zeros(value: ValueView | None, depth: int = _DEPTH) -> Effect | None:
    """IDENTICAL where a value is 0.0 everywhere, ROUNDING where it is -0.0 somewhere, else None."""
    if value is None:
        return None
    if value.is_constant:
        return zero_array(value)
    node = value.producer
    if node is None or node.is_opaque or depth == 0:
        return None
    if node.op_type == "ConstantOfShape":
        given = node.attribute("value")
        return Effect.IDENTICAL if given is None or not np.any(given) else None
    if node.op_type not in _PASSED_ON:
        return None
    source = node.inputs[0]
    if source is None or source.dtype is None or source.dtype.kind not in "fiub":
        return None
    return zeros(source, depth - 1)


def zero_array(value: ValueView) -> Effect | None:
    """The same for a constant."""
    if value.dtype is None or value.dtype.kind not in "fiub" or not is_small(value):
        return None
    array = value.array()
    if array.any():
        return None
    negative = array.dtype.kind == "f" and np.signbit(array).any()
    return Effect.ROUNDING if negative else Effect.IDENTICAL
