"""Fold a BatchNormalization into the Gemm before it.

Before: x -> Gemm(W, C) -> BatchNormalization(scale, bias, mean, var) -> y
After:  x -> Gemm(W', C') -> y

With f = scale / sqrt(var + epsilon), per column: W' = W * f, C' = (beta * C - mean) * f + bias, in
float64, rounded once.

Conditions: BatchNormalization in inference form; W, C and its parameters are constants of one
floating-point type; C is a row or a number; nothing else reads the product or the weight; every
result is finite.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.contract import Array, Context, Editor, Effect, GraphView, NodeView, Skip, ValueView
from graphopt.passes.fuse._batchnorm import Norm, norm_of
from graphopt.passes.fuse._conv import FLOATS, quiet, vanishes


@dataclass(frozen=True, slots=True)
class Found:
    """A Gemm and the BatchNormalization behind it, with the fused parameters."""

    gemm: NodeView
    norm: NodeView
    weight: Array
    addend: Array
    effect: Effect = Effect.ROUNDING


@dataclass(frozen=True)
class FuseGemmBatchnorm:
    """Fold the scale and shift of a BatchNormalization into the Gemm that feeds it.

    Fires on synthetic graphs only among the catalogue's models. Source: Ioffe and Szegedy 2015
    (arXiv 1502.03167), inference form; ONNX operators Gemm, opsets 7 to 13, BatchNormalization.
    """

    name: ClassVar[str] = "fuse_gemm_batchnorm"
    effect: ClassVar[Effect] = Effect.ROUNDING
    roots: ClassVar[tuple[str, ...]] = ("BatchNormalization",)

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | Skip | None:
        """Look at one BatchNormalization."""
        source = node.inputs[0]
        gemm = source.producer if source is not None else None
        if source is None or node.outputs[0] is None or gemm is None or gemm.op_type != "Gemm":
            return None
        refused = _refusal(node, gemm, source)
        if refused:
            return refused
        weight, addend = _constant(gemm.inputs[1]), _constant(_addend(gemm))
        if weight is None or weight.dtype not in FLOATS or weight.ndim != 2:
            return Skip("the weight is not a constant of a floating-point type")
        if _addend(gemm) is not None and (addend is None or addend.dtype != weight.dtype):
            return Skip("the addend is not a constant of the weight's type")
        columns = weight.shape[0 if gemm.attribute("transB", 0) else 1]
        norm = norm_of(node, graph, columns, weight.dtype)
        return norm if isinstance(norm, Skip) else _fused(gemm, node, weight, addend, norm)

    def rewrite(self, match: Found, edit: Editor) -> None:
        """Give the Gemm its new parameters and remove the BatchNormalization."""
        gemm, graph, target = match.gemm, match.gemm.graph, match.norm.outputs[0]
        stored = gemm.inputs[1]
        assert stored is not None
        assert target is not None
        edit.set_input(gemm, 1, edit.constant(match.weight, f"{stored.name}_fused", graph))
        edit.set_input(gemm, 2, edit.constant(match.addend, f"{stored.name}_bias", graph))
        edit.set_attribute(gemm, "beta", None)
        edit.adopt(gemm, 0, target)
        edit.remove(match.norm)


def _refusal(norm: NodeView, gemm: NodeView, source: ValueView) -> Skip | None:
    if gemm.is_opaque or gemm.graph is not norm.graph:
        return Skip("the gemm is not a plain one beside the batchnorm")
    if gemm.graph.opset() < 7:
        return Skip("Gemm broadcasts from opset 7 on")
    if source.is_graph_output or len(source.readers) != 1:
        return Skip("the product is read elsewhere")
    weight = gemm.inputs[1]
    if weight is None or len(weight.readers) != 1:
        return Skip("the weight is shared")
    return None


def _addend(gemm: NodeView) -> ValueView | None:
    return gemm.inputs[2] if len(gemm.inputs) > 2 else None


def _constant(value: ValueView | None) -> Array | None:
    return value.array() if value is not None and value.is_constant else None


def _fused(
    gemm: NodeView, node: NodeView, weight: Array, addend: Array | None, norm: Norm
) -> Found | Skip:
    row = np.zeros(1) if addend is None else addend.astype(np.float64)
    if row.ndim > 2 or (row.ndim == 2 and row.shape[0] != 1) or row.shape[-1:] not in (
        (), (1,), norm.scale.shape
    ):  # fmt: skip
        return Skip("the addend is not a row")
    columns = norm.scale if not gemm.attribute("transB", 0) else norm.scale[:, None]
    with quiet():
        moved = (float(gemm.attribute("beta", 1.0)) * row.ravel() - norm.center) * norm.scale
        wide = weight.astype(np.float64) * columns
        new_weight = wide.astype(weight.dtype)
        new_addend = (moved + norm.shift).astype(weight.dtype)
    if not (np.isfinite(new_weight).all() and np.isfinite(new_addend).all()):
        return Skip("a fused parameter is not finite")
    flipped = not gemm.attribute("transB", 0)
    if weight.size and vanishes(*(array.T if flipped else array for array in (wide, weight))):
        return Skip("a fused parameter is too small for its type")
    return Found(gemm, node, new_weight, new_addend)
