"""fuse_scale_linear: every node that takes a factor in, and every one that it passes on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto

from graphopt.passes.fuse.fuse_scale_linear import FuseScaleLinear
from tests.build import few, parse
from tests.passes.fuse.fused import f32, kind, normal, rounded_once
from tests.passes.placed import PLACES, Place, piece, placed
from tests.passes.support import Array, agree, random_feeds, run, weights

FUSE = FuseScaleLinear()
HEAD = '<ir_version: 10, opset_import: ["" : 18]>'


def i64(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


def model_of(
    nodes: str, x: str = "float[B,5,6]", y: str = "float", rank: int = 3, **constants: Array
) -> ModelProto:
    dims = ",".join("?" * rank)
    return parse(f"{HEAD} g ({x} x) => ({y}[{dims}] y) {{ {nodes} }}", **constants)


def done(model: ModelProto, count: int = 1, **sizes: int) -> list[str]:
    """Run, compare, and give the operators that are left."""
    outcome = run(model, FUSE)
    assert (outcome.rewrites, outcome.left_out) == (count, [])
    assert len(outcome.after.graph.node) == len(outcome.before.graph.node) - count
    agree(outcome.before, outcome.after, [random_feeds(model, s, sizes) for s in range(3)])
    return [node.op_type for node in outcome.after.graph.node]


ATTENTION = """
    m = MatMul(x, w)
    a = Add(b, m)
    r = Reshape(a, heads)
    t = Transpose <perm = [0, 2, 1, 3]> (r)
    s = Mul(t, half)
    y = Relu(s)
