"""fuse_scale_linear: what it leaves alone, and why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

from graphopt.passes.fuse.fuse_scale_linear import FuseScaleLinear
from tests.build import parse
from tests.passes.fuse.fused import f32, normal, refused
from tests.passes.support import Array, agree, random_feeds, run

FUSE = FuseScaleLinear()
ALL = FuseScaleLinear(keep_recognised=False)
HEAD = '<ir_version: 10, opset_import: ["" : 18, "com.example" : 1]>'
ALONG = "the scale does not run along what the weight can take"
ELSEWHERE = "a value on the way is read elsewhere"
FAR = "the scale is too far from 1 for a sum in this type"
FORMULA = "the runtime recognises the whole by this factor"
JUMP = "what follows jumps where rounding decides"
NO_NUMBER = "a factor is 0 or not finite"
NO_WAY = "no constant on the way takes the scale"
OUTPUT = "a value on the way is a graph output"
SHARED = "the weight is shared"
WIDENS = "the scale widens what it meets"
LINEAR = "m = MatMul(x, w)\ny = Mul(m, c)"


def f16(*values: float) -> Array:
    return np.array(values, np.float16)


def i64(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


def model_of(
    nodes: str = LINEAR, x: str = "float[B,5,6]", y: str = "float[?,?,?] y", **constants: Array
) -> ModelProto:
    made = {"w": normal(6, 4), "c": f32(0.3), **constants}
    return parse(f"{HEAD} g ({x} x) => ({y}) {{ {nodes} }}", **made)


@pytest.mark.parametrize("op", ["Mul(m, c)", "Div(m, c)"])
@pytest.mark.parametrize("number", [0.0, -0.0, np.inf, np.nan])
def test_numbers_that_are_no_factors(op: str, number: float) -> None:
    nodes = f"m = MatMul(x, w)\ny = {op}"
    refused(model_of(nodes, c=f32(number)), FUSE, NO_NUMBER)
    refused(model_of(nodes, c=f32(1, number, 1, 1)), FUSE, NO_NUMBER)


def test_what_the_type_cannot_hold() -> None:
    refused(
        model_of(c=f32(1e38), w=normal(6, 4) * f32(100)), FUSE, "a scaled constant is not finite"
    )
    half: dict[str, Any] = {"x": "float16[B,5,6]", "y": "float16[?,?,?] y"}
    w = np.full((6, 4), 100, np.float16)
    refused(model_of(w=w, c=f16(1000), **half), FUSE, "a scaled constant is not finite")
    small = "a scaled constant is too small for its type"
    refused(model_of(w=w, c=f16(1e-7), **half), FUSE, small)
    one = f16(1, 1, 1, 1e-7)
    refused(model_of(w=w, c=one, **half), FUSE, small)
    nodes = "m = MatMul(x, w)\na = Add(m, b)\ny = Mul(a, c)"
    bias: dict[str, Any] = {"b": f16(1, 1, 1, 6e4), "c": f16(2)}
    refused(model_of(nodes, w=w, **bias, **half), FUSE, "a scaled constant is not finite")


@pytest.mark.parametrize(
    ("nodes", "x", "changed", "reason"),
    [
        (LINEAR, "float[B,5,6]", {"c": normal(1, 1, 1, 1)}, WIDENS),
        (LINEAR, "float[B,1,6]", {"c": normal(5, 4)}, WIDENS),
        (LINEAR, "float[B,L,6]", {"c": normal(5, 4)}, WIDENS),
        (LINEAR, "float[B,5,6]", {"w": normal(6, 1), "c": normal(4)}, WIDENS),
        (LINEAR, "float[B,5,6]", {"c": normal(5, 1)}, ALONG),
        (LINEAR, "float[B,5,6]", {"c": normal(5, 4)}, ALONG),
        ("m = MatMul(w, x)\ny = Mul(m, c)", "float[B,4,6]", {"c": normal(6)}, ALONG),
        ("v = Mul(x, c)\ny = MatMul(v, w)", "float[B,5,6]", {"c": normal(5, 1)}, ALONG),
        ("m = Gemm(x, w)\nf = Identity(m)\ny = Mul(f, c)", "float[5,6]", {"c": normal(5, 1)},
         ALONG),
        ("m = Conv(x, k)\nf = Identity(m)\ny = Mul(f, c)", "float[2,6,4]",
         {"k": normal(4, 6, 1), "c": normal(4)}, ALONG),
        ("m = LayerNormalization(x, g)\ny = Mul(m, c)", "float[2,5,6]",
         {"g": normal(6), "c": normal(5, 1)}, ALONG),
        ("m = LayerNormalization <axis = 1> (x, g)\ny = Mul(m, c)", "float[2,5,6]",
         {"g": normal(5, 6)}, NO_WAY),
        ("m = MatMul(x, w)\nr = Relu(m)\ny = Mul(r, c)", "float[2,5,6]", {"c": f32(-1)}, NO_WAY),
        ("m = MatMul(x, w)\nr = Relu(m)\ny = Mul(r, c)", "float[2,5,6]", {"c": normal(4)}, NO_WAY),
        ("m = MatMul(x, w)\nr = ReduceSum(m)\ny = Mul(r, c)", "float[2,5,6]", {"c": f32(1e20)},
         FAR),
        ("m = MatMul(x, w)\nr = Reshape(m, to)\ny = Mul(r, c)", "float[B,5,6]",
         {"to": i64(-1, 10), "c": normal(10)}, NO_WAY),
        ("m = MatMul(x, w)\nr = Transpose(m)\ny = Mul(r, c)", "float[2,5,6]", {"c": normal(5, 1)},
         ALONG),
    ],
)  # fmt: skip
def test_scales_that_nothing_takes(
    nodes: str, x: str, changed: dict[str, Array], reason: str
) -> None:
    rank = (
        2
        if "Gemm" in nodes or "Reshape" in nodes
        else 4
        if changed.get("c", f32(0)).ndim == 4
        else 3
    )
    refused(model_of(nodes, x, f"float[{','.join('?' * rank)}] y", **changed), FUSE, reason)


@pytest.mark.parametrize(
    "nodes",
    [
        "m = MatMul(x, w)\ns = Sigmoid(m)\ny = Mul(s, c)",
        "m = MatMul(x, w)\ns = Softmax(m)\ny = Mul(s, c)",
        "m = MatMul(x, w)\nn = Neg(m)\ny = Mul(m, n)",
        "m = MatMul(x, w)\ny = Div(c, m)",
        "y = Mul(x, c)",
        "v = Mul(x, c)\ny = Softmax(v)",
        "v = Mul(x, c)\na = Add(v, c)\ny = MatMul(a, w)",
        "v = Mul(x, c)\na = Softmax(v)\ny = MatMul(a, w)",
        "v = Mul(x, c)\nm = MatMul(v, w)\nn = ReduceSum(v)\ny = Add(m, n)",
    ],
)
def test_other_graphs(nodes: str) -> None:
    outcome = run(model_of(nodes), FUSE)
    assert (outcome.unchanged, outcome.rewrites) == (True, 0)


def test_no_floating_point() -> None:
    model = model_of(
        x="int32[B,5,6]", y="int32[?,?,?] y", w=np.ones((6, 4), np.int32), c=i64(2).astype(np.int32)
    )
    refused(model, FUSE, None)


def test_before_opset_seven() -> None:
    text = '<ir_version: 3, opset_import: ["" : 6]> g (float[5,6] x) => (float[5,4] y) {'
    text += "w = Constant <value = float[6,4] {" + ",".join(["1.0"] * 24) + "}> ()"
    text += (
        "c = Constant <value = float[1] {0.5}> () m = MatMul(x, w) y = Mul <broadcast = 1> (m, c) }"
    )
    refused(parse(text), FUSE, None)


@pytest.mark.parametrize(
    ("nodes", "outputs", "reason"),
    [
        (LINEAR + "\nz = Neg(m)", "float[?,?,?] z", ELSEWHERE),
        (LINEAR, "float[?,?,?] m", OUTPUT),
        (
            "m = MatMul(x, w)\nt = Transpose(m)\ny = Mul(t, c)\nz = Neg(m)",
            "float[?,?,?] z",
            ELSEWHERE,
        ),
        ("m = MatMul(x, w)\nt = Transpose(m)\ny = Mul(t, c)", "float[?,?,?] m", OUTPUT),
        ("u = Sin(x)\nv = Mul(u, c)\ny = MatMul(v, w)", "float[?,?,?] v", OUTPUT),
        ("u = Sin(x)\nv = Mul(u, c)\nt = Neg(v)\ny = MatMul(t, w)", "float[?,?,?] t", OUTPUT),
    ],
)
def test_values_that_others_see(nodes: str, outputs: str, reason: str) -> None:
    refused(model_of(nodes, y=f"float[?,?,?] y, {outputs}"), FUSE, reason)


def test_one_value_used_twice() -> None:
    square: dict[str, Any] = {"x": "float[5,6]", "y": "float[?,?] y", "w": normal(6, 5)}
    nodes = "m = MatMul(x, w)\ns = MatMul(m, m)\ny = Mul(s, c)"
    refused(model_of(nodes, **square), FUSE, NO_WAY)
    square["x"] = "float[6,6]"
    below = "u = Sin(x)\nv = Mul(u, c)\ns = MatMul(v, v)\ny = MatMul(s, w)"
    refused(model_of(below, **square), FUSE, NO_WAY)
    both = "u = Sin(x)\nv = Mul(u, c)\nt = Transpose(v)\ns = MatMul(v, t)\ny = MatMul(s, w)"
    refused(model_of(both, **square), FUSE, NO_WAY)


def test_a_large_shared_weight() -> None:
    nodes = "m = MatMul(x, w)\nn = Mul(m, c)\nk = MatMul(x, w)\ny = Add(n, k)"
    refused(model_of(nodes, "float[B,5,64]", w=normal(64, 64)), FUSE, SHARED)
    below = "u = Sin(x)\nv = Mul(u, c)\nm = MatMul(v, w)\nk = MatMul(u, w)\ny = Add(m, k)"
    refused(model_of(below, "float[B,5,64]", w=normal(64, 64)), FUSE, SHARED)
    given = parse(
        f"{HEAD} g (float[B,5,64] x) => (float[?,?,?] y, float[64,64] w) {{ {LINEAR} }}",
        w=normal(64, 64), c=f32(0.3),
    )  # fmt: skip
    refused(given, FUSE, SHARED)


def test_a_constant_that_would_become_large() -> None:
    nodes = "u = Sin(x)\na = Mul(u, k)\ny = Mul(a, c)"
    c, k = normal(50, 1), normal(50)
    model = model_of(nodes, "float[B,50,50]", c=c, k=k)
    refused(model, FUSE, "a scaled constant would be larger", 2)


def test_a_weight_that_can_be_overridden() -> None:
    text = f"{HEAD} g (float[B,5,6] x, float[6,4] w) => (float[?,?,?] y) {{ {LINEAR} }}"
    refused(parse(text, w=normal(6, 4), c=f32(0.3)), FUSE, NO_WAY)
    text = f"{HEAD} g (float[B,5,6] x, float[1] c) => (float[?,?,?] y) {{ {LINEAR} }}"
    refused(parse(text, w=normal(6, 4), c=f32(0.3)), FUSE, None)


def test_an_addend_that_is_no_constant() -> None:
    nodes = "b = ReduceSum <keepdims = 0> (x)\nm = Gemm(x, w, b)\ny = Mul(m, c)"
    refused(model_of(nodes, "float[5,6]", "float[?,?] y"), FUSE, "the addend is not a constant")
    nodes = "b = ReduceMax <keepdims = 0> (x)\nm = MatMul(x, w)\na = Add(m, b)\ny = Mul(a, c)"
    outcome = run(model_of(nodes), FUSE)
    assert outcome.unchanged


def test_an_operator_of_another_domain() -> None:
    text = "m = MatMul(x, w)\nt = com.example.Transpose(m)\ny = Mul(t, c)"
    refused(model_of(text, c=np.array(0.3, np.float32)), FUSE, NO_WAY)


def test_from_one_graph_into_another() -> None:
    nodes = """
        m = MatMul(x, w)
        y = If(taken) <
            then_branch = yes () => (float[?,?,?] a) { a = Mul(m, c) },
            else_branch = no () => (float[?,?,?] b) { b = Neg(x4) }
        >
    """
    text = (
        f"{HEAD} g (float[2,5,6] x, float[2,5,4] x4, bool taken) => (float[2,5,4] y) {{ {nodes} }}"
    )
    refused(parse(text, w=normal(6, 4), c=f32(0.3)), FUSE, NO_WAY)
    below = nodes.replace("m = MatMul(x, w)", "m = Mul(x, c)").replace("Mul(m, c)", "MatMul(m, w)")
    refused(parse(text.replace(nodes, below), w=normal(6, 4), c=f32(0.3)), FUSE, NO_WAY)


@pytest.mark.parametrize(
    ("other", "index"),
    [
        ("o = Gather <axis = 2> (m, i0)", i64(0)),
        ("o = Gather <axis = 2> (m, i0)", i64(-4)),
        ("o = Gather <axis = 1> (m, i0)", i64(3)),
        ("i1 = Cast <to = 7> (i2)\no = Gather <axis = 2> (m, i1)", i64(3)),
        ("o = Neg(m)", i64(0)),
    ],
)
def test_parts_that_are_not_apart(other: str, index: Array) -> None:
    nodes = f"m = MatMul(x, w)\ng = Gather <axis = 2> (m, first)\ny = Mul(g, c)\n{other}"
    text = (
        f"{HEAD} g (float[B,5,6] x, float[1] i2) => (float[?,?,?] y, float[?,?,?] o) {{ {nodes} }}"
    )
    refused(parse(text, w=normal(6, 4), c=f32(0.3), first=i64(0), i0=index), FUSE, ELSEWHERE)


def test_half_precision_around_a_sum() -> None:
    """Factors above 1 could overflow in the product of activations, small ones lose digits."""
    nodes = (
        "q = MatMul(x, w)\nk = Transpose <perm = [0, 2, 1]> (x)\ns = MatMul(q, k)\ny = Mul(s, c)"
    )
    given: dict[str, Any] = {"x": "float16[B,5,6]", "y": "float16[?,?,?] y"}
    w = normal(6, 6, dtype=np.float16)
    for number in (2, 0.03):
        refused(model_of(nodes, w=w, c=f16(number), **given), FUSE, FAR)
    outcome = run(model_of(nodes, w=w, c=f16(0.125), **given), FUSE)
    assert outcome.rewrites == 1
    agree(outcome.before, outcome.after, [random_feeds(outcome.before)])


@pytest.mark.parametrize(
    "tail",
    [
        "y = Floor(v)", "z = Cast <to = 7> (v)\ny = Cast <to = 1> (z)",
        "z = Add(v, c)\ny = Round(z)",
        "z = Greater(v, c)\ny = Cast <to = 1> (z)",
        "z = Min(v, c)\nk = Sub(z, c)\ny = Ceil(k)",
    ],
)  # fmt: skip
def test_what_jumps_where_rounding_decides(tail: str) -> None:
    refused(model_of(f"m = MatMul(x, w)\nv = Mul(m, c)\n{tail}"), FUSE, JUMP)
    below = f"u = Sin(x)\ns = Mul(u, c)\nv = MatMul(s, w)\n{tail}"
    refused(model_of(below), FUSE, JUMP)


def test_the_mean_of_a_normalization() -> None:
    nodes = "n, m = LayerNormalization(x, g)\ny = Mul(m, c)"
    refused(model_of(nodes, g=normal(6)), FUSE, NO_WAY)


GELU = """
    h = Div(x, root)
    e = Erf(h)
    a = Add(e, one)
    p = Mul(x, a)
    v = Mul(p, c)
    y = MatMul(v, w)
