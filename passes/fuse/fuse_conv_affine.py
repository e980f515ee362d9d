"""Fold arithmetic with constants into the Conv before it.

Before: x -> Conv(W, B) -> Mul(c) -> Add(d) -> y        After: x -> Conv(W * c, B * c + d) -> y

Add, Sub, Mul and Div by a scalar or by one number for each output channel, from either side where
that is affine (c - conv is, c / conv is not). Computed in float64 and rounded once for each node.

Conditions: W, B and the operand are constants of one floating-point type; nothing else reads the
Conv's output; the operand varies along no other axis and adds none; no divisor is 0; every result
is finite. A weight that others read is left alone, and so is what would multiply it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Skip
from graphopt.passes.fuse._affine import ARITHMETIC, affine_of, constant_operand
from graphopt.passes.fuse._conv import Behind, behind_conv, parameters_of, scaled, take_in


@dataclass(frozen=True)
class FuseConvAffine:
    """Fold Add, Sub, Mul and Div with a scalar or per-channel constant into the Conv before.

    Fires on: ppocr_rec, ppocr_det, ppocr_cls. Source: a Conv is linear in its weight and bias; ONNX
    operators Conv, Add, Sub, Mul, Div with their broadcasting, opsets 1 to 22.
    """

    name: ClassVar[str] = "fuse_conv_affine"
    effect: ClassVar[Effect] = Effect.ROUNDING
    roots: ClassVar[tuple[str, ...]] = ARITHMETIC

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Behind | Skip | None:
        """Look at one arithmetic node."""
        index = constant_operand(node)
        source = None if index is None else node.inputs[1 - index]
        conv = None if source is None else source.producer
        if source is None or conv is None or conv.op_type != "Conv" or node.outputs[0] is None:
            return None
        refused = behind_conv(node, source)
        given = refused or parameters_of(conv)
        if isinstance(given, Skip):
            return given
        weight = given.weight
        affine = affine_of(node, graph, weight.ndim, weight.shape[0])
        if affine is None:
            return Skip("the operand is not one number for each channel")
        if affine.dtype != weight.dtype:
            return Skip("parameters of different or unusual types")
        stored = conv.inputs[1]
        if stored is not None and len(stored.readers) > 1 and not affine.only_shifts:
            return Skip("the weight is shared")
        new = scaled(given, affine.scale, affine.shift)
        return new if isinstance(new, Skip) else Behind(conv, node, new)

    def rewrite(self, match: Behind, edit: Editor) -> None:
        """Give the Conv its new parameters and remove the arithmetic."""
        take_in(match, edit)
