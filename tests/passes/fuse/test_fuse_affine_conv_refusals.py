"""fuse_affine_conv: what it leaves alone, and the reason that the report counts."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, TensorProto

from graphopt.passes.fuse.fuse_affine_conv import FuseAffineConv
from tests.build import parse
from tests.passes.fuse.fused import dims, f32, kind, normal, refused, typed
from tests.passes.placed import GRAPHS, Place, placed
from tests.passes.support import Array, agree, run

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

FUSE = FuseAffineConv()
X = "float[2,3,5,5]"
Y = "float[2,4,3,3]"
ANY = "float[?,?,?,?]"
HEAD = '<ir_version: 10, opset_import: ["" : 18, "com.example" : 1]>'
CONV = "y = Conv(h, w, b)\n"
NOT_CONSTANT = "a parameter is not a constant"
NOT_FINITE = "a fused parameter is not finite"
NOT_PLAIN = "the conv is not a plain one behind it"
OPERAND = "the operand is not one number for each channel"
PADDED = "a shift before a padded conv is not exact"
SHARED = "the weight is shared"
WIDENS = "the operand may widen what it meets"


def values(**changed: Array) -> dict[str, Array]:
    made = {"w": normal(4, 3, 3, 3), "b": normal(4, seed=4), "c": normal(3, 1, 1, seed=5)}
    return {**made, **changed}


def main(body: str, x: str = X, y: str = ANY, **changed: Array) -> ModelProto:
    return placed("main", body, values(**changed), x=x, y=y)


BODIES: dict[str, tuple[str, str | None]] = {
    "no constant": ("k = Abs(x)\nh = Add(k, x)\n" + CONV, None),
    "added to itself": ("h = Add(x, x)\n" + CONV, None),
    "something between": ("k = Mul(x, c)\nh = Abs(k)\n" + CONV, None),
    "read by another first": ("h = Mul(x, c)\nk = Abs(h)\ns = ReduceMax(k)\nn = Conv(h, w, b)\n"
                              "y = Add(n, s)", None),
    "read by another too": ("h = Mul(x, c)\nn = Conv(h, w, b)\nk = Abs(h)\ns = ReduceMax(k)\n"
                            "y = Add(n, s)", "the result has 2 readers"),
    "two convs": ("h = Mul(x, c)\nn = Conv(h, w, b)\nm = Conv(h, v, b)\ny = Add(n, m)",
                  "the result has 2 readers"),
    "weight computed": ("s = ReduceSum <keepdims = 0> (x)\nu = Max(w, s)\nh = Mul(x, c)\n"
                        "y = Conv(h, u, b)", NOT_CONSTANT),
    "bias computed": ("s = ReduceSum <keepdims = 0> (x)\nu = Max(b, s)\nh = Mul(x, c)\n"
                      "y = Conv(h, w, u)", NOT_CONSTANT),
    "constant over input": ("h = Div(c, x)\n" + CONV, OPERAND),
    "shared weight": ("h = Mul(x, c)\nn = Conv(h, w, b)\nm = Conv(x, w, b)\ny = Add(n, m)", SHARED),
    "shared weight, shift": ("h = Add(x, c)\nn = Conv(h, w, b)\nm = Conv(x, w)\ny = Add(n, m)",
                             SHARED),
}  # fmt: skip


@pytest.mark.parametrize("place", GRAPHS)
@pytest.mark.parametrize("case", BODIES)
def test_refused(case: str, place: Place) -> None:
    body, reason = BODIES[case]
    refused(placed(place, body, values(v=normal(4, 3, 3, 3)), x=X, y=Y), FUSE, reason)


@pytest.mark.parametrize(
    "padding",
    ["pads = [1, 1, 1, 1]", "pads = [0, 0, 0, 1]", 'auto_pad = "SAME_UPPER"',
     'auto_pad = "SAME_LOWER"'],
)  # fmt: skip
@pytest.mark.parametrize("form", ["Add(x, c)", "Sub(x, c)", "Sub(c, x)"])
def test_a_shift_before_a_padded_conv(form: str, padding: str) -> None:
    refused(main(f"h = {form}\ny = Conv <{padding}> (h, w, b)"), FUSE, PADDED)
    one_channel = np.array([0, 0, 1], np.float32).reshape(3, 1, 1)
    refused(main(f"h = {form}\ny = Conv <{padding}> (h, w, b)", c=one_channel), FUSE, PADDED)


OPERANDS = {
    "along the last axis": (3,),
    "along the last but one": (3, 1),
    "number by element": (3, 3, 3),
    "by batch": (2, 1, 1, 1),
    "by batch and channel": (2, 3, 1, 1),
}


@pytest.mark.parametrize("case", OPERANDS)
@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div"])
def test_operands_that_are_not_by_channel(case: str, operator: str) -> None:
    """Input [2, 3, 3, 3]: lengths alone do not tell an axis."""
    body = f"h = {operator}(x, c)\n" + CONV
    refused(main(body, "float[2,3,3,3]", c=normal(*OPERANDS[case])), FUSE, OPERAND)


@pytest.mark.parametrize("operator", ["Add", "Mul"])
@pytest.mark.parametrize(
    ("x", "shape"),
    [("float[2,1,5,5]", (3, 1, 1)), ("float[3,5,5]", (1, 3, 1, 1)), ("float[3,5,5]", (1, 1, 1, 1)),
     ('float[2,"C",5,5]', (3, 1, 1)), ("float[2,?,5,5]", (3, 1, 1)), ("float[5,5]", (1, 3, 1, 1))],
)  # fmt: skip
def test_operands_that_widen_what_they_meet(operator: str, x: str, shape: tuple[int, ...]) -> None:
    refused(main(f"h = {operator}(x, c)\n" + CONV, x, c=normal(*shape)), FUSE, WIDENS)


def test_an_unknown_rank() -> None:
    text = f"""{HEAD} g ({X} x) => ({ANY} y) {{
        k = com.example.Odd(x) h = Mul(k, c) y = Conv(h, w, b)
    }}"""
    refused(parse(text, **values()), FUSE, WIDENS)


def test_in_a_function_no_shape_is_known() -> None:
    refused(placed("function", "h = Mul(x, c)\n" + CONV, values(), x=X, y=Y), FUSE, WIDENS)


@pytest.mark.parametrize("number", [0.0, -0.0, np.nan, np.inf])
def test_divisors_without_an_inverse(number: float) -> None:
    refused(main("h = Div(x, c)\n" + CONV, c=f32(number)), FUSE, OPERAND)


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul"])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_operands_that_are_not_finite(operator: str, number: float) -> None:
    refused(main(f"h = {operator}(x, c)\n" + CONV, c=f32(number)), FUSE, OPERAND)


def infinite(*numbers: float) -> Array:
    made = normal(4, 3, 3, 3)
    made.flat[: len(numbers)] = numbers
    return made


FINITE: dict[str, tuple[str, dict[str, Array]]] = {
    "weight infinite": ("Add", {"w": infinite(np.inf)}),
    "both infinities": ("Add", {"w": infinite(np.inf, -np.inf)}),
    "infinite times 0": ("Mul", {"w": infinite(np.inf), "c": f32(0)}),
    "weight is NaN": ("Mul", {"w": infinite(np.nan)}),
    "bias infinite": ("Add", {"b": f32(0, 0, 0, np.inf)}),
    "weight overflows": ("Mul", {"c": f32(3e38)}),
    "bias overflows": ("Sub", {"c": f32(3e38)}),
}


@pytest.mark.parametrize("case", FINITE)
def test_fused_parameters_that_are_not_finite(case: str) -> None:
    operator, changed = FINITE[case]
    body = f"h = {operator}(x, c)\n" + CONV
    refused(placed("main", body, values(**changed), x=X, y=Y), FUSE, NOT_FINITE)


def test_a_fused_weight_that_vanishes() -> None:
    """Mul and Conv give normal numbers; a weight rounded to a few bits would not."""
    constants = {"w": normal(4, 3, 3, 3) * 0.01, "c": f32(1e-4)}
    stored = {name: array.astype(np.float16) for name, array in constants.items()}
    x, y = (text.replace("float", kind(np.float16)) for text in (X, Y))
    model = placed("main", "h = Mul(x, c)\ny = Conv(h, w)", stored, x=x, y=y)
    feeds = [{"x": np.full((2, 3, 5, 5), 6e4, np.float16)}]
    agree(model, run(model, FUSE).after, feeds)


def test_a_fused_weight_that_vanishes_beside_others() -> None:
    """One input channel is large, and made small: its weights must keep their bits, too."""
    constants = {"w": normal(4, 3, 3, 3) * 0.01, "c": f32(1, 1, 1e-4).reshape(3, 1, 1)}
    stored = {name: array.astype(np.float16) for name, array in constants.items()}
    x, y = (text.replace("float", kind(np.float16)) for text in (X, Y))
    model = placed("main", "h = Mul(x, c)\ny = Conv(h, w)", stored, x=x, y=y)
    feeds = [{"x": np.ones((2, 3, 5, 5), np.float16)}]
    feeds[0]["x"][:, 2] = 6e4
    agree(model, run(model, FUSE).after, feeds)


@pytest.mark.parametrize(
    ("w", "x", "y", "size"),
    [
        ((4, 0, 3, 3), "float[2,0,5,5]", Y, (2, 0, 5, 5)),
        ((0, 3, 3, 3), X, "float[2,0,3,3]", (2, 3, 5, 5)),
    ],
)
def test_no_channels(w: tuple[int, ...], x: str, y: str, size: tuple[int, ...]) -> None:
    constants = {"w": np.zeros(w, np.float32), "c": f32(2)}
    model = placed("main", "h = Mul(x, c)\ny = Conv(h, w)", constants, x=x, y=y)
    feeds = [{"x": np.ones(size, np.float32)}]
    agree(model, run(model, FUSE).after, feeds, reference=True)


def test_two_constants() -> None:
    """Folding constants is another pass's work."""
    body = "h = Mul(c, k)\nn = Conv(h, w, b)\ny = Add(n, x)"
    constants = values(k=normal(2, 3, 5, 5))
    refused(placed("main", body, constants, x=Y), FUSE, None)


