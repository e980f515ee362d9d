"""What fusing into a Conv needs: its constant parameters, a scale and shift per channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphopt.contract import Array, Editor, Effect, GraphView, NodeView, Skip, ValueView

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


@dataclass(frozen=True, slots=True)
class Behind:
    """A Conv, the node behind it that it takes in, and the parameters that do the work of both."""

    conv: NodeView
    node: NodeView
    parameters: Parameters
    effect: Effect = Effect.ROUNDING


def take_in(match: Behind, edit: Editor) -> None:
    """Give the Conv its new parameters and let it write what the other node wrote."""
    target = match.node.outputs[0]
    assert target is not None
    give_parameters(match.conv, match.parameters, edit, match.conv.graph)
    edit.adopt(match.conv, 0, target)
    edit.remove(match.node)


def parameters_of(conv: NodeView) -> Parameters | Skip:
    """The constants of a Conv, or why they cannot be changed."""
    given = [*conv.inputs[1:3], None, None][:2]
    weight, bias = given
    if weight is None or not weight.is_constant or not (bias is None or bias.is_constant):
        return Skip("a parameter is not a constant")
    arrays = Parameters(weight.array(), None if bias is None else bias.array())
    if arrays.weight.dtype not in FLOATS or arrays.weight.ndim < 2:
        return Skip("parameters of different or unusual types")
    if arrays.bias is not None and arrays.bias.dtype != arrays.weight.dtype:
        return Skip("parameters of different or unusual types")
    if arrays.bias is not None and arrays.bias.shape != arrays.weight.shape[:1]:
        return Skip("parameter shapes do not fit")
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
        New parameters, computed in float64 and rounded once; a refusal where one cannot be held.
    """
    old_bias = np.zeros(len(scale)) if given.bias is None else given.bias.astype(np.float64)
    column = scale.reshape(-1, *[1] * (given.weight.ndim - 1))
    with quiet():
        weight = given.weight.astype(np.float64) * column
        bias = (old_bias - center) * scale + shift
    return rounded(weight, bias, given)


def quiet() -> np.errstate:
    """For arithmetic whose results are looked at afterwards: no warnings on stderr."""
    return np.errstate(over="ignore", invalid="ignore", divide="ignore")


def rounded(weight: Array, bias: Array, like: Parameters, *, leading: int = 1) -> Parameters | Skip:
    """New parameters in the dtype of the old ones; a refusal where it cannot hold one.

    Args:
        weight: Shape [M, ...], float64.
        bias: Shape [M], float64.
        like: The old ones.
        leading: How many axes of the weight were scaled index by index.
    """
    dtype = like.weight.dtype
    with quiet():
        found = Parameters(weight.astype(dtype), bias.astype(dtype))
    assert found.bias is not None
    if not (np.isfinite(found.weight).all() and np.isfinite(found.bias).all()):
        return Skip("a fused parameter is not finite")
    count = int(np.prod(weight.shape[:leading]))
    rows = [array.reshape(count, -1) for array in (weight, like.weight) if array.size]
    if rows and vanishes(*rows):
        return Skip("a fused parameter is too small for its type")
    return found


def vanishes(rows: Array, before: Array) -> bool:
    """Tell whether rounding takes more than its precision from a row's largest values.

    Args:
        rows: Shape [M, N], float64; each row was scaled by one number.
        before: The former weight in the same order, of the dtype that is rounded to. A row that
            was too small for its type before loses nothing.
    """
    info = np.finfo(before.dtype)
    largest = np.abs(rows).max(axis=1)
    with quiet():
        lost = np.abs(rows.astype(before.dtype).astype(np.float64) - rows).max(axis=1)
    held = np.abs(before).max(axis=1) >= info.smallest_normal
    tiny = (largest > 0) & (largest < info.smallest_normal)
    return bool((held & (tiny | (lost > info.eps * largest))).any())


def per_channel(constant: ValueView, rank: int, channels: int) -> Array | None:
    """A constant operand as one number for each channel of axis 1.

    Args:
        constant: Any shape; read only where that fits.
        rank: Rank of the tensor it is broadcast with.
        channels: That tensor's length along axis 1.

    Returns:
        Shape [channels], float64; None where it varies along another axis or adds one.
    """
    shape = constant.shape if constant.shape is not None else constant.array().shape
    if len(shape) > rank:
        return None
    aligned = [1] * (rank - len(shape)) + list(shape)
    if any(length != 1 for axis, length in enumerate(aligned) if axis != 1):
        return None
    if aligned[1] not in (1, channels):
        return None
    return np.broadcast_to(constant.array().ravel().astype(np.float64), (channels,))


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
