"""Messages between graphopt and its runtime process: a JSON header, then raw arrays.

No pickle: the process at the other end has run an untrusted model.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from onnx import helper

from graphopt.contract import Array

_LENGTH = struct.Struct("<I")

MODEL = "\0model"
"""Under this name a serialised model travels among the arrays; no input can be called so."""

Message = tuple[dict[str, Any], dict[str, Array | list[Any]]]


def send(stream: BinaryIO, header: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write one message; arrays are numpy (any dtype ONNX knows), or lists of such."""
    described: dict[str, Any] = {}
    buffers: list[bytes] = []
    for name, value in arrays.items():
        described[name] = _describe(value, buffers)
    head = json.dumps({"header": dict(header), "arrays": described}).encode()
    stream.write(_LENGTH.pack(len(head)) + head)
    for buffer in buffers:
        stream.write(buffer)
    stream.flush()


def receive(stream: BinaryIO) -> Message | None:
    """Read one message; None when the other end is gone."""
    size = _read(stream, _LENGTH.size)
    if size is None:
        return None
    head = _read(stream, _LENGTH.unpack(size)[0])
    if head is None:
        return None
    message = json.loads(head)
    arrays = {}
    for name, description in message["arrays"].items():
        try:
            arrays[name] = _restore(stream, description)
        except EOFError:
            return None
    return message["header"], arrays


def _describe(value: Any, buffers: list[bytes]) -> Any:
    if value is None:
        return {"none": True}
    if isinstance(value, list):
        return {"list": [_describe(item, buffers) for item in value]}
    if isinstance(value, dict):
        return {"list": [_describe(item, buffers) for pair in value.items() for item in pair]}
    array = np.asarray(value)
    if array.dtype.kind in "OSU":
        texts = [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v)
                 for v in array.reshape(-1).tolist()]  # fmt: skip
        return {"strings": texts, "shape": list(array.shape)}
    contiguous = np.ascontiguousarray(array).reshape(-1)
    buffers.append(contiguous.view(np.uint8).tobytes() if contiguous.size else b"")
    elem = int(helper.np_dtype_to_tensor_dtype(array.dtype))
    return {"elem": elem, "shape": list(array.shape)}


def _restore(stream: BinaryIO, description: dict[str, Any]) -> Any:
    if "none" in description:
        return None
    if "list" in description:
        return [_restore(stream, item) for item in description["list"]]
    shape = description["shape"]
    if "strings" in description:
        array = np.empty(len(description["strings"]), dtype=object)
        array[:] = description["strings"]
        return array.reshape(shape)
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(description["elem"]))
    raw = _read(stream, math.prod(shape) * dtype.itemsize)
    if raw is None:
        raise EOFError
    return np.frombuffer(bytearray(raw), dtype=dtype).reshape(shape)


def _read(stream: BinaryIO, size: int) -> bytes | None:
    if size == 0:
        return b""
    data = stream.read(size)
    return data if data is not None and len(data) == size else None