"""


def attention(**changed: Array) -> dict[str, Any]:
    made = {"w": normal(6, 8), "b": normal(8, seed=4), "heads": i64(0, 0, 2, 4), "half": f32(0.3)}
    return {**made, **changed}


def test_up_through_what_moves_elements() -> None:
    outcome = run(model_of(ATTENTION, rank=4, **attention()), FUSE)
    assert outcome.lines == [
        "m_MatMul = MatMul(x, w_scaled)",
        "a_Add = Add(b_scaled, m_MatMul)",
        "r_Reshape = Reshape(a_Add, heads)",
        "s = Transpose(r_Reshape)",
        "y = Relu(s)",
    ]
    rounded_once(outcome.weights["w_scaled"], normal(6, 8).astype(np.float64) * np.float32(0.3))
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("place", PLACES)
def test_places(place: Place) -> None:
    nodes = "m = MatMul(x, w)\nn = Mul(m, half)\ny = Relu(n)"
    constants: dict[str, Any] = {"w": normal(3, 3), "half": np.array(0.3, np.float32)}
    outcome = run(placed(place, nodes, constants), FUSE)
    assert piece(outcome.after, place)[0].startswith("n = MatMul(x, w_scaled")
    assert piece(outcome.after, place)[1:] == ["y = Relu(n)"]
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("place", ["if", "loop"])
def test_constants_captured_from_the_main_graph(place: Place) -> None:
    nodes = "m = MatMul(x, w)\nn = Mul(m, half)\ny = Relu(n)"
    model = placed(place, nodes, {"w": normal(3, 3), "half": f32(0.3)}, captured=True)
    outcome = run(model, FUSE)
    assert outcome.rewrites == 1
    agree(outcome.before, outcome.after)


def test_the_result_is_a_graph_output() -> None:
    model = model_of("m = MatMul(x, w)\ny = Mul(half, m)", w=normal(6, 4), half=f32(0.3))
    outcome = run(model, FUSE)
    assert outcome.lines == ["y = MatMul(x, w_scaled)"]
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("form", ["Mul(v, c)", "Mul(c, v)", "Div(v, c)"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (1,), (4,), (1, 4), (1, 1, 4)])
def test_forms(form: str, dtype: Any, shape: tuple[int, ...]) -> None:
    c = (np.abs(normal(*shape, seed=9)) + 0.5).astype(dtype)
    x = f"{kind(dtype)}[B,5,6]"
    model = model_of(
        f"v = MatMul(x, w)\ny = {form}", x, kind(dtype), w=normal(6, 4).astype(dtype), c=c
    )
    assert done(model) == ["MatMul"]
    factors = 1 / c.astype(np.float64) if "Div" in form else c.astype(np.float64)
    outcome = run(model, FUSE)
    exact = normal(6, 4).astype(dtype).astype(np.float64) * factors.reshape(-1)
    rounded_once(outcome.weights["w_scaled"], exact)


ABOVE: dict[str, tuple[str, str, int, tuple[int, ...], dict[str, Any]]] = {
    "matmul": ("MatMul(x, w)", "float[B,5,6]", 3, (4,), {"w": normal(6, 4)}),
    "matmul, weight first": ("MatMul(w, x)", "float[B,5,6]", 3, (4, 1), {"w": normal(4, 5)}),
    "matmul of a vector": ("MatMul(x, w)", "float[6]", 1, (), {"w": normal(6, 4)}),
    "matmul of a stack": ("MatMul(x, w)", "float[2,5,6]", 3, (4,), {"w": normal(2, 6, 4)}),
    "gemm": ("Gemm(x, w, b)", "float[B,6]", 2, (4,), {"w": normal(6, 4), "b": normal(4)}),
    "gemm, attributes": (
        "Gemm <alpha = 0.5, beta = 2.0, transA = 1, transB = 1> (x, w, b)", "float[6,B]", 2, (4,),
        {"w": normal(4, 6), "b": normal(1, 4)},
    ),
    "gemm, a number added": (
        "Gemm(x, w, b)", "float[B,6]", 2, (4,), {"w": normal(6, 4), "b": normal()},
    ),
    "conv": (
        "Conv <group = 2> (x, w, b)", "float[B,4,5,5]", 4, (6, 1, 1),
        {"w": normal(6, 2, 3, 3), "b": normal(6)},
    ),
    "convtranspose": (
        "ConvTranspose <group = 2> (x, w, b)", "float[B,4,5,5]", 4, (6, 1, 1),
        {"w": normal(4, 3, 3, 3), "b": normal(6)},
    ),
    "layernormalization": (
        "LayerNormalization <axis = -1> (x, w, b)", "float[B,5,6]", 3, (6,),
        {"w": normal(6), "b": normal(6, seed=5)},
    ),
    "layernormalization, no bias": (
        "LayerNormalization <axis = 2> (x, w)", "float[B,5,6]", 3, (6,), {"w": normal(6)},
    ),
    "mul": ("Mul(w, x)", "float[B,5,6]", 3, (6,), {"w": normal(5, 1)}),
    "div": ("Div(x, w)", "float[B,5,6]", 3, (6,), {"w": np.abs(normal(6)) + f32(1)}),
    "div of a constant": ("Div(w, x)", "float[B,5,6]", 3, (6,), {"w": normal(6)}),
}  # fmt: skip


@pytest.mark.parametrize("one", [True, False])
@pytest.mark.parametrize("name", ABOVE)
def test_what_takes_a_factor_in_above(name: str, one: bool) -> None:
    op, x, rank, shape, constants = ABOVE[name]
    c = f32(-0.3) if one else normal(*shape, seed=7) + f32(3)
    model = model_of(f"v = {op}\nt = Identity(v)\ny = Mul(t, c)", x, rank=rank, c=c, **constants)
    assert "Identity" in done(model, B=3)


BELOW: dict[str, tuple[str, str, int, tuple[int, ...], dict[str, Any]]] = {
    "matmul": ("MatMul(v, w)", "float[B,5,6]", 3, (6,), {"w": normal(6, 4)}),
    "matmul, weight first": ("MatMul(w, v)", "float[B,5,6]", 3, (5, 1), {"w": normal(4, 5)}),
    "gemm": ("Gemm(v, w, b)", "float[B,6]", 2, (6,), {"w": normal(6, 4), "b": normal(4)}),
    "gemm, attributes": (
        "Gemm <alpha = 0.5, beta = 2.0, transA = 1, transB = 1> (v, w, b)", "float[6,B]", 2, (6, 1),
        {"w": normal(4, 6), "b": normal(4)},
    ),
    "conv": (
        "Conv <group = 2, pads = [1, 1, 1, 1]> (v, w, b)", "float[B,4,5,5]", 4, (4, 1, 1),
        {"w": normal(6, 2, 3, 3), "b": normal(6)},
    ),
    "convtranspose": (
        "ConvTranspose <group = 2> (v, w)", "float[B,4,5,5]", 4, (4, 1, 1),
        {"w": normal(4, 3, 3, 3)},
    ),
    "div": ("Div(v, w)", "float[B,5,6]", 3, (6,), {"w": np.abs(normal(6)) + f32(1)}),
}  # fmt: skip


@pytest.mark.parametrize("one", [True, False])
@pytest.mark.parametrize("name", BELOW)
def test_what_takes_a_factor_in_below(name: str, one: bool) -> None:
    op, x, rank, shape, constants = BELOW[name]
    c = f32(-0.3) if one else normal(*shape, seed=7) + f32(3)
    model = model_of(f"u = Tanh(x)\nv = Mul(c, u)\ny = {op}", x, rank=rank, c=c, **constants)
    assert done(model, B=3)[0] == "Tanh"


NUMBER: dict[str, Any] = {"c": f32(0.3)}
PASSED = {
    "Neg(v)": 3, "Relu(v)": 3, "LeakyRelu(v)": 3, "ReduceMean(v, second)": 3,
    "ReduceMax(v, second)": 3, "Transpose(v)": 3, "Transpose <perm = [1, 0, 2]> (v)": 3,
    "Flatten(v)": 2, "Reshape(v, flat)": 2, "Squeeze(v)": 2, "Unsqueeze(v, front)": 4,
    "Expand(v, wide)": 3, "Tile(v, twice)": 3, "Gather(v, front)": 3,
    "Slice(v, front, ends, front)": 3, "Slice(v, front, ends)": 3,
    "MaxPool <kernel_shape = [2]> (v)": 3,
    "AveragePool <kernel_shape = [2], pads = [1, 0]> (v)": 3, "GlobalAveragePool(v)": 3,
    "MatMul(k, v)": 3, "MatMul(v, v2)": 3, "PRelu(v, slope)": 3,
}  # fmt: skip
MOVES: dict[str, Any] = {
    "flat": i64(0, -1), "front": i64(0), "second": i64(1), "ends": i64(1),
    "wide": i64(3, 1, 1), "twice": i64(1, 2, 1),
    "slope": f32(0.2),
}  # fmt: skip


@pytest.mark.parametrize("op", PASSED)
def test_one_number_passes_upwards(op: str) -> None:
    rank = 2 if op == "Squeeze(v)" else PASSED[op]
    nodes = "k = Tanh(x)\nv = MatMul(x, w)\nv2 = Transpose <perm = [0, 2, 1]> (x)\n"
    nodes += f"z = {op}\ny = Mul(z, c)"
    x = "float[1,5,6]" if op == "Squeeze(v)" else "float[3,6,6]"
    if "v2" not in op:
        nodes = nodes.replace("v2 = Transpose <perm = [0, 2, 1]> (x)\n", "")
    if "k, v" not in op:
        nodes = nodes.replace("k = Tanh(x)\n", "")
    assert "Mul" not in done(model_of(nodes, x, rank=rank, w=normal(6, 6), **NUMBER, **MOVES))


@pytest.mark.parametrize("op", [op for op in PASSED if op != "Squeeze(v)"])
def test_one_number_passes_downwards(op: str) -> None:
    nodes = "k = Tanh(x)\nu = Sin(x)\nv = Mul(u, c)\nv2 = Cos(x)\n"
    nodes += f"z = {op}\nq = Flatten(z)\ny = Gemm(q, w)"
    if "v2" not in op:
        nodes = nodes.replace("v2 = Cos(x)\n", "")
    if "k, v" not in op:
        nodes = nodes.replace("k = Tanh(x)\n", "")
    plain = run(model_of(nodes.replace("y = Gemm(q, w)", "y = Identity(q)"), "float[3,6,6]", rank=2,
                         **NUMBER, **MOVES), FUSE)  # fmt: skip
    assert plain.rewrites == 0
    columns = {
        "ReduceMean(v, second)": 6, "ReduceMax(v, second)": 6, "Reshape(v, flat)": 36,
        "Tile(v, twice)": 72, "MaxPool <kernel_shape = [2]> (v)": 30, "GlobalAveragePool(v)": 6,
        "Unsqueeze(v, front)": 108, "Transpose(v)": 18, "Transpose <perm = [1, 0, 2]> (v)": 18,
        "Slice(v, front, ends)": 36, "Expand(v, wide)": 36,
    }.get(op, 36)  # fmt: skip
    w = normal(columns, 4)
    assert "Mul" not in done(model_of(nodes, "float[3,6,6]", rank=2, w=w, **NUMBER, **MOVES))


def test_a_product_of_two_activations_takes_it_on_either_side() -> None:
    scores = "q = MatMul(x, w)\nk = Sin(x)\nt = Transpose <perm = [0, 2, 1]> ({})\n"
    scores += "s = MatMul({})\ny = Mul(s, c)"
    for first, second in (("k", "q, t"), ("q", "k, t")):
        nodes = scores.format(first, second)
        assert "Mul" not in done(model_of(nodes, w=normal(6, 6), **NUMBER), B=2)


def test_both_sides_of_attention() -> None:
    nodes = """
        q = MatMul(x, wq)
        qs = Mul(q, c)
        k = MatMul(x, wk)
        kt = Transpose <perm = [0, 2, 1]> (k)
        ks = Mul(kt, c)
        s = MatMul(qs, ks)
        y = Softmax(s)
    """
    model = model_of(nodes, wq=normal(6, 6), wk=normal(6, 6, seed=5), **NUMBER)
    assert done(model, 2, B=2) == ["MatMul", "MatMul", "Transpose", "MatMul", "Softmax"]


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("moved", [False, True])
def test_only_the_columns_of_one_part(part: int, moved: bool) -> None:
    """Behind a Split the others are left as they are."""
    before = "m = MatMul(x, w)\na = Add(m, b)\n"
    if moved:
        before += "r = Reshape(a, heads)\nt = Transpose <perm = [0, 2, 1, 3]> (r)\n"
        before += "p0, p1, p2 = Split <axis = 1> (t, two)\n"
    else:
        before += "p0, p1, p2 = Split <axis = 2> (a, eight)\n"
    names = [f"p{i}" for i in range(3)]
    names[part] = "scaled"
    nodes = before + f"scaled = Mul(p{part}, c)\nu = Sin({names[0]})\nz = Sub(u, {names[1]})"
    nodes += f"\ny = Sub(z, {names[2]})"
    constants: dict[str, Any] = {
        "w": normal(6, 24), "b": normal(24), "heads": i64(0, 0, 6, 4), "two": i64(2, 2, 2),
        "eight": i64(8, 8, 8),
    }  # fmt: skip
    model = model_of(nodes, rank=4 if moved else 3, **constants, **NUMBER)
    assert "Mul" not in done(model, B=2)
    scaled = run(model, FUSE).weights["w_scaled"] / constants["w"]
    expected = np.ones(24)
    expected[8 * part : 8 * part + 8] = 0.3
    assert np.allclose(scaled, expected)


@pytest.mark.parametrize("index", [0, 1, -1])
def test_only_what_one_gather_takes(index: int) -> None:
    nodes = """
        m = MatMul(x, w)
        r = Reshape(m, parts)
        t0 = Transpose <perm = [3, 1, 2, 0, 4]> (r)
        t = Squeeze(t0, fourth)
        g0 = Gather(t, i0)
        g1 = Gather(t, i1)
        g2 = Gather(t, i2)
        s = Mul(INDEX, c)
        u0 = Sin(g0)
        u1 = Sub(u0, g1)
        y = Sub(u1, g2)
    """
    name = f"g{index % 3}"
    nodes = nodes.replace("INDEX", name)
    head, _, tail = nodes.partition("s = Mul")
    line, _, rest = tail.partition("\n")
    nodes = f"{head}s = Mul{line}\n{rest.replace(name + ')', 's)')}"
    constants: dict[str, Any] = {
        "w": normal(6, 12), "parts": i64(1, 5, -1, 3, 4), "fourth": i64(3),
        "i0": np.array(0, np.int64), "i1": np.array(1, np.int64), "i2": np.array(-1, np.int64),
    }  # fmt: skip
    model = model_of(nodes, "float[5,L,6]", rank=3, **constants, **NUMBER)
    assert "Mul" not in done(model, L=3)


def test_slices_that_are_apart() -> None:
    nodes = """
        m = MatMul(x, w)
        s0 = Slice(m, start0, end0, last)
        s1 = Slice(m, start1, end1, last)
        z = Mul(s1, c)
        y = Sub(s0, z)
    """
    bounds: dict[str, Any] = {
        "start0": i64(0),
        "end0": i64(4),
        "start1": i64(-4),
        "end1": i64(2**62),
    }
    assert "Mul" not in done(model_of(nodes, w=normal(6, 8), last=i64(-1), **bounds, **NUMBER), B=2)


ROTARY = """
    m = MatMul(x, w)
    r = Reshape(m, heads)
    q = Transpose <perm = [0, 2, 1, 3]> (r)
    a = Mul(q, cos)
    low = Slice(q, first, two, last)
    high = Slice(q, two, end, last)
    neg = Neg(high)
    turned = Concat <axis = -1> (neg, low)
    b = Mul(sin, turned)
    e = Add(a, b)
    y = Mul(e, c)
