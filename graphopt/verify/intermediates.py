"""Tensors inside both models, for outputs that say nothing (saturated, constant)."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, ValueInfoProto

from graphopt.graph.shapes import bind_inputs
from graphopt.model import Model
from graphopt.model.tensor import is_floating

COMPARED = 8


def surviving_values(before: ModelProto, after: ModelProto) -> list[str]:
    """Floating-point values that both main graphs compute, the last ones first, at most COMPARED.

    A rewrite that is not lossy keeps the meaning of every name that survives it.
    """
    outputs = {info.name for info in before.graph.output}
    floats = {name for name, t in bind_inputs(before, {}).items() if _is_float(t.dtype)}
    kept = {name for node in after.graph.node for name in node.output}
    names = [
        name
        for node in before.graph.node
        if node.op_type != "Constant"
        for name in node.output
        if name in kept and name in floats and name not in outputs
    ]
    return names[::-1][:COMPARED]


def with_outputs(model: Model, names: list[str]) -> Model:
    """A copy whose main graph also gives back the named values."""
    proto = ModelProto()
    proto.CopyFrom(model.proto)
    proto.graph.output.extend(ValueInfoProto(name=name) for name in names)
    return model.with_proto(proto)


def _is_float(dtype: np.dtype[np.generic] | None) -> bool:
    return dtype is not None and is_floating(dtype)
