from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from graphopt.errors import ModelError
from graphopt.model import TensorData, tensor_from_array
from graphopt.model.external import BLOCK, ExternalFiles
from graphopt.model.tensor import element_type, is_floating, numpy_dtype, packed_bytes
from tests.build import Array, external_tensor, few

NUMBERS = tuple(
    number for name, number in TensorProto.DataType.items() if name not in ("UNDEFINED", "STRING")
)
"""Every element type of this onnx but strings."""

BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}
BITS |= {"FLOAT6E2M3": 6, "FLOAT6E3M2": 6}
"""Bits an element takes where it is less than a byte."""

shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)


def type_name(number: int) -> str:
    return TensorProto.DataType.Name(number)


def every_type(function: Any) -> Any:
    return pytest.mark.parametrize("elem_type", NUMBERS, ids=type_name)(function)


def drawn(elem_type: int, shape: tuple[int, ...], seed: int) -> Array:
    """Values of a type: any bit pattern it has, NaN and infinities included."""
    rng = np.random.default_rng(seed)
    dtype = numpy_dtype(elem_type)
    assert dtype is not None
    if dtype == np.bool_:
        return rng.random(shape) < 0.5
    bits = BITS.get(type_name(elem_type))
    if bits is None:
        raw = rng.integers(0, 256, math.prod(shape) * dtype.itemsize, dtype=np.uint8)
        return raw.view(dtype).reshape(shape)
    codes = rng.integers(0, 1 << bits, shape).astype(np.uint8)
    if type_name(elem_type).startswith("FLOAT"):
        return codes.view(dtype)
    return (codes.astype(np.int8) - (dtype.name.startswith("int") << bits - 1)).astype(dtype)


def bits_of(array: Array) -> tuple[str, tuple[int, ...], bytes]:
    """What must survive: type, shape and every bit."""
    return array.dtype.name, array.shape, array.tobytes()


def read(proto: TensorProto) -> Array:
    return TensorData(proto, None).array()


@every_type
@few
@given(shape=shapes, seed=st.integers(0, 1 << 32))
def test_an_array_survives_storing_and_reading(
    elem_type: int, shape: tuple[int, ...], seed: int
) -> None:
    array = drawn(elem_type, shape, seed)
    stored = tensor_from_array(array, "t")
    assert (stored.name, stored.data_type, tuple(stored.dims)) == ("t", elem_type, shape)
    assert len(stored.raw_data) == packed_bytes(elem_type, array.size)
    assert bits_of(read(stored)) == bits_of(array)
    again = tensor_from_array(read(stored), "t")
    assert again == stored


@every_type
@few
@given(shape=shapes, seed=st.integers(0, 1 << 32))
def test_onnx_reads_what_is_stored(elem_type: int, shape: tuple[int, ...], seed: int) -> None:
    array = drawn(elem_type, shape, seed)
    assert bits_of(numpy_helper.to_array(tensor_from_array(array, "t"))) == bits_of(array)


@every_type
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3,), (2, 5), (4, 0, 2)])
def test_nbytes_and_blocks_are_what_the_type_packs_to(
    elem_type: int, shape: tuple[int, ...]
) -> None:
    stored = tensor_from_array(drawn(elem_type, shape, 0), "t")
    data = TensorData(stored, None)
    dtype = numpy_dtype(elem_type)
    assert dtype is not None
    bits = BITS.get(type_name(elem_type), 8 * dtype.itemsize)
    assert data.nbytes == math.ceil(math.prod(shape) * bits / 8)
    assert b"".join(data.blocks()) == stored.raw_data


def in_typed_field(stored: TensorProto) -> TensorProto:
    """The same tensor, its values in the field for its type in place of raw_data."""
    values: Any = numpy_helper.to_array(stored).reshape(-1)
    typed = TensorProto(name=stored.name, data_type=stored.data_type, dims=stored.dims)
    name = type_name(stored.data_type)
    if name in ("FLOAT", "COMPLEX64"):
        typed.float_data.extend(values.view(np.float32).tolist())
    elif name in ("DOUBLE", "COMPLEX128"):
        typed.double_data.extend(values.view(np.float64).tolist())
    elif name == "INT64":
        typed.int64_data.extend(values.tolist())
    elif name in ("UINT32", "UINT64"):
        typed.uint64_data.extend(values.tolist())
    elif name in ("FLOAT16", "BFLOAT16"):
        typed.int32_data.extend(values.view(np.uint16).tolist())
    elif name.startswith("FLOAT6"):
        typed.int32_data.extend(values.view(np.uint8).tolist())
    elif name in BITS or name.startswith("FLOAT8"):
        typed.int32_data.extend(stored.raw_data)
    else:
        typed.int32_data.extend(values.astype(np.int32).tolist())
    return typed


@every_type
@few
@given(shape=shapes, seed=st.integers(0, 1 << 32))
def test_the_field_that_holds_the_values_makes_no_difference(
    elem_type: int, shape: tuple[int, ...], seed: int
) -> None:
    array = drawn(elem_type, shape, seed)
    if array.dtype in (np.float32, np.float64, np.complex64, np.complex128):
        array = np.nan_to_num(array)  # Python floats do not keep a NaN's payload
    stored = tensor_from_array(array, "t")
    raw, typed = TensorData(stored, None), TensorData(in_typed_field(stored), None)
    assert typed.nbytes == raw.nbytes
    assert bits_of(typed.array()) == bits_of(raw.array())
    assert b"".join(typed.blocks()) == stored.raw_data
    assert typed.digest() == raw.digest()


