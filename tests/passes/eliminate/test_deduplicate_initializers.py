"""deduplicate_initializers: what counts as equal, however it is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphopt.model import SaveOptions, load_model, save_model
from graphopt.passes.eliminate.deduplicate_initializers import DeduplicateInitializers
from tests.build import parse
from tests.passes.placed import PLACES, Place, piece, placed, stored
from tests.passes.support import Array, agree, run

PASS = DeduplicateInitializers()
HEAD = '<ir_version: 11, opset_import: ["" : 18]>'
PAIR = HEAD + "g (float[2] x) => (float[2] y) { y = Neg(x) s = Shape(a) t = Shape(b) }"


def merges(*arrays: Array) -> int:
    """How many of these, stored as initializers that somebody reads, are merged."""
    reads = "\n".join(f"s{i} = Shape(k{i})" for i in range(len(arrays)))
    text = f"{HEAD} g (float[2] x) => (float[2] y) {{ y = Neg(x) {reads} }}"
    outcome = run(parse(text, **{f"k{i}": array for i, array in enumerate(arrays)}), PASS)
    assert outcome.left_out == []
    assert len(outcome.weights) == len(arrays) - outcome.rewrites
    return outcome.rewrites


@pytest.mark.parametrize("place", PLACES)
def test_merges(place: Place) -> None:
    values = {name: np.arange(3, dtype=np.float32) for name in ("k", "m", "n")}
    body = "a = Add(x, k)\nb = Mul(a, m)\ny = Sub(n, b)"
    outcome = run(placed(place, body, values), PASS)
    assert piece(outcome.after, place) == ["a = Add(x, k)", "b = Mul(a, k)", "y = Sub(k, b)"]
    assert stored(outcome.after, place) == {"k"}
    assert (outcome.rewrites, outcome.skipped) == (2, {})
    agree(outcome.before, outcome.after, exact=True)


def test_one_node_reads_both() -> None:
    values = {name: np.ones(3, np.float32) for name in ("k", "m")}
    outcome = run(placed("main", "a = Add(k, m)\ny = Add(x, a)", values), PASS)
    assert outcome.lines == ["a = Add(k, k)", "y = Add(x, a)"]
    agree(outcome.before, outcome.after, exact=True)


def test_an_unread_copy_goes_too() -> None:
    values = {name: np.ones(3, np.float32) for name in ("k", "m")}
    assert set(run(placed("main", "y = Add(x, k)", values), PASS).weights) == {"k"}


TYPES = [
    np.bool_, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64,
    np.float16, np.float32, np.float64, np.complex64, np.complex128, ml_dtypes.bfloat16,
    ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2, ml_dtypes.int4,
    ml_dtypes.uint4, ml_dtypes.float4_e2m1fn,
]  # fmt: skip


@pytest.mark.parametrize("dtype", TYPES)
def test_every_type(dtype: Any) -> None:
    one = np.array([0, 1, 1], np.int64).astype(dtype)
    other = np.array([0, 0, 1], np.int64).astype(dtype)
    assert merges(one, one.copy(), other) == 1


def test_strings() -> None:
    one, other = np.array(["ab", "c"], object), np.array(["a", "bc"], object)
    assert merges(one, one.copy(), other) == 1


def test_bytes_that_are_no_utf_8() -> None:
    model = parse(PAIR)
    for name, items in (("a", [b"\xff", b"x"]), ("b", [b"\xff", b"x"])):
        tensor = TensorProto(name=name, data_type=TensorProto.STRING, dims=[2], string_data=items)
        model.graph.initializer.append(tensor)
    assert run(model, PASS).rewrites == 1


DIFFERENT: dict[str, tuple[Array, Array]] = {
    "zeros of both signs": (np.array([0.0], np.float32), np.array([-0.0], np.float32)),
    "NaNs of different bits": (
        np.array([0x7FC00000], np.uint32).view(np.float32),
        np.array([0x7FC00001], np.uint32).view(np.float32),
    ),
    "one bit": (np.array([1.0, 2.0]), np.array([1.0, np.nextafter(2.0, 3.0)])),
    "types of one size": (np.zeros(4, np.int32), np.zeros(4, np.float32)),
    "signed and unsigned": (np.ones(4, np.int64), np.ones(4, np.uint64)),
    "shapes": (np.ones((2, 3), np.float32), np.ones((3, 2), np.float32)),
    "ranks": (np.ones((2, 3), np.float32), np.ones((1, 2, 3), np.float32)),
    "a number and a list of one": (np.array(1.0), np.array([1.0])),
    "empty, of different shapes": (np.ones((0, 3), np.float32), np.ones((3, 0), np.float32)),
    "empty, of different types": (np.ones((0, 3), np.float32), np.ones((0, 3), np.int32)),
    "float16 and bfloat16": (
        np.zeros(2, np.float16), np.zeros(2, ml_dtypes.bfloat16),
    ),
    "8-bit floats": (
        np.zeros(2, ml_dtypes.float8_e4m3fn), np.zeros(2, ml_dtypes.float8_e4m3fnuz),
    ),
    "int4 and int8 of the same bytes": (np.zeros(4, ml_dtypes.int4), np.zeros(2, np.int8)),
    "text and its bytes": (np.array(["ab"], object), np.frombuffer(b"ab", np.uint8)),
}  # fmt: skip


@pytest.mark.parametrize("case", DIFFERENT)
def test_different(case: str) -> None:
    assert merges(*DIFFERENT[case]) == 0


EQUAL: dict[str, Array] = {
    "a NaN and its own bits": np.array([0xFFC12345], np.uint32).view(np.float32),
    "infinities": np.array([np.inf, -np.inf, -0.0]),
    "empty": np.ones((0, 3), np.float32),
    "a number": np.array(3, np.int64),
    "an odd count of int4": np.array([1, -8, 7], np.int64).astype(ml_dtypes.int4),
    "more than one block": np.arange(1 << 19, dtype=np.int64),
}


@pytest.mark.parametrize("case", EQUAL)
def test_equal(case: str) -> None:
    assert merges(EQUAL[case], EQUAL[case].copy()) == 1


def test_the_way_of_storing_does_not_matter() -> None:
    """The same values in raw_data and in float_data, int32_data and so on."""
    for kind, values in (
        (TensorProto.FLOAT, [0.5, -0.0]), (TensorProto.FLOAT16, [0.5, 2.0]),
        (TensorProto.INT32, [5, -1]), (TensorProto.INT8, [5, -1]), (TensorProto.BOOL, [1, 0]),
        (TensorProto.INT4, [5, -1]), (TensorProto.INT64, [5, -1]),
    ):  # fmt: skip
        typed = helper.make_tensor("a", kind, [2], values)
        raw = numpy_helper.from_array(numpy_helper.to_array(typed), "b")
        assert not typed.HasField("raw_data") and raw.HasField("raw_data")
        model = parse(PAIR)
        model.graph.initializer.extend([typed, raw])
        assert run(model, PASS).rewrites == 1, TensorProto.DataType.Name(kind)


def test_external_and_embedded(tmp_path: Path) -> None:
    """Equal bytes are equal wherever they lie, also within one file of external data."""
    big = np.arange(600, dtype=np.float32)
    values = {"a": big, "b": big.copy(), "c": big + 1}
    text = HEAD + "g (float[600] x) => (float[600] y) { p = Add(x, a) q = Mul(p, b) y = Sub(q, c) }"
    path = save_model(
        load_model(parse(text, **values)), tmp_path / "m.onnx", SaveOptions(external_threshold=64)
    )
    proto = onnx.load(path, load_external_data=False)
    proto.graph.initializer.append(numpy_helper.from_array(big, "d"))
    proto.graph.node[2].input[0] = "r"
    proto.graph.node.insert(2, helper.make_node("Max", ["q", "d"], ["r"]))
    onnx.save(proto, path)
    outcome = run(load_model(path), PASS)
    assert outcome.rewrites == 2
    saved = save_model(outcome.model, tmp_path / "out.onnx")
    result = onnx.load(saved)
    assert [line.input[1] for line in result.graph.node] == ["a", "a", "a", "c"]
    agree(onnx.load(path), result, exact=True)


ATTRIBUTES = {
    "value": ("value = float[2] {1.0, 2.0}", "value = float[2] {1.0, 3.0}"),
    "value_float": ("value_float = 1.5", "value_float = 2.5"),
    "value_floats": ("value_floats = [1.5, 2.5]", "value_floats = [1.5, 3.5]"),
    "value_int": ("value_int = 1", "value_int = 2"),
    "value_ints": ("value_ints = [1, 2]", "value_ints = [1, 3]"),
    "value_string": ('value_string = "a"', 'value_string = "b"'),
    "value_strings": ('value_strings = ["a", "b"]', 'value_strings = ["a", "c"]'),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ATTRIBUTES)
def test_constant_nodes(kind: str, place: Place) -> None:
    one, other = ATTRIBUTES[kind]
    body = "".join(f"{n} = Constant <{v}> ()\n" for n, v in (("a", one), ("b", one), ("c", other)))
    body += "p = Shape(a)\nq = Shape(b)\nr = Shape(c)\ny = Neg(x)"
    outcome = run(placed(place, body), PASS)
    assert piece(outcome.after, place) == [
        "p = Shape(a)",
        "q = Shape(a)",
        "r = Shape(c)",
        "y = Neg(x)",
    ]
    assert stored(outcome.after, place) == {"a", "c"}


def test_constant_nodes_and_initializers() -> None:
    """The initializer is kept; a float and a tensor attribute of one value are equal too."""
    text = (
        HEAD
        + """g (float[2] x) => (float[2] y) {
        a = Constant <value_float = 1.5> ()
        b = Constant <value = float {1.5}> ()
        p = Add(x, a)
        q = Mul(p, b)
        y = Sub(q, k)
    }"""
    )
    outcome = run(parse(text, k=np.array(1.5, np.float32)), PASS)
    assert outcome.lines == ["p = Add(x, k)", "q = Mul(p, k)", "y = Sub(q, k)"]
    agree(outcome.before, outcome.after, exact=True)


def test_a_sparse_constant_stays() -> None:
    values = helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0])
    sparse = helper.make_sparse_tensor(
        values, helper.make_tensor("i", TensorProto.INT64, [1], [0]), [2]
    )
    model = parse(PAIR.replace("Shape(a)", "Neg(a)").replace("Shape(b)", "Neg(b)"))
    for name in "ab":
        model.graph.node.insert(0, helper.make_node("Constant", [], [name], sparse_value=sparse))
    assert run(model, PASS).unchanged
