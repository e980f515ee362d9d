"""When an elementwise operator, a selection or a reduction gives back its input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphopt.contract import Array, Dim, Effect, GraphView, NodeView, ValueView
from graphopt.passes.eliminate._operands import (
    ALMOST,
    SAME,
    Known,
    Predicate,
    fits_into,
    input_of,
    is_exact,
    is_small,
    listed,
)

Judge = Callable[[Array], "Effect | None"]
"""Says whether an operand leaves the other one as it is, and how exactly."""

_BOTH = (0, 1)
_REDUCTIONS = {"ReduceSum": ALMOST, "ReduceMean": ALMOST, "ReduceMax": SAME, "ReduceMin": SAME,
               "ReduceProd": SAME}  # fmt: skip
"""Those that give one number as it is; a sum begins at 0.0, and a mean, too."""


def beside(judge: Judge, kept: tuple[int, ...] = (0,), since: int = 1) -> Predicate:
    """Make the rule that looks for an operand that leaves the other one as it is.

    Args:
        judge: Looks at the operand.
        kept: Which input may be the other one.
        since: The first opset in which the operator is understood.
    """

    def predicate(node: NodeView, graph: GraphView) -> Known | None:
        if len(node.inputs) != 2 or graph.opset() < since:
            return None
        for index in kept:
            source, operand = node.inputs[index], node.inputs[1 - index]
            if source is None or operand is None or not is_small(operand):
                continue
            array = operand.array()
            if graph.opset() < 7 and (index or array.size != 1):
                continue  # the older opsets align the second operand by an attribute
            if not fits_into(list(array.shape), source):
                continue
            effect = judge(array)
            if effect is not None:
                return index, effect
        return None

    return predicate


def _zeros(operand: Array, *, negative: bool) -> Effect | None:
    if (operand != 0).any():
        return None
    if operand.dtype.kind in "iu" or (np.signbit(operand) == negative).all():
        return Effect.IDENTICAL
    return Effect.ROUNDING


def _extreme(operand: Array, *, largest: bool) -> Effect | None:
    """Nothing lies beyond the ends of an integer type, or beyond the infinities."""
    if operand.dtype.kind in "iu":
        info = np.iinfo(operand.dtype)
        return is_exact(operand == (info.max if largest else info.min))
    infinite = np.isinf(operand) & (np.signbit(operand) != largest)
    # What becomes of a NaN that is compared differs from kernel to kernel.
    return Effect.ROUNDING if infinite.all() else None


def _power(node: NodeView, graph: GraphView) -> Known | None:
    source = node.inputs[0]
    if source is None or source.dtype is None or source.dtype.kind in "iu":
        return None  # integers may go through floating-point numbers that hold fewer of them
    return beside(lambda operand: is_exact(operand == 1))(node, graph)


def _clip(node: NodeView, graph: GraphView) -> Known | None:
    """Bounds that are left out are the type's finite extremes: an infinity would change."""
    source = node.inputs[0]
    if graph.opset() < 11 or source is None or source.dtype is None:
        return None
    whole = source.dtype.kind in "iu"
    for index, largest in ((1, False), (2, True)):
        bound = input_of(node, index)
        if bound is None and whole:
            continue
        if bound is None or not is_small(bound):
            return None
        if _extreme(bound.array(), largest=largest) is None:
            return None
    return SAME if whole else ALMOST


def _where(node: NodeView, graph: GraphView) -> Known | None:
    condition, *values = (input_of(node, index) for index in range(3))
    if condition is None or values[0] is None or values[1] is None:
        return None
    if values[0] is values[1]:
        shape = None if condition.shape is None else list(condition.shape)
        return (1, _selected(values[0])) if fits_into(shape, values[0]) else None
    if not is_small(condition):
        return None
    array = condition.array()
    chosen = 0 if array.all() else 1
    if chosen and array.any():
        return None
    other = values[1 - chosen]
    fits = other is not None and other.shape is not None
    for shape in ([*(other.shape or ())] if fits and other is not None else None, [*array.shape]):
        fits = fits and fits_into(shape, values[chosen])
    kept = values[chosen]
    return (1 + chosen, _selected(kept)) if fits and kept is not None else None


