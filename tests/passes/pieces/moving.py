"""For what only moves elements: Slice, Concat, Split, Reshape, Transpose, Gather, Expand."""

from __future__ import annotations

from tests.passes.piece import Piece
from tests.passes.pieces.values import integers, normal

SLICES = Piece(
    """
    n = Neg(x)
    a = Slice(n, zero, five, one)
    b = Slice(a, two, four, one)
    c = Slice(x, zero, two, one)
    d = Slice(x, two, six, one)
    e = Concat <axis = 1> (d, c)
    f = Concat <axis = 1> (b, e)
    y = Concat <axis = 1> (f, x)
    """,
    integers(zero=[0], one=[1], two=[2], four=[4], five=[5], six=[6]),
    x="float[2,6,16]",
    y="float[2,14,16]",
    old=11,
    twice={"f = Concat <axis = 1> (b, e)": "b2 = Mul(b, b)\nf = Concat <axis = 1> (b2, e)"},
)
MOVEMENT = Piece(
    """
    s = Shape <start = 1, end = 2> (x)
    b = Shape <end = 1> (x)
    t0 = Concat <axis = 0> (m, s, k16)
    t1 = Concat <axis = 0> (b, k4, k16, s)
    a = Reshape(x, heads)
    h = Transpose <perm = [0, 2, 1, 3]> (a)
    c = Reshape(h, t0)
    d = Transpose <perm = [0, 2, 1]> (c)
    e = Reshape(d, t1)
    y = Neg(e)
    """,
    integers(heads=[0, 0, 4, 16], m=[-1], k4=[4], k16=[16]),
    x="float[2,3,64]",
    y="float[2,4,16,3]",
    twice={"Neg(e)": "Sub(e, e0)", "e = Reshape(d, t1)": "e = Reshape(d, t1)\ne0 = Mul(e, e)"},
)
HEADS = Piece(
    """
    h = Reshape(x, cuts)
    u = Transpose <perm = [2, 0, 3, 1, 4]> (h)
    q = Gather(u, i0)
    k = Gather(u, i1)
    v = Gather(u, i2)
    a, b = Split <axis = 2> (x, six)
    c = Reshape(a, cut)
    d = Reshape(b, cut)
    e = Transpose <perm = [0, 2, 1, 3]> (c)
    f = Transpose <perm = [0, 2, 1, 3]> (d)
    g = Max(q, k, v)
    j = Sub(e, f)
    r = Concat <axis = 3> (g, j)
    y = Neg(r)
    """,
    integers(
        cuts=[0, 0, 3, 2, 2], i0=0, i1=1, i2=2, six=[6, 6], cut=[0, 0, 2, 3]
    ),
    x="float[2,5,12]",
    y="float[2,2,5,5]",
    twice={"Max(q, k, v)": "Max(q, q, k, v, v)", "Sub(e, f)": "Sum(e, e, f)"},
)  # fmt: skip
REPEATED = Piece(
    """
    u = Unsqueeze(x, axis)
    e = Expand(u, repeats)
    s = Shape(x)
    n = Slice(s, a0, a1)
    d = Slice(s, a2, a4)
    t = Concat <axis = 0> (n, eight, d)
    r = Reshape(e, t)
    y = Neg(r)
    """,
    integers(axis=[2], repeats=[1, 1, 4, 1, 1], a0=[0], a1=[1], a2=[2], a4=[4], eight=[8]),
    x="float[2,2,5,3]",
    y="float[2,8,5,3]",
    twice={"Neg(r)": "Mul(r, r)"},
)
EXPANDED = Piece(
    """
    s = Shape(x)
    e = Expand(row, s)
    i = Neg(e)
    j = Add(x, i)
    y = Neg(j)
    """,
    {"row": normal(3)},
    x="float[N,3]",
    old=9,
    twice={"i = Neg(e)": "i = Mul(e, e)"},
)
GRID = Piece(
    """
    n1 = Shape <start = 0, end = 1> (x)
    c1 = Shape <start = 1, end = 2> (x)
    n = Squeeze(n1, first)
    c = Squeeze(c1, first)
    rows = Range(zero, n, one)
    cols = Range(zero, c, one)
    r4 = Unsqueeze(rows, a123)
    q4 = Unsqueeze(cols, a012)
    m = Max(r4, q4)
    s = Shape(m)
    r = Expand(r4, s)
    q = Expand(q4, s)
    r5 = Unsqueeze(r, back)
    q5 = Unsqueeze(q, back)
    tuples = Concat <axis = -1> (r5, q5)
    g = GatherND(x, tuples)
    y = Neg(g)
    """,
    integers(zero=0, one=1, first=[0], a123=[1, 2, 3], a012=[0, 1, 2], back=[-1]),
    x="float[N,C]",
    y="float[N,1,1,C]",
    twice={"Neg(g)": "Mul(g, g)"},
)
