from __future__ import annotations

import io
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from graphopt.runtime import wire

DTYPES = [
    np.float64, np.float32, np.float16, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16,
    np.uint32, np.uint64, np.bool_, np.complex64, np.complex128, ml_dtypes.bfloat16,
    ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2,
    ml_dtypes.float8_e5m2fnuz, ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.float4_e2m1fn,
]  # fmt: skip
SHAPES: list[tuple[int, ...]] = [(), (0,), (3, 0, 2), (1,), (2, 3, 4)]

numbers = hnp.arrays(
    st.sampled_from([np.dtype(d) for d in (np.float32, np.int64, np.uint8, np.bool_, np.float16)]),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)
words = st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=4).map(
    lambda items: np.array([*items, None], object)[:-1]
)
values = st.recursive(numbers | words | st.none(), lambda inner: st.lists(inner, max_size=3))


def through(arrays: dict[str, Any], header: dict[str, Any] | None = None) -> wire.Message:
    stream = io.BytesIO()
    wire.send(stream, header or {}, arrays)
    stream.seek(0)
    message = wire.receive(stream)
    assert message is not None
    assert stream.read() == b""
    return message


def same(a: Any, b: Any) -> bool:
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if a is None:
        return b is None
    assert isinstance(b, np.ndarray)
    if a.dtype.kind == "O":
        return bool(a.shape == b.shape and a.tolist() == b.tolist())
    return bool((a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()))


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), values, max_size=4))
def test_arrays_come_back(arrays: dict[str, Any]) -> None:
    _, back = through(arrays)
    assert list(back) == list(arrays)
    assert all(same(arrays[name], back[name]) for name in arrays)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
def test_every_dtype_and_shape(dtype: Any, shape: tuple[int, ...]) -> None:
    count = int(np.prod(shape))
    array = (np.arange(count) % 5).reshape(shape).astype(dtype)
    assert same(array, through({"x": array})[1]["x"])


def test_layout_in_memory_does_not_matter() -> None:
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for view in (array.T, array[:, ::-1], np.asfortranarray(array)):
        assert np.array_equal(through({"x": view})[1]["x"], view)


def test_what_comes_back_may_be_written_to() -> None:
    back = through({"x": np.zeros(3, np.float32)})[1]["x"]
    assert isinstance(back, np.ndarray)
    back[0] = 1


def test_strings_of_any_kind() -> None:
    for array in (np.array(["a", "é"]), np.array([b"a", "é".encode()], object), np.array("a")):
        back = through({"x": array})[1]["x"]
        assert isinstance(back, np.ndarray)
        assert back.shape == array.shape
        assert back.reshape(-1)[0] == "a"


def test_header_comes_back() -> None:
    header = {"action": "run", "outputs": ["y"], "session": 3, "nested": {"a": None}}
    assert through({}, header) == (header, {})


def test_messages_follow_each_other() -> None:
    stream = io.BytesIO()
    for number in range(3):
        wire.send(stream, {"n": number}, {"x": np.full(number, number, np.int64)})
    stream.seek(0)
    for number in range(3):
        message = wire.receive(stream)
        assert message is not None
        assert message[0] == {"n": number}
        assert np.array_equal(message[1]["x"], np.full(number, number))
    assert wire.receive(stream) is None


def test_message_that_breaks_off_reads_as_an_end() -> None:
    stream = io.BytesIO()
    wire.send(stream, {"n": 1}, {"x": np.arange(10), "s": np.array(["text"])})
    whole = stream.getvalue()
    for length in range(len(whole)):
        assert wire.receive(io.BytesIO(whole[:length])) is None
