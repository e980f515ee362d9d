"""Fold arithmetic with constants into the Conv behind it.

Before: x -> Mul(c) -> Add(d) -> Conv(W, B) -> y
After:  x -> Conv(W * c, B + sum of W * d) -> y

Scalars, or one number for each input channel. A shift is exact only where the Conv adds no padding:
a padded 0 would have been d. A scale alone is exact with padding as well. In half precision a shift
stays: what it takes off the input would have to cancel in the sum instead.

Conditions: W, B and the operand are constants of one floating-point type; nothing but the Conv
reads the arithmetic's output; the operand widens nothing; every result is finite. A weight that
others read is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Skip, ValueView
from graphopt.passes.fuse._affine import ARITHMETIC, Affine, affine_of, constant_operand
from graphopt.passes.fuse._conv import (
    Parameters,
    give_parameters,
    parameters_of,
    quiet,
    rounded,
)


@dataclass(frozen=True, slots=True)
class Found:
    """Arithmetic and the Conv behind it, with the fused parameters."""

    node: NodeView
    conv: NodeView
    source: ValueView
    parameters: Parameters
    effect: Effect = Effect.ROUNDING


@dataclass(frozen=True)
class FuseAffineConv:
    """Fold Add, Sub, Mul and Div with a scalar or per-channel constant into the Conv behind.

    Fires on: ppocr_rec. Source: a Conv is linear in its input; ONNX operators Conv, Add, Sub, Mul,
    Div with their broadcasting, opsets 1 to 22.
    """

    name: ClassVar[str] = "fuse_affine_conv"
    effect: ClassVar[Effect] = Effect.ROUNDING
    roots: ClassVar[tuple[str, ...]] = ARITHMETIC

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | Skip | None:
        """Look at one arithmetic node."""
        result, index = node.outputs[0], constant_operand(node)
        use = result.readers[0] if result is not None and result.readers else None
        conv = use.node if use is not None and use.index == 0 else None
        if result is None or index is None or conv is None or conv.op_type != "Conv":
            return None
        if conv.is_opaque or conv.graph is not node.graph:
            return Skip("the conv is not a plain one behind it")
        if result.is_graph_output:
            return Skip("the result is a graph output")
        if len(result.readers) != 1:
            return Skip(f"the result has {len(result.readers)} readers")
        given = parameters_of(conv)
        if isinstance(given, Skip):
            return given
        affine = _affine_before(node, conv, graph, given)
        if isinstance(affine, Skip):
            return affine
        stored = conv.inputs[1]
        if stored is None or len(stored.readers) > 1:
            return Skip("the weight is shared")
        new = _absorbed(given, affine)
        return new if isinstance(new, Skip) else Found(node, conv, affine.value, new)

    def rewrite(self, match: Found, edit: Editor) -> None:
        """Give the Conv its new parameters and let it read what the arithmetic read."""
        give_parameters(match.conv, match.parameters, edit, match.conv.graph)
        edit.set_input(match.conv, 0, match.source)
        edit.remove(match.node)


def _affine_before(
    node: NodeView, conv: NodeView, graph: GraphView, given: Parameters
) -> Affine | Skip:
    channels = given.weight.shape[1] * int(conv.attribute("group", 1))
    if channels <= 0:
        return Skip("the conv has no input channels")
    affine = affine_of(node, graph, given.weight.ndim, channels)
    if affine is None:
        return Skip("the operand is not one number for each channel")
    shape = affine.value.shape
    if shape is None or len(shape) != given.weight.ndim or shape[1] != channels:
        return Skip("the operand may widen what it meets")
    if affine.dtype != given.weight.dtype:
        return Skip("parameters of different or unusual types")
    if affine.shift.any() and not _is_unpadded(conv):
        return Skip("a shift before a padded conv is not exact")
    if affine.shift.any() and affine.dtype == np.float16:
        return Skip("a shift in half precision would cancel")
    return affine


def _is_unpadded(conv: NodeView) -> bool:
    if conv.attribute("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return False
    return conv.attribute("auto_pad") == "VALID" or not any(conv.attribute("pads", []))


def _absorbed(given: Parameters, affine: Affine) -> Parameters | Skip:
    """Scale and shift of the input channels as parameters; groups read their own channels."""
    weight = given.weight.astype(np.float64)
    outputs, inner = weight.shape[:2]
    groups = len(affine.scale) // inner
    if outputs % groups:
        return Skip("parameter shapes do not fit")
    group_of = np.arange(outputs) // (outputs // groups)
    scale = affine.scale.reshape(groups, inner)[group_of]
    shift = affine.shift.reshape(groups, inner)[group_of]
    spatial = tuple(range(2, weight.ndim))
    bias = np.zeros(outputs) if given.bias is None else given.bias.astype(np.float64)
    with quiet():
        bias = bias + (weight.sum(axis=spatial) * shift).sum(axis=1)
        weight = weight * scale.reshape(*scale.shape, *[1] * len(spatial))
    return rounded(weight, bias, given, leading=2)
