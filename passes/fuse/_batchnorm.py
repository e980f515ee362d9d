"""A BatchNormalization in inference form as one scale and one shift for each channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphopt.contract import Array, GraphView, NodeView, Skip


@dataclass(frozen=True, slots=True)
class Norm:
    """What a BatchNormalization does: `(x - center) * scale + shift`, each [channels], float64."""

    scale: Array
    shift: Array
    center: Array


def norm_of(norm: NodeView, graph: GraphView, channels: int, dtype: np.dtype[Any]) -> Norm | Skip:
    """Read a BatchNormalization's parameters, or say why it cannot be one map per channel.

    Args:
        norm: The node.
        graph: Where it stands.
        channels: How many channels it must have.
        dtype: The type that its parameters must have.

    Source: Ioffe and Szegedy 2015 (arXiv 1502.03167), inference form.
    """
    refused = _refusal(norm, graph)
    if refused:
        return refused
    values = [value for value in norm.inputs[1:5] if value is not None]
    if len(values) != 4 or not all(value.is_constant for value in values):
        return Skip("a parameter is not a constant")
    arrays = [value.array() for value in values]
    if any(array.dtype != dtype for array in arrays):
        return Skip("parameters of different or unusual types")
    if any(array.shape != (channels,) for array in arrays):
        return Skip("parameter shapes do not fit")
    scale, shift, mean, var = (array.astype(np.float64) for array in arrays)
    variance = var + float(norm.attribute("epsilon", np.float32(1e-5)))
    if not (variance > 0).all():
        return Skip("variance plus epsilon is not positive")
    return Norm(scale / np.sqrt(variance), shift, mean)


def _refusal(norm: NodeView, graph: GraphView) -> Skip | None:
    if sum(value is not None for value in norm.outputs) > 1 or norm.attribute("training_mode", 0):
        return Skip("batchnorm in training form")
    if graph.opset() < 7 and not norm.attribute("is_test", 0):
        return Skip("batchnorm in training form")
    if graph.opset() < 9 and not norm.attribute("spatial", 1):
        return Skip("batchnorm per activation, not per channel")
    return None
