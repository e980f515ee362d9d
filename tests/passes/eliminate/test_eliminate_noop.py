"""eliminate_noop: what it takes for doing nothing, wherever it stands, bit by bit."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from graphopt.passes.eliminate.eliminate_noop import EliminateNoop
from tests.build import few, parse
from tests.passes.placed import GRAPHS, PLACES, Place, piece, placed
from tests.passes.support import Array, agree, run

PASS = EliminateNoop()
HEAD = '<ir_version: 10, opset_import: ["" : 18]>'

INPUT = "a graph output would become an input or an initializer"
SPECIAL = np.array([[-0.0, 0.0, np.nan], [np.inf, -np.inf, 1e-45]], np.float32)
"""What shows a wrong rewrite: the sign of a zero, what is not finite, the smallest number."""


def f32(*values: float) -> Array:
    return np.array(values, np.float32)


def i64(*values: int) -> Array:
    return np.array(values, np.int64)


NUMBER = np.array(1, np.float32)
PLAIN: dict[str, tuple[str, Array | None]] = {
    "Mul, one on the right": ("Mul(x, c)", NUMBER),
    "Mul, one on the left": ("Mul(c, x)", NUMBER),
    "Div by one": ("Div(x, c)", NUMBER),
    "Add of -0": ("Add(x, c)", np.array(-0.0, np.float32)),
    "Add to -0": ("Add(c, x)", np.array(-0.0, np.float32)),
    "Sub of 0": ("Sub(x, c)", np.array(0, np.float32)),
    "Transpose in order": ("Transpose <perm = [0, 1]> (x)", None),
    "Tile once": ("Tile(x, c)", i64(1, 1)),
    "Pad by nothing": ("Pad(x, c)", i64(0, 0, 0, 0)),
    "Pad by nothing, mirrored": ('Pad <mode = "reflect"> (x, c)', i64(0, 0, 0, 0)),
    "Pad with axes": ("Pad(x, c, , a)", i64(0, 0)),
    "Concat of one": ("Concat <axis = 1> (x)", None),
    "Sum of one": ("Sum(x)", None),
    "Mean of one": ("Mean(x)", None),
    "Max of one": ("Max(x)", None),
    "Min of one": ("Min(x)", None),
    "Dropout": ("Dropout(x)", None),
    "Dropout with a ratio": ("Dropout(x, c)", np.array(0.9, np.float32)),
    "Dropout that does not train": ("Dropout(x, , c)", np.array(False)),
}
"""Nothing of x's shape need be known."""
SHAPED: dict[str, tuple[str, Array | None]] = {
    "Cast": ("Cast <to = 1> (x)", None),
    "CastLike": ("CastLike(x, x)", None),
    "Reshape, numbers": ("Reshape(x, c)", i64(2, 3)),
    "Reshape, copies": ("Reshape(x, c)", i64(0, 0)),
    "Reshape, one open": ("Reshape(x, c)", i64(0, -1)),
    "Reshape, first open": ("Reshape(x, c)", i64(-1, 3)),
    "Reshape, allowzero": ("Reshape <allowzero = 1> (x, c)", i64(2, -1)),
    "Expand to ones": ("Expand(x, c)", i64(1, 1)),
    "Expand to the same": ("Expand(x, c)", i64(2, 3)),
    "Expand by a row": ("Expand(x, c)", i64(3)),
    "Expand to nothing": ("Expand(x, c)", i64()),
    "Flatten": ("Flatten(x)", None),
    "Flatten, axis 1": ("Flatten <axis = 1> (x)", None),
    "Flatten, axis -1": ("Flatten <axis = -1> (x)", None),
    "Mul by a matrix of ones": ("Mul(c, x)", np.ones((2, 3), np.float32)),
    "Mul by a row of ones": ("Mul(x, c)", f32(1, 1, 1)),
    "Mul by a column of ones": ("Mul(x, c)", f32(1, 1).reshape(2, 1)),
    "Div by one in a matrix": ("Div(x, c)", f32(1).reshape(1, 1)),
    "Add of a row of -0": ("Add(x, c)", f32(-0.0, -0.0, -0.0)),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", [*PLAIN, *SHAPED])
def test_removes(case: str, place: Place) -> None:
    """A function's values have no known types: what needs them stays there."""
    form, constant = {**PLAIN, **SHAPED}[case]
    constants = {} if constant is None else {"c": constant}
    if "a)" in form:
        constants["a"] = i64(-1)
    outcome = run(placed(place, f"n = {form}\ny = Neg(n)", constants), PASS)
    # A loop's own Cast of its condition would give back an input.
    assert outcome.skipped == ({INPUT: 1} if place == "loop" else {})
    assert outcome.left_out == []
    if place == "function" and case in SHAPED and case != "Expand to nothing":
        assert outcome.unchanged
        return
    assert piece(outcome.after, place) == ["y = Neg(x)"]
    assert outcome.rewrites == 1
    agree(outcome.before, outcome.after, exact=True)
    if place == "main":
        agree(outcome.before, outcome.after, [{"x": SPECIAL}], exact=True)


@pytest.mark.parametrize("place", ["if", "loop"])
def test_the_constant_is_captured(place: Place) -> None:
    body = "n = Mul(x, c)\nr = Reshape(n, s)\ny = Neg(r)"
    constants = {"c": f32(1), "s": i64(2, 3)}
    outcome = run(placed(place, body, constants, captured=True), PASS)
    assert piece(outcome.after, place) == ["y = Neg(x)"]
    agree(outcome.before, outcome.after, exact=True)


SLICES = {
    "to the end": (i64(0), i64(2), None, None),
    "both axes": (i64(0, 0), i64(2, 3), None, None),
    "far behind the end": (i64(0, 0), i64(2**63 - 1, 2**31 - 1), None, None),
    "one axis": (i64(0), i64(3), i64(1), None),
    "a negative axis": (i64(0), i64(9), i64(-1), None),
    "steps": (i64(0, 0), i64(2, 3), i64(1, 0)[::-1], i64(1, 1)),
    "axes left out": (i64(0, 0), i64(2, 3), None, i64(1, 1)),
    "nothing listed": (i64(), i64(), i64(), None),
    "int32": (np.zeros(2, np.int32), np.full(2, 2**31 - 1, np.int32), None, None),
}


@pytest.mark.parametrize("place", GRAPHS)
@pytest.mark.parametrize("case", SLICES)
def test_slice_of_everything(case: str, place: Place) -> None:
    given_numbers = dict(zip(("s", "e", "a", "t"), SLICES[case], strict=True))
    constants = {name: array for name, array in given_numbers.items() if array is not None}
    listed = ", ".join(name if name in constants else '""' for name in given_numbers)
    outcome = run(placed(place, f"n = Slice(x, {listed})\ny = Neg(n)", constants), PASS)
    assert piece(outcome.after, place) == ["y = Neg(x)"]
    agree(outcome.before, outcome.after, exact=True)


def test_a_vector_needs_no_permutation() -> None:
    for x in ("float[3]", "float"):
        outcome = run(placed("main", "n = Transpose(x)\ny = Neg(n)", x=x), PASS)
        assert outcome.lines == ["y = Neg(x)"]
        agree(outcome.before, outcome.after, exact=True)


@pytest.mark.parametrize(("op", "constant"), [("And", True), ("Or", False)])
def test_logic(op: str, constant: bool) -> None:
    for shape in ((), (1,), (3,), (2, 3)):
        for form in ("x, c", "c, x"):
            body = f"n = {op}({form})\ny = Not(n)"
            given_constants = {"c": np.full(shape, constant)}
            outcome = run(placed("main", body, given_constants, x="bool[2,3]"), PASS)
            assert outcome.lines == ["y = Not(x)"]
            agree(outcome.before, outcome.after, exact=True)


LEGACY: dict[str, tuple[int, str]] = {
    "Reshape, attribute": (1, "Reshape <shape = [0, -1]> (x)"),
    "Pad, paddings": (1, "Pad <paddings = [0, 0, 0, 0]> (x)"),
    "Pad, pads": (10, "Pad <pads = [0, 0, 0, 0], value = 3.0> (x)"),
    "Slice, attributes": (9, "Slice <starts = [0, 0], ends = [2, 2147483647]> (x)"),
    "Slice, axes": (1, "Slice <axes = [1], starts = [0], ends = [3]> (x)"),
    "Dropout in its test form": (6, "Dropout <is_test = 1> (x)"),
    "Dropout knows no training": (10, "Dropout <ratio = 0.5> (x)"),
    "Mul by a number": (6, "Mul <broadcast = 1> (x, c)"),
    "Div by a number": (1, "Div <broadcast = 1> (x, c)"),
    "Max of one": (1, "Max(x)"),
    "Mean of one": (6, "Mean(x)"),
    "Cast": (9, "Cast <to = 1> (x)"),
}


@pytest.mark.parametrize("case", LEGACY)
def test_older_opsets(case: str) -> None:
    opset, form = LEGACY[case]
    constants = {"c": f32(1)} if "c)" in form else {}
    body = f"n = {form}\ny = Relu(n)"
    outcome = run(placed("main", body, constants, opset=opset, ir=8), PASS)
    assert outcome.lines == ["y = Relu(x)"]
    if opset >= 7:
        agree(outcome.before, outcome.after, exact=True)


TYPES = (
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64", "bfloat16",
)  # fmt: skip


@pytest.mark.parametrize("name", TYPES)
def test_every_type(name: str) -> None:
    dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
    elem = helper.np_dtype_to_tensor_dtype(dtype)
    text = TensorProto.DataType.Name(elem).lower()
    body = f"a = Mul(x, c)\nb = Div(a, c)\nd = Sub(b, z)\ne = Cast <to = {elem}> (d)"
    model = placed("main", body + "\ny = Concat <axis = 0> (e, e)", x=f"{text}[3]", y=f"{text}[6]")
    for key, number in (("c", 1), ("z", 0)):
        model.graph.initializer.append(numpy_helper.from_array(np.array([number], dtype), key))
    outcome = run(model, PASS)
    assert outcome.lines == ["y = Concat(x, x)"]
    onnx.checker.check_model(outcome.after, full_check=True)


@st.composite
def chains(draw: st.DrawFn) -> tuple[str, dict[str, Array]]:
    """Nodes in a row, each one empty in a way of its own."""
    cases = {**PLAIN, **SHAPED}
    nodes: list[str] = []
    constants: dict[str, Array] = {"a": i64(0)}
    value = "x"
    for number in range(draw(st.integers(1, 6))):
        form, constant = cases[draw(st.sampled_from(sorted(cases)))]
        if constant is not None:
            constants[f"c{number}"] = constant
        head, _, listed = form.rpartition("(")
        listed = listed.replace("x", value).replace("c", f"c{number}")
        nodes.append(f"v{number} = {head}({listed}")
        value = f"v{number}"
    return "\n".join([*nodes, f"y = Neg({value})"]), constants


@few
@given(chains(), st.sampled_from(GRAPHS))
def test_nothing_stays_of_a_chain(case: tuple[str, dict[str, Array]], place: Place) -> None:
    body, constants = case
    outcome = run(placed(place, body, constants), PASS)
    assert piece(outcome.after, place) == ["y = Neg(x)"]
    assert outcome.rewrites == body.count("\n")
    agree(outcome.before, outcome.after, exact=True)


def test_a_graph_output_keeps_its_name() -> None:
    outcome = run(placed("main", "a = Neg(x)\ny = Reshape(a, s)", {"s": i64(0, 0)}), PASS)
    assert outcome.lines == ["y = Neg(x)"]
    agree(outcome.before, outcome.after, exact=True)


def test_readers_in_bodies_follow() -> None:
    text = (
        HEAD
        + """g (float[2] x, bool c) => (float[2] y) {
        a = Mul(x, one)
        y = If(c) <then_branch = t () => (float[2] p) { p = Exp(a) },
                   else_branch = e () => (float[2] q) { q = Add(a, a) }>
    }"""
    )
    outcome = run(parse(text, one=NUMBER), PASS)
    assert outcome.lines == [
        "y = If(c)",
        "  then_branch: p = Exp(x)",
        "  else_branch: q = Add(x, x)",
    ]
    agree(outcome.before, outcome.after, exact=True)


def test_the_empty_tensor() -> None:
    """No element, no difference: a product with no numbers at all included."""
    body = "a = Mul(x, c)\nb = Expand(a, s)\nd = Reshape <allowzero = 1> (b, s)\ny = Neg(d)"
    constants = {"c": np.zeros((0, 3), np.float32), "s": i64(0, 3)}
    outcome = run(placed("main", body, constants, x="float[0,3]"), PASS)
    assert outcome.lines == ["y = Neg(x)"]
    agree(outcome.before, outcome.after, [{"x": np.zeros((0, 3), np.float32)}], exact=True)


def test_symbolic_dimensions() -> None:
    """A copied dimension is what it was, and so is the only one left open."""
    body = "a = Reshape(x, s)\nb = Expand(a, e)\nd = Flatten(b)\ny = Neg(d)"
    constants = {"s": i64(0, -1), "e": i64(1, 1)}
    outcome = run(placed("main", body, constants, x="float[N,M]"), PASS)
    assert outcome.lines == ["y = Neg(x)"]
    agree(outcome.before, outcome.after, exact=True)


def test_a_string_is_cast_to_a_string() -> None:
    body = "a = Cast <to = 8> (x)\ny = Concat <axis = 0> (a, a)"
    outcome = run(placed("main", body, x="string[2]", y="string[4]"), PASS)
    assert outcome.lines == ["y = Concat(x, x)"]
    onnx.checker.check_model(outcome.after, full_check=True)