@every_type
def test_external_bytes_are_the_same_tensor(elem_type: int, tmp_path: Path) -> None:
    array = drawn(elem_type, (3, 5), 1)
    stored = tensor_from_array(array, "t")
    (tmp_path / "w.bin").write_bytes(bytes(8) + stored.raw_data)
    proto = external_tensor("t", "w.bin", array, offset=8, length=len(stored.raw_data))
    outside = TensorData(proto, ExternalFiles(tmp_path, tmp_path / "model.onnx"))
    outside.check()
    assert bits_of(outside.array()) == bits_of(array)
    assert outside.digest() == TensorData(stored, None).digest()
    assert b"".join(outside.blocks()) == stored.raw_data


@few
@given(st.lists(st.binary(max_size=12), max_size=8))
def test_strings_survive_utf8_or_not(items: list[bytes]) -> None:
    stored = TensorProto(
        name="s", data_type=TensorProto.STRING, dims=[len(items)], string_data=items
    )
    data = TensorData(stored, None)
    assert data.is_string and data.nbytes == sum(map(len, items))
    assert tensor_from_array(data.array(), "s") == stored


def test_strings_are_text_where_they_can_be() -> None:
    stored = TensorProto(
        data_type=TensorProto.STRING, dims=[2, 1], string_data=["ä".encode(), b"\xff\xfe"]
    )
    assert read(stored).tolist() == [["ä"], [b"\xff\xfe"]]


def test_the_digest_of_strings_tells_where_one_ends() -> None:
    def digest(*items: bytes) -> bytes:
        stored = TensorProto(data_type=TensorProto.STRING, dims=[2], string_data=items)
        return TensorData(stored, None).digest()

    assert digest(b"a", b"bc") != digest(b"ab", b"c")


def test_the_digest_tells_type_shape_and_values_apart_but_not_names() -> None:
    arrays: list[Array] = [
        np.zeros(4, np.float32),
        np.zeros((2, 2), np.float32),
        np.zeros(4, np.int32),
        np.array([0, 0, 0, -0.0], np.float32),
        np.zeros((), np.float32),
    ]
    digests = [TensorData(tensor_from_array(a, "t"), None).digest() for a in arrays]
    assert len(set(digests)) == len(arrays)
    other = TensorData(tensor_from_array(arrays[0], "other"), None)
    assert other.digest() == digests[0]


def test_blocks_of_a_large_tensor_are_bounded() -> None:
    array = np.arange(BLOCK // 2 + 10, dtype=np.int32)
    sizes = [len(block) for block in TensorData(tensor_from_array(array, "t"), None).blocks()]
    assert sizes == [BLOCK, BLOCK, 40]


def test_an_array_is_read_only_and_small_ones_are_kept() -> None:
    small = TensorData(tensor_from_array(np.arange(4), "t"), None)
    large = TensorData(tensor_from_array(np.zeros(1 << 17), "t"), None)
    assert small.array() is small.array()
    assert large.array() is not large.array()
    for data in (small, large):
        with pytest.raises(ValueError, match="read-only"):
            data.array()[0] = 1


@pytest.mark.parametrize("size", [0, 15, 17])
def test_raw_data_of_another_size_is_refused(size: int) -> None:
    proto = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], raw_data=bytes(size))
    for use in (TensorData.check, TensorData.array, TensorData.digest):
        with pytest.raises(ModelError, match="'w'"):
            use(TensorData(proto, None))


def test_typed_values_too_few_or_many_are_refused() -> None:
    for count in (0, 3, 5):
        proto = TensorProto(
            name="w", data_type=TensorProto.FLOAT, dims=[4], float_data=[1.0] * count
        )
        for use in (TensorData.array, TensorData.digest):
            with pytest.raises(ModelError, match="'w'"):
                use(TensorData(proto, None))


def test_a_negative_dimension_is_refused() -> None:
    proto = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[-1, -4], raw_data=bytes(16))
    with pytest.raises(ModelError, match="negative"):
        read(proto)


def test_an_element_type_of_the_future_has_no_dtype_and_is_refused_when_read() -> None:
    data = TensorData(TensorProto(name="w", data_type=99, dims=[2], raw_data=b"ab"), None)
    assert data.dtype is None
    with pytest.raises(ModelError):
        data.array()


def test_external_without_a_folder_is_refused_with_a_hint() -> None:
    proto = external_tensor("w", "w.bin", np.zeros(4, np.float32))
    with pytest.raises(ModelError) as caught:
        read(proto)
    assert caught.value.hint


def test_arrays_of_any_memory_layout_are_stored_alike() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    wanted = tensor_from_array(array, "t")
    assert tensor_from_array(np.asfortranarray(array), "t") == wanted
    assert tensor_from_array(np.repeat(array, 2, axis=1)[:, ::2], "t") == wanted
    assert tensor_from_array(array.astype(">f4"), "t") == wanted


def test_a_type_that_onnx_lacks_is_refused() -> None:
    for array in (np.zeros(2, np.longdouble), np.zeros(2, "M8[s]"), np.zeros(2, "i4,f4")):
        with pytest.raises(ModelError, match="no element type"):
            tensor_from_array(array, "t")


@every_type
def test_element_types_map_both_ways(elem_type: int) -> None:
    dtype = numpy_dtype(elem_type)
    assert dtype is not None
    assert element_type(dtype) == elem_type
    assert is_floating(dtype) == (
        "FLOAT" in type_name(elem_type) or elem_type == TensorProto.DOUBLE
    )


def test_element_types_beyond_the_table_are_none() -> None:
    assert numpy_dtype(0) is None and numpy_dtype(99) is None
    assert numpy_dtype(TensorProto.BFLOAT16) == ml_dtypes.bfloat16
    assert helper.tensor_dtype_to_np_dtype(TensorProto.INT2) == ml_dtypes.int2
