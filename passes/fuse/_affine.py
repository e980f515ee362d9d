"""An arithmetic node with one constant operand as `x * scale + shift`, number by channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphopt.contract import Array, GraphView, NodeView, ValueView
from graphopt.passes.fuse._conv import FLOATS, per_channel, quiet

ARITHMETIC = ("Add", "Sub", "Mul", "Div")


@dataclass(frozen=True, slots=True)
class Affine:
    """What a node does to its other operand.

    Attributes:
        value: The operand that is not constant.
        dtype: Type of the one that is.
        scale: Shape [channels], float64.
        shift: Shape [channels], float64.
    """

    value: ValueView
    dtype: np.dtype[Any]
    scale: Array
    shift: Array

    @property
    def only_shifts(self) -> bool:
        """True where every scale is 1."""
        return bool((self.scale == 1).all())


def constant_operand(node: NodeView) -> int | None:
    """Index of the one operand that is constant."""
    if len(node.inputs) != 2 or any(value is None for value in node.inputs):
        return None
    found = [i for i, value in enumerate(node.inputs) if value is not None and value.is_constant]
    return found[0] if len(found) == 1 else None


def affine_of(node: NodeView, graph: GraphView, rank: int, channels: int) -> Affine | None:
    """Read an arithmetic node as an affine map per channel of axis 1; None where it is none.

    Args:
        node: One of ARITHMETIC.
        graph: Where it stands.
        rank: Rank of the other operand.
        channels: Its length along axis 1.
    """
    index = constant_operand(node)
    if index is None:
        return None
    constant, value = node.inputs[index], node.inputs[1 - index]
    assert constant is not None
    assert value is not None
    dtype = constant.dtype if constant.dtype is not None else constant.array().dtype
    if dtype not in FLOATS:
        return None
    if graph.opset() < 7:
        numbers = _legacy(node, constant.array(), index, channels)
    else:
        numbers = per_channel(constant, rank, channels)
    if numbers is None or not np.isfinite(numbers).all():
        return None
    found = _scale_and_shift(node.op_type, numbers, first=index == 0)
    return None if found is None else Affine(value, dtype, *found)


def _scale_and_shift(op_type: str, numbers: Array, *, first: bool) -> tuple[Array, Array] | None:
    ones, zeros = np.ones_like(numbers), np.zeros_like(numbers)
    if op_type == "Add":
        return ones, numbers
    if op_type == "Sub":
        return (-ones, numbers) if first else (ones, -numbers)
    if op_type == "Mul":
        return numbers, zeros
    if first or (numbers == 0).any():
        return None
    with quiet():
        return 1 / numbers, zeros


def _legacy(node: NodeView, array: Array, index: int, channels: int) -> Array | None:
    """Before opset 7 the second operand is aligned to the first at the attribute `axis`."""
    if index != 1 or not node.attribute("broadcast", 0):
        return None
    if array.size == 1 and array.ndim <= 1:
        return np.full(channels, array.ravel()[0], np.float64)
    if node.attribute("axis") != 1 or array.shape[:1] != (channels,) or array.size != channels:
        return None
    return array.ravel().astype(np.float64)
