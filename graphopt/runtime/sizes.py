"""How large a node's results will be, before it runs."""

from __future__ import annotations

import math

import onnx
from onnx import ModelProto

from graphopt.model.tensor import packed_bytes

_BOUNDED = frozenset(
    {"Compress", "NonMaxSuppression", "NonZero", "StringSplit", "TfIdfVectorizer", "Unique"}
)
"""Operators whose result depends on the data and is bounded by what they read."""


LONG_VECTOR = 100_000
"""Elements of a vector from which data propagation, which keeps a symbol for each, costs much."""


def has_long_vectors(model: bytes) -> bool:
    """True when an input or a constant of the main graph is a vector of more than LONG_VECTOR."""
    graph = ModelProto.FromString(model).graph
    shapes = [
        [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        for info in [*graph.input, *graph.value_info]
    ]
    return any(len(shape) == 1 and shape[0] > LONG_VECTOR for shape in shapes)


def check_results(model: bytes, max_bytes: int) -> None:
    """Check that a one-node model's outputs fit.

    Raises:
        ValueError: They are larger than `max_bytes`, or of a size that nobody can tell.
    """
    inferred = onnx.shape_inference.infer_shapes(ModelProto.FromString(model))
    if inferred.graph.node[0].op_type in _BOUNDED:
        return
    total = 0
    for info in inferred.graph.output:
        tensor = info.type.tensor_type
        dims = list(tensor.shape.dim)
        if not tensor.HasField("shape") or not all(dim.HasField("dim_value") for dim in dims):
            raise ValueError("the size of the result is not known")
        total += packed_bytes(tensor.elem_type, math.prod(dim.dim_value for dim in dims))
    if total > max_bytes:
        raise ValueError(f"the result would take {total} bytes")