def test_the_result_is_a_graph_output() -> None:
    text = f"{HEAD} g ({X} x) => ({Y} y, {X} h) {{ h = Mul(x, c) {CONV} }}"
    refused(parse(text, **values()), FUSE, "the result is a graph output")


def test_the_result_is_the_weight() -> None:
    text = f"{HEAD} g ({X} x, float[4,3,3,3] u) => ({Y} y) {{ h = Mul(u, c) y = Conv(x, h) }}"
    outcome = run(parse(text, **values()), FUSE)
    assert outcome.unchanged
    assert "the result has 1 readers" not in outcome.skipped


def test_the_result_is_the_weight_as_well() -> None:
    text = f"{HEAD} g (float[3,3,3,3] x) => (float[3,3,1,1] y) {{ h = Mul(x, c) y = Conv(h, h) }}"
    refused(parse(text, **values()), FUSE, "the result has 2 readers")


def test_the_conv_stands_in_a_body() -> None:
    text = f"""{HEAD} g ({X} x, bool t) => ({Y} y) {{
        h = Mul(x, c)
        y = If(t) <then_branch = p () => ({Y} a) {{ a = Conv(h, w) }},
                   else_branch = q () => ({Y} e) {{ e = Conv(x, w) }}>
    }}"""
    refused(parse(text, **values()), FUSE, NOT_PLAIN)


