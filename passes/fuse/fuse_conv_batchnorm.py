"""Fold a BatchNormalization into the Conv before it.

Before: x -> Conv(W, B) -> BatchNormalization(scale, bias, mean, var) -> y
After:  x -> Conv(W', B') -> y

With f = scale / sqrt(var + epsilon), per output channel:
W' = W * f and B' = (B - mean) * f + bias, computed in float64 and rounded once.

Conditions: BatchNormalization in inference form with one output; W, B and its four parameters are
constants of one floating-point type; nothing else reads the Conv's output; var + epsilon > 0; every
result is finite. A weight that others read is not changed: the Conv gets its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Skip
from graphopt.passes.fuse._batchnorm import norm_of
from graphopt.passes.fuse._conv import Behind, behind_conv, parameters_of, scaled, take_in


@dataclass(frozen=True)
class FuseConvBatchnorm:
    """Fold the scale and shift of a BatchNormalization into the Conv that feeds it.

    Fires on: resnet_20, mixnet. Source: Ioffe and Szegedy 2015 (arXiv 1502.03167), inference form;
    ONNX operators Conv and BatchNormalization, opsets 1 to 15.
    """

    name: ClassVar[str] = "fuse_conv_batchnorm"
    effect: ClassVar[Effect] = Effect.ROUNDING
    roots: ClassVar[tuple[str, ...]] = ("BatchNormalization",)

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Behind | Skip | None:
        """Look at one BatchNormalization."""
        source = node.inputs[0]
        conv = source.producer if source is not None else None
        if source is None or node.outputs[0] is None or conv is None or conv.op_type != "Conv":
            return None
        refused = behind_conv(node, source)
        if refused:
            return refused
        given = parameters_of(conv)
        if isinstance(given, Skip):
            return given
        norm = norm_of(node, graph, given.weight.shape[0], given.weight.dtype)
        if isinstance(norm, Skip):
            return norm
        new = scaled(given, norm.scale, norm.shift, norm.center)
        return new if isinstance(new, Skip) else Behind(conv, node, new)

    def rewrite(self, match: Behind, edit: Editor) -> None:
        """Give the Conv its new parameters and remove the BatchNormalization."""
        take_in(match, edit)
