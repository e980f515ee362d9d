from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from graphopt.errors import RuntimeFailure
from graphopt.runtime import IsolatedRuntime, Session
from graphopt.runtime.ort_values import fed, lacking
from tests.runtime.conftest import SaveModel

HEADER = '<ir_version: 10, opset_import: ["": 21]>'
TYPES = [
    ("bfloat16", 16, ml_dtypes.bfloat16),
    ("float8e4m3fn", 17, ml_dtypes.float8_e4m3fn),
    ("float8e5m2", 19, ml_dtypes.float8_e5m2),
    ("uint4", 21, ml_dtypes.uint4),
    ("int4", 22, ml_dtypes.int4),
]
VALUES = [1.0, 3.0, 2.0]


@pytest.mark.parametrize(("name", "number", "dtype"), TYPES)
def test_output_of_a_type_that_numpy_lacks(
    shared: IsolatedRuntime, saved: SaveModel, name: str, number: int, dtype: Any
) -> None:
    path = saved(f"{HEADER} g (float[N] x) => ({name}[N] y) {{ y = Cast<to = {number}>(x) }}")
    found = shared.open(Session(path)).run({"x": np.array(VALUES, np.float32)})["y"]
    assert found.dtype == np.dtype(dtype)
    assert found.astype(np.float32).tolist() == VALUES


@pytest.mark.parametrize(("name", "number", "dtype"), TYPES)
def test_input_of_a_type_that_numpy_lacks(
    shared: IsolatedRuntime, saved: SaveModel, name: str, number: int, dtype: Any
) -> None:
    path = saved(f"{HEADER} g ({name}[N] x) => (float[N] y) {{ y = Cast<to = 1>(x) }}")
    feeds = {"x": np.array(VALUES).astype(dtype)}
    try:
        found = shared.open(Session(path)).run(feeds)["y"]
    except RuntimeFailure:
        assert "int4" in name  # refused, never misread; onnx.reference takes it
        found = shared.open(Session(path, backend="reference")).run(feeds)["y"]
    assert found.tolist() == VALUES


def test_plain_and_narrow_outputs_together(shared: IsolatedRuntime, saved: SaveModel) -> None:
    text = f"""{HEADER} g (float[N] x) => (bfloat16[N] a, float[N] b, string[N] c) {{
        a = Cast<to = 16>(x)
        b = Neg(x)
        c = Cast<to = 8>(x)
    }}"""
    feeds = {"x": np.array(VALUES, np.float32)}
    found = shared.open(Session(saved(text))).run(feeds)
    assert found["a"].astype(np.float32).tolist() == VALUES
    assert found["b"].tolist() == [-1, -3, -2]
    assert found["c"].tolist() == ["1", "3", "2"]


def test_empty_and_scalar_outputs(shared: IsolatedRuntime, saved: SaveModel) -> None:
    opened = shared.open(
        Session(saved(f"{HEADER} g (float[N] x) => (bfloat16[N] y) {{ y = Cast<to = 16>(x) }}"))
    )
    assert opened.run({"x": np.zeros(0, np.float32)})["y"].shape == (0,)
    opened = shared.open(
        Session(saved(f"{HEADER} g (float x) => (bfloat16 y) {{ y = Cast<to = 16>(x) }}"))
    )
    assert opened.run({"x": np.array(2, np.float32)})["y"].shape == ()


class Described:
    """A session of which only the outputs' types are asked."""

    def __init__(self, **kinds: str) -> None:
        self._kinds = kinds

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name=name, type=kind) for name, kind in self._kinds.items()]


@pytest.mark.parametrize(
    ("kind", "lacks"),
    [
        ("tensor(float)", False),
        ("tensor(float16)", False),
        ("tensor(string)", False),
        ("tensor(uint8)", False),
        ("seq(tensor(float))", False),
        ("tensor(bfloat16)", True),
        ("tensor(float8e4m3fn)", True),
        ("tensor(float8e5m2fnuz)", True),
        ("tensor(int4)", True),
        ("tensor(uint4)", True),
    ],
)
def test_types_that_numpy_lacks(kind: str, lacks: bool) -> None:
    session = Described(a="tensor(float)", y=kind)
    assert lacking(session, ["a", "y"]) is lacks
    assert not lacking(session, ["a"])  # only what is asked for counts
    assert not lacking(session, [])


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(2, np.float32),
        np.array("a", object),
        np.array(True),
        [np.zeros(2, np.float32)],
        None,
    ],
    ids=str,
)
def test_what_numpy_knows_is_fed_as_it_is(value: Any) -> None:
    assert fed(value) is value


@pytest.mark.parametrize("dtype", [ml_dtypes.int4, ml_dtypes.uint4])
def test_packed_types_cannot_be_fed(dtype: Any) -> None:
    with pytest.raises(ValueError, match=f"cannot be fed {np.dtype(dtype)}"):
        fed(np.zeros(3, dtype))
