"""Make one matrix product of several that read the same tensor.

Before: q = x Wq + bq, k = x Wk + bk, v = x Wv + bv
After:  q, k, v = Split(x [Wq Wk Wv] + [bq bk bv])

Each of them is MatMul with a constant matrix, with or without its constant Add, or Gemm. Where only
some add, the others add 0. Done where fewer nodes remain: for two with their Adds, for three and
more in any case; the two products of a gated MLP, which add nothing, stay.

Conditions: no other node reads a weight, weights have one type and the same number of rows, and
together they are not too wide: from some width on, copying the parts apart takes longer than the
nodes that are saved (measured on the CPU: 0.97 to 1.00 of the time up to 64 columns each, 1.02 at
256).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.contract import (
    Context,
    Editor,
    Effect,
    GraphView,
    NodeView,
    Rewrite,
    Skip,
    ValueView,
)
from graphopt.passes.fuse._linears import Linear, insert_linear, linear_of
from graphopt.passes.restructure._splits import FIRST_OPSET, split


@dataclass(frozen=True)
class MergeParallelLinears:
    """Merge MatMuls or Gemms of one tensor, such as query, key and value, into one and a Split.

    Fires on: mtcnn_onet. Source: ONNX operators MatMul and Gemm, opsets 7 to 13, and Split, opsets
    2 to 18.

    Attributes:
        max_width: Products that have more columns together stay as they are.
    """

    max_width: int = 512
    name: ClassVar[str] = "merge_parallel_linears"
    effect: ClassVar[Effect] = Effect.ROUNDING

    def plan(self, graph: GraphView, context: Context) -> Iterable[Rewrite | Skip]:
        """Go through each graph once, in node order."""
        for scope in graph.nested():
            if scope.opset() >= FIRST_OPSET:
                yield from self._plan(scope)

    def _plan(self, graph: GraphView) -> Iterator[Rewrite | Skip]:
        for nodes in _candidates(graph):
            found = [linear_of(node) for node in nodes]
            linears = [linear for linear in found if isinstance(linear, Linear)]
            if len(linears) < 2:
                yield from [skip for skip in found if isinstance(skip, Skip)][:1]
                continue
            refused = _refusal(linears, self.max_width)
            if refused:
                yield refused
            else:
                root = linears[0].result.label()
                yield Rewrite(root, Effect.ROUNDING, _merging(linears))


def _candidates(graph: GraphView) -> Iterator[list[NodeView]]:
    """MatMuls or Gemms whose first input is the same, each group in node order."""
    groups: dict[tuple[str, ValueView | None], list[NodeView]] = {}
    for node in graph.nodes:
        if node.op_type in ("MatMul", "Gemm") and node.inputs:
            groups.setdefault((node.op_type, node.inputs[0]), []).append(node)
    yield from (nodes for nodes in groups.values() if len(nodes) > 1)


def _refusal(linears: list[Linear], max_width: int) -> Skip | None:
    adds = sum(linear.add is not None for linear in linears)
    if len(linears) + adds <= 2 + bool(adds):
        return Skip("no fewer nodes would remain")
    weights = [linear.weight for linear in linears]
    if len(set(weights)) < len(weights) or any(
        len(weight.readers) != 1 or weight.is_graph_output for weight in weights
    ):
        return Skip("a weight is read elsewhere")
    if len({weight.dtype for weight in weights}) > 1 or len({_rows(one) for one in linears}) > 1:
        return Skip("weights of different types or numbers of rows")
    if sum(linear.width for linear in linears) > max_width:
        return Skip("copying the parts would take longer than the products save")
    if linears[0].source.shape is None and linears[0].product.graph.opset() < 11:
        return Skip("the last axis is not known")
    return None


def _rows(linear: Linear) -> object:
    assert linear.weight.shape is not None
    return linear.weight.shape[1 if linear.transposed else 0]


def _merging(linears: list[Linear]) -> Callable[[Editor], None]:
    def merge(edit: Editor) -> None:
        first = linears[0]
        value = _merged(linears, edit)
        shape = first.source.shape
        axis = -1 if shape is None else len(shape) - 1
        sizes = [linear.width for linear in linears]
        parts = split(edit, value, axis, sizes, before=first.product)
        for index, linear in enumerate(linears):
            edit.adopt(parts, index, linear.result)
            for node in reversed(linear.nodes):
                edit.remove(node)

    return merge


def _merged(linears: list[Linear], edit: Editor) -> ValueView:
    """Insert the one product, and the one Add where there is one to make."""
    first = linears[0]
    anchor, graph = first.product, first.product.graph
    hint = first.weight.name
    matrix = np.concatenate([linear.matrix() for linear in linears], axis=1)
    transposed = first.transposed
    stored = np.ascontiguousarray(matrix.T if transposed else matrix)
    inputs = [first.source, edit.constant(stored, f"{hint}_merged", graph)]
    bias = None
    if any(linear.bias is not None for linear in linears):
        rows = [linear.vector() for linear in linears]
        zeros = [np.zeros(linear.width, matrix.dtype) for linear in linears]
        numbers = np.concatenate([z if r is None else r for r, z in zip(rows, zeros, strict=True)])
        bias = edit.constant(numbers, f"{hint}_merged_bias", graph)
    made = insert_linear(
        edit, inputs, bias, before=anchor, op_type=anchor.op_type,
        attributes={"transB": 1} if transposed else None, hint=hint,
    ).outputs[0]  # fmt: skip
    assert made is not None
    return made
