"""For products with constant matrices: several of one tensor, two in a row, flattened, scaled."""

from __future__ import annotations

import numpy as np

from tests.passes.piece import Piece
from tests.passes.pieces.values import integers, normal

LINEAR = Piece(
    """
    q0 = MatMul(x, wq)
    q = Add(q0, bq)
    k0 = MatMul(x, wk)
    k = Add(bk, k0)
    v0 = MatMul(x, wv)
    v = Add(v0, bv)
    s = Sub(q, k)
    p = Mul(s, v)
    h = MatMul(p, w1)
    n = Add(h, b1)
    o = MatMul(n, w2)
    m = Add(o, b2)
    r = Relu(m)
    f = Reshape(r, flat)
    g = Gemm(f, wg, bg)
    j = Reshape(g, back)
    z = Abs(j)
    t = MatMul(z, w3)
    l = Mul(t, scale)
    y = Neg(l)
    """,
    {
        "scale": np.array(0.3, np.float32),
        **{f"w{name}": normal(4, 4, seed=seed) for seed, name in enumerate("qkv3")},
        **{f"b{name}": normal(4, seed=seed + 5) for seed, name in enumerate("qkvg")},
        "w1": normal(4, 5), "b1": normal(5), "w2": normal(5, 3), "b2": normal(3),
        "wg": normal(3, 4),
        **integers(flat=[-1, 3], back=[2, 5, 4]),
    },
    x="float[2,5,4]",
    old=9,
    twice={"Mul(s, v)": "Mul(s, s)"},
)  # fmt: skip
