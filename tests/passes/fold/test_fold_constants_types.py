"""fold_constants: element types, Constant nodes of every kind, values that are not numbers."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphopt.passes.fold.fold_constants import FoldConstants
from tests.build import parse
from tests.passes.placed import GRAPHS, PLACES, Place, piece, placed, scope_of, stored
from tests.passes.support import Array, Outcome, agree, run, weights

FOLD = FoldConstants()
HEAD = '<ir_version: 11, opset_import: ["" : 23, "com.example" : 1]>'


def fold(nodes: str, **values: Array) -> Outcome:
    """Fold nodes beside a graph of their own, and look at the weights."""
    outcome = run(
        parse(f"{HEAD} g (float[2] x) => (float[2] y) {{ {nodes} y = Neg(x) }}", **values), FOLD
    )
    assert outcome.left_out == []
    return outcome


def bits(found: Array, expected: Array) -> None:
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes() or (found == expected).all()


PLAIN: list[Any] = [
    np.bool_, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64,
    np.float16, np.float32, np.float64,
]  # fmt: skip
ODD: list[Any] = [
    ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2,
    ml_dtypes.float8_e5m2fnuz, ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.float4_e2m1fn,
]  # fmt: skip
MOVES = {
    "Transpose": "a = Transpose <perm = [1, 0]> (k)",
    "Reshape": "s = Constant <value = int64[2] {3, 2}> () a = Reshape(k, s)",
    "Identity": "a = Identity(k)",
    "Cast": "a = Cast <to = 1> (k)",
}


def moved(case: str, k: Array) -> Array:
    if case == "Transpose":
        return k.T
    if case == "Reshape":
        return k.reshape(3, 2)
    return k.astype(np.float32) if case == "Cast" else k


@pytest.mark.parametrize("case", MOVES)
@pytest.mark.parametrize("dtype", [*PLAIN, ml_dtypes.bfloat16])
def test_types(dtype: Any, case: str) -> None:
    k = np.array([[0, 1, 2], [3, 1, 0]]).astype(dtype)
    outcome = fold(f"{MOVES[case]} b = com.example.Use(a)", k=k)
    bits(outcome.weights["a_1"], moved(case, k))


@pytest.mark.parametrize("case", MOVES)
@pytest.mark.parametrize("dtype", ODD)
def test_rare_types_are_folded_rightly_or_not_at_all(dtype: Any, case: str) -> None:
    k = np.array([[0, 1, 2], [3, 1, 0]]).astype(dtype)
    outcome = fold(f"{MOVES[case]} b = com.example.Use(a)", k=k)
    if "a_1" in outcome.weights:
        bits(outcome.weights["a_1"], moved(case, k))
    else:
        assert any(case in entry for entry in outcome.lines)
        assert outcome.skipped


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_not_a_number(dtype: Any) -> None:
    values = np.array([np.nan, np.inf, -np.inf, -0.0, 1], dtype)
    outcome = fold("a = Neg(k) b = com.example.Use(a)", k=values)
    bits(outcome.weights["a_1"], -values)


def test_complex() -> None:
    k = np.array([1 + 2j, np.nan], np.complex64)
    outcome = fold("a = Concat <axis = 0> (k, k) b = com.example.Use(a)", k=k)
    if "a_1" in outcome.weights:
        bits(outcome.weights["a_1"], np.concatenate([k, k]))


def test_strings() -> None:
    k, m = np.array(["a", "", "é"], object), np.array(["x", "y", "z"], object)
    outcome = fold("a = Concat <axis = 0> (k, m) b = com.example.Use(a)", k=k, m=m)
    assert outcome.weights["a_1"].tolist() == ["a", "", "é", "x", "y", "z"]


def test_strings_into_numbers() -> None:
    text = HEAD + "g (string[3] x) => (bool[3] y) { s = Identity(k) y = Equal(x, s) }"
    outcome = run(parse(text, k=np.array(["1", "2", "3"], object)), FOLD)
    assert outcome.lines == ["y = Equal(x, s_1)"]
    agree(outcome.before, outcome.after)


def test_empty_tensors() -> None:
    outcome = fold(
        "a = Neg(k) b = Concat <axis = 1> (a, a) c = ReduceSum <keepdims = 0> (b) e = Neg(c)"
        " f = com.example.Use(e)",
        k=np.ones((0, 3), np.float32),
    )
    bits(outcome.weights["e_1"], np.array(-0.0, np.float32))


ATTRIBUTES: dict[str, tuple[str, Array]] = {
    "value": ("value = float[2] {1.0, 2.0}", np.array([1, 2], np.float32)),
    "a number": ("value = int64 {3}", np.array(3)),
    "empty": ("value = float[0, 2] {}", np.ones((0, 2), np.float32)),
    "bool": ("value = bool[2] {1, 0}", np.array([True, False])),
    "string tensor": ('value = string[1] {"a"}', np.array(["a"], object)),
    "value_float": ("value_float = 1.5", np.array(1.5, np.float32)),
    "value_floats": ("value_floats = [1.5, 2.5]", np.array([1.5, 2.5], np.float32)),
    "no value_floats": ("value_floats: floats = []", np.ones(0, np.float32)),
    "value_int": ("value_int = -7", np.array(-7)),
    "value_ints": ("value_ints = [1, 9007199254740993]", np.array([1, 9007199254740993])),
    "no value_ints": ("value_ints: ints = []", np.ones(0, np.int64)),
    "value_string": ('value_string = "ab"', np.array("ab", object)),
    "value_strings": ('value_strings = ["a", "bc"]', np.array(["a", "bc"], object)),
}


@pytest.mark.parametrize("place", GRAPHS)
@pytest.mark.parametrize("case", ATTRIBUTES)
def test_constant_nodes_become_initializers(case: str, place: Place) -> None:
    """Also where a body captures nothing and an opaque reader keeps them."""
    text, expected = ATTRIBUTES[case]
    model = placed(place, f"k = Constant <{text}> ()\ns = local.use(k)\ny = Neg(x)")
    outcome = run(model, FOLD)
    assert piece(outcome.after, place) == ["s = local.use(k_1)", "y = Neg(x)"]
    scope = scope_of(outcome.after, place)
    assert not any(node.op_type == "Constant" for node in scope.node)
    bits(weights(scope)["k_1"], expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [*PLAIN, *ODD])
def test_constant_nodes_of_every_type(dtype: Any) -> None:
    k = np.array([0, 1, 1]).astype(dtype)
    model = parse(HEAD + "g (float[2] x) => (float[2] y) { y = Neg(x) s = Shape(k) t = Size(k) }")
    node = helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(k))
    model.graph.node.insert(0, node)
    bits(run(model, FOLD).weights["k_1"], k)


def test_bytes_that_are_no_utf_8() -> None:
    model = parse(
        HEAD
        + "g (float[2] x) => (float[2] y) {"
        + ' k = Constant <value_string = "a"> () y = Neg(x) s = Shape(k) }'
    )
    model.graph.node[0].attribute[0].s = b"\xff\x00"
    (tensor,) = (t for t in run(model, FOLD).after.graph.initializer if t.name == "k_1")
    assert (list(tensor.string_data), list(tensor.dims)) == ([b"\xff\x00"], [])


def test_an_unread_constant_node_goes() -> None:
    outcome = run(
        parse(
            HEAD + "g (float[2] x) => (float[2] y) { k = Constant <value_int = 1> () y = Neg(x) }"
        ),
        FOLD,
    )
    assert outcome.lines == ["y = Neg(x)"]


@pytest.mark.parametrize("place", PLACES)
def test_a_constant_node_that_is_an_output_stays(place: Place) -> None:
    model = placed(place, "z = Neg(x)\ny = Constant <value = float[2] {1.0, 2.0}> ()", y="float[2]")
    outcome = run(model, FOLD)
    assert outcome.skipped == {}
    assert stored(outcome.after, place) == {"y"}
    assert scope_of(outcome.after, place).node[-1].op_type == "Constant"


def test_a_function_keeps_its_constant_nodes() -> None:
    model = placed("function", "y = Add(x, k)", {"k": np.ones(3, np.float32)})
    assert run(model, FOLD).unchanged


def test_ir_version_3_keeps_its_constant_nodes() -> None:
    text = '<ir_version: 3, opset_import: ["" : 9]> g (float[2] x) => (float[2] y) {'
    text += "k = Constant <value = float[2] {1.0, 2.0}> () y = Add(x, k) }"
    assert run(parse(text), FOLD).unchanged


def test_sparse_and_odd_constant_nodes_stay() -> None:
    values = helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0])
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [0])
    model = parse(HEAD + "g (float[2] x) => (float[2] y) { y = Add(x, k) }")
    sparse = helper.make_sparse_tensor(values, indices, [2])
    model.graph.node.insert(0, helper.make_node("Constant", [], ["k"], sparse_value=sparse))
    assert run(model, FOLD).unchanged


def test_a_constant_that_refers_to_a_functions_attribute_stays() -> None:
    text = """<ir_version: 10, opset_import: ["" : 18, "local" : 1]>
        g (float[2] x) => (float[2] y) { y = local.scale <by = 2.0> (x) }
        <domain: "local", opset_import: ["" : 18]> scale <by> (x) => (y) {
            k = Constant <value_float: float = @by> ()
            n = Neg(k)
            y = Mul(x, n)
        }"""
    outcome = run(parse(text), FOLD)
    assert outcome.unchanged
    agree(outcome.before, outcome.after)
