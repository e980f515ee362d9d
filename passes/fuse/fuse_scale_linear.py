"""Let the constants of a linear node take in a factor on what it writes, or on what it reads.

Before: x -> MatMul(W) -> Add(b) -> Reshape -> Transpose -> Mul(0.5) -> y
After:  x -> MatMul(W * 0.5) -> Add(b * 0.5) -> Reshape -> Transpose -> y

The factor is a constant of Mul, or one that Div divides by: a number, or one for each index of some
axes. It is looked for above first, then below (x -> Mul(c) -> MatMul(W) becomes x -> MatMul(c W)).
On the way it passes what moves elements or commutes with it; with one number also sums, Relu (if
above 0), and a product of two activations, of which either one can be scaled. Behind a Split or a
Gather, the columns that lead to it are scaled alone. MatMul, Gemm, Conv, ConvTranspose and
LayerNormalization take it in, and so do Mul and Div by another constant. Computed in float64 and
rounded once.

Conditions: a constant of a floating-point type; every value on the way is read by the way alone
(others may read its shape, and other parts than the scaled one); no factor is 0 or not finite; what
is scaled stays finite and keeps its precision; a large constant that others read is left alone.
Unless the factors are powers of two, nothing close behind may jump where rounding decides (Floor, a
cast to integers, a comparison). Where ONNX Runtime puts one kernel in the place of several nodes,
and the factor is one of them, it stays: behind the formula of Gelu, behind a root mean square, and
between scores and their mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.contract import Array, Context, Editor, Effect, GraphView, NodeView, Skip, ValueView
from graphopt.passes.fuse._conv import FLOATS, quiet
from graphopt.passes.fuse._recognised import is_cut, is_recognised
from graphopt.passes.fuse._scale_above import way_up
from graphopt.passes.fuse._scale_below import way_down
from graphopt.passes.fuse._scale_ways import Way, take_down, take_up
from graphopt.passes.fuse._scales import scale_of


@dataclass(frozen=True, slots=True)
class Found:
    """The node that scales, what it scales, and what takes its place."""

    node: NodeView
    source: ValueView
    way: Way
    effect: Effect = Effect.ROUNDING


@dataclass(frozen=True)
class FuseScaleLinear:
    """Fold Mul and Div by a constant into linear nodes above or below, through what lies between.

    Fires on: ppocr_det, ppocr_rec, ppocr_cls. Source: linear maps commute with
    factors; ONNX operators Mul, Div, MatMul, Gemm, Conv, ConvTranspose, LayerNormalization, and
    those that move elements, opsets 7 to 25.

    Attributes:
        keep_recognised: Leave factors by which ONNX Runtime recognises Gelu, RMS normalization and
            attention. Without them it runs the formula node by node, which takes longer.
    """

    keep_recognised: bool = True

    name: ClassVar[str] = "fuse_scale_linear"
    effect: ClassVar[Effect] = Effect.ROUNDING
    roots: ClassVar[tuple[str, ...]] = ("Mul", "Div")

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | Skip | None:
        """Look at one Mul or Div."""
        index = _constant_index(node)
        source, target = None if index is None else node.inputs[1 - index], node.outputs[0]
        if index is None or source is None or target is None or graph.opset() < 7:
            return None
        scale = _scale(node, index, source)
        if isinstance(scale, Skip):
            return scale
        if self.keep_recognised and is_recognised(source, target):
            return Skip("the runtime recognises the whole by this factor")
        way = way_up(node, source, scale)
        if not isinstance(way, Way):
            below = way_down(target, scale)
            way = below if isinstance(below, Way) else way or below
        if isinstance(way, Way) and self.keep_recognised and any(map(_ends_formula, way.takers)):
            return Skip("the runtime recognises the whole by the factor that would change")
        if isinstance(way, Way) and not _is_exact(scale) and any(map(is_cut, way.written(target))):
            return Skip("what follows jumps where rounding decides")
        return Found(node, source, way) if isinstance(way, Way) else way

    def rewrite(self, match: Found, edit: Editor) -> None:
        """Give the linear nodes their constants, and remove the node that scales."""
        if match.way.rises:
            take_up(match.way, match.node, edit)
        else:
            take_down(match.way, match.node, match.source, edit)


def _ends_formula(node: NodeView) -> bool:
    """Tell whether a node multiplies by a factor that belongs to a formula."""
    target = node.outputs[0]
    if node.op_type not in ("Mul", "Div") or target is None:
        return False
    return any(value is not None and is_recognised(value, target) for value in node.inputs)


def _is_exact(scale: Array) -> bool:
    """Tell whether every factor is a power of two, which changes no digit."""
    return bool((np.frexp(np.abs(scale))[0] == 0.5).all())


def _constant_index(node: NodeView) -> int | None:
    """Where the constant factor or divisor stands."""
    for index in (0, 1) if node.op_type == "Mul" else (1,):
        value, other = node.inputs[index], node.inputs[1 - index]
        if value is None or other is None or not value.is_constant or value.dtype not in FLOATS:
            continue
        return None if other.is_constant else index
    return None


def _scale(node: NodeView, index: int, source: ValueView) -> Array | Skip:
    constant = node.inputs[index]
    assert constant is not None
    scale = scale_of(constant, source)
    if scale is None:
        return Skip("the scale widens what it meets")
    if not np.isfinite(scale).all() or not scale.all():
        return Skip("a factor is 0 or not finite")
    with quiet():
        scale = scale if node.op_type == "Mul" else 1 / scale
    return scale if np.isfinite(scale).all() else Skip("a factor is 0 or not finite")