"""
NORM = """
    p = Mul(x, x)
    m = ReduceMean <keepdims = 1> (p, last)
    a = Add(m, one)
    s = Sqrt(a)
    d = Div(x, s)
    v = Mul(d, g)
    y = MatMul(v, w)
"""
SCORES = """
    q = MatMul(x, w)
    k = Transpose <perm = [0, 2, 1]> (x)
    s = MatMul(q, k)
    v = Div(s, g)
    a = Add(v, mask)
    y = Softmax(a)
"""
RECOGNISED = {
    "gelu": GELU,
    "tanh": GELU.replace("Erf", "Tanh"),
    "norm": NORM,
    "norm by 1 / x": NORM.replace("d = Div(x, s)", "r = Div(one, s)\nd = Mul(r, x)"),
    "scores": SCORES,
}


def recognised(name: str) -> ModelProto:
    shared: dict[str, Any] = {"root": f32(1.4142135), "one": f32(1), "mask": normal(5)}
    return model_of(
        RECOGNISED[name], w=normal(6, 6), g=f32(8), last=i64(-1), **{**shared, "c": f32(0.5)}
    )


@pytest.mark.parametrize("name", RECOGNISED)
def test_formulas_that_the_runtime_recognises(name: str) -> None:
    outcome = run(recognised(name), FUSE)
    assert outcome.unchanged
    assert outcome.skipped[FORMULA] == 1
    outcome = run(recognised(name), ALL)
    assert outcome.rewrites == 1
    agree(outcome.before, outcome.after)


def test_the_factor_of_a_formula_keeps_its_number() -> None:
    nodes = GELU.replace("y = MatMul(v, w)", "t = Transpose(v)\ny = Mul(t, k)")
    constants: dict[str, Any] = {"root": f32(1.4142135), "one": f32(1), "c": f32(0.5), "k": f32(3)}
    outcome = run(model_of(nodes, **constants), FUSE)
    assert outcome.unchanged
    assert run(model_of(nodes, **constants), ALL).rewrites == 1
