"""For formulas that have an operator of their own, clipping, and conversions."""

from __future__ import annotations

import numpy as np

from tests.passes.piece import Piece
from tests.passes.pieces.values import integers, normal, scalars

ACTIVATIONS = Piece(
    """
    d = Div(x, root)
    e = Erf(d)
    p = Add(e, one)
    m = Mul(x, p)
    g = Mul(m, half)
    a = Add(g, three)
    c = Clip(a, zero, six)
    h = Mul(g, c)
    s = Div(h, six)
    f = Softplus(s)
    t = Tanh(f)
    i = Mul(s, t)
    b = Add(i, three)
    l = Clip(b, zero, six)
    y = Div(l, six)
    """,
    scalars(root=2**0.5, one=1, half=0.5, three=3, zero=0, six=6),
    x="float[2,3,8]",
    opset=20,
)
HARD = Piece(
    """
    a = Add(x, three)
    c = Clip(a, zero, six)
    h = Mul(x, c)
    s = Div(h, six)
    y = Neg(s)
    """,
    scalars(three=3, zero=0, six=6),
    opset=13,
    old=11,
)
NORMS = Piece(
    """
    mean = ReduceMean(x, axes)
    d = Sub(x, mean)
    p = Pow(d, two)
    v = ReduceMean(p, axes)
    e = Add(v, eps)
    s = Sqrt(e)
    n = Div(d, s)
    m = Mul(n, w)
    l = Add(m, b)
    q = Mul(l, l)
    r = ReduceMean(q, axes)
    f = Add(r, eps)
    t = Sqrt(f)
    o = Div(l, t)
    y = Mul(o, w)
    """,
    {**scalars(eps=1e-6, two=2), "w": normal(8), "b": normal(8, seed=4), **integers(axes=[-1])},
    x="float[2,3,8]",
    opset=23,
)
LIMITS = Piece(
    """
    r = Relu(x)
    r2 = Relu(r)
    c = Clip(r2, low, high)
    n = Neg(c)
    n2 = Neg(n)
    a, b = Split <axis = 1> (n2, parts)
    j = Concat <axis = 1> (a, b)
    w = Cast <to = 11> (j)
    y = Cast <to = 1> (w)
    """,
    {**scalars(low=-1, high=1), **integers(parts=[1, 2])},
    twice={
        "n = Neg(c)": "c2 = Sum(c, c, c)\nn = Neg(c2)",
        "w = Cast <to = 11> (j)": "j2 = Mul(j, j)\nw = Cast <to = 11> (j2)",
    },
)
TABLE = Piece(
    """
    g = Gather(rows, x)
    s = Mul(g, row)
    y = Neg(s)
    """,
    {"rows": normal(9, 4), "row": normal(4, seed=4)},
    x="int64[2,3]",
    y="float[2,3,4]",
    old=9,
    twice={"Neg(s)": "Mul(s, s)"},
)
DEFAULTS = Piece(
    """
    c = Conv(x, w, none)
    l = Clip(c, least, most)
    s = Slice(l, starts, ends, axes, steps)
    u = Squeeze(s, first)
    h0 = ConstantOfShape <value = float[1] {0}> (states)
    t, hn, cn = LSTM <hidden_size = 2> (u, lw, lr, , , h0, h0)
    y = Squeeze(t, second)
    """,
    {
        "w": normal(4, 3, 1, 1), "none": np.zeros(4, np.float32),
        **scalars(least=float(np.finfo(np.float32).min), most=float(np.finfo(np.float32).max)),
        "lw": normal(1, 8, 6), "lr": normal(1, 8, 2),
        **integers(
            starts=[0], ends=[1], axes=[0], steps=[1], first=[0], second=[1], states=[1, 5, 2]
        ),
    },
    x="float[2,3,5,6]",
    y="float[4,5,2]",
)  # fmt: skip
