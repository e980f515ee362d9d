"""Stored tensors: their type, shape and bytes, read on demand."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import ml_dtypes
import numpy as np
from onnx import TensorProto, helper, numpy_helper

from graphopt.contract import Array
from graphopt.errors import ModelError
from graphopt.model.external import BLOCK, ExternalFiles, ExternalRange

_SUB_BYTE_BITS: dict[int, int] = {
    TensorProto.UINT4: 4,
    TensorProto.INT4: 4,
    TensorProto.FLOAT4E2M1: 4,
    TensorProto.UINT2: 2,
    TensorProto.INT2: 2,
}
# Of newer ONNX versions than the oldest that graphopt runs with.
_SUB_BYTE_BITS.update(
    {number: 6 for name, number in TensorProto.DataType.items() if name.startswith("FLOAT6")}
)

_CACHE_LIMIT = 1 << 16


def numpy_dtype(elem_type: int) -> np.dtype[Any] | None:
    """The numpy (or ml_dtypes) type of an ONNX element type; None for an unknown number."""
    try:
        return np.dtype(helper.tensor_dtype_to_np_dtype(elem_type))
    except KeyError:
        return None


def element_type(dtype: np.dtype[Any]) -> int:
    """The ONNX element type of a numpy or ml_dtypes type; strings are object arrays.

    Raises:
        ModelError: ONNX has no such type.
    """
    try:
        return int(helper.np_dtype_to_tensor_dtype(dtype))
    except (KeyError, ValueError) as error:
        raise ModelError(f"ONNX has no element type for {dtype}") from error


def packed_bytes(elem_type: int, count: int) -> int:
    """Bytes that `count` elements take as raw data; 4- and 2-bit elements are packed."""
    bits = _SUB_BYTE_BITS.get(elem_type)
    if bits is not None:
        return (count * bits + 7) // 8
    dtype = numpy_dtype(elem_type)
    return count * (dtype.itemsize if dtype is not None else 0)


def is_packed(elem_type: int) -> bool:
    """True for element types of less than a byte, which raw data packs together."""
    return elem_type in _SUB_BYTE_BITS


def is_native(dtype: np.dtype[Any]) -> bool:
    """True for numpy's own types, which every interface takes; ml_dtypes adds the others."""
    return dtype.isbuiltin == 1 or dtype.kind == "O"


