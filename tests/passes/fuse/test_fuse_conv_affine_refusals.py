"""fuse_conv_affine: what it leaves alone, and the reason that the report counts."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, TensorProto

from graphopt.passes.fuse.fuse_conv_affine import FuseConvAffine
from tests.build import parse
from tests.passes.fuse.fused import dims, f32, kind, normal, refused, typed
from tests.passes.placed import GRAPHS, PLACES, Place, placed
from tests.passes.support import Array, agree, run

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

FUSE = FuseConvAffine()
X = "float[2,3,5,5]"
Y = "float[2,4,3,3]"
HEAD = '<ir_version: 10, opset_import: ["" : 18, "com.example" : 1]>'
CONV = "h = Conv(x, w, b)\n"
NOT_CONSTANT = "a parameter is not a constant"
NOT_FINITE = "a fused parameter is not finite"
OPERAND = "the operand is not one number for each channel"
KINDS = "parameters of different or unusual types"
SHARED = "the weight is shared"


def values(**changed: Array) -> dict[str, Array]:
    made = {"w": normal(4, 3, 3, 3), "b": normal(4, seed=4), "c": normal(4, 1, 1, seed=5)}
    return {**made, **changed}


def main(body: str, y: str = Y, **changed: Array) -> ModelProto:
    return placed("main", body, values(**changed), x=X, y=y)


BODIES: dict[str, tuple[str, str | None]] = {
    "no constant": (CONV + "k = Abs(h)\ny = Add(k, h)", None),
    "added to itself": (CONV + "y = Add(h, h)", None),
    "two readers": (CONV + "n = Mul(h, c)\nk = Neg(h)\ny = Add(n, k)",
                    "conv output has 2 readers"),
    "three readers": (CONV + "n = Mul(h, c)\nk = Mul(h, h)\ny = Add(n, k)",
                      "conv output has 3 readers"),
    "a dead reader": (CONV + "dead = Neg(h)\ny = Mul(h, c)", "conv output has 2 readers"),
    "weight computed": ("s = ReduceSum <keepdims = 0> (x)\nv = Add(w, s)\nh = Conv(x, v, b)\n"
                        "y = Mul(h, c)", NOT_CONSTANT),
    "bias computed": ("s = ReduceSum <keepdims = 0> (x)\nv = Add(b, s)\nh = Conv(x, w, v)\n"
                      "y = Mul(h, c)", NOT_CONSTANT),
    "constant over conv": (CONV + "y = Div(c, h)", OPERAND),
}  # fmt: skip


@pytest.mark.parametrize("place", GRAPHS)
@pytest.mark.parametrize("case", BODIES)
def test_refused(case: str, place: Place) -> None:
    body, reason = BODIES[case]
    refused(placed(place, body, values(), x=X, y=Y), FUSE, reason)


def test_no_conv_before_it() -> None:
    refused(main("h = Conv(x, w, b)\nk = Abs(h)\ny = Mul(k, c)"), FUSE, None)
    refused(placed("main", "y = Mul(x, c)", {"c": normal(3, 1, 1)}, x=X), FUSE, None)


def test_a_transposed_convolution_is_another_operator() -> None:
    body = "h = ConvTranspose(x, w)\ny = Mul(h, c)"
    constants = {"w": normal(3, 4, 1, 1), "c": normal(4, 1, 1)}
    refused(placed("main", body, constants, x=X, y="float[2,4,5,5]"), FUSE, None)


def test_both_operands_constant() -> None:
    refused(main(CONV + "k = Mul(c, c)\ny = Abs(h)"), FUSE, None)


WIDE = {
    "along the last axis": (4,),
    "along the last but one": (4, 1),
    "both": (4, 4),
    "number by element": (4, 4, 4),
    "by batch": (2, 1, 1, 1),
    "by batch and channel": (2, 4, 1, 1),
    "a batch of its own": (1, 4, 1, 4),
    "one more axis": (1, 1, 1, 1, 1),
    "one more axis, by channel": (1, 1, 4, 1, 1),
}


@pytest.mark.parametrize("case", WIDE)
@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div"])
def test_operands_that_are_not_by_channel(case: str, operator: str) -> None:
    """Output [2, 4, 4, 4]: lengths alone do not tell an axis."""
    model = placed(
        "main", CONV + f"y = {operator}(h, c)", values(c=normal(*WIDE[case])),
        x="float[2,3,6,6]", y="float[" + ",".join("?" * max(4, len(WIDE[case]))) + "]",
    )  # fmt: skip
    refused(model, FUSE, OPERAND)


def test_an_operand_that_widens_one_channel() -> None:
    constants = values(w=normal(1, 3, 3, 3), b=normal(1), c=normal(4, 1, 1))
    refused(placed("main", CONV + "y = Add(h, c)", constants, x=X, y=Y), FUSE, OPERAND)


def test_an_operand_that_widens_the_batch() -> None:
    model = main(CONV + "y = Add(h, c)", c=normal(2, 4, 1, 1))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    refused(model, FUSE, OPERAND)


@pytest.mark.parametrize("shape", [(0,), (0, 1, 1), (1, 0, 1, 1)])
def test_an_empty_operand(shape: tuple[int, ...]) -> None:
    constants = values(w=normal(1, 3, 3, 3), b=normal(1), c=np.zeros(shape, np.float32))
    x, y = "float[2,3,3,3]", "float[2,?,?,?]"
    refused(placed("main", CONV + "y = Add(h, c)", constants, x=x, y=y), FUSE, OPERAND)


@pytest.mark.parametrize("number", [0.0, -0.0, np.nan, np.inf])
def test_divisors_without_an_inverse(number: float) -> None:
    refused(main(CONV + "y = Div(h, c)", c=f32(number)), FUSE, OPERAND)
    column = np.array([1, 2, number, 4], np.float32).reshape(4, 1, 1)
    refused(main(CONV + "y = Div(h, c)", c=column), FUSE, OPERAND)


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul"])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_operands_that_are_not_finite(operator: str, number: float) -> None:
    refused(main(CONV + f"y = {operator}(h, c)", c=f32(number)), FUSE, OPERAND)


def one_infinite(*shape: int) -> Array:
    made = normal(*shape)
    made.flat[0] = np.inf
    return made


FINITE: dict[str, tuple[str, dict[str, Array]]] = {
    "weight infinite": ("Add", {"w": one_infinite(4, 3, 3, 3)}),
    "bias infinite": ("Add", {"b": one_infinite(4)}),
    "infinite times 0": ("Mul", {"w": one_infinite(4, 3, 3, 3), "c": f32(0)}),
    "bias infinite, times 0": ("Mul", {"b": one_infinite(4), "c": f32(0)}),
    "weight is NaN": ("Mul", {"w": np.full((4, 3, 3, 3), np.nan, np.float32)}),
    "weight overflows": ("Mul", {"c": f32(3e38), "b": f32(0, 0, 0, 0)}),
    "bias overflows": ("Add", {"b": f32(0, 0, 0, 3e38), "c": f32(3e38)}),
    "divided by almost 0": ("Div", {"c": f32(1e-44)}),
}


@pytest.mark.parametrize("case", FINITE)
def test_fused_parameters_that_are_not_finite(case: str) -> None:
    operator, changed = FINITE[case]
    body = CONV + f"y = {operator}(h, c)"
    refused(placed("main", body, values(**changed), x=X, y=Y), FUSE, NOT_FINITE)


@pytest.mark.parametrize(("operator", "number"), [("Div", 5e-324), ("Mul", 1e308)])
def test_float64_overflow(operator: str, number: float) -> None:
    constants = {"w": normal(4, 3, 3, 3, dtype=np.float64) * 1e3, "c": np.array(number)}
    body = f"h = Conv(x, w)\ny = {operator}(h, c)"
    x, y = X.replace("float", "double"), Y.replace("float", "double")
    outcome = run(placed("main", body, constants, x=x, y=y), FUSE)
    assert outcome.unchanged
    assert outcome.left_out == []


@pytest.mark.parametrize(
    ("dtype", "weight", "number", "scale"),
    [
        (np.float16, 0.01, 1e-4, 6e4),
        (np.float32, 1e-20, 1e-25, 1e38),
        (np.float64, 1e-20, 1e-303, 1e300),
    ],
)
def test_a_fused_weight_that_vanishes(
    dtype: type[np.floating], weight: float, number: float, scale: float
) -> None:
    """Conv and Mul give normal numbers; a weight rounded to 0 or to a few bits would not."""
    constants = {"w": normal(4, 3, 3, 3, dtype=np.float64) * weight, "c": np.array(number)}
    stored = {name: array.astype(dtype) for name, array in constants.items()}
    x, y = (text.replace("float", kind(dtype)) for text in (X, Y))
    model = placed("main", "h = Conv(x, w)\ny = Mul(h, c)", stored, x=x, y=y)
    feeds = [{"x": np.full((2, 3, 5, 5), scale, dtype)}]
    # ONNX Runtime has no float64 Conv.
    agree(model, run(model, FUSE).after, feeds, reference=dtype is np.float64)


def test_shared_weights() -> None:
    body = CONV + "n = Mul(h, c)\nk = Conv(x, w)\nm = Sub(c, k)\ny = Div(n, m)"
    refused(main(body), FUSE, SHARED, count=2)


def test_a_weight_shared_with_a_body() -> None:
    text = f"""{HEAD} g ({X} x, bool t) => ({Y} y) {{
        {CONV} n = Mul(h, c)
        y = If(t) <then_branch = p () => ({Y} a) {{ a = Conv(n, v) }},
                   else_branch = q () => ({Y} e) {{ o = Conv(x, w) e = Neg(o) }}>
    }}"""
    refused(parse(text, **values(v=normal(4, 4, 1, 1))), FUSE, SHARED)


def test_the_convs_output_is_a_graph_output() -> None:
    text = f"{HEAD} g ({X} x) => ({Y} y, {Y} h) {{ {CONV} y = Mul(h, c) }}"
    refused(parse(text, **values()), FUSE, "conv output is a graph output")


def test_the_node_stands_in_a_body() -> None:
    text = f"""{HEAD} g ({X} x, bool t) => ({Y} y) {{
        {CONV}
        y = If(t) <then_branch = p () => ({Y} a) {{ a = Mul(h, c) }},
                   else_branch = q () => ({Y} e) {{ e = Conv(x, w) }}>
    }}"""
    refused(parse(text, **values()), FUSE, "conv and what follows stand in different graphs")


@pytest.mark.parametrize(
    ("name", "reason"), [("w", NOT_CONSTANT), ("b", NOT_CONSTANT), ("c", None)]
)
def test_overridable_initializers(name: str, reason: str | None) -> None:
    listed = f"float{dims(values()[name])} {name}"
    text = f"{HEAD} g ({X} x, {listed}) => ({Y} y) {{ {CONV} y = Mul(h, c) }}"
    refused(parse(text, **values()), FUSE, reason)


def test_other_domains() -> None:
    for body, reason in (
        ("h = com.example.Conv(x, w, b) y = Mul(h, c)", "the conv is not a plain one"),
        ("h = Conv(x, w, b) y = com.example.Mul(h, c)", None),
    ):
        refused(parse(f"{HEAD} g ({X} x) => ({Y} y) {{ {body} }}", **values()), FUSE, reason)


def test_attributes_that_refer_to_a_functions_own() -> None:
    text = """<ir_version: 10, opset_import: ["" : 18, "local" : 1]>
        g (float[2,2,5,5] x) => (float[2,2,5,5] y) { y = local.piece <g = 2> (x) }
        <domain: "local", opset_import: ["" : 18]> piece <g> (x) => (y) {
            w = Constant <value = float[2,1,1,1] {1.0, 2.0}> ()
            c = Constant <value = float {3.0}> ()
            h = Conv <group: int = @g> (x, w)
            y = Mul(h, c)
        }"""
    refused(parse(text), FUSE, "the conv is not a plain one")


def test_bfloat16() -> None:
    x, y = X.replace("float", "bfloat16"), Y.replace("float", "bfloat16")
    model = placed("main", "h = Conv(x, w)\ny = Mul(h, c)", x=x, y=y, opset=22)
    for name, shape in (("w", (4, 3, 3, 3)), ("c", ())):
        count = int(np.prod(shape))
        model.graph.initializer.append(typed(name, TensorProto.BFLOAT16, [1.5] * count, shape))
    refused(model, FUSE, KINDS)


@pytest.mark.parametrize("name", ["b", "c"])
def test_different_types(name: str) -> None:
    changed = {name: values()[name].astype(np.float64)}
    refused(placed("main", CONV + "y = Mul(h, c)", values(**changed), x=X, y=Y), FUSE, KINDS)


LEGACY = {
    "no broadcasting": ("Add(h, c)", (2, 4, 4, 4)),
    "aligned to the last axis": ("Add <broadcast = 1> (h, c)", (4,)),
    "aligned to axis 2": ("Add <broadcast = 1, axis = 2> (h, c)", (4,)),
    "aligned to axis 0": ("Add <broadcast = 1, axis = 0> (h, c)", (2, 4)),
    "channels and one more": ("Mul <broadcast = 1, axis = 1> (h, c)", (4, 4)),
    "the first is constant": ("Add <broadcast = 1, axis = 1> (c, h)", (4, 4, 4, 4)),
    "a first scalar": ("Sub <broadcast = 1> (c, h)", ()),
    "as many numbers in two axes": ("Add <broadcast = 1, axis = 1> (h, c)", (2, 2)),
    "broadcasting switched off": ("Add <broadcast = 0, axis = 1> (h, c)", (4,)),
}  # fmt: skip


@pytest.mark.parametrize("case", LEGACY)
def test_below_opset_7(case: str) -> None:
    form, shape = LEGACY[case]
    constants = values(c=normal(*shape))
    model = placed(
        "main", CONV + f"y = {form}", constants, x="float[2,3,6,6]", y="float[?,?,?,?]", opset=6
    )
    refused(model, FUSE, OPERAND)


@pytest.mark.parametrize("place", PLACES)
def test_a_second_run_finds_nothing(place: Place) -> None:
    body = CONV + "n = Mul(h, c)\nm = Div(c, n)\ny = Add(m, b4)"
    done = run(placed(place, body, values(b4=normal(1)), x=X, y=Y), FUSE)
    assert run(done.model, FUSE).unchanged
