"""fuse_affine_conv: text in, text out; parameters against float64; groups, ranks, padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx.printer
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, helper, numpy_helper

from graphopt.passes.fuse.fuse_affine_conv import FuseAffineConv
from tests.build import few, parse
from tests.passes.fuse.fused import dims, f32, forms, kind, normal, rounded_once
from tests.passes.placed import GRAPHS, Place, piece, placed, scope_of, stored
from tests.passes.support import Array, agree, random_feeds, run

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

FUSE = FuseAffineConv()
X = "float[2,3,5,5]"
Y = "float[2,4,3,3]"
CONV = "n = Conv(h, w, b)\n"
BODY = "h = Sub(c, x)\n" + CONV + "y = Relu(n)"

FORMS = forms("x")
SCALES = [form for form in FORMS if form[:3] in ("Mul", "Div")]


def values(**changed: Array) -> dict[str, Array]:
    made = {"w": normal(4, 3, 3, 3), "b": normal(4, seed=4), "c": normal(3, 1, 1, seed=5)}
    return {**made, **changed}


@pytest.mark.parametrize("place", GRAPHS)
def test_fuses(place: Place) -> None:
    outcome = run(placed(place, BODY, values(), x=X, y=Y), FUSE)
    assert piece(outcome.after, place) == ["n = Conv(x, w_fused, w_bias)", "y = Relu(n)"]
    assert (outcome.rewrites, outcome.skipped, outcome.left_out) == (1, {}, [])
    assert {"w_fused", "w_bias"} <= stored(outcome.after, place)
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("place", GRAPHS)
def test_the_convs_output_is_a_graph_output(place: Place) -> None:
    body = "h = Mul(x, c)\ny = Conv(h, w, b)"
    outcome = run(placed(place, body, values(), x=X, y=Y), FUSE)
    assert piece(outcome.after, place) == ["y = Conv(x, w_fused, b)"]
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("form", FORMS)
def test_each_form_in_float64_then_rounded_once(form: str, dtype: Any) -> None:
    given_values = {name: array.astype(dtype) for name, array in values().items()}
    x, y = (text.replace("float", kind(dtype)) for text in (X, Y))
    body = f"h = {form}\ny = Conv(h, w, b)"
    outcome = run(placed("main", body, given_values, x=x, y=y), FUSE)
    scale, shift = (make(given_values["c"].astype(np.float64).ravel()) for make in FORMS[form])
    if dtype is np.float16 and shift.any():
        assert outcome.unchanged
        return
    wide = {name: array.astype(np.float64) for name, array in given_values.items()}
    weight, bias = (outcome.weights[name] for name in outcome.after.graph.node[0].input[1:])
    rounded_once(weight, wide["w"] * scale.reshape(3, 1, 1))
    added = np.einsum("oihw,i->o", wide["w"], shift)
    assert np.allclose(bias, wide["b"] + added, rtol=0, atol=4 * float(np.finfo(dtype).eps))
    assert weight.dtype == bias.dtype == dtype
    # ONNX Runtime has no float64 Conv.
    agree(outcome.before, outcome.after, reference=dtype is np.float64)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (1, 1, 1, 1), (3, 1, 1), (1, 3, 1, 1)])
@pytest.mark.parametrize("form", FORMS)
def test_shapes_that_widen_nothing(form: str, shape: tuple[int, ...]) -> None:
    body = f"h = {form}\ny = Conv(h, w, b)"
    outcome = run(placed("main", body, values(c=normal(*shape)), x=X, y=Y), FUSE)
    assert len(outcome.lines) == 1
    agree(outcome.before, outcome.after)


PADDED = {
    "pads": "pads = [1, 0, 2, 1]",
    "at the end alone": "pads = [0, 0, 0, 1]",
    "same upper": 'auto_pad = "SAME_UPPER"',
    "same lower": 'auto_pad = "SAME_LOWER"',
}


@pytest.mark.parametrize("case", PADDED)
@pytest.mark.parametrize("form", SCALES)
def test_a_scale_before_a_padded_conv(form: str, case: str) -> None:
    body = f"h = {form}\ny = Conv <{PADDED[case]}> (h, w, b)"
    outcome = run(placed("main", body, values(), x=X, y="float[?,?,?,?]"), FUSE)
    assert outcome.lines == ["y = Conv(x, w_fused, b)"]
    before, after = outcome.before.graph.node[1], outcome.after.graph.node[0]
    assert after.attribute == before.attribute
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("form", ["Add(x, c)", "Sub(x, c)", "Sub(c, x)"])
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_a_shift_by_0_before_a_padded_conv(form: str, zero: float) -> None:
    body = f"h = {form}\ny = Conv <pads = [1, 1, 1, 1]> (h, w, b)"
    outcome = run(placed("main", body, values(c=f32(zero)), x=X, y="float[2,4,5,5]"), FUSE)
    assert len(outcome.lines) == 1
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize(
    "unpadded",
    ["pads = [0, 0, 0, 0]", 'auto_pad = "VALID"', 'auto_pad = "NOTSET"', "strides=[2,2]"],
)
def test_a_shift_before_an_unpadded_conv(unpadded: str) -> None:
    body = f"h = Add(x, c)\ny = Conv <{unpadded}> (h, w, b)"
    outcome = run(placed("main", body, values(), x=X, y="float[?,?,?,?]"), FUSE)
    assert outcome.lines == ["y = Conv(x, w, w_bias)"]
    agree(outcome.before, outcome.after)


def test_normalised_pictures_before_a_padded_conv() -> None:
    """The usual (x - mean) / std: the division goes in, the shift stays."""
    body = "g = Sub(x, m)\nh = Div(g, c)\ny = Conv <pads = [1, 1, 1, 1]> (h, w, b)"
    constants = values(m=normal(1, 3, 1, 1))
    outcome = run(placed("main", body, constants, x=X, y="float[2,4,5,5]"), FUSE)
    assert outcome.lines == ["g = Sub(x, m)", "y = Conv(g, w_fused, b)"]
    assert outcome.skipped == {"a shift before a padded conv is not exact": 1}
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("inputs", ["h, w", 'h, w, ""'])
@pytest.mark.parametrize(
    ("form", "fused"), [("Add(x, c)", "x, w, w_bias"), ("Mul(x, c)", "x, w_fused")]
)
def test_a_conv_without_bias_gets_one_where_it_needs_one(
    inputs: str, form: str, fused: str
) -> None:
    constants = values()
    del constants["b"]
    body = f"h = {form}\ny = Conv({inputs})"
    outcome = run(placed("main", body, constants, x=X, y=Y), FUSE)
    assert [entry.replace(", )", ")") for entry in outcome.lines] == [f"y = Conv({fused})"]
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize(
    ("form", "value"), [("Mul(c, x)", 1), ("Div(x, c)", 1), ("Add(x, c)", -0.0), ("Sub(x, c)", 0)]
)
def test_a_neutral_operand_leaves_the_constants(form: str, value: float) -> None:
    body = f"h = {form}\ny = Conv(h, w, b)"
    outcome = run(placed("main", body, values(c=f32(value)), x=X, y=Y), FUSE)
    assert outcome.lines == ["y = Conv(x, w, b)"]
    agree(outcome.before, outcome.after, exact=True)


@pytest.mark.parametrize("place", ["if", "loop"])
def test_constants_captured_from_the_main_graph(place: Place) -> None:
    outcome = run(placed(place, BODY, values(), x=X, y=Y, captured=True), FUSE)
    assert piece(outcome.after, place) == ["n = Conv(x, w_fused, w_bias)", "y = Relu(n)"]
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
    agree(outcome.before, outcome.after)


def test_what_the_arithmetic_reads_may_have_other_readers() -> None:
    body = "r = Abs(x)\nh = Mul(r, c)\nn = Conv(h, w, b)\nk = Conv(r, v, b)\nq = Mul(r, c)\n"
    body += "z = Conv(q, u, b)\np = Add(n, k)\ny = Add(p, z)"
    constants = values(v=normal(4, 3, 3, 3, seed=8), u=normal(4, 3, 3, 3, seed=9))
    outcome = run(placed("main", body, constants, x=X, y=Y), FUSE)
    assert outcome.lines == [
        "r = Abs(x)", "n = Conv(r, w_fused, b)", "k = Conv(r, v, b)", "z = Conv(r, u_fused, b)",
        "p = Add(n, k)", "y = Add(p, z)",
    ]  # fmt: skip
    agree(outcome.before, outcome.after)


def test_what_the_arithmetic_reads_may_come_from_outside() -> None:
    text = f"""<ir_version: 10, opset_import: ["" : 18]> g ({X} x, bool t) => ({Y} y) {{
        r = Abs(x)
        y = If(t) <then_branch = p () => ({Y} a) {{ h = Mul(r, c) a = Conv(h, w) }},
                   else_branch = q () => ({Y} e) {{ k = Conv(r, v) e = Neg(k) }}>
    }}"""
    outcome = run(parse(text, **values(v=normal(4, 3, 3, 3, seed=8))), FUSE)
    assert "  then_branch: a = Conv(r, w_fused)" in outcome.lines
    agree(outcome.before, outcome.after)


def test_open_sizes() -> None:
    model = placed("main", BODY, values(), x='float["N",3,"H","W"]', y="float[?,4,?,?]")
    outcome = run(model, FUSE)
    assert outcome.rewrites == 1
    feeds = [random_feeds(model, 1, {"N": n, "H": h, "W": 3}) for n, h in ((1, 3), (3, 6))]
    agree(outcome.before, outcome.after, feeds)


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize(("shape", "axis"), [((), ""), ((1,), ""), ((3,), ", axis = 1")])
def test_below_opset_7(operator: str, shape: tuple[int, ...], axis: str) -> None:
    operand = normal(*shape, seed=5)
    body = f"h = {operator} <broadcast = 1{axis}> (x, c)\ny = Conv(h, w, b)"
    outcome = run(placed("main", body, values(c=operand), x=X, y=Y, opset=6), FUSE)
    assert len(outcome.lines) == 1
    # No runtime here has these versions: the same model in words of opset 13.
    column = operand.reshape(*shape, 1, 1) if shape else operand
    body = f"h = {operator}(x, c)\ny = Conv(h, w, b)"
    modern = placed("main", body, values(c=column), x=X, y=Y, opset=13)
    outcome.after.opset_import[0].version = 13
    agree(modern, outcome.after)


@pytest.mark.parametrize("opset", [7, 11, 22])
def test_from_opset_7_on(opset: int) -> None:
    outcome = run(placed("main", BODY, values(), x=X, y=Y, opset=opset), FUSE)
    assert outcome.rewrites == 1
    agree(outcome.before, outcome.after)


@st.composite
def chains(draw: st.DrawFn) -> tuple[ModelProto, int]:
    """One to three affine nodes before a Conv of any rank and groups; padded behind scales."""
    rank, group = draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 2, 3]))
    depth, outputs = group * draw(st.integers(1, 2)), group * draw(st.integers(1, 3))
    dtype = np.dtype(draw(st.sampled_from([np.float32, np.float64])))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    constants: dict[str, Array] = {
        "w": rng.standard_normal((outputs, depth // group, *[3] * rank)), "b": rng.random(outputs)
    }  # fmt: skip
    count, body = draw(st.integers(1, 3)), "v0 = Abs(x)\n"
    padding = draw(st.integers(0, 1))
    for number in range(1, count + 1):
        full = (depth, *[1] * rank)
        shape = draw(st.sampled_from([(), (1,), full, (1, *full), (1, *[1] * rank)]))
        constants[f"c{number}"] = np.asarray(
            rng.uniform(0.5, 2, shape) * rng.choice([-1, 1], shape)
        )
        form = draw(st.sampled_from(SCALES if padding else list(FORMS)))
        form = form.replace("x", f"v{number - 1}").replace("c", f"c{number}")
        body += f"v{number} = {form}\n"
    bias = draw(st.sampled_from(["", ", b"]))
    body += f"y = Conv <group = {group}, pads = {[padding] * 2 * rank}> (v{count}, w{bias})"
    stored_as = {name: array.astype(dtype) for name, array in constants.items()}
    x = kind(dtype) + dims(np.empty((2, depth, *[4] * rank)))
    y = f"{kind(dtype)}[{','.join('?' * (rank + 2))}]"
    return placed("main", body, stored_as, x=x, y=y), count


@few
@given(chains())
def test_any_chain_goes_in_whole(case: tuple[ModelProto, int]) -> None:
    model, count = case
    outcome = run(model, FUSE)
    assert (outcome.rewrites, outcome.skipped, len(outcome.lines)) == (count, {}, 2)
    assert outcome.after.graph.node[1].attribute == model.graph.node[-1].attribute
    agree(model, outcome.after, reference="double" in onnx.printer.to_text(model))
