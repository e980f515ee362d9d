"""Models whose inputs and outputs are of odd types, and bound ones, in the timing process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest

from graphopt.benching.loaded import is_bound
from graphopt.benching.timing_process import Load, TimingProcess
from graphopt.errors import RuntimeFailure
from graphopt.runtime.settings import CPU, CUDA, Provider, SessionSettings
from tests.benching.placing import place, plain_answers

HEADER = '<ir_version: 10, opset_import: ["": 21]>'
VALUES = [1.0, 3.0, 2.0]
SETTINGS = SessionSettings(threads=1)


def timed(path: Path, feeds: dict[str, Any], *, binding: bool) -> dict[str, Any]:
    """Time it in each mode, and give its answers."""
    with TimingProcess([feeds]) as process:
        process.load(path, SETTINGS, binding=binding)
        for load in (Load(block=3), Load("closed loop", 6, 2), Load("open loop", 6, 2, 1e4)):
            found = process.rounds(2, 0, load, 0)
            assert np.isfinite(found.wall).all()
            assert found.lost == 0
        return process.answers(0)


@pytest.mark.parametrize("binding", [False, True])
@pytest.mark.parametrize(
    ("name", "number", "dtype"),
    [
        ("bfloat16", 16, ml_dtypes.bfloat16),
        ("float16", 10, np.float16),
        ("float8e4m3fn", 17, ml_dtypes.float8_e4m3fn),
        ("int4", 22, ml_dtypes.int4),
        ("uint8", 2, np.uint8),
        ("double", 11, np.float64),
        ("bool", 9, np.bool_),
    ],
)
def test_output_of_any_type(
    tmp_path: Path, name: str, number: int, dtype: Any, binding: bool
) -> None:
    text = f"{HEADER} g (float[N] x) => ({name}[N] y) {{ y = Cast<to = {number}>(x) }}"
    found = timed(place(tmp_path, text), {"x": np.array(VALUES, np.float32)}, binding=binding)
    assert found["y"].dtype == np.dtype(dtype)
    assert found["y"].tolist() == np.array(VALUES).astype(dtype).tolist()


@pytest.mark.parametrize("binding", [False, True])
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("bfloat16", ml_dtypes.bfloat16),
        ("float8e5m2", ml_dtypes.float8_e5m2),
        ("float16", np.float16),
        ("int64", np.int64),
        ("uint8", np.uint8),
        ("bool", np.bool_),
    ],
)
def test_input_of_any_type(tmp_path: Path, name: str, dtype: Any, binding: bool) -> None:
    text = f"{HEADER} g ({name}[N] x) => (float[N] y) {{ y = Cast<to = 1>(x) }}"
    given = np.array(VALUES).astype(dtype)
    found = timed(place(tmp_path, text), {"x": given}, binding=binding)
    assert found["y"].tolist() == given.astype(np.float32).tolist()


def test_input_that_cannot_be_fed_is_refused_with_the_file(tmp_path: Path) -> None:
    path = place(tmp_path, f"{HEADER} g (int4[N] x) => (float[N] y) {{ y = Cast<to = 1>(x) }}")
    feeds = {"x": np.array(VALUES).astype(ml_dtypes.int4)}
    with pytest.raises(RuntimeFailure, match="cannot be fed int4") as caught:
        timed(path, feeds, binding=False)
    assert caught.value.file == str(path)


WORDS = "g (string[N] t, float[N] x) => (string[N] u, float[N] y) { u = Identity(t)\n y = Neg(x) }"


def test_strings(tmp_path: Path) -> None:
    feeds = {"t": np.array(["a", "é", ""], object), "x": np.array(VALUES, np.float32)}
    found = timed(place(tmp_path, WORDS), feeds, binding=False)
    assert found["u"].tolist() == ["a", "é", ""]
    assert found["y"].tolist() == [-1, -3, -2]


def test_string_outputs_can_be_bound(tmp_path: Path) -> None:
    text = f"{HEADER} g (float[N] x) => (string[N] u, bfloat16[N] y) {{ u = Cast<to = 8>(x)\n y = Cast<to = 16>(x) }}"  # noqa: E501
    feeds = {"x": np.array(VALUES, np.float32)}
    found = timed(place(tmp_path, text), feeds, binding=False)
    assert found["u"].tolist() == ["1", "3", "2"]
    assert found["y"].astype(np.float32).tolist() == VALUES


def test_string_inputs_cannot_be_bound_and_the_file_is_named(tmp_path: Path) -> None:
    # ONNX Runtime has no way to.
    path = place(tmp_path, WORDS)
    feeds = {"t": np.array(["a"], object), "x": np.array([1], np.float32)}
    with pytest.raises(RuntimeFailure, match="non-string") as caught:
        timed(path, feeds, binding=True)
    assert caught.value.file == str(path)


def test_sequences(tmp_path: Path) -> None:
    text = """g (seq(float[N]) s) => (float[N] y, seq(float[N]) r) {
        zero = Constant<value_int = 0>()
        y = SequenceAt(s, zero)
        r = SequenceErase(s)
    }"""
    given = [np.array(VALUES, np.float32), np.array([7], np.float32)]
    found = timed(place(tmp_path, text), {"s": given}, binding=False)
    assert found["y"].tolist() == VALUES
    assert [one.tolist() for one in found["r"]] == [VALUES]


@pytest.mark.parametrize("binding", [False, True])
@pytest.mark.parametrize(
    "x",
    [
        np.array(2, np.float32),
        np.zeros((0, 3), np.float32),
        np.arange(6, dtype=np.float32).reshape(2, 3).T,
        np.arange(12, dtype=np.float32)[::2],
    ],
    ids=["scalar", "empty", "transposed", "strided"],
)
def test_layout_of_the_input_does_not_matter(tmp_path: Path, x: Any, binding: bool) -> None:
    dims = f"[{','.join('NMK'[: x.ndim])}]" if x.ndim else ""
    path = place(tmp_path, f"g (float{dims} x) => (float{dims} y) {{ y = Neg(x) }}")
    found = timed(path, {"x": x}, binding=binding)
    assert found["y"].shape == x.shape
    assert np.array_equal(found["y"], -x)


def test_input_that_is_an_output(tmp_path: Path) -> None:
    path = place(tmp_path, "g (float[N] x) => (float[N] x, float[N] y) { y = Neg(x) }")
    feeds = {"x": np.array(VALUES, np.float32)}
    found = timed(path, feeds, binding=True)
    assert found["x"].tolist() == VALUES


def test_shapes_that_depend_on_values_can_be_bound(tmp_path: Path) -> None:
    text = "g (float[N] x) => (int64[1,M] y) { y = NonZero(x) }"
    path = place(tmp_path, text)
    sets = [{"x": np.array(v, np.float32)} for v in ([1, 0, 1], [0, 0], [1, 1, 1, 1])]
    with TimingProcess(sets) as process:
        process.load(path, SETTINGS, binding=True)
        found = process.rounds(6, 0, Load(block=2), 0)
        answer = process.answers(0)["y"]
    assert found.wall.shape == (6, 1, 2)
    assert answer.tolist() == [[0, 2]]


def test_names_with_slashes(tmp_path: Path) -> None:
    path = place(tmp_path, "g (float[N] a) => (float[N] b) { b = Neg(a) }")
    model = onnx.load(path)
    model.graph.input[0].name = model.graph.node[0].input[0] = "in/0/x"
    model.graph.output[0].name = model.graph.node[0].output[0] = "1/out"
    onnx.save(model, path)
    feeds = {"in/0/x": np.array(VALUES, np.float32)}
    assert timed(path, feeds, binding=False)["1/out"].tolist() == [-1, -3, -2]


def test_binding_answers_the_same(tmp_path: Path) -> None:
    text = "g (float[N,8] x, int64[N] i) => (float[N,4] y, int64[N] j) { y = MatMul(x, w)\n j = Neg(i) }"  # noqa: E501
    rng = np.random.default_rng(0)
    path = place(tmp_path, text, w=rng.random((8, 4), np.float32))
    feeds = {"x": rng.random((5, 8), np.float32), "i": np.arange(5)}
    plain, bound = (timed(path, feeds, binding=binding) for binding in (False, True))
    expected = plain_answers(path, feeds)
    for name, value in expected.items():
        assert np.array_equal(plain[name], bound[name])
        assert np.allclose(plain[name], value, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "wanted", "bound"),
    [
        (CPU, None, False),
        (CPU, True, True),
        (CPU, False, False),
        (CUDA, None, True),
        (CUDA, False, False),
        ("OpenVINOExecutionProvider", None, True),
    ],
)
def test_when_inputs_are_bound(name: str, wanted: bool | None, bound: bool) -> None:
    assert is_bound(SessionSettings(Provider(name)), wanted) is bound
