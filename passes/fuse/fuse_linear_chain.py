"""Make one linear layer of two in a row.

Before: x -> MatMul(W1) -> Add(b1) -> MatMul(W2) -> Add(b2) -> y
After:  x -> MatMul(W1 W2) -> Add(b1 W2 + b2) -> y

MatMul with a constant matrix, with or without its constant Add, or Gemm; Conv of kernel 1 before or
behind any Conv without groups. Parameters are computed in float64 and rounded once.

Conditions: nothing else reads what lies between; not more is computed than before, and the new
weight has no more elements than the two that go away: no bottleneck is undone. A second Conv that
pads stands behind a first one that adds nothing, or has a kernel of 1 itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from graphopt.contract import (
    Array,
    Context,
    Editor,
    Effect,
    GraphView,
    NodeView,
    Rewrite,
    Skip,
    ValueView,
)
from graphopt.passes.fuse._chain import Reads, checked, convs
from graphopt.passes.fuse._conv import Behind, Parameters, give_parameters, quiet, take_in
from graphopt.passes.fuse._linears import Linear, insert_linear, linear_of


@dataclass(frozen=True, slots=True)
class Pair:
    """Two layers of MatMul or Gemm, and the parameters that do the work of both."""

    first: Linear
    second: Linear
    parameters: Parameters

    @property
    def label(self) -> str:
        """What names the rewrite."""
        return self.second.result.label()


@dataclass(frozen=True, slots=True)
class Convs:
    """Two Convs, one of which stays, and the parameters that do the work of both."""

    first: NodeView
    second: NodeView
    parameters: Parameters
    second_stays: bool

    @property
    def label(self) -> str:
        """What names the rewrite."""
        result = self.second.outputs[0]
        return self.second.label() if result is None else result.label()


@dataclass(frozen=True)
class FuseLinearChain:
    """Fuse two linear layers with nothing between them where that computes no more.

    Fires on: ppocr_det, ppocr_cls. Source: the matrix product is associative; ONNX operators
    MatMul, Gemm and Conv, opsets 7 to 22.
    """

    name: ClassVar[str] = "fuse_linear_chain"
    effect: ClassVar[Effect] = Effect.ROUNDING

    def plan(self, graph: GraphView, context: Context) -> Iterable[Rewrite | Skip]:
        """Look at the second of two, in node order: three become one at once."""
        reads = Reads(graph)
        for scope in graph.nested():
            for node in scope.nodes:
                if node.op_type not in ("MatMul", "Gemm", "Conv") or node.is_opaque:
                    continue
                found = _match(node, reads)
                if isinstance(found, Skip):
                    yield found
                elif found is not None:
                    yield Rewrite(found.label, Effect.ROUNDING, partial(_rewrite, found))


def _match(node: NodeView, reads: Reads) -> Pair | Convs | Skip | None:
    between = node.inputs[0]
    producer = None if between is None else between.producer
    if between is None or producer is None:
        return None
    if node.op_type == "Conv":
        return _conv_pair(node, between, producer, reads) if producer.op_type == "Conv" else None
    if producer.op_type not in ("MatMul", "Gemm", "Add"):
        return None
    first, second = _linear_before(between, producer), linear_of(node)
    if first is None or second is None:
        return None
    return _linear_pair(first, second, between, reads)


def _rewrite(found: Pair | Convs, edit: Editor) -> None:
    """Put one layer in place of both."""
    if isinstance(found, Pair):
        _put_in_place(found, edit)
    elif found.second_stays:
        edit.set_input(found.second, 0, found.first.inputs[0])
        give_parameters(found.second, found.parameters, edit, found.second.graph)
        edit.remove(found.first)
    else:
        take_in(Behind(found.first, found.second, found.parameters), edit)


def _between(value: ValueView, first: NodeView, second: NodeView, reads: Reads) -> Skip | None:
    if first.is_opaque or first.graph is not second.graph:
        return Skip("the first is not a plain one beside the second")
    if value.is_graph_output or not reads.once(value):
        return Skip("what lies between is read elsewhere")
    return None


def _conv_pair(node: NodeView, value: ValueView, conv: NodeView, reads: Reads) -> Convs | Skip:
    refused = _between(value, conv, node, reads)
    if refused:
        return refused
    made = convs(conv, node, reads)
    return made if isinstance(made, Skip) else Convs(conv, node, *made)


def _linear_before(value: ValueView, producer: NodeView) -> Linear | Skip | None:
    """The layer that makes a value."""
    if producer.op_type != "Add":
        return linear_of(producer)
    for operand in producer.inputs:
        product = None if operand is None or operand.is_constant else operand.producer
        if product is not None and product.op_type == "MatMul":
            found = linear_of(product)
            return found if isinstance(found, Linear) and found.result is value else None
    return None


def _linear_pair(
    first: Linear | Skip, second: Linear | Skip, value: ValueView, reads: Reads
) -> Pair | Skip:
    if isinstance(first, Skip):
        return first
    if isinstance(second, Skip):
        return second
    refused = _between(value, first.product, second.product, reads)
    if refused:
        return refused
    if first.weight.dtype != second.weight.dtype:
        return Skip("weights of different types")
    assert first.weight.shape is not None
    rows = first.weight.shape[1 if first.transposed else 0]
    assert isinstance(rows, int)
    if rows * second.width > reads.freed([first.weight, second.weight]):
        return Skip("more would be computed, or stored")
    inner, outer = (linear.matrix().astype(np.float64) for linear in (first, second))
    if not (np.isfinite(inner).all() and np.isfinite(outer).all()):
        return Skip("a fused parameter is not finite")
    with quiet():
        weight = inner @ outer
        made = checked(weight, _bias(first, second), first.weight.array(), 1)
    return made if isinstance(made, Skip) else Pair(first, second, made)


def _bias(first: Linear, second: Linear) -> Array | None:
    inner, outer = first.vector(), second.vector()
    found = None if outer is None else outer.astype(np.float64)
    if inner is None:
        return found
    moved: Array = inner.astype(np.float64) @ second.matrix().astype(np.float64)
    return moved if found is None else moved + found


def _put_in_place(match: Pair, edit: Editor) -> None:
    first, second = match.first, match.second
    anchor, graph, hint = second.product, second.product.graph, second.result.name
    weight = edit.constant(match.parameters.weight, f"{hint}_weight", graph)
    row = match.parameters.bias
    bias = None if row is None else edit.constant(row, f"{hint}_bias", graph)
    kinds = (first.product.op_type, second.product.op_type)
    op_type = "Gemm" if "Gemm" in kinds else "MatMul"
    made = insert_linear(
        edit, [first.source, weight], bias, before=anchor, op_type=op_type, hint=hint
    )
    edit.adopt(made, 0, second.result)
    for node in [*reversed(second.nodes), *reversed(first.nodes)]:
        edit.remove(node)
