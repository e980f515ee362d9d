"""Multiply-accumulates per operator, from shapes. A table, so that an operator is one line."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from onnx import NodeProto, helper

Shape = tuple[int, ...]
Rule = Callable[[NodeProto, Sequence[Shape], Sequence[Shape]], int]


def _conv(node: NodeProto, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    weight = next(shape for shape in inputs[1:] if len(shape) == len(inputs[0]))
    return math.prod(outputs[0]) * math.prod(weight[1:])


def _conv_transpose(node: NodeProto, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    return math.prod(inputs[0]) * math.prod(inputs[1][1:])


def _gemm(node: NodeProto, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    inner = inputs[0][0] if _attribute(node, "transA", 0) else inputs[0][1]
    return math.prod(outputs[0]) * inner


def _matmul(node: NodeProto, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    return math.prod(outputs[0]) * inputs[0][-1]


def _recurrent(gates: int) -> Rule:
    def count(node: NodeProto, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        length, batch, width = inputs[0]
        if _attribute(node, "layout", 0):
            length, batch = batch, length
        directions, rows, _ = inputs[1]
        hidden = rows // gates
        return length * batch * directions * rows * (width + hidden)

    return count


def _einsum(node: NodeProto, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    equation = _attribute(node, "equation", b"").decode().replace(" ", "")
    if "..." in equation:
        raise ValueError("ellipsis")
    sizes: dict[str, int] = {}
    for labels, shape in zip(equation.split("->")[0].split(","), inputs, strict=True):
        sizes.update(zip(labels, shape, strict=True))
    return math.prod(sizes.values()) * (len(inputs) - 1)


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    found = next((a for a in node.attribute if a.name == name), None)
    return default if found is None else helper.get_attribute_value(found)


RULES: dict[str, Rule] = {
    "Conv": _conv,
    "ConvInteger": _conv,
    "QLinearConv": lambda node, i, o: math.prod(o[0]) * math.prod(i[3][1:]),
    "DeformConv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "LSTM": _recurrent(4),
    "GRU": _recurrent(3),
    "RNN": _recurrent(1),
    "Einsum": _einsum,
}

UNCOUNTED = frozenset({"Attention", "FlexAttention"})
"""Operators that multiply but have no rule: a graph with one has an unknown count."""
