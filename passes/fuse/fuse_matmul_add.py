"""Make one Gemm of a matrix product and the constant added to it.

Before: x -> MatMul(W) -> Add(b) -> y        After: x -> Gemm(W, b) -> y

Conditions: both factors are matrices (rank 2, proven), of one floating-point type; b is a constant
that the product's shape absorbs without becoming wider; nothing else reads the product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Skip, ValueView
from graphopt.passes.fuse._conv import FLOATS


@dataclass(frozen=True, slots=True)
class Found:
    """A MatMul, the Add behind it, and the constant that is added."""

    matmul: NodeView
    add: NodeView
    addend: ValueView
    effect: Effect = Effect.ROUNDING


@dataclass(frozen=True)
class FuseMatmulAdd:
    """Fuse MatMul and Add of a constant into Gemm where the factors really are matrices.

    Fires on: mtcnn_rnet, mtcnn_onet. Source: ONNX operators MatMul, Add, and Gemm, opsets 7 to 13.
    """

    name: ClassVar[str] = "fuse_matmul_add"
    effect: ClassVar[Effect] = Effect.ROUNDING
    roots: ClassVar[tuple[str, ...]] = ("Add",)

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | Skip | None:
        """Look at one Add."""
        for index in (0, 1):
            source, addend = node.inputs[index], node.inputs[1 - index]
            matmul = source.producer if source is not None else None
            if source is None or addend is None or matmul is None or matmul.op_type != "MatMul":
                continue
            refused = _refusal(matmul, node, source, addend)
            return refused or Found(matmul, node, addend)
        return None

    def rewrite(self, match: Found, edit: Editor) -> None:
        """Put a Gemm in place of both."""
        target = match.add.outputs[0]
        assert target is not None
        inputs = [*match.matmul.inputs, match.addend]
        gemm = edit.insert("Gemm", inputs, before=match.add, hint=target.name)
        edit.adopt(gemm, 0, target)
        edit.remove(match.add)
        edit.remove(match.matmul)


def _refusal(matmul: NodeView, add: NodeView, source: ValueView, addend: ValueView) -> Skip | None:
    if matmul.is_opaque or matmul.graph is not add.graph:
        return Skip("the product is not a plain one beside the add")
    if add.graph.opset() < 7:
        return Skip("Gemm broadcasts from opset 7 on")
    if source.is_graph_output or len(source.readers) != 1:
        return Skip("the product is read elsewhere")
    if not addend.is_constant:
        return Skip("the addend is not a constant")
    first, second = matmul.inputs
    if first is None or second is None:
        return Skip("an input is left out")
    if any(value.shape is None or len(value.shape) != 2 for value in (first, second)):
        return Skip("the factors are not both matrices")
    if {first.dtype, second.dtype, addend.dtype} - {first.dtype} or first.dtype not in FLOATS:
        return Skip("types differ, or are no floating-point types")
    assert first.shape is not None
    assert second.shape is not None
    rows, columns = first.shape[0], second.shape[1]
    shape = addend.shape or ()
    wide = [1] * (2 - len(shape)) + list(shape)
    fits = len(shape) <= 2 and wide[0] in (1, rows) and wide[1] in (1, columns)
    return None if fits else Skip("the addend would widen the product")
