"""eliminate_noop: units of more operators, reductions of one number, selections, pools of one."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

import graphopt
from graphopt.passes.eliminate.eliminate_noop import EliminateNoop
from tests.build import few, parse
from tests.passes.placed import GRAPHS, PLACES, Place, piece, placed
from tests.passes.support import Array, agree, run

PASS = EliminateNoop()
HEAD = '<ir_version: 10, opset_import: ["" : 18]>'
IMAGE = "float[2,3,1,1]"
SPECIAL = np.array([-0.0, 0.0, np.inf, -np.inf, 1e-45, -3.4e38], np.float32).reshape(2, 3)
"""What shows a wrong rewrite; a NaN differs from kernel to kernel."""

Case = tuple[str, str, dict[str, Array]]


def scalar(number: object, kind: str = "float32") -> dict[str, Array]:
    return {"c": np.array(number, kind)}


EXACT: dict[str, Case] = {
    "Pow": ("float[2,3]", "Pow(x, c)", scalar(1)),
    "Pow, an integer": ("float[2,3]", "Pow(x, c)", scalar(1, "int64")),
    "Xor": ("bool[2,3]", "Xor(x, c)", scalar(False, "bool")),
    "Xor, left": ("bool[2,3]", "Xor(c, x)", scalar(False, "bool")),
    "BitShift": ("uint8[2,3]", 'BitShift <direction = "LEFT"> (x, c)', scalar(0, "uint8")),
    "BitwiseAnd": ("int32[2,3]", "BitwiseAnd(x, c)", scalar(-1, "int32")),
    "BitwiseAnd, unsigned": ("uint8[2,3]", "BitwiseAnd(c, x)", scalar(255, "uint8")),
    "BitwiseOr": ("int64[2,3]", "BitwiseOr(x, c)", scalar(0, "int64")),
    "BitwiseXor": ("int8[2,3]", "BitwiseXor(c, x)", scalar(0, "int8")),
    "Max": ("int32[2,3]", "Max(x, c)", scalar(-(2**31), "int32")),
    "Min": ("uint8[2,3]", "Min(c, x)", scalar(255, "uint8")),
    "Clip": ("int32[2,3]", "Clip(x)", {}),
    "Clip, extremes": (
        "int8[2,3]", "Clip(x, a, c)", {"a": np.array(-128, np.int8), **scalar(127, "int8")},
    ),
    "ReduceMax": (IMAGE, "ReduceMax(x, c)", scalar([2, 3], "int64")),
    "ReduceMin": (IMAGE, "ReduceMin(x, c)", scalar([-1], "int64")),
    "ReduceProd": (IMAGE, "ReduceProd(x, c)", scalar([-2, 3], "int64")),
    "ReduceMax of everything": ("float[1,1]", "ReduceMax(x)", {}),
    "ReduceMax of nothing": ("float[2,3]", "ReduceMax <noop_with_empty_axes = 1> (x)", {}),
    "Where, one value": ("int64[2,3]", "Where(c, x, x)", scalar([True, False, True], "bool")),
    "Dropout that drops nothing": (
        "float[2,3]", "Dropout(x, c, t)", {**scalar(0), "t": np.array(True)},
    ),
}  # fmt: skip
ROUNDED: dict[str, Case] = {
    "Where of floats": ("float[2,3]", "Where(c, x, x)", scalar([True, False, True], "bool")),
    "ReduceSum": (IMAGE, "ReduceSum(x, c)", scalar([2, 3], "int64")),
    "ReduceSum of nothing": (
        "float[2,3]", "ReduceSum <noop_with_empty_axes = 1> (x, c)", scalar([], "int64"),
    ),
    "ReduceMean": (IMAGE, "ReduceMean(x, c)", scalar([-1, -2], "int64")),
    "Max with -inf": ("float[2,3]", "Max(x, c)", scalar(-np.inf)),
    "Min with inf": ("float[2,3]", "Min(c, x)", scalar(np.inf)),
    "Clip to the infinities": (
        "float[2,3]", "Clip(x, a, c)", {"a": np.array(-np.inf, np.float32), **scalar(np.inf)},
    ),
    "GlobalAveragePool": (IMAGE, "GlobalAveragePool(x)", {}),
    "GlobalMaxPool": (IMAGE, "GlobalMaxPool(x)", {}),
    "AveragePool": ("float[1,2,3,4]", "AveragePool <kernel_shape = [1, 1]> (x)", {}),
    "MaxPool": (
        "float[1,2,3,4]",
        "MaxPool <kernel_shape = [1, 1], strides = [1, 1], pads = [0, 0, 0, 0]> (x)", {},
    ),
    "MaxPool, same": (
        "float[1,2,3,4]", 'MaxPool <kernel_shape = [1, 1], auto_pad = "SAME_UPPER"> (x)', {},
    ),
}  # fmt: skip


def chained(case: Case) -> tuple[str, str]:
    """The node, and one behind it that is no no-op."""
    x, form, _ = case
    last = "Neg(n)" if x.startswith(("float", "int")) else "Concat <axis = 0> (n, n)"
    return f"n = {form}\ny = {last}", x if "Neg" in last else x.replace("[2", "[4")


@pytest.mark.parametrize("place", GRAPHS)
@pytest.mark.parametrize("case", [*EXACT, *ROUNDED])
def test_removes(case: str, place: Place) -> None:
    x, _, constants = found = {**EXACT, **ROUNDED}[case]
    body, y = chained(found)
    if place != "main" and x.startswith(("bool", "uint")):
        return  # what stands around the piece negates x
    outcome = run(placed(place, body, constants, x=x, y=y), PASS)
    assert outcome.left_out == []
    assert piece(outcome.after, place) == [expected(body)]
    agree(outcome.before, outcome.after, exact=case in EXACT)
    if place == "main" and x == "float[2,3]":
        agree(outcome.before, outcome.after, [{"x": SPECIAL}], exact=case in EXACT)


def expected(body: str) -> str:
    return "y = Neg(x)" if "Neg" in body else "y = Concat(x, x)"


@pytest.mark.parametrize("case", [*EXACT, *ROUNDED])
def test_effects(case: str) -> None:
    x, _, constants = found = {**EXACT, **ROUNDED}[case]
    body, y = chained(found)
    report = graphopt.optimize(placed("main", body, constants, x=x, y=y), "identical").report
    assert report.changed == (case in EXACT)


CHANGES: dict[str, Case] = {
    "Pow of 2": ("float[2,3]", "Pow(x, c)", scalar(2)),
    "1 to the power": ("float[2,3]", "Pow(c, x)", scalar(1)),
    "Pow of integers": ("int64[2,3]", "Pow(x, c)", scalar(1.0)),
    "Xor with true": ("bool[2,3]", "Xor(x, c)", scalar(True, "bool")),
    "BitShift": ("uint8[2,3]", 'BitShift <direction = "LEFT"> (x, c)', scalar(1, "uint8")),
    "0 shifted": ("uint8[2,3]", 'BitShift <direction = "LEFT"> (c, x)', scalar(0, "uint8")),
    "BitwiseAnd": ("int32[2,3]", "BitwiseAnd(x, c)", scalar(255, "int32")),
    "Max with 0": ("float[2,3]", "Max(x, c)", scalar(0)),
    "Max with the least number": ("float[2,3]", "Max(x, c)", scalar(np.finfo("float32").min)),
    "Max with inf": ("float[2,3]", "Max(x, c)", scalar(np.inf)),
    "Min with -inf": ("float[2,3]", "Min(x, c)", scalar(-np.inf)),
    "Max of three": ("float[2,3]", "Max(x, c, x)", scalar(-np.inf)),
    "Clip of floats": ("float[2,3]", "Clip(x)", {}),
    "Clip, one bound": ("float[2,3]", "Clip(x, c)", scalar(-np.inf)),
    "Clip at 0": ("int32[2,3]", "Clip(x, c)", scalar(0, "int32")),
    "ReduceSum of three": ("float[2,3]", "ReduceSum(x, c)", scalar([1], "int64")),
    "ReduceSum of all": ("float[2,3]", "ReduceSum(x)", {}),
    "ReduceSum that drops axes": (IMAGE, "ReduceSum <keepdims = 0> (x, c)", scalar([2], "int64")),
    "ReduceL1": (IMAGE, "ReduceL1(x, c)", scalar([2], "int64")),
    "ReduceSumSquare": (IMAGE, "ReduceSumSquare(x, c)", scalar([2], "int64")),
    "GlobalAveragePool": ("float[2,3,1,2]", "GlobalAveragePool(x)", {}),
    "AveragePool of two": ("float[1,2,3,4]", "AveragePool <kernel_shape = [1, 2]> (x)", {}),
    "MaxPool with strides": (
        "float[1,2,3,4]", "MaxPool <kernel_shape = [1, 1], strides = [2, 1]> (x)", {},
    ),
    "MaxPool with pads": (
        "float[1,2,3,4]", "AveragePool <kernel_shape = [1, 1], pads = [0, 1, 0, 0]> (x)", {},
    ),
    "Where, both": ("float[2,3]", "Where(c, x, z)", {**scalar([True, False, True], "bool"),
                                                     "z": np.array(5, np.float32)}),
    "Dropout that drops": ("float[2,3]", "Dropout(x, c, t)", {**scalar(0.5), "t": np.array(True)}),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGES)
def test_what_does_something_stays(case: str) -> None:
    x, form, constants = CHANGES[case]
    y = f"{x.partition('[')[0]}[{','.join('?' * len(x.split(',')))}]"
    model = placed("main", f"n = {form}\ny = Concat <axis = 0> (n, n)", constants, x=x, y=y)
    assert run(model, PASS).unchanged


def test_mask_and_indices() -> None:
    text = """g (float[1,1,2,2] x) => (float[1,1,2,2] y, int64[1,1,2,2] i) {
        n, i = MaxPool <kernel_shape = [1, 1]> (x) y = Neg(n) }"""
    assert run(parse(HEAD + text), PASS).unchanged
    unread = "n, m = Dropout(x)\ny = Neg(n)"
    outcome = run(placed("main", unread), PASS)
    assert outcome.lines == ["y = Neg(x)"]
    agree(outcome.before, outcome.after, exact=True)


WHERE: dict[str, tuple[str, dict[str, Array], str]] = {
    "true": ("Where(c, x, z)", {"c": np.array(True)}, "y = Neg(x)"),
    "false": ("Where(c, x, z)", {"c": np.zeros((2, 3), bool)}, "y = Neg(z)"),
    "true, in a row": ("Where(c, z, x)", {"c": np.ones(3, bool)}, "y = Neg(z)"),
    "a number beside it": (
        "Where(c, x, m)", {"c": np.array([True]), "m": np.array(5, np.float32)}, "y = Neg(x)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WHERE)
def test_a_constant_condition(case: str) -> None:
    form, constants, expected_line = WHERE[case]
    text = f"{HEAD} g (float[2,3] x, float[2,3] z) => (float[2,3] y) {{ n = {form} y = Neg(n) }}"
    outcome = run(parse(text, **constants), PASS)
    assert outcome.lines == [expected_line]
    agree(outcome.before, outcome.after, exact=True)


WIDENS = {
    "the condition": ("float[3] x, float[2,3] z", "Where(c, x, x)", np.ones((2, 3), bool)),
    "the other value": ("float[3] x, float[2,3] z", "Where(c, x, z)", np.array(True)),
    "a constant condition": ("float[1,3] x, float[1,3] z", "Where(c, x, z)", np.ones((2, 1), bool)),
    "an open dimension": ("float[N,3] x, float[N,3] z", "Where(c, x, z)", np.array(True)),
}


@pytest.mark.parametrize("case", WIDENS)
def test_what_widens_stays(case: str) -> None:
    inputs, form, condition = WIDENS[case]
    text = f"{HEAD} g ({inputs}) => (float[2,3] y) {{ n = {form} y = Neg(n) }}"
    outcome = run(parse(text, c=condition), PASS)
    assert outcome.unchanged
    agree(outcome.before, outcome.after, exact=True)


@pytest.mark.parametrize("place", PLACES)
def test_one_value_and_a_computed_condition(place: Place) -> None:
    body = "k = ReduceMax <keepdims = 0> (x)\nc = IsNaN(k)\nn = Where(c, x, x)\ny = Neg(n)"
    outcome = run(placed(place, body), PASS)
    assert outcome.unchanged == (place == "function")
    agree(outcome.before, outcome.after, exact=True)


LEGACY: dict[str, tuple[int, str]] = {
    "ReduceSum": (11, "ReduceSum <axes = [2]> (x)"),
    "ReduceMax": (17, "ReduceMax <axes = [2, -1]> (x)"),
    "ReduceMean": (13, "ReduceMean <axes = [2], keepdims = 1> (x)"),
}


@pytest.mark.parametrize("case", LEGACY)
def test_axes_in_an_attribute(case: str) -> None:
    opset, form = LEGACY[case]
    outcome = run(placed("main", f"n = {form}\ny = Neg(n)", x=IMAGE, opset=opset, ir=8), PASS)
    assert outcome.lines == ["y = Neg(x)"]
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("opset", [6, 10])
def test_a_clip_whose_bounds_are_attributes_makes_infinities_finite(opset: int) -> None:
    model = placed("main", "n = Clip(x)\ny = Neg(n)", opset=opset, ir=8)
    assert run(model, PASS).unchanged


def test_half_precision() -> None:
    """Max and Pow in a type that numpy lacks; Clip in one it has."""
    kinds = ((ml_dtypes.bfloat16, "bfloat16"), (np.float16, "float16"))
    for kind, name in kinds:
        body = "a = Max(x, c)\nb = Pow(a, d)\ny = Neg(b)"
        constants = {"c": np.array(-np.inf, kind), "d": np.array(1, kind)}
        outcome = run(placed("main", body, constants, x=f"{name}[2,3]"), PASS)
        assert outcome.lines == ["y = Neg(x)"]
        onnx.checker.check_model(outcome.after, full_check=True)


TYPES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


@few
@given(st.sampled_from(TYPES), st.data())
def test_a_bound_goes_exactly_where_nothing_exceeds_it(kind: str, data: st.DataObject) -> None:
    info = np.iinfo(kind)
    bound = data.draw(st.sampled_from([info.min, info.min + 1, 0, info.max - 1, info.max]))
    op = data.draw(st.sampled_from(["Max", "Min"]))
    elem = TensorProto.DataType.Name(helper.np_dtype_to_tensor_dtype(np.dtype(kind))).lower()
    body = f"n = {op}(x, c)\ny = Concat <axis = 0> (n, n)"
    outcome = run(placed("main", body, scalar(bound, kind), x=f"{elem}[3]", y=f"{elem}[6]"), PASS)
    assert (outcome.lines == ["y = Concat(x, x)"]) == (bound == (info.min, info.max)[op == "Min"])