@pytest.mark.parametrize(
    ("name", "reason"), [("w", NOT_CONSTANT), ("b", NOT_CONSTANT), ("c", None)]
)
def test_overridable_initializers(name: str, reason: str | None) -> None:
    listed = f"float{dims(values()[name])} {name}"
    text = f"{HEAD} g ({X} x, {listed}) => ({Y} y) {{ h = Mul(x, c) {CONV} }}"
    refused(parse(text, **values()), FUSE, reason)


def test_other_domains() -> None:
    for body, reason in (
        ("h = Mul(x, c) y = com.example.Conv(h, w, b)", NOT_PLAIN),
        ("h = com.example.Mul(x, c) y = Conv(h, w, b)", None),
    ):
        refused(parse(f"{HEAD} g ({X} x) => ({Y} y) {{ {body} }}", **values()), FUSE, reason)


def test_bfloat16() -> None:
    x, y = X.replace("float", "bfloat16"), Y.replace("float", "bfloat16")
    model = placed("main", "h = Mul(x, c)\ny = Conv(h, w)", x=x, y=y, opset=22)
    for name, shape in (("w", (4, 3, 3, 3)), ("c", ())):
        count = int(np.prod(shape))
        model.graph.initializer.append(typed(name, TensorProto.BFLOAT16, [1.5] * count, shape))
    refused(model, FUSE, "parameters of different or unusual types")


@pytest.mark.parametrize(
    ("form", "shape"),
    [("Add(x, c)", (2, 3, 3, 3)), ("Add <broadcast = 1> (x, c)", (3,)),
     ("Add <broadcast = 1, axis = 2> (x, c)", (3,)), ("Add <broadcast = 1> (c, x)", (2, 3, 3, 3))],
)  # fmt: skip
def test_below_opset_7(form: str, shape: tuple[int, ...]) -> None:
    constants = values(c=normal(*shape))
    model = placed("main", f"h = {form}\n" + CONV, constants, x="float[2,3,3,3]", y=ANY, opset=6)
    refused(model, FUSE, OPERAND)


def test_a_shift_in_half_precision() -> None:
    """x near 1000 and x - 1000: fused, the sum would cancel what the input no longer does."""
    half = {name: array.astype(np.float16) for name, array in values(c=f32(1000)).items()}
    x, y = (text.replace("float", kind(np.float16)) for text in (X, Y))
    model = placed("main", "h = Sub(x, c)\ny = Conv(h, w, b)", half, x=x, y=y)
    refused(model, FUSE, "a shift in half precision would cancel")
