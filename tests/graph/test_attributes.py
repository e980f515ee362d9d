from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import AttributeProto, TensorProto, helper

from graphopt.errors import EditRefused
from graphopt.graph.attributes import decode, encode, is_plain
from graphopt.model.external import ExternalFiles
from tests.build import RAMP, external_tensor, few

int64 = st.integers(-(1 << 63), (1 << 63) - 1)
float32 = st.floats(width=32, allow_nan=False)
text = st.text(st.characters(exclude_categories=["Cs"]))
not_text = st.binary().map(lambda raw: b"\xff" + raw)
plain = st.one_of(
    int64,
    float32,
    text,
    not_text,
    st.lists(int64, min_size=1),
    st.lists(float32, min_size=1),
    st.lists(text, min_size=1),
    st.lists(st.one_of(text, not_text), min_size=1),
)


@few
@given(plain)
def test_a_plain_value_survives(value: Any) -> None:
    attribute = encode("name", value)
    assert attribute.name == "name" and is_plain(attribute)
    again = decode(AttributeProto.FromString(attribute.SerializeToString()), None)
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_, np.float16, "O"])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_an_array_survives(dtype: Any, shape: tuple[int, ...]) -> None:
    array = np.zeros(shape, dtype) if dtype != "O" else np.full(shape, "text", object)
    again = decode(encode("name", array), None)
    assert again.dtype == array.dtype and again.shape == shape
    assert again.tolist() == array.tolist()


def test_numpy_numbers_are_numbers() -> None:
    assert encode("a", np.int32(3)) == helper.make_attribute("a", 3)
    assert encode("a", np.float32(0.5)) == helper.make_attribute("a", 0.5)
    assert encode("a", [np.int64(1), np.int64(2)]) == helper.make_attribute("a", [1, 2])


@pytest.mark.parametrize(
    "value", [None, {}, object(), [], [1, "a"], 1 << 64, [np.zeros(2)], {"a": 1}, 1j]
)
def test_what_no_attribute_can_hold_is_refused(value: Any) -> None:
    with pytest.raises(EditRefused, match="'axes'"):
        encode("axes", value)


def test_a_tensor_outside_is_read(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(RAMP.tobytes())
    attribute = helper.make_attribute("value", external_tensor("", "w.bin", RAMP))
    files = ExternalFiles(tmp_path, tmp_path / "m.onnx")
    assert decode(attribute, files).tolist() == RAMP.tolist()


def test_references_and_odd_types_are_not_plain() -> None:
    reference = AttributeProto(name="axis", type=AttributeProto.INT, ref_attr_name="axis")
    assert not is_plain(reference)
    for kind in ("TENSORS", "GRAPHS", "SPARSE_TENSOR", "SPARSE_TENSORS", "TYPE_PROTO", "UNDEFINED"):
        assert not is_plain(AttributeProto(name="a", type=kind))
    tensor = TensorProto(data_type=TensorProto.FLOAT, dims=[0])
    assert is_plain(helper.make_attribute("a", tensor))