class TensorData:
    """One stored tensor; nothing is read before it is asked for.

    Args:
        proto: The stored tensor, kept as it is.
        files: Where external bytes come from; None when the model has no folder.
    """

    def __init__(self, proto: TensorProto, files: ExternalFiles | None) -> None:
        self.proto = proto
        self._files = files
        self._array: Array | None = None

    @property
    def name(self) -> str:
        """The tensor's name."""
        return self.proto.name

    @property
    def elem_type(self) -> int:
        """ONNX element type."""
        return self.proto.data_type

    @cached_property
    def dtype(self) -> np.dtype[Any] | None:
        """The numpy type, None for an element type this onnx does not know."""
        return numpy_dtype(self.proto.data_type)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The dimensions."""
        return tuple(self.proto.dims)

    @property
    def is_external(self) -> bool:
        """True when the bytes lie in another file."""
        return self.proto.data_location == TensorProto.EXTERNAL

    @property
    def is_string(self) -> bool:
        """True for a tensor of strings."""
        return self.proto.data_type == TensorProto.STRING

    @cached_property
    def nbytes(self) -> int:
        """Bytes as raw data (strings: their lengths added up).

        Raises:
            ModelError: A dimension is negative.
        """
        if any(dim < 0 for dim in self.shape):
            raise ModelError(f"tensor {self.name!r} has a negative dimension {self.shape}")
        if self.is_string:
            return sum(len(item) for item in self.proto.string_data)
        return packed_bytes(self.elem_type, math.prod(self.shape))

    def check(self) -> None:
        """Check that the bytes are there and as many as shape and dtype need.

        Raises:
            ModelError: They are not.
        """
        if self.is_external:
            self._external().check(self._range(), self.nbytes, self.name)
        elif self.proto.HasField("raw_data") and len(self.proto.raw_data) != self.nbytes:
            raise ModelError(
                f"tensor {self.name!r} holds {len(self.proto.raw_data)} bytes, its shape and "
                f"dtype need {self.nbytes}"
            )

    def blocks(self) -> Iterator[bytes | memoryview]:
        """Yield the raw little-endian bytes, packed as ONNX packs them, block by block.

        Raises:
            ModelError: The bytes are not what shape and dtype need.
        """
        self.check()
        if self.is_external:
            yield from self._external().blocks(self._range(), self.nbytes)
        elif self.is_string:
            for item in self.proto.string_data:
                yield len(item).to_bytes(8, "little") + item
        else:
            raw = self.proto.raw_data if self.proto.HasField("raw_data") else self._packed()
            view = memoryview(raw)
            for start in range(0, len(view), BLOCK):
                yield view[start : start + BLOCK]

    def array(self) -> Array:
        """The values, shape `shape`; small ones are kept, large ones read anew each time.

        Raises:
            ModelError: The bytes are not what shape and dtype need.
        """
        if self._array is not None:
            return self._array
        self.check()
        try:
            array = self._load()
        except (ValueError, TypeError, KeyError) as error:
            raise ModelError(f"tensor {self.name!r} cannot be read: {error}") from error
        array.flags.writeable = False
        if array.nbytes <= _CACHE_LIMIT:
            self._array = array
        return array

    def digest(self) -> bytes:
        """SHA-256 over dtype, shape and bytes, whichever way they are stored."""
        hasher = hashlib.sha256(repr((self.elem_type, self.shape)).encode())
        for block in self.blocks():
            hasher.update(block)
        return hasher.digest()

    def _load(self) -> Array:
        if self.is_string:
            return _strings(list(self.proto.string_data)).reshape(self.shape)
        if not self.is_external:
            return np.array(numpy_helper.to_array(self.proto))
        raw = TensorProto(data_type=self.elem_type, dims=self.shape, name=self.name)
        if is_packed(self.elem_type):
            raw.raw_data = b"".join(self._external().blocks(self._range(), self.nbytes))
            return np.array(numpy_helper.to_array(raw))
        array = np.empty(self.shape, self.dtype)
        flat = array.reshape(-1).view(np.uint8)
        position = 0
        for block in self._external().blocks(self._range(), self.nbytes):
            flat[position : position + len(block)] = np.frombuffer(block, np.uint8)
            position += len(block)
        return array

    def _packed(self) -> bytes:
        try:
            return numpy_helper.from_array(numpy_helper.to_array(self.proto)).raw_data
        except (ValueError, TypeError, KeyError) as error:
            raise ModelError(f"tensor {self.name!r} cannot be read: {error}") from error

    def _range(self) -> ExternalRange:
        return ExternalRange.of(self.proto, self._external().model_file)

    def _external(self) -> ExternalFiles:
        if self._files is None:
            raise ModelError(
                f"tensor {self.name!r} is external, but the model was given without a folder",
                hint="load it from its path",
            )
        return self._files


def _strings(items: list[bytes]) -> Array:
    # Strings need not be UTF-8; those that are not stay bytes, so that they survive a round trip.
    array = np.empty(len(items), dtype=object)
    for index, item in enumerate(items):
        try:
            array[index] = item.decode("utf-8")
        except UnicodeDecodeError:
            array[index] = item
    return array


def tensor_from_array(array: Array, name: str) -> TensorProto:
    """Store an array as a TensorProto, raw data packed for 4- and 2-bit types.

    Args:
        array: Any shape; numpy or ml_dtypes element type, or objects (str or bytes) for strings.
        name: The tensor's name.

    Raises:
        ModelError: ONNX has no such element type.
    """
    if array.dtype.kind in "OSU":
        tensor = TensorProto(name=name, data_type=TensorProto.STRING, dims=array.shape)
        for item in array.reshape(-1).tolist():
            tensor.string_data.append(item if isinstance(item, bytes) else str(item).encode())
        return tensor
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("="))
    element_type(array.dtype)
    # ascontiguousarray would lift a scalar to one dimension.
    return numpy_helper.from_array(np.asarray(array, order="C"), name)


def is_floating(dtype: np.dtype[Any]) -> bool:
    """True for IEEE floats and the ml_dtypes ones (bfloat16, 8-bit and 4-bit floats)."""
    if dtype.kind == "f":
        return True
    if dtype.kind in "biucOSU":
        return False
    try:
        ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
    except ValueError:
        return False
    return True
