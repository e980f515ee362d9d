"""What the rules of this package read of a node: small constants, axes, shapes that fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphopt.contract import Array, Dim, Effect, GraphView, NodeView, ValueView

Known = tuple[int, Effect]
"""The index of the input that comes out again, and how exactly."""
Predicate = Callable[[NodeView, GraphView], "Known | None"]
"""Tells which input a node's first output equals; None where that is not proven."""

SAME: Known = (0, Effect.IDENTICAL)
ALMOST: Known = (0, Effect.ROUNDING)
"""The same numbers: a zero may lose its sign, and what is not a number may turn into another."""

_MAX_BYTES = 1 << 20
"""Larger operands are not searched."""


def input_of(node: NodeView, index: int) -> ValueView | None:
    """Input `index`; None where it is left out."""
    return node.inputs[index] if len(node.inputs) > index else None


def is_small(value: ValueView) -> bool:
    """Tell whether a value is a constant that is worth looking at."""
    return value.is_constant and (value.nbytes or 0) <= _MAX_BYTES


def numbers(value: ValueView | None) -> list[int] | None:
    """A small constant's integers in a row; None for other values."""
    if value is None or not is_small(value):
        return None
    return [int(item) for item in value.array().ravel()]


def listed(node: NodeView, name: str, index: int, *, input_since: int) -> list[int] | None:
    """Integers that an attribute held in older opsets and an input holds now.

    Returns:
        The integers, an empty list where neither is given; None where they are not constant.
    """
    if node.graph.opset() < input_since:
        return list(node.attribute(name, ()))
    value = input_of(node, index)
    return [] if value is None else numbers(value)


def size_along(value: ValueView | None, axis: int) -> int | None:
    """The length of a value along an axis, which may count from the end; None when unknown."""
    shape = None if value is None else value.shape
    if shape is None or not -len(shape) <= axis < len(shape):
        return None
    dim = shape[axis]
    return dim if isinstance(dim, int) else None


def is_exact(holds: Array | bool) -> Effect | None:
    """IDENTICAL where something holds everywhere, None where it does not."""
    return Effect.IDENTICAL if np.asarray(holds).all() else None


def fits_into(shape: list[Any] | None, source: ValueView | None) -> bool:
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
