"""What the constants of a linear node become where its output, or its input, takes on a scale."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from graphopt.contract import Array, NodeView, Skip, ValueView
from graphopt.passes.fuse._conv import FLOATS, quiet, vanishes
from graphopt.passes.fuse._scales import along, scale_of

Constants = dict[int, Array]
"""New constants by the input that they stand at."""

_SHARED_BYTES = 4096
"""A constant of more bytes that others read too is not copied."""
_NOT_KNOWN = Skip("the scale does not run along what the weight can take")
SHARED = Skip("the weight is shared")


def constant_at(node: NodeView, index: int) -> ValueView | None:
    """A constant input of a floating-point type; None where there is none."""
    value = node.inputs[index] if len(node.inputs) > index else None
    return value if value is not None and value.is_constant and value.dtype in FLOATS else None


def output_scaled(node: NodeView, scale: Array) -> Constants | Skip | None:
    """Constants with which a node writes its output times `scale`; None where it is not linear."""
    rule = _OUTPUT.get(node.op_type)
    return None if rule is None else rule(node, scale)


def input_scaled(node: NodeView, index: int, scale: Array) -> Constants | Skip | None:
    """Constants with which a node writes the same where input `index` lacks the factor `scale`."""
    rule = _INPUT.get(node.op_type)
    return None if rule is None else rule(node, index, scale)


def shifted(node: NodeView, scale: Array) -> tuple[int, Constants] | Skip | None:
    """For Add and Sub of a constant: the other input, and the constant times `scale`."""
    for index in (0, 1):
        constant, other = constant_at(node, index), node.inputs[1 - index]
        if constant is None or other is None or other.is_constant:
            continue
        new = _times(constant, scale, other)
        return new if isinstance(new, Skip) else (1 - index, {index: new})
    return None


def _times(constant: ValueView, scale: Array, other: ValueView) -> Array | Skip:
    """A constant operand beside `other` times a scale of the result, wide enough for both."""
    if scale_of(constant, other) is None:
        return Skip("a constant widens what it meets")
    array = constant.array()
    if scale.ndim and array.ndim < scale.ndim:
        array = array.reshape([1] * (scale.ndim - array.ndim) + list(array.shape))
    return _rescaled(constant, array, scale)


def _rescaled(constant: ValueView, array: Array, factors: Array) -> Array | Skip:
    """A constant times factors, computed in float64 and rounded once."""
    wide_factors, before = np.broadcast_arrays(factors, array)
    if before.nbytes > _SHARED_BYTES and (constant.is_graph_output or len(constant.readers) > 1):
        return SHARED
    if before.nbytes > max(array.nbytes, _SHARED_BYTES):
        return Skip("a scaled constant would be larger")
    with quiet():
        wide = before.astype(np.float64) * wide_factors
        new = np.asarray(wide, array.dtype, order="C")
    if not np.isfinite(new).all():
        return Skip("a scaled constant is not finite")
    if new.size and vanishes(*_rows(factors, wide, before)):
        return Skip("a scaled constant is too small for its type")
    return new


def _rows(factors: Array, *arrays: Array) -> list[Array]:
    """Arrays as rows, each of them scaled by one number."""
    if factors.size == 1:
        return [array.reshape(1, -1) for array in arrays]
    shape = [1] * (arrays[0].ndim - factors.ndim) + list(factors.shape)
    varying = [axis for axis, length in enumerate(shape) if length > 1]
    count = int(np.prod([shape[axis] for axis in varying]))
    front = range(len(varying))
    return [np.moveaxis(array, varying, front).reshape(count, -1) for array in arrays]


def _column(factors: Array, rank: int, axis: int) -> Array:
    """Factors along one axis of an array of that rank."""
    return factors.reshape([-1 if a == axis % rank else 1 for a in range(rank)])


def _weight(
    node: NodeView, index: int, axis: int, factors: Array | None, least: int = 2
) -> Array | Skip:
    """The weight at input `index`, scaled along one of its axes."""
    constant = constant_at(node, index)
    shape = None if constant is None else constant.shape
    if constant is None or shape is None or len(shape) < least:
        return Skip("the weight is not a constant of a floating-point type")
    if factors is None or factors.size not in (1, shape[axis]):
        return _NOT_KNOWN
    return _rescaled(constant, constant.array(), _column(factors, len(shape), axis))


def _matmul_output(node: NodeView, scale: Array) -> Constants | Skip | None:
    for index, axis in ((1, -1), (0, -2)):
        if constant_at(node, index) is not None:
            if scale.ndim == 1:
                return _NOT_KNOWN
            return _one(index, _weight(node, index, axis, along(scale, axis)))
    return None


def _matmul_input(node: NodeView, index: int, scale: Array) -> Constants | Skip | None:
    if constant_at(node, 1 - index) is None:
        return None
    if scale.ndim == 1:
        return _NOT_KNOWN
    here, there = (-1, -2) if index == 0 else (-2, -1)
    return _one(1 - index, _weight(node, 1 - index, there, along(scale, here)))


def _gemm_output(node: NodeView, scale: Array) -> Constants | Skip | None:
    if node.graph.opset() < 7 or constant_at(node, 1) is None:
        return None
    axis = 0 if node.attribute("transB", 0) else 1
    found = _one(1, _weight(node, 1, axis, along(scale, 1)))
    addend = node.inputs[2] if len(node.inputs) > 2 else None
    if isinstance(found, Skip) or addend is None:
        return found
    constant = constant_at(node, 2)
    if constant is None or constant.shape is None:
        return Skip("the addend is not a constant")
    new = _rescaled(constant, constant.array(), scale)
    return new if isinstance(new, Skip) else {**found, 2: new}


def _gemm_input(node: NodeView, index: int, scale: Array) -> Constants | Skip | None:
    if index != 0 or node.graph.opset() < 7 or constant_at(node, 1) is None:
        return None
    here = 0 if node.attribute("transA", 0) else 1
    there = 1 if node.attribute("transB", 0) else 0
    return _one(1, _weight(node, 1, there, along(scale, here)))


def _conv_output(node: NodeView, scale: Array) -> Constants | Skip | None:
    factors, weight = along(scale, 1), constant_at(node, 1)
    if factors is None or weight is None:
        return _NOT_KNOWN
    if node.op_type == "Conv":
        made = _weight(node, 1, 0, factors, 3)
    else:
        made = _grouped(weight, 1, 0, factors, int(node.attribute("group", 1)))
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if isinstance(made, Skip) or bias is None:
        return _one(1, made)
    constant = constant_at(node, 2)
    if constant is None:
        return Skip("the bias is not a constant")
    new = _rescaled(constant, constant.array(), factors)
    return new if isinstance(new, Skip) else {1: made, 2: new}


def _conv_input(node: NodeView, index: int, scale: Array) -> Constants | Skip | None:
    factors, weight = along(scale, 1), constant_at(node, 1)
    if index != 0:
        return None
    if factors is None or weight is None:
        return _NOT_KNOWN
    if node.op_type == "ConvTranspose":
        return _one(1, _weight(node, 1, 0, factors, 3))
    return _one(1, _grouped(weight, 1, 0, factors, int(node.attribute("group", 1))))


def _grouped(weight: ValueView, axis: int, outer: int, factors: Array, group: int) -> Array | Skip:
    """A weight whose channels along `axis` are those of the group that `outer` is cut into."""
    shape = weight.shape
    lengths = [n for n in shape or () if isinstance(n, int)]
    if shape is None or len(lengths) != len(shape) or len(shape) < 3 or group < 1:
        return _NOT_KNOWN
    if factors.size == 1:
        return _rescaled(weight, weight.array(), factors.reshape([1] * len(shape)))
    if factors.size != group * lengths[axis] or lengths[outer] % group:
        return _NOT_KNOWN
    table = np.repeat(factors.reshape(group, lengths[axis]), lengths[outer] // group, axis=0)
    return _rescaled(weight, weight.array(), table.reshape(*table.shape, *[1] * (len(shape) - 2)))


def _product_output(node: NodeView, scale: Array) -> Constants | Skip | None:
    for index in (0, 1):
        constant, other = constant_at(node, index), node.inputs[1 - index]
        if constant is None or other is None or other.is_constant:
            continue
        divides = node.op_type == "Div" and index == 1
        new = _times(constant, 1 / scale if divides else scale, other)
        return _one(index, new)
    return None


def _product_input(node: NodeView, index: int, scale: Array) -> Constants | Skip | None:
    if node.op_type == "Div" and index == 1:
        return None
    return _product_output(node, scale)


def _norm_output(node: NodeView, scale: Array) -> Constants | Skip | None:
    """LayerNormalization over the last axis: its own scale and bias."""
    value = node.inputs[0]
    rank = None if value is None or value.shape is None else len(value.shape)
    factors = along(scale, -1)
    if rank is None or int(node.attribute("axis", -1)) not in (-1, rank - 1):
        return None
    found: Constants = {}
    for index in (1, 2):
        if index == 2 and (len(node.inputs) < 3 or node.inputs[2] is None):
            break
        constant = constant_at(node, index)
        if constant is None or factors is None or len(constant.shape or ()) != 1:
            return _NOT_KNOWN
        new = _rescaled(constant, constant.array(), factors)
        if isinstance(new, Skip):
            return new
        found[index] = new
    return found


def _one(index: int, new: Array | Skip) -> Constants | Skip:
    return new if isinstance(new, Skip) else {index: new}


_OUTPUT: dict[str, Callable[[NodeView, Array], Constants | Skip | None]] = {
    "Conv": _conv_output,
    "ConvTranspose": _conv_output,
    "Div": _product_output,
    "Gemm": _gemm_output,
    "LayerNormalization": _norm_output,
    "MatMul": _matmul_output,
    "Mul": _product_output,
}
_INPUT: dict[str, Callable[[NodeView, int, Array], Constants | Skip | None]] = {
    "Conv": _conv_input,
    "ConvTranspose": _conv_input,
    "Div": _product_input,
    "Gemm": _gemm_input,
    "MatMul": _matmul_input,
    "Mul": _product_input,
}

LINEAR_OUTPUT, LINEAR_INPUT = frozenset(_OUTPUT), frozenset(_INPUT)
