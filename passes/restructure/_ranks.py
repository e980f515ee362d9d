"""Ranks and single numbers, followed from node to node under an assumption.

What a value is known to be comes from ONNX's inference and from constants; an assumption adds to
that. `Impossible` says that an operator cannot take what it would get: no model that runs does so.
Source: the operators' ONNX definitions.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphopt.contract import GraphView, NodeView, ValueView
from graphopt.passes.restructure._bodies import needed_for

MAX_NODES = 400
"""Nodes looked at under one assumption."""


class Impossible(Exception):
    """A node that would not run."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a value; None where nothing is.

    Attributes:
        rank: Its number of dimensions.
        length: That of a vector.
        number: The one element of an integer or boolean tensor.
    """

    rank: int | None = None
    length: int | None = None
    number: int | None = None


UNKNOWN = Known()


@dataclass(slots=True)
class Assumed:
    """What follows from an assumption, value by value."""

    values: dict[ValueView, Known] = field(default_factory=dict)
    looked_at: int = 0

    def of(self, value: ValueView | None) -> Known:
        """What is known of a value."""
        if value is None:
            return UNKNOWN
        return self.values.get(value) or _given(value)

    def evaluate(self, node: NodeView) -> bool:
        """Learn of a node's outputs; tell whether anything is new.

        Raises:
            Impossible: It cannot run.
        """
        self.looked_at += 1
        if node.is_opaque or self.looked_at > MAX_NODES:
            return False
        for index, ranks in _required(node):
            rank = self.of(node.inputs[index]).rank if index < len(node.inputs) else None
            if rank is not None and rank not in ranks:
                raise Impossible
        rule = _RULES.get(node.op_type)
        results = rule(node, self) if rule else []
        new = False
        for value, found in zip(node.outputs, results, strict=False):
            if value is not None and found not in (UNKNOWN, self.of(value)):
                self.values[value] = found
                new = True
        return new

    def branch(self, body: GraphView) -> list[Known]:
        """What a branch gives.

        Raises:
            Impossible: It cannot run.
        """
        for node in needed_for(body, body.outputs):
            self.evaluate(node)
        return [self.of(value) for value in body.outputs]


def _given(value: ValueView) -> Known:
    shape = value.shape
    if shape is None:
        return UNKNOWN
    length = shape[0] if len(shape) == 1 and isinstance(shape[0], int) else None
    number = None
    if value.is_constant and value.dtype is not None and value.dtype.kind in "iub":
        array = value.array() if (value.nbytes or 0) <= 8 else np.empty(0)
        number = int(array.item()) if array.size == 1 else None
    return Known(len(shape), length, number)


def _required(node: NodeView) -> list[tuple[int, tuple[int, ...]]]:
    """Inputs whose rank an operator states, from attributes and constants alone.

    ONNX Runtime takes a vector as the first operand of Gemm, too. Transpose is not among them: a
    runtime that optimises may leave it out.
    """
    if node.op_type in ("LSTM", "GRU", "RNN"):
        return [(0, (3,))]
    if node.op_type == "Gemm":
        return [(0, (1, 2)), (1, (2,))]
    if node.op_type in ("MaxPool", "AveragePool", "LpPool"):
        kernel = node.attribute("kernel_shape")
        return [] if kernel is None else [(0, (len(kernel) + 2,))]
    if node.op_type in ("Conv", "ConvTranspose"):
        weight = node.inputs[1]
        if weight is not None and weight.is_constant and weight.shape is not None:
            return [(0, (len(weight.shape),))]
    return []


def _axes(node: NodeView) -> int | None:
    """How many axes Squeeze or Unsqueeze has, which are distinct in a valid model."""
    axes = node.attribute("axes")
    if axes is not None:
        return len(axes)
    value = node.inputs[1] if len(node.inputs) > 1 else None
    if value is None or value.shape is None or len(value.shape) != 1:
        return None
    return value.shape[0] if value.is_constant and isinstance(value.shape[0], int) else None


def _squeeze(node: NodeView, assumed: Assumed) -> Sequence[Known]:
    rank, count = assumed.of(node.inputs[0]).rank, _axes(node)
    if rank is None or count is None:
        return []
    if count > rank:
        raise Impossible
    return [Known(rank - count)]


def _unsqueeze(node: NodeView, assumed: Assumed) -> Sequence[Known]:
    rank, count = assumed.of(node.inputs[0]).rank, _axes(node)
    return [] if rank is None or count is None else [Known(rank + count)]


def _same(node: NodeView, assumed: Assumed) -> Sequence[Known]:
    return [Known(assumed.of(node.inputs[0]).rank)]


def _identity(node: NodeView, assumed: Assumed) -> Sequence[Known]:
    return [assumed.of(node.inputs[0])]


def _shape(node: NodeView, assumed: Assumed) -> Sequence[Known]:
    if node.attribute("start", 0) or node.attribute("end") is not None:
        return []
    return [Known(1, assumed.of(node.inputs[0]).rank)]


def _size(node: NodeView, assumed: Assumed) -> Sequence[Known]:
    return [Known(0, None, assumed.of(node.inputs[0]).length)]


def _widest(node: NodeView, assumed: Assumed) -> int | None:
    ranks = [assumed.of(value).rank for value in node.inputs]
    known = [rank for rank in ranks if rank is not None]
    return max(known) if known and len(known) == len(ranks) else None


def _elementwise(node: NodeView, assumed: Assumed) -> Sequence[Known]:
    return [] if node.attribute("broadcast", 0) else [Known(_widest(node, assumed))]


def _compared(node: NodeView, assumed: Assumed) -> Sequence[Known]:
    numbers = [assumed.of(value).number for value in node.inputs]
    if any(number is None for number in numbers):
        return _elementwise(node, assumed)
    return [Known(_widest(node, assumed), None, int(bool(_LOGIC[node.op_type](*numbers))))]


def _if(node: NodeView, assumed: Assumed) -> Sequence[Known]:
    taken = assumed.of(node.inputs[0]).number
    yes, no = node.bodies.get("then_branch"), node.bodies.get("else_branch")
    if yes is None or no is None:
        return []
    if taken is not None:
        return assumed.branch(yes if taken else no)
    try:
        both = zip(assumed.branch(yes), assumed.branch(no), strict=False)
    except Impossible:
        return []  # the condition may keep the model from it
    return [_joined(one, other) for one, other in both]


def _joined(one: Known, other: Known) -> Known:
    return Known(
        one.rank if one.rank == other.rank else None,
        one.length if one.length == other.length else None,
        one.number if one.number == other.number else None,
    )


_LOGIC: dict[str, Callable[..., Any]] = {
    "Equal": operator.eq,
    "Greater": operator.gt,
    "GreaterOrEqual": operator.ge,
    "Less": operator.lt,
    "LessOrEqual": operator.le,
    "And": operator.and_,
    "Or": operator.or_,
    "Xor": operator.xor,
    "Not": operator.not_,
}

_RULES: dict[str, Callable[[NodeView, Assumed], Sequence[Known]]] = {
    "Identity": _identity,
    "If": _if,
    "Shape": _shape,
    "Size": _size,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    **dict.fromkeys(_LOGIC, _compared),
    **dict.fromkeys(("Add", "Div", "Mul", "Pow", "Sub"), _elementwise),
    **dict.fromkeys(
        ("Abs", "Cast", "Clip", "Conv", "Dropout", "Elu", "Erf", "Exp", "LeakyRelu", "Log",
         "LogSoftmax", "Neg", "Reciprocal", "Relu", "Sigmoid", "Softmax", "Sqrt", "Tanh",
         "Transpose"),
        _same,
    ),
}  # fmt: skip
