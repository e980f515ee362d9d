"""Division by a root mean square, as LayerNormalization and RMSNormalization do it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphopt.contract import Array, Editor, Effect, NodeView, Skip, ValueView
from graphopt.passes.fuse._spelled import Spelled, Spelling, put

DIVIDING = ("Add", "Div", "Mul", "Pow", "Reciprocal", "Sqrt")
"""Operators between the mean of squares and the end of a division by its root."""
_FIRST_AXES_AS_INPUT = 18
_MAX_BYTES = 1 << 16
"""Larger constants are not made where the formula has no scale, or a shorter one."""


@dataclass(frozen=True, slots=True)
class Divided:
    """`value / sqrt(mean(value ** 2, axes) + epsilon)`.

    Attributes:
        axes: The axes of the mean, in order; from the front where the rank is known.
        scale: The constant that the divisor was already multiplied by.
    """

    value: ValueView
    axes: tuple[int, ...]
    epsilon: float
    scale: ValueView | None = None


@dataclass(frozen=True, slots=True)
class Normalised:
    """A normalisation spelled out, and the parameters it is given.

    Attributes:
        spelled: Operator, source and attributes.
        parameters: Scale, and bias where there is one: values as they are, or arrays to store.
    """

    spelled: Spelled
    parameters: tuple[ValueView | Array, ...]
    effect: Effect = Effect.ROUNDING


def divided(node: NodeView) -> tuple[Spelling, Divided] | None:
    """Read a Mul or Div as the division of a value by its own root mean square."""
    if node.op_type not in ("Mul", "Div"):
        return None
    for index in (0,) if node.op_type == "Div" else (0, 1):
        spelling = Spelling(node)
        value, other = node.inputs[index], node.inputs[1 - index]
        scale = None
        if node.op_type == "Div":
            radicand = _root(spelling, other)
        else:
            radicand, scale = _scaled_inverse(spelling, other)
        squared = _mean_of_squares(spelling, radicand, value)
        if value is not None and squared is not None:
            return spelling, Divided(value, *squared, scale)
    return None


def mean_of(
    spelling: Spelling, value: ValueView | None
) -> tuple[ValueView, tuple[int, ...]] | None:
    """What a ReduceMean that keeps its axes is taken of, and over which axes."""
    node = spelling.made_by(value, "ReduceMean")
    source = node.inputs[0] if node is not None else None
    if node is None or source is None or node.attribute("keepdims", 1) != 1:
        return None
    if node.graph.opset() < _FIRST_AXES_AS_INPUT:
        axes = node.attribute("axes")
    else:
        given = node.inputs[1] if len(node.inputs) > 1 else None
        axes = given.array().ravel() if given is not None and given.is_constant else None
    if axes is None:
        return None
    rank = 0 if source.shape is None else len(source.shape)
    return source, tuple(sorted(int(axis) + rank if axis < 0 else int(axis) for axis in axes))


def finished(
    spelling: Spelling, op_type: str, source: ValueView, found: Divided, *, bias: bool
) -> Normalised | Skip:
    """The match: the division read, and the scale and bias behind it.

    Args:
        spelling: The division.
        op_type: The operator to put in.
        source: What it normalises.
        found: How.
        bias: The operator takes one.
    """
    normalised = _normalised_shape(source, found.axes)
    if isinstance(normalised, Skip):
        return normalised
    if not 0 < np.float32(found.epsilon) < np.inf:
        return Skip("epsilon is not positive")
    scale = found.scale
    if scale is not None and not _fits(scale, source, normalised):
        return Skip("the divisor is multiplied by what is no scale of the normalised axes")
    if scale is None:
        scale = _parameter_behind(spelling, "Mul", source, normalised)
    shift = _parameter_behind(spelling, "Add", source, normalised) if bias else None
    refused = spelling.refusal(source)
    if refused is not None:
        return refused
    assert source.dtype is not None
    given: list[ValueView | Array] = [_whole(scale, normalised, source.dtype)]
    if shift is not None:
        given.append(_whole(shift, normalised, source.dtype))
    if any(isinstance(item, np.ndarray) and item.nbytes > _MAX_BYTES for item in given):
        return Skip("the scale would be a large new constant")
    attributes = {"axis": -len(normalised), "epsilon": float(np.float32(found.epsilon))}
    return Normalised(spelling.as_one(op_type, [source], attributes), tuple(given))


def put_normalised(match: Normalised, edit: Editor) -> None:
    """Put the one operator in, with its constants."""
    spelled, last = match.spelled, match.spelled.nodes[0]
    target = last.outputs[0]
    assert target is not None
    inputs = list(spelled.inputs)
    for item, hint in zip(match.parameters, ("scale", "bias"), strict=False):
        if isinstance(item, np.ndarray):
            inputs.append(edit.constant(item, f"{target.name}_{hint}", last.graph))
        else:
            inputs.append(item)
    put(Spelled(spelled.op_type, tuple(inputs), spelled.attributes, spelled.nodes), edit)


def _root(spelling: Spelling, value: ValueView | None) -> ValueView | None:
    """What `value` is the square root of."""
    node = spelling.made_by(value, "Sqrt", "Pow")
    if node is None or (node.op_type == "Pow" and spelling.number(node.inputs[1]) != 0.5):
        return None
    return node.inputs[0]


def _scaled_inverse(
    spelling: Spelling, value: ValueView | None
) -> tuple[ValueView | None, ValueView | None]:
    """What `value` is the inverse square root of, and the constant it is multiplied by."""
    product = value.producer if value is not None else None
    if product is None or product.op_type != "Mul":
        return _inverse_root(spelling, value), None
    for index in (0, 1):
        scale = product.inputs[1 - index]
        if scale is not None and scale.is_constant and spelling.made_by(value, "Mul") is not None:
            return _inverse_root(spelling, product.inputs[index]), scale
    return None, None


def _inverse_root(spelling: Spelling, value: ValueView | None) -> ValueView | None:
    """What `value` is the inverse square root of."""
    producer = value.producer if value is not None else None
    if producer is not None and producer.op_type == "Sqrt":
        return _inverse(spelling, _root(spelling, value))
    if producer is not None and producer.op_type == "Pow":
        node = spelling.made_by(value, "Pow")
        exact = node is not None and spelling.number(node.inputs[1]) == -0.5
        return node.inputs[0] if node is not None and exact else None
    return _root(spelling, _inverse(spelling, value))


def _inverse(spelling: Spelling, value: ValueView | None) -> ValueView | None:
    """What `value` is the inverse of."""
    node = spelling.made_by(value, "Reciprocal", "Div")
    if node is None or node.op_type == "Reciprocal":
        return None if node is None else node.inputs[0]
    return node.inputs[1] if spelling.number(node.inputs[0]) == 1 else None


def _mean_of_squares(
    spelling: Spelling, radicand: ValueView | None, value: ValueView | None
) -> tuple[tuple[int, ...], float] | None:
    """Axes and epsilon, where `radicand` is the mean of the squares of `value` plus epsilon."""
    total = spelling.made_by(radicand, "Add")
    sides = spelling.beside_number(total) if total is not None else None
    mean = mean_of(spelling, sides[0]) if sides is not None else None
    if sides is None or mean is None or value is None:
        return None
    square = spelling.made_by(mean[0], "Pow", "Mul")
    if square is None:
        return None
    base, other = square.inputs[:2]
    squares = spelling.number(other) == 2 if square.op_type == "Pow" else other is base
    if not squares or not _same(spelling, base, value):
        return None
    return mean[1], sides[1]


def _same(spelling: Spelling, one: ValueView | None, other: ValueView) -> bool:
    """Tell whether both are the same value, or the same difference written twice."""
    if one is other:
        return True
    nodes = [spelling.made_by(value, "Sub") for value in (one, other)]
    first, second = nodes
    if first is None or second is None or first.inputs[0] is not second.inputs[0]:
        return False
    means = [mean_of(spelling, node.inputs[1]) for node in (first, second)]
    return first.inputs[1] is second.inputs[1] or (means[0] is not None and means[0] == means[1])


def _normalised_shape(source: ValueView, axes: tuple[int, ...]) -> tuple[int, ...] | Skip:
    """The trailing dimensions that the mean goes over."""
    if source.shape is None:
        return Skip("the rank is not known")
    rank = len(source.shape)
    if not axes or axes != tuple(range(rank - len(axes), rank)):
        return Skip("the mean is not over the last axes")
    shape = tuple(dim for dim in source.shape[axes[0] :] if isinstance(dim, int))
    if len(shape) != len(axes) or int(np.prod(shape)) < 2:
        return Skip("the normalised dimensions are not known, or too small")
    return shape


def _fits(value: ValueView, source: ValueView, normalised: tuple[int, ...]) -> bool:
    """Tell whether a constant only varies along the normalised axes, and widens nothing."""
    shape = value.shape
    if shape is None or source.shape is None or len(shape) > len(source.shape):
        return False
    leading, trailing = shape[: -len(normalised)], shape[-len(normalised) :]
    pairs = zip(reversed(trailing), reversed(normalised), strict=False)
    return all(dim == 1 for dim in leading) and all(dim in (1, size) for dim, size in pairs)


def _parameter_behind(
    spelling: Spelling, op_type: str, source: ValueView, normalised: tuple[int, ...]
) -> ValueView | None:
    """What stands beside the result in the one node that reads it, now part of the pattern.

    A constant that only varies along the normalised axes, or any value of just their shape.
    """
    result = spelling.last.outputs[0]
    if result is None or not spelling.only(result):
        return None
    node = result.readers[0].node
    if node.op_type != op_type or node.is_opaque or node.graph is not spelling.last.graph:
        return None
    other = node.inputs[1 - result.readers[0].index]
    if other is None or other.producer in spelling.nodes:
        return None
    fits = _fits(other, source, normalised) if other.is_constant else other.shape == normalised
    if not fits:
        return None
    spelling.extend(node)
    return other


def _whole(
    value: ValueView | None, normalised: tuple[int, ...], dtype: np.dtype[np.generic]
) -> ValueView | Array:
    """A constant of the normalised shape: the given one where it is that, else a new array."""
    if value is None:
        return np.ones(normalised, dtype)
    if value.shape == normalised:
        return value
    array = value.array()
    kept = array.reshape(array.shape[-len(normalised) :])
    return np.array(np.broadcast_to(kept, normalised))
