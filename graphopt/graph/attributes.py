"""Attributes between protobuf and plain Python values."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import AttributeProto, helper

from graphopt.contract import Array
from graphopt.errors import EditRefused
from graphopt.model import TensorData, tensor_from_array
from graphopt.model.external import ExternalFiles

_PLAIN = frozenset(
    {
        AttributeProto.FLOAT,
        AttributeProto.INT,
        AttributeProto.STRING,
        AttributeProto.TENSOR,
        AttributeProto.GRAPH,
        AttributeProto.FLOATS,
        AttributeProto.INTS,
        AttributeProto.STRINGS,
    }
)


def is_plain(attribute: AttributeProto) -> bool:
    """False for references to a function's attribute, sparse tensors, types and lists of graphs."""
    return not attribute.ref_attr_name and attribute.type in _PLAIN


def decode(attribute: AttributeProto, files: ExternalFiles | None) -> Any:
    """The value of a plain attribute: int, float, str (bytes where not UTF-8), list or array."""
    kind = attribute.type
    if kind == AttributeProto.TENSOR:
        return TensorData(attribute.t, files).array()
    if kind == AttributeProto.STRING:
        return _text(attribute.s)
    if kind == AttributeProto.STRINGS:
        return [_text(item) for item in attribute.strings]
    return {
        AttributeProto.FLOAT: lambda: attribute.f,
        AttributeProto.INT: lambda: attribute.i,
        AttributeProto.FLOATS: lambda: list(attribute.floats),
        AttributeProto.INTS: lambda: list(attribute.ints),
        AttributeProto.GRAPH: lambda: attribute.g,
    }[kind]()


def encode(name: str, value: Any) -> AttributeProto:
    """An attribute that holds a plain value.

    Raises:
        EditRefused: The value is of no type that an attribute can hold.
    """
    if isinstance(value, np.ndarray):
        array: Array = value
        return AttributeProto(
            name=name, type=AttributeProto.TENSOR, t=tensor_from_array(array, "")
        )
    try:
        return helper.make_attribute(name, value)
    except (TypeError, ValueError) as error:
        raise EditRefused(f"attribute {name!r} cannot hold {value!r}: {error}") from error


def _text(raw: bytes) -> str | bytes:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw
