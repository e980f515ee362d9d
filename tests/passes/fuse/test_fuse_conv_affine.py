"""fuse_conv_affine: text in, text out; parameters against float64; chains of any length."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx.printer
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, helper, numpy_helper

from graphopt.passes.fuse.fuse_conv_affine import FuseConvAffine
from tests.build import few, parse
from tests.passes.fuse.fused import dims, f32, forms, kind, normal, rounded_once
from tests.passes.placed import GRAPHS, PLACES, Place, piece, placed, scope_of, stored
from tests.passes.support import Array, agree, run

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

FUSE = FuseConvAffine()
X = "float[2,3,5,5]"
Y = "float[2,4,3,3]"
CONV = "h = Conv(x, w, b)\n"
BODY = CONV + "n = Mul(h, c)\ny = Relu(n)"

FORMS = forms("h")


def values(**changed: Array) -> dict[str, Array]:
    made = {"w": normal(4, 3, 3, 3), "b": normal(4, seed=4), "c": normal(4, 1, 1, seed=5)}
    return {**made, **changed}


@pytest.mark.parametrize("place", PLACES)
def test_fuses(place: Place) -> None:
    outcome = run(placed(place, BODY, values(), x=X, y=Y), FUSE)
    assert piece(outcome.after, place) == ["n = Conv(x, w_fused, w_bias)", "y = Relu(n)"]
    assert (outcome.rewrites, outcome.skipped, outcome.left_out) == (1, {}, [])
    assert {"w_fused", "w_bias"} <= stored(outcome.after, place)
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("place", PLACES)
def test_the_result_is_a_graph_output(place: Place) -> None:
    outcome = run(placed(place, CONV + "y = Sub(c, h)", values(), x=X, y=Y), FUSE)
    assert piece(outcome.after, place) == ["y = Conv(x, w_fused, w_bias)"]
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("form", FORMS)
def test_each_form_in_float64_then_rounded_once(form: str, dtype: Any) -> None:
    given_values = {name: array.astype(dtype) for name, array in values().items()}
    x, y = (text.replace("float", kind(dtype)) for text in (X, Y))
    outcome = run(placed("main", CONV + f"y = {form}", given_values, x=x, y=y), FUSE)
    scale, shift = (make(given_values["c"].astype(np.float64).ravel()) for make in FORMS[form])
    wide = {name: array.astype(np.float64) for name, array in given_values.items()}
    weight, bias = (outcome.weights[name] for name in outcome.after.graph.node[0].input[1:])
    rounded_once(weight, wide["w"] * scale.reshape(4, 1, 1, 1))
    rounded_once(bias, wide["b"] * scale + shift)
    assert weight.dtype == bias.dtype == dtype
    # ONNX Runtime has no float64 Conv.
    agree(outcome.before, outcome.after, reference=dtype is np.float64)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (1, 1, 1, 1), (4, 1, 1), (1, 4, 1, 1)])
@pytest.mark.parametrize("form", FORMS)
def test_shapes_that_widen_nothing(form: str, shape: tuple[int, ...]) -> None:
    outcome = run(placed("main", CONV + f"y = {form}", values(c=normal(*shape)), x=X, y=Y), FUSE)
    assert len(outcome.lines) == 1
    agree(outcome.before, outcome.after)


def test_one_output_channel() -> None:
    given_values = values(w=normal(1, 3, 3, 3), b=normal(1), c=normal(1, 1, 1, seed=9))
    outcome = run(placed("main", BODY, given_values, x=X, y="float[2,1,3,3]"), FUSE)
    assert outcome.rewrites == 1
    agree(outcome.before, outcome.after)


def test_no_output_channels() -> None:
    given_values = {"w": np.zeros((0, 3, 3, 3), np.float32), "c": f32(2)}
    body = "h = Conv(x, w)\ny = Mul(h, c)"
    outcome = run(placed("main", body, given_values, x=X, y="float[2,0,3,3]"), FUSE)
    assert outcome.lines == ["y = Conv(x, w)"]
    agree(outcome.before, outcome.after, reference=True)


@pytest.mark.parametrize("inputs", ["x, w", 'x, w, ""'])
@pytest.mark.parametrize(
    ("form", "fused"), [("Add(h, c)", "x, w, w_bias"), ("Mul(h, c)", "x, w_fused")]
)
def test_a_conv_without_bias_gets_one_where_it_needs_one(
    inputs: str, form: str, fused: str
) -> None:
    given_values = values()
    del given_values["b"]
    body = f"h = Conv({inputs})\ny = {form}"
    outcome = run(placed("main", body, given_values, x=X, y=Y), FUSE)
    assert [entry.replace(", )", ")") for entry in outcome.lines] == [f"y = Conv({fused})"]
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize(
    ("form", "value"), [("Mul(c, h)", 1), ("Div(h, c)", 1), ("Add(h, c)", -0.0), ("Sub(h, c)", 0)]
)
def test_a_neutral_operand_leaves_the_constants(form: str, value: float) -> None:
    outcome = run(placed("main", CONV + f"y = {form}", values(c=f32(value)), x=X, y=Y), FUSE)
    assert outcome.lines == ["y = Conv(x, w, b)"]
    assert set(outcome.weights) <= {"w", "b", "c"}
    agree(outcome.before, outcome.after, exact=True)


@pytest.mark.parametrize("place", ["if", "loop"])
def test_constants_captured_from_the_main_graph(place: Place) -> None:
    outcome = run(placed(place, BODY, values(), x=X, y=Y, captured=True), FUSE)
    assert piece(outcome.after, place) == ["n = Conv(x, w_fused, w_bias)", "y = Relu(n)"]
    assert {"w_fused", "w_bias"} <= stored(outcome.after, place)
    agree(outcome.before, outcome.after)


def test_in_the_body_of_a_scan() -> None:
    text = f"""<ir_version: 10, opset_import: ["" : 18]> g (float[3,2,3,5,5] xs) => (float[3,2,4,3,3] ys) {{
        ys = Scan <num_scan_inputs = 1, body = step ({X} x) => ({Y} y) {{
            {CONV} y = Div(h, c)
        }}> (xs)
    }}"""  # noqa: E501
    outcome = run(parse(text, **values()), FUSE)
    assert outcome.lines == ["ys = Scan(xs)", "  body: y = Conv(x, w_fused, w_bias)"]
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("place", GRAPHS)
@pytest.mark.parametrize("ir", [3, 10])
def test_constant_nodes(place: Place, ir: int) -> None:
    model = placed(place, BODY, {}, x=X, y=Y, ir=ir, opset=9)
    for name, array in values().items():
        node = helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))
        scope_of(model, place).node.insert(0, node)
    outcome = run(model, FUSE)
    assert piece(outcome.after, place) == ["n = Conv(x, w_fused, w_bias)", "y = Relu(n)"]
    assert bool(outcome.after.graph.initializer) == (ir == 10 and place == "main")
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("place", GRAPHS)
def test_fresh_names(place: Place) -> None:
    head = "w_fused = Neg(x)\nu = ReduceSum <keepdims = 0> (w_fused)\n"
    body = head + BODY.replace("y = Relu(n)", "w_bias = Add(n, u)\ny = Mul(w_bias, w_fused_1)")
    model = placed(place, body, values(w_fused_1=np.array(3, np.float32)), x=X, y=Y)
    outcome = run(model, FUSE)
    assert "n = Conv(x, w_fused_2, w_bias_1)" in piece(outcome.after, place)
    agree(outcome.before, outcome.after)


def test_a_shift_leaves_a_shared_weight_where_it_is() -> None:
    body = CONV + "n = Add(h, c)\nk = Conv(x, w, b)\ny = Div(n, k)"
    outcome = run(placed("main", body, values(), x=X, y=Y), FUSE)
    assert outcome.lines[0] == "n = Conv(x, w, w_bias)"
    assert outcome.lines[1] == "k = Conv(x, w, b)"
    agree(outcome.before, outcome.after)


def test_a_shared_bias_and_operand_stay_for_their_other_readers() -> None:
    body = "h = Conv(x, w, b)\nn = Mul(h, c)\nk = Conv(x, v, b)\nm = Neg(k)\nq = Mul(m, c)\n"
    given_values = values(v=normal(4, 3, 3, 3, seed=8))
    outcome = run(placed("main", body + "y = Sub(n, q)", given_values, x=X, y=Y), FUSE)
    assert outcome.lines == [
        "n = Conv(x, w_fused, w_bias)", "k = Conv(x, v, b)", "m = Neg(k)", "q = Mul(m, c)",
        "y = Sub(n, q)",
    ]  # fmt: skip
    agree(outcome.before, outcome.after)


def test_one_constant_used_for_everything() -> None:
    body = "h = Conv(x, w, b)\nn = Mul(h, b)\ny = Sub(b, n)"
    model = placed("main", body, {"w": normal(1, 3, 3, 3), "b": f32(0.7)}, x=X, y="float[2,1,3,3]")
    outcome = run(model, FUSE)
    assert (outcome.rewrites, len(outcome.lines)) == (2, 1)
    agree(outcome.before, outcome.after)


def test_a_reader_in_a_body_follows() -> None:
    """Even one with an initializer that is called as the Conv's output was."""
    text = f"""<ir_version: 10, opset_import: ["" : 18]> g ({X} x, bool t) => ({Y} y) {{
        {CONV} n = Add(h, c)
        y = If(t) <then_branch = p () => ({Y} a) <float[1] h = {{2.0}}> {{ a = Mul(n, h) }},
                   else_branch = q () => ({Y} e) {{ e = Neg(n) }}>
    }}"""
    outcome = run(parse(text, **values()), FUSE)
    assert outcome.lines[0] == "n = Conv(x, w, w_bias)"
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("opset", [1, 6])
@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize(
    ("shape", "axis"), [((), ""), ((1,), ""), ((1,), ", axis = 3"), ((4,), ", axis = 1")]
)
def test_below_opset_7(operator: str, opset: int, shape: tuple[int, ...], axis: str) -> None:
    """The second operand is aligned at `axis`; a scalar needs none."""
    operand = normal(*shape, seed=5)
    body = CONV + f"y = {operator} <broadcast = 1{axis}> (h, c)"
    outcome = run(placed("main", body, values(c=operand), x=X, y=Y, opset=opset), FUSE)
    assert len(outcome.lines) == 1
    # No runtime here has these versions: the same model in words of opset 13.
    column = operand.reshape(*shape, 1, 1) if shape else operand
    modern = placed("main", CONV + f"y = {operator}(h, c)", values(c=column), x=X, y=Y, opset=13)
    outcome.after.opset_import[0].version = 13
    agree(modern, outcome.after)


@pytest.mark.parametrize("opset", [7, 11, 22])
def test_from_opset_7_on(opset: int) -> None:
    outcome = run(placed("main", BODY, values(), x=X, y=Y, opset=opset), FUSE)
    assert outcome.rewrites == 1
    agree(outcome.before, outcome.after)


@st.composite
def chains(draw: st.DrawFn) -> tuple[ModelProto, int]:
    """A Conv of any rank and groups with one to four affine nodes behind it."""
    rank, group = draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 2, 3]))
    depth, outputs = group * draw(st.integers(1, 2)), group * draw(st.integers(1, 3))
    dtype = np.dtype(draw(st.sampled_from([np.float32, np.float64])))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    constants: dict[str, Array] = {
        "w": rng.standard_normal((outputs, depth // group, *[3] * rank)), "b": rng.random(outputs)
    }  # fmt: skip
    bias = draw(st.sampled_from(["", ", b"]))
    body = f"v0 = Conv <group = {group}, pads = {[1] * 2 * rank}> (x, w{bias})\n"
    count = draw(st.integers(1, 4))
    for number in range(1, count + 1):
        full = (outputs, *[1] * rank)
        shape = draw(st.sampled_from([(), (1,), full, (1, *full), (1, *[1] * rank)]))
        operand = np.asarray(rng.uniform(0.5, 2, shape) * rng.choice([-1, 1], shape))
        constants[f"c{number}"] = operand
        form = draw(st.sampled_from(list(FORMS)))
        form = form.replace("h", f"v{number - 1}").replace("c", f"c{number}")
        body += f"v{number} = {form}\n"
    stored_as = {name: array.astype(dtype) for name, array in constants.items()}
    x = kind(dtype) + dims(np.empty((2, depth, *[4] * rank)))
    y = kind(dtype) + dims(np.empty((2, outputs, *[4] * rank)))
    return placed("main", body + f"y = Abs(v{count})", stored_as, x=x, y=y), count


@few
@given(chains())
def test_any_chain_goes_in_whole(case: tuple[ModelProto, int]) -> None:
    model, count = case
    outcome = run(model, FUSE)
    assert (outcome.rewrites, outcome.skipped, len(outcome.lines)) == (count, {}, 2)
    assert outcome.after.graph.node[0].attribute == model.graph.node[0].attribute
    agree(model, outcome.after, reference="double" in onnx.printer.to_text(model))
