"""Operators whose result numpy gives bit for bit: shape arithmetic needs no other process.

Exports hold hundreds of tiny constant nodes; asking the runtime process for each takes longer than
all the rest of folding. Whatever looks unusual here is left to that process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphopt.contract import Array, NodeView

Operands = Sequence[Array]
Kernel = Callable[[NodeView, Operands, int], "Array | None"]
"""The result on given operands, of so many bytes at most; None to leave it to the runtime."""

_NUMBERS = frozenset(np.dtype(t) for t in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"))
_FLOATS = frozenset(np.dtype(t) for t in ("f4", "f8"))


def evaluate_directly(
    node: NodeView, inputs: Sequence[Array | None], max_bytes: int
) -> Array | None:
    """Evaluate a node with one output, where numpy is known to give the same bits.

    Args:
        node: What to evaluate.
        inputs: Its operands.
        max_bytes: Results above so many bytes are not made.

    Returns:
        The result; None where the operator, the types or the form are not among those known, or
        where the operands do not fit together.
    """
    kernel = _KERNELS.get(node.op_type)
    if kernel is None or node.domain or len(node.outputs) != 1 or not inputs:
        return None
    operands = [array for array in inputs if array is not None]
    if len(operands) < len(inputs):
        return None
    try:
        with np.errstate(over="ignore"):
            return kernel(node, operands, max_bytes)
    except (ValueError, IndexError, TypeError):  # they do not fit: the runtime says how
        return None


def _axes(node: NodeView, operands: Operands) -> tuple[int, ...] | None:
    """Axes from the attribute (before opset 13) or from the second input."""
    given = node.attribute("axes") if len(operands) == 1 else operands[1].ravel().tolist()
    return None if given is None else tuple(int(axis) for axis in given)


def _unsqueeze(node: NodeView, operands: Operands, max_bytes: int) -> Array | None:
    axes = _axes(node, operands)
    return np.expand_dims(operands[0], axes) if axes else None


def _squeeze(node: NodeView, operands: Operands, max_bytes: int) -> Array | None:
    axes = _axes(node, operands)
    return np.squeeze(operands[0], axes) if axes else None


def _transpose(node: NodeView, operands: Operands, max_bytes: int) -> Array | None:
    return np.asarray(np.transpose(operands[0], node.attribute("perm")), order="C")


def _reshape(node: NodeView, operands: Operands, max_bytes: int) -> Array | None:
    if len(operands) != 2 or node.attribute("allowzero", 0):
        return None
    data, target = operands[0], operands[1].tolist()
    if not data.size or min(target, default=0) < -1:
        return None
    return data.reshape([data.shape[i] if size == 0 else size for i, size in enumerate(target)])


def _expand(node: NodeView, operands: Operands, max_bytes: int) -> Array | None:
    data, target = operands
    sizes = [int(size) for size in target.tolist()]
    if min(sizes, default=1) < 1 or data.itemsize * float(np.prod(sizes, dtype=float)) > max_bytes:
        return None
    shape = np.broadcast_shapes(data.shape, tuple(sizes))
    if data.itemsize * float(np.prod(shape, dtype=float)) > max_bytes:
        return None
    return np.array(np.broadcast_to(data, shape))


def _concat(node: NodeView, operands: Operands, max_bytes: int) -> Array | None:
    if len({array.dtype for array in operands}) > 1 or node.attribute("axis") is None:
        return None
    return np.concatenate(operands, int(node.attribute("axis")))


def _gather(node: NodeView, operands: Operands, max_bytes: int) -> Array | None:
    data, indices = operands
    axis = int(node.attribute("axis", 0))
    rows = data.nbytes // max(data.shape[axis], 1)
    return None if rows * indices.size > max_bytes else np.take(data, indices, axis)


def _shape(node: NodeView, operands: Operands, max_bytes: int) -> Array | None:
    (data,) = operands
    return np.array(data.shape[slice(node.attribute("start", 0), node.attribute("end"))], np.int64)


def _identity(node: NodeView, operands: Operands, max_bytes: int) -> Array | None:
    return operands[0]


def _arithmetic(function: Callable[[Array, Array], Any]) -> Kernel:
    def kernel(node: NodeView, operands: Operands, max_bytes: int) -> Array | None:
        a, b = operands
        if a.dtype != b.dtype or a.dtype not in _NUMBERS | _FLOATS or node.graph.opset() < 7:
            return None
        count = np.prod(np.broadcast_shapes(a.shape, b.shape), dtype=float)
        if a.itemsize * float(count) > max_bytes:
            return None
        return np.asarray(function(a, b), a.dtype)

    return kernel


_KERNELS: dict[str, Kernel] = {
    "Add": _arithmetic(np.add),
    "Concat": _concat,
    "Expand": _expand,
    "Gather": _gather,
    "Identity": _identity,
    "Mul": _arithmetic(np.multiply),
    "Reshape": _reshape,
    "Shape": _shape,
    "Squeeze": _squeeze,
    "Sub": _arithmetic(np.subtract),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
