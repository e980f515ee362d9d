"""Attributes between protobuf and plain Python values."""

from __future__ import annotations

from collections.abc import Callable
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
    reader = _READERS.get(attribute.type)
    return TensorData(attribute.t, files).array() if reader is None else reader(attribute)


def encode(name: str, value: Any) -> AttributeProto:
    """An attribute that holds a plain value.

    Raises:
        EditRefused: The value is of no type that an attribute can hold.
    """
    if isinstance(value, np.ndarray):
        array: Array = value
        return AttributeProto(name=name, type=AttributeProto.TENSOR, t=tensor_from_array(array, ""))
    if isinstance(value, dict | set | frozenset):
        raise EditRefused(f"attribute {name!r} cannot hold {value!r}")
    try:
        return helper.make_attribute(name, value)
    except (TypeError, ValueError) as error:
        raise EditRefused(f"attribute {name!r} cannot hold {value!r}: {error}") from error


def _text(raw: bytes) -> str | bytes:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw


_READERS: dict[int, Callable[[AttributeProto], Any]] = {
    AttributeProto.STRING: lambda attribute: _text(attribute.s),
    AttributeProto.STRINGS: lambda attribute: [_text(item) for item in attribute.strings],
    AttributeProto.FLOAT: lambda attribute: attribute.f,
    AttributeProto.INT: lambda attribute: attribute.i,
    AttributeProto.FLOATS: lambda attribute: list(attribute.floats),
    AttributeProto.INTS: lambda attribute: list(attribute.ints),
    AttributeProto.GRAPH: lambda attribute: attribute.g,
}
