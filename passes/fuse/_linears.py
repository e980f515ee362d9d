"""MatMul with a constant matrix, with the constant Add behind it, or Gemm: `x W + b` as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphopt.contract import Array, Editor, NodeView, Skip, ValueView
from graphopt.passes.fuse._conv import FLOATS


@dataclass(frozen=True, slots=True)
class Linear:
    """What stands for `x W + b`.

    Attributes:
        source: x.
        product: The MatMul or Gemm.
        add: The Add behind a MatMul, where there is one.
        weight: Shape [K, N]; [N, K] where the Gemm transposes it.
        bias: N numbers, or one for all; None where there is none.
    """

    source: ValueView
    product: NodeView
    add: NodeView | None
    weight: ValueView
    bias: ValueView | None

    @property
    def transposed(self) -> bool:
        """True for a weight of shape [N, K]."""
        return bool(self.product.attribute("transB", 0))

    @property
    def width(self) -> int:
        """N."""
        shape = self.weight.shape
        assert shape is not None
        size = shape[0 if self.transposed else 1]
        assert isinstance(size, int)
        return size

    @property
    def nodes(self) -> list[NodeView]:
        """Its nodes in their order."""
        return [self.product, *([] if self.add is None else [self.add])]

    @property
    def result(self) -> ValueView:
        """What it writes."""
        found = self.nodes[-1].outputs[0]
        assert found is not None
        return found

    def matrix(self) -> Array:
        """W, shape [K, N]."""
        array = self.weight.array()
        return array.T if self.transposed else array

    def vector(self) -> Array | None:
        """b, shape [N], of the weight's type; None where there is none."""
        if self.bias is None:
            return None
        return np.broadcast_to(self.bias.array().ravel(), (self.width,))


def insert_linear(
    edit: Editor,
    operands: Sequence[ValueView],
    bias: ValueView | None,
    *,
    before: NodeView,
    op_type: str = "MatMul",
    attributes: Mapping[str, Any] | None = None,
    hint: str = "",
) -> NodeView:
    """Insert what computes `x W + b`; give the node that writes it.

    Args:
        edit: The editor.
        operands: x and W.
        bias: b; None where there is none.
        before: Where.
        op_type: MatMul, with an Add for the bias, or Gemm.
        attributes: Of the product.
        hint: For the names of what is made.
    """
    inputs = list(operands)
    if op_type == "Gemm" and bias is not None:
        inputs.append(bias)
    made = edit.insert(op_type, inputs, before=before, attributes=attributes, hint=hint)
    if op_type == "Gemm" or bias is None:
        return made
    return edit.insert("Add", [made.outputs[0], bias], before=before, hint=hint)


def linear_of(node: NodeView) -> Linear | Skip | None:
    """Read a MatMul with what is added to it, or a Gemm; None where no constant matrix is."""
    if node.is_opaque or node.op_type not in ("MatMul", "Gemm"):
        return None
    source, weight = node.inputs[:2]
    if source is None or weight is None or node.outputs[0] is None or source is weight:
        return None
    if weight.shape is None or len(weight.shape) != 2 or not weight.is_constant:
        return None
    if weight.dtype not in FLOATS or 0 in weight.shape:
        return None
    if node.op_type == "Gemm":
        return _gemm(node, source, weight)
    add, bias = _added(node, weight)
    return Linear(source, node, add, weight, bias)


def _gemm(node: NodeView, source: ValueView, weight: ValueView) -> Linear | Skip:
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    factors = {node.attribute("alpha", 1.0), node.attribute("beta", 1.0)}
    if node.graph.opset() < 7 or node.attribute("transA", 0) or factors != {1.0}:
        return Skip("Gemm scales, or transposes its input")
    found = Linear(source, node, None, weight, bias)
    if bias is None:
        return found
    if not bias.is_constant or bias.dtype != weight.dtype:
        return Skip("what Gemm adds is not a constant of the same type")
    return found if _is_row(bias, found.width, 2) else Skip("what Gemm adds varies by row")


def _added(node: NodeView, weight: ValueView) -> tuple[NodeView | None, ValueView | None]:
    """The Add that alone reads a product, and the row it adds."""
    product, nothing = node.outputs[0], (None, None)
    assert product is not None
    if node.graph.opset() < 7 or product.is_graph_output or len(product.readers) != 1:
        return nothing
    add = product.readers[0].node
    if add.op_type != "Add" or add.is_opaque or add.graph is not node.graph:
        return nothing
    bias = next((value for value in add.inputs if value is not product), None)
    if bias is None or not bias.is_constant or bias.dtype != weight.dtype:
        return nothing
    columns = weight.shape[1] if weight.shape is not None else None
    rank = len(product.shape) if product.shape is not None else 1
    row = isinstance(columns, int) and _is_row(bias, columns, rank)
    return (add, bias) if row and add.outputs[0] is not None else nothing


def _is_row(bias: ValueView, columns: int, rank: int) -> bool:
    """Tell whether a constant adds to each row the same, and widens nothing of that rank."""
    shape = bias.shape
    if shape is None or len(shape) > rank:
        return False
    return all(dim == 1 for dim in shape[:-1]) and (not shape or shape[-1] in (1, columns))
