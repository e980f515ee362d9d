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

import numpy as np

from graphopt.contract import Array, Context, Editor, Effect, GraphView, NodeView, Skip, ValueView

_FLOATS = (np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64))


@dataclass(frozen=True, slots=True)
class Found:
    """A Conv and the BatchNormalization behind it, with the fused parameters."""

    conv: NodeView
    norm: NodeView
    weight: Array
    bias: Array
    effect: Effect = Effect.ROUNDING


@dataclass(frozen=True)
class FuseConvBatchnorm:
    """Fold the scale and shift of a BatchNormalization into the Conv that feeds it.

    Fires on: resnet_20, mixnet. Source: Ioffe and Szegedy 2015 (arXiv 1502.03167), inference form;
    ONNX operators Conv and BatchNormalization, opsets 1 to 15.
    """

    name: ClassVar[str] = "fuse_conv_batchnorm"
    effect: ClassVar[Effect] = Effect.ROUNDING
    roots: ClassVar[tuple[str, ...]] = ("BatchNormalization",)

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | Skip | None:
        """Look at one BatchNormalization."""
        source, target = node.inputs[0], node.outputs[0]
        conv = source.producer if source is not None else None
        if source is None or target is None or conv is None or conv.op_type != "Conv":
            return None
        refused = _refusal(node, conv, graph)
        if refused:
            return refused
        constants = _constants([*conv.inputs[1:3], *node.inputs[1:5]])
        if isinstance(constants, Skip):
            return constants
        return _fused(conv, node, constants)

    def rewrite(self, match: Found, edit: Editor) -> None:
        """Give the Conv its new parameters and remove the BatchNormalization."""
        conv, graph = match.conv, match.conv.graph
        weight, target = conv.inputs[1], match.norm.outputs[0]
        assert weight is not None
        assert target is not None
        edit.set_input(conv, 1, edit.constant(match.weight, f"{weight.name}_fused", graph))
        edit.set_input(conv, 2, edit.constant(match.bias, f"{weight.name}_bias", graph))
        edit.adopt(conv, 0, target)
        edit.remove(match.norm)


def _refusal(norm: NodeView, conv: NodeView, graph: GraphView) -> Skip | None:
    output = conv.outputs[0]
    assert output is not None
    if conv.is_opaque:
        return Skip("the conv is not a plain one")
    if conv.graph is not norm.graph:
        return Skip("conv and batchnorm stand in different graphs")
    if output.is_graph_output:
        return Skip("conv output is a graph output")
    if len(output.readers) != 1:
        return Skip(f"conv output has {len(output.readers)} readers")
    if sum(value is not None for value in norm.outputs) > 1 or norm.attribute("training_mode", 0):
        return Skip("batchnorm in training form")
    if graph.opset() < 7 and not norm.attribute("is_test", 0):
        return Skip("batchnorm in training form")
    if graph.opset() < 9 and not norm.attribute("spatial", 1):
        return Skip("batchnorm per activation, not per channel")
    return None


def _constants(values: list[ValueView | None]) -> list[Array | None] | Skip:
    """The Conv's weight and bias (None where it has none) and the four of the norm."""
    found: list[Array | None] = []
    for value in values:
        if value is None:
            found.append(None)
        elif not value.is_constant:
            return Skip("a parameter is not a constant")
        else:
            found.append(value.array())
    if len(found) == 5:
        found.insert(1, None)
    return found


def _fused(conv: NodeView, norm: NodeView, constants: list[Array | None]) -> Found | Skip:
    weight, bias, *parameters = constants
    given = [array for array in constants if array is not None]
    if weight is None or any(array is None for array in parameters):
        return Skip("a parameter is left out")
    if weight.dtype not in _FLOATS or any(array.dtype != weight.dtype for array in given):
        return Skip("parameters of different or unusual types")
    if any(array.shape != (weight.shape[0],) for array in given[1:]):
        return Skip("parameter shapes do not fit the conv")
    scale, shift, mean, var = (a.astype(np.float64) for a in parameters if a is not None)
    variance = var + float(norm.attribute("epsilon", 1e-5))
    if not (variance > 0).all():
        return Skip("variance plus epsilon is not positive")
    factor = scale / np.sqrt(variance)
    old_bias = np.zeros_like(mean) if bias is None else bias.astype(np.float64)
    wide = weight.astype(np.float64) * factor.reshape(-1, *[1] * (weight.ndim - 1))
    with np.errstate(over="ignore"):
        new_weight = wide.astype(weight.dtype)
        new_bias = ((old_bias - mean) * factor + shift).astype(weight.dtype)
    if not (np.isfinite(new_weight).all() and np.isfinite(new_bias).all()):
        return Skip("a fused parameter is not finite")
    return Found(conv, norm, new_weight, new_bias)
