"""For sizes computed from Shape, nodes that change nothing, equal nodes, Transposes and Reshapes in
pairs, a Pad before a Conv, arithmetic on both sides of a Conv, a Gemm with its BatchNormalization,
a MatMul with its Add. All of it means the same in opsets 11 to 18.
"""

from __future__ import annotations

import numpy as np

from tests.passes.piece import Piece
from tests.passes.support import Array

SHAPES = """
    r1 = Reshape(x, flat)
    r2 = Reshape(r1, back)
    r3 = Neg(r2)
    s = Shape(x)
    n = Gather(s, first)
    rest = Concat <axis = 0> (three, six, six)
    target = Concat <axis = 0> (n, rest)
    a = Reshape(r3, target)
    a1 = Abs(a)
    a2 = Reshape(a1, back)
"""
EQUAL = """
    p0 = Concat <axis = 1> (a2)
    p1 = Mul(p0, one)
    e1 = Tanh(p1)
    e2 = Tanh(p1)
    d = Add(e1, e2)
"""
TURNED = """
    t1 = Transpose <perm = [0, 1, 3, 2]> (d)
    t2 = Transpose <perm = [0, 2, 3, 1]> (t1)
    m = Mul(t2, hc)
    t3 = Transpose <perm = [0, 3, 1, 2]> (m)
    t4 = Transpose <perm = [0, 1, 3, 2]> (t3)
"""
CONVS = """
    q = Mul(t4, before)
    c1 = Conv(q, w1, b1)
    c2 = Mul(c1, behind)
    c3 = Pad(c2, ring)
    c4 = Conv <pads = [0, 0, 1, 0]> (c3, w2, b2)
"""
MATRICES = """
    f1 = GlobalAveragePool(c4)
    f2 = Flatten(f1)
    g1 = Gemm(f2, gw, gb)
    g2 = BatchNormalization(g1, scale, shift, mean, var)
    h1 = MatMul(g2, hw)
    h2 = Add(h1, hb)
    h3 = Reshape(h2, column)
"""
LAST = "y = Add(c4, h3)"


def _constants() -> dict[str, Array]:
    rng = np.random.default_rng(13)
    made = {
        "hc": rng.random((1, 6, 1, 3)) + 0.5,
        "before": rng.random((1, 3, 1, 1)) + 0.5,
        "w1": rng.standard_normal((4, 3, 1, 1)),
        "b1": rng.standard_normal(4),
        "behind": rng.random((4, 1, 1)) + 0.5,
        "w2": rng.standard_normal((4, 4, 3, 3)),
        "b2": rng.standard_normal(4),
        "gw": rng.standard_normal((4, 5)),
        "gb": rng.standard_normal(5),
        "scale": rng.random(5) + 0.5,
        "shift": rng.standard_normal(5),
        "mean": rng.standard_normal(5),
        "var": rng.random(5) + 0.5,
        "hw": rng.standard_normal((5, 4)),
        "hb": rng.standard_normal(4),
        "one": np.ones(()),
    }
    sizes = {
        "first": [0],
        "three": [3],
        "six": [6],
        "flat": [0, -1],
        "back": [0, 3, 6, 6],
        "column": [0, 4, 1, 1],
        "ring": [0, 0, 1, 0, 0, 0, 0, 2],
    }
    floats = {name: array.astype(np.float32) for name, array in made.items()}
    return {**floats, **{name: np.array(size) for name, size in sizes.items()}}


MORE = Piece(
    SHAPES + EQUAL + TURNED + CONVS + MATRICES + LAST,
    _constants(),
    x="float[2,3,6,6]",
    y="float[2,4,6,6]",
    old=11,
    twice={
        "Tanh(p1)": "Mul(p1, p1)",
        "Add(e1, e2)": "Sum(e1, e1, e2)",
        "Mul(t2, hc)": "Mul(t2, t2)",
        "q = Mul(t4, before)": "q0 = Mul(t4, before)\nq = Add(q0, before)",
        "c2 = Mul(c1, behind)": "c0 = Add(c1, behind)\nc2 = Mul(c0, behind)",
        "(g1, scale, shift, mean, var)": "(g1, var, shift, shift, var)",
    },
)