"""


def rotary(nodes: str = ROTARY, outputs: str = "") -> ModelProto:
    head = f"{HEAD} g (float[B,L,6] x, float[B,1,L,4] angle) => (float[?,?,?,?] y{outputs})"
    made: dict[str, Any] = {
        "w": normal(6, 8), "heads": i64(0, 0, 2, 4), "first": i64(0), "two": i64(2),
        "end": i64(2**62), "last": i64(-1),
    }  # fmt: skip
    return parse(f"{head} {{ cos = Cos(angle)\nsin = Sin(angle)\n{nodes} }}", **made, **NUMBER)


def test_sums_whose_terms_all_come_from_one_linear_node() -> None:
    """Rotary position embedding: everything that reads the query is scaled with it."""
    assert "Mul" in done(rotary(), B=2, L=3)
    assert run(rotary(), FUSE).lines.count("y = Mul(e, c)") == 0
    read = run(rotary(outputs=", float[?,?,?,?] low"), FUSE)
    assert read.unchanged
    another = run(rotary(ROTARY + "k = Neg(q)", ", float[?,?,?,?] k"), FUSE)
    assert another.unchanged


def test_sums_of_several_linear_nodes() -> None:
    nodes = "p = MatMul(x, w0)\nq = MatMul(x, w1)\ns = Sub(p, q)\ny = Mul(s, c)"
    assert "Mul" not in done(model_of(nodes, w0=normal(6, 4), w1=normal(6, 4), **NUMBER), B=2)
    nodes = "p = MatMul(x, w0)\nq = MatMul(x, w1)\ns = Concat <axis = 1> (p, q)\ny = Mul(s, c)"
    assert "Mul" not in done(model_of(nodes, w0=normal(6, 4), w1=normal(6, 4), **NUMBER), B=2)
    twice = "p = MatMul(x, w0)\ns = Add(p, p)\ny = Mul(s, c)"
    assert "Mul" not in done(model_of(twice, w0=normal(6, 4), **NUMBER), B=2)
    mixed = "p = MatMul(x, w0)\nq = Sigmoid(p)\ns = Add(p, q)\ny = Mul(s, c)"
    assert run(model_of(mixed, w0=normal(6, 4), **NUMBER), FUSE).unchanged


def test_two_parts_of_one_split() -> None:
    """Both are scaled: one node would have to be built twice."""
    nodes = "p = MatMul(x, w)\na, b = Split <axis = 2> (p, halves)\ns = Add(a, b)\ny = Mul(s, c)"
    model = model_of(nodes, w=normal(6, 8), halves=i64(4, 4), **NUMBER)
    outcome = run(model, FUSE)
    assert outcome.left_out == []
    agree(outcome.before, outcome.after)


def test_a_factor_is_not_taken_twice() -> None:
    """One term multiplies what the other one is: it must not have both factors scaled."""
    for product in ("Mul(q, p)", "Mul(p, q)"):
        nodes = f"p = MatMul(x, w)\nq = Sin(x)\nm = {product}\ns = Add(m, p)\ny = Mul(s, c)"
        assert done(model_of(nodes, w=normal(6, 6), **NUMBER), B=2)[-1] == "Add"
        nodes = nodes.replace("q = Sin(x)", "q = MatMul(x, w1)")
        made: dict[str, Any] = {"w": normal(6, 6), "w1": normal(6, 6, seed=1)}
        assert done(model_of(nodes, **made, **NUMBER), B=2)[-1] == "Add"


def test_many_choices_come_to_an_end() -> None:
    nodes = ["p0 = Sin(x)", "q0 = Cos(x)"]
    nodes += [f"p{i + 1} = Mul(p{i}, q{i})\nq{i + 1} = Add(p{i + 1}, q0)" for i in range(20)]
    outcome = run(model_of("\n".join([*nodes, "y = Mul(q20, c)"]), **NUMBER), FUSE)
    assert outcome.unchanged


def test_layer_scale_through_a_transpose() -> None:
    nodes = (
        "m = MatMul(x, w)\na = Add(m, b)\nt = Transpose <perm = [0, 3, 1, 2]> (a)\ny = Mul(g, t)"
    )
    gamma = np.abs(normal(4, 1, 1)) + f32(0.5)
    model = model_of(nodes, "float[B,5,5,6]", rank=4, w=normal(6, 4), b=normal(1), g=gamma)
    assert done(model, B=2) == ["MatMul", "Add", "Transpose"]


def test_a_scale_with_three_linear_readers() -> None:
    nodes = (
        "u = Sin(x)\nv = Mul(g, u)\nq = MatMul(v, w0)\nk = MatMul(v, w1)\nr = Reshape(v, flat)\n"
    )
    nodes += "z0 = Gemm(r, w2)\nz = Reshape(z0, back)\nqk = Sub(q, k)\ny = Sub(qk, z)"
    made: dict[str, Any] = {f"w{i}": normal(6, 4, seed=i) for i in range(3)}
    model = model_of(
        nodes, "float[2,5,6]", g=np.abs(normal(6)) + f32(0.5), flat=i64(-1, 6), back=i64(2, 5, 4),
        **made,
    )  # fmt: skip
    assert "Mul" not in done(model)


def test_down_through_a_split() -> None:
    nodes = """
        u = Sin(x)
        v = Mul(u, g)
        a, b = Split <axis = 2> (v, parts)
        p = MatMul(a, w0)
        q = MatMul(b, w1)
        y = Sub(p, q)
    """
    g = np.abs(normal(6)) + f32(0.5)
    model = model_of(nodes, g=g, parts=i64(2, 4), w0=normal(2, 3), w1=normal(4, 3))
    assert "Mul" not in done(model, B=2)


def test_others_may_read_the_shape() -> None:
    nodes = """
        m = MatMul(x, w)
        t = Transpose <perm = [0, 2, 1]> (m)
        size = Shape(t)
        msize = Size(m)
        v = Mul(t, c)
        r = Reshape(v, size)
        n = Cast <to = 1> (msize)
        y = Div(r, n)
    """
    outcome = run(model_of(nodes, w=normal(6, 4), **NUMBER), FUSE)
    assert outcome.rewrites == 1
    assert "size = Shape(v)" in outcome.lines
    agree(outcome.before, outcome.after)
    below = "u = Sin(x)\nv = Mul(u, c)\nsize = Shape(v)\nm = MatMul(v, w)\ny = Reshape(m, size)"
    outcome = run(model_of(below, w=normal(6, 6), **NUMBER), FUSE)
    assert "size = Shape(u)" in outcome.lines
    agree(outcome.before, outcome.after)


def test_a_small_constant_is_copied_for_one_of_its_readers() -> None:
    nodes = "a = MatMul(x, w)\nb = Add(a, d)\nc1 = Mul(b, c)\ny = Sub(c1, d)"
    assert "Mul" not in done(model_of(nodes, w=normal(6, 4), d=normal(4), **NUMBER), B=2)


def test_constants_in_constant_nodes() -> None:
    text = "w = Constant <value = float[2,2] {1.0, 2.0, 3.0, 4.0}> ()\n"
    text += "c = Constant <value_float = 0.3> ()"
    model = parse(
        f"{HEAD} g (float[B,2] x) => (float[B,2] y) {{ {text} m = MatMul(x, w) y = Mul(m, c) }}"
    )
    outcome = run(model, FUSE)
    assert outcome.lines[-1] == "y = MatMul(x, w_scaled)"
    assert np.allclose(weights(outcome.after.graph)["w_scaled"], 0.3 * np.array([[1, 2], [3, 4]]))
    agree(outcome.before, outcome.after)


def test_a_factor_of_two_changes_no_bit() -> None:
    nodes = "m = MatMul(x, w)\nt = Transpose(m)\nv = Mul(t, c)\ny = Floor(v)"
    outcome = run(model_of(nodes, w=normal(6, 4), c=f32(8)), FUSE)
    assert outcome.rewrites == 1
    agree(outcome.before, outcome.after, exact=True)


def test_a_chain_of_factors_becomes_one() -> None:
    nodes = "m = Sin(x)\na = Mul(m, c)\nb = Transpose(a)\nd = Div(b, e)\ny = Mul(d, e)"
    assert done(model_of(nodes, e=f32(0.7), **NUMBER), 2) == ["Sin", "Transpose", "Mul"]


@few
@given(
    perm=st.permutations(range(4)),
    axis=st.integers(0, 3),
    parts=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    part=st.integers(0, 2),
    cut=st.sampled_from([(6, 4), (4, 6), (3, 8), (2, 12), (24, 1), (1, 24)]),
)
def test_any_part_of_any_layout(
    perm: list[int], axis: int, parts: list[int], part: int, cut: tuple[int, int]
) -> None:
    """Reshape, Transpose and Split of a product: where it is rewritten, the numbers agree."""
    shape = [2, 3, *cut]
    length = shape[perm[axis]]
    sizes = [n for i, n in enumerate(parts) if sum(parts[: i + 1]) < length]
    sizes.append(length - sum(sizes))
    part %= len(sizes)
    outs = [f"o{i}" for i in range(len(sizes))]
    shown = ["y", *(name for name in outs if name != f"o{part}")]
    listed = ", ".join(f"float[?,?,?,?] {name}" for name in shown)
    nodes = (
        f"m = MatMul(x, w)\na = Add(m, b)\nr = Reshape(a, back)\nt = Transpose <perm = {perm}> (r)"
    )
    nodes += f"\n{', '.join(outs)} = Split <axis = {axis}> (t, sizes)\ny = Mul(o{part}, c)"
    model = parse(
        f"{HEAD} g (float[2,3,6] x) => ({listed}) {{ {nodes} }}",
        w=normal(6, 24), b=normal(24), back=i64(*shape), sizes=i64(*sizes), **NUMBER,
    )  # fmt: skip
    outcome = run(model, FUSE)
    whole = len(sizes) == 1
    assert outcome.rewrites == (1 if whole or perm[axis] > 1 else 0)
    agree(outcome.before, outcome.after)


def test_factors_of_a_scalar_keep_its_rank() -> None:
    numbers = "<float a = {-1.25}, float k = {0.25}>"
    model = parse(f"{HEAD} g (float x) => (float y) {numbers} {{ h = Mul(x, a)\ny = Mul(h, k) }}")
    outcome = run(model, FUSE)
    assert outcome.rewrites == 1
    assert {found.shape for found in weights(outcome.after.graph).values()} == {()}
    agree(model, outcome.after, [{"x": np.array(3, np.float32)}])