def _selected(value: ValueView) -> Effect:
    """Kernels that select by adding 0.0 give no -0.0."""
    whole = value.dtype is not None and value.dtype.kind in "iub"
    return Effect.IDENTICAL if whole else Effect.ROUNDING


def _reduction(node: NodeView, graph: GraphView) -> Known | None:
    """A reduction of axes of length 1 which stay."""
    since = 13 if node.op_type == "ReduceSum" else 18
    axes = listed(node, "axes", 1, input_since=since)
    source = node.inputs[0]
    if axes is None or source is None:
        return None
    how = _REDUCTIONS[node.op_type]
    if not axes and graph.opset() >= since and node.attribute("noop_with_empty_axes", 0):
        return how
    shape = source.shape
    if shape is None or not node.attribute("keepdims", 1):
        return None
    reduced: Sequence[Dim]
    if not all(-len(shape) <= axis < len(shape) for axis in axes):
        return None
    reduced = [shape[axis] for axis in axes] if axes else shape
    return how if all(dim == 1 for dim in reduced) else None


def _global_pool(node: NodeView, graph: GraphView) -> Known | None:
    shape = None if node.inputs[0] is None else node.inputs[0].shape
    return ALMOST if shape and len(shape) > 2 and all(dim == 1 for dim in shape[2:]) else None


def _pool(node: NodeView, graph: GraphView) -> Known | None:
    """Windows of one element, each of them once."""
    if len(node.outputs) > 1 and node.outputs[1] is not None:
        return None
    ones: tuple[Any, ...] = (node.attribute("kernel_shape"), node.attribute("strides", ()))
    plain = ones[0] is not None and all(number == 1 for numbers in ones for number in numbers)
    return ALMOST if plain and not any(node.attribute("pads", ())) else None


def _dropout(node: NodeView, graph: GraphView) -> Known | None:
    mask = node.outputs[1] if len(node.outputs) > 1 else None
    if mask is not None and (mask.readers or mask.is_graph_output):
        return None
    if graph.opset() < 7:
        return SAME if node.attribute("is_test", 0) else None
    ratio, training = input_of(node, 1), input_of(node, 2)
    if training is None or _never(training):
        return SAME
    return SAME if ratio is not None and _never(ratio) else None


def _never(value: Any) -> bool:
    return bool(is_small(value) and not value.array().any())


RULES: dict[str, Predicate] = {
    # x + 0.0 turns -0.0 into 0.0; x + -0.0 keeps it.
    "Add": beside(lambda operand: _zeros(operand, negative=True), _BOTH),
    "And": beside(is_exact, _BOTH),
    "AveragePool": _pool,
    "BitShift": beside(lambda operand: is_exact(operand == 0)),
    "BitwiseAnd": beside(lambda operand: is_exact(operand == ~operand.dtype.type(0)), _BOTH),
    "BitwiseOr": beside(lambda operand: is_exact(operand == 0), _BOTH),
    "BitwiseXor": beside(lambda operand: is_exact(operand == 0), _BOTH),
    "Clip": _clip,
    "Div": beside(lambda operand: is_exact(operand == 1)),
    "Dropout": _dropout,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
    "MaxPool": _pool,
    "Mul": beside(lambda operand: is_exact(operand == 1), _BOTH),
    "Or": beside(lambda operand: is_exact(~operand), _BOTH),
    "Pow": _power,
    "Sub": beside(lambda operand: _zeros(operand, negative=False)),
    "Where": _where,
    "Xor": beside(lambda operand: is_exact(~operand), _BOTH),
    **dict.fromkeys(_REDUCTIONS, _reduction),
}
"""Max and Min stand with the operators that may have one input."""

largest_of: Predicate = beside(lambda operand: _extreme(operand, largest=False), _BOTH, since=8)
"""Max of a value and the least that there is."""
least_of: Predicate = beside(lambda operand: _extreme(operand, largest=True), _BOTH, since=8)
"""Min of a value and the largest that there is."""
