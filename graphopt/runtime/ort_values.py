"""Running a session whatever its element types; numpy knows fewer of them than ONNX."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from graphopt.contract import Array
from graphopt.model.tensor import (
    element_type,
    is_native,
    is_packed,
    numpy_dtype,
    packed_bytes,
)

_LACKING = frozenset(
    name.lower()
    for name, number in TensorProto.DataType.items()
    if (dtype := numpy_dtype(number)) is not None and not is_native(dtype)
)
"""Element types that numpy lacks, as ONNX Runtime spells them: bfloat16, float8e4m3fn, int4, ..."""


def run(session: Any, names: list[str], feeds: dict[str, Any]) -> list[Any]:
    """Run a session once.

    Args:
        session: An onnxruntime.InferenceSession.
        names: Outputs wanted.
        feeds: Inputs by name: numpy or ml_dtypes arrays, lists of them for sequences.

    Returns:
        The outputs in that order, in numpy or ml_dtypes types.
    """
    inputs = {name: fed(value) for name, value in feeds.items()}
    if not lacking(session, names):
        return list(session.run(names, inputs))
    binding = session.io_binding()
    for name, value in inputs.items():
        if isinstance(value, np.ndarray):
            binding.bind_cpu_input(name, np.ascontiguousarray(value).reshape(value.shape))
        else:
            binding.bind_ortvalue_input(name, value)
    for name in names:
        binding.bind_output(name)
    session.run_with_iobinding(binding)
    return [_array(value) for value in binding.get_outputs()]


def lacking(session: Any, names: list[str]) -> bool:
    """True when numpy has no type for one of these outputs, so that they have to be bound."""
    kinds = {output.name: output.type for output in session.get_outputs()}
    return any(_element(kinds.get(name, "")) in _LACKING for name in names)


def _element(kind: str) -> str:
    """bfloat16 of tensor(bfloat16)."""
    return kind.removeprefix("tensor(").removesuffix(")")


def fed(value: Any) -> Any:
    """An input as ONNX Runtime takes it: an OrtValue where numpy lacks its element type.

    Raises:
        ValueError: Python cannot hand over such a type.
    """
    if not isinstance(value, np.ndarray) or is_native(value.dtype):
        return value
    elem = element_type(value.dtype)
    if is_packed(elem):
        # An OrtValue would read the unpacked bytes as packed ones.
        raise ValueError(f"ONNX Runtime cannot be fed {value.dtype} from Python")
    import onnxruntime as ort

    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(value, elem)


def _array(value: Any) -> Any:
    if not value.is_tensor():
        return value.numpy()
    elem = value.element_type()
    shape = value.shape()
    if is_native(np.dtype(helper.tensor_dtype_to_np_dtype(elem))):
        return value.numpy()
    raw = ctypes.string_at(value.data_ptr(), packed_bytes(elem, math.prod(shape)))
    found: Array = numpy_helper.to_array(TensorProto(data_type=elem, dims=shape, raw_data=raw))
    return found
