"""What fusing into a Conv needs: its constant parameters, a scale and shift per channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphopt.contract import Array, Editor, GraphView, NodeView, Skip, ValueView

FLOATS = (np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64))


@dataclass(frozen=True, slots=True)
class Parameters:
    """A Conv's constants.

    Attributes:
        weight: Shape [M, C / group, ...].
        bias: Shape [M], None where the Conv has none; dtype of the weight.
    """

    weight: Array
    bias: Array | None


def parameters_of(conv: NodeView) -> Parameters | Skip:
    """The constants of a Conv, or why they cannot be changed."""
    given = [*conv.inputs[1:3], None][:2]
    weight, bias = given
    if weight is None or not weight.is_constant or not (bias is None or bias.is_constant):
        return Skip("a parameter is not a constant")
    arrays = Parameters(weight.array(), None if bias is None else bias.array())
    if arrays.weight.dtype not in FLOATS or arrays.weight.ndim < 2:
        return Skip("parameters of different or unusual types")
    if arrays.bias is not None and arrays.bias.dtype != arrays.weight.dtype:
        return Skip("parameters of different or unusual types")
    if arrays.bias is not None and arrays.bias.shape != arrays.weight.shape[:1]:
        return Skip("parameter shapes do not fit the conv")
    return arrays


def behind_conv(node: NodeView, value: ValueView) -> Skip | None:
    """Why `node` cannot become part of the Conv that makes `value`; None where it can."""
    conv = value.producer
    if conv is None or conv.is_opaque:
        return Skip("the conv is not a plain one")
    if conv.graph is not node.graph:
        return Skip("conv and what follows stand in different graphs")
    if value.is_graph_output:
        return Skip("conv output is a graph output")
    if len(value.readers) != 1:
        return Skip(f"conv output has {len(value.readers)} readers")
    return None


def scaled(
    given: Parameters, scale: Array, shift: Array, center: Array | float = 0.0
) -> Parameters | Skip:
    """Parameters of a Conv whose output y becomes `(y - center) * scale + shift`.

    Args:
        given: The Conv's own.
        scale: Shape [M], float64.
        shift: Shape [M], float64.
        center: Shape [M] or a number, float64; near the bias, it is better taken off first.

    Returns:
        New parameters, computed in float64 and rounded once; a refusal where one is not finite.
    """
    old_bias = np.zeros(len(scale)) if given.bias is None else given.bias.astype(np.float64)
    column = scale.reshape(-1, *[1] * (given.weight.ndim - 1))
    bias = (old_bias - center) * scale + shift
    return rounded(given.weight.astype(np.float64) * column, bias, given)


def rounded(weight: Array, bias: Array, like: Parameters) -> Parameters | Skip:
    """New parameters in the dtype of the old ones; a refusal where one is not finite."""
    dtype = like.weight.dtype
    with np.errstate(over="ignore"):
        found = Parameters(weight.astype(dtype), bias.astype(dtype))
    assert found.bias is not None
    if not (np.isfinite(found.weight).all() and np.isfinite(found.bias).all()):
        return Skip("a fused parameter is not finite")
    return found


def per_channel(constant: Array, rank: int, channels: int) -> Array | None:
    """A constant operand as one number for each channel of axis 1.

    Args:
        constant: Any shape.
        rank: Rank of the tensor it is broadcast with.
        channels: That tensor's length along axis 1.

    Returns:
        Shape [channels], float64; None where it varies along another axis or adds one.
    """
    if constant.ndim > rank:
        return None
    aligned = constant.reshape([1] * (rank - constant.ndim) + list(constant.shape))
    if any(length != 1 for axis, length in enumerate(aligned.shape) if axis != 1):
        return None
    if aligned.shape[1] not in (1, channels):
        return None
    return np.broadcast_to(aligned.ravel().astype(np.float64), (channels,))


def give_parameters(conv: NodeView, new: Parameters, edit: Editor, graph: GraphView) -> None:
    """Let a Conv read new constants; those that did not change stay."""
    weight, bias = conv.inputs[1], conv.inputs[2] if len(conv.inputs) > 2 else None
    assert weight is not None
    assert new.bias is not None
    if not np.array_equal(weight.array(), new.weight):
        edit.set_input(conv, 1, edit.constant(new.weight, f"{weight.name}_fused", graph))
    before = np.zeros_like(new.bias) if bias is None else bias.array()
    if not np.array_equal(before, new.bias):
        edit.set_input(conv, 2, edit.constant(new.bias, f"{weight.name}_bias", graph))
