"""For nodes with bodies, and calls of local functions."""

from __future__ import annotations

import numpy as np

from tests.passes.piece import Piece
from tests.passes.pieces.values import integers, normal, scalars


def _if(result: str, condition: str, then: str, other: str, kinds: str = "float[2,3]") -> str:
    return f"""{result} = If ({condition}) <
        then_branch = {result}_yes () => ({kinds} {result}_t) {{ {then} }},
        else_branch = {result}_no () => ({kinds} {result}_e) {{ {other} }}
    >
    """


BRANCHES = Piece(
    """
    m = ReduceSum <keepdims = 0> (x)
    c = Greater(m, zero)
    """
    + _if("s", "c", "a = Relu(x)\ns_t = Sub(a, w)", "b = Relu(x)\ns_e = Sub(b, w)")
    + _if("p", "c", "d = Exp(s)\nf = Add(d, w)\np_t = Neg(f)", "e = Exp(s)\np_e = Abs(e)")
    + _if("k", "yes", "g = Tanh(p)\nk_t = Add(g, w)", "k_e = Sigmoid(p)")
    + "y = Neg(k)",
    {"w": normal(3), "yes": np.array(True), **scalars(zero=0)},
    old=11,
    twice={
        "a = Relu(x)": "a = Mul(x, x)",
        "b = Relu(x)": "b = Mul(x, x)",
        "Add(g, w)": "Add(g, g)",
    },
)
DECIDED = Piece(
    """
    s = Shape(x)
    d = Gather(s, i)
    c = Equal(d, one)
    v = If (c) <
        then_branch = yes () => (float[A,B] p) { p = Squeeze(x, end) },
        else_branch = no () => (float[A,B,C] q) { q = Identity(x) }
    >
    u = Unsqueeze(v, first)
    t, h, k = LSTM <hidden_size = 2> (u, w, r)
    y = Neg(t)
    """,
    {"w": normal(1, 8, 3), "r": normal(1, 8, 2), **integers(i=2, one=1, end=[2], first=[0])},
    x="float[N,3,1]",
    y="float[1,1,N,2]",
)
TURNS = Piece(
    """
    mid, turns = Loop(n, , x) <
        body = step (int64 turn, bool go, float[2,3] v) => (bool go2, float[2,3] v2, float[2,3] s)
        { go2 = Identity(go) v2 = Neg(v) s = Exp(v2) }
    >
    a, b, turns2 = Loop(n3, , mid, k) <
        body = step2 (int64 turn2, bool go3, float[2,3] u, float[3] w)
            => (bool go4, float[2,3] u2, float[3] w2, float[2,3] s2)
        { go4 = Identity(go3) s2 = Add(u, w) u2 = Sigmoid(s2) w2 = Identity(w) }
    >
    d = Sub(a, b)
    y = Add(d, turns)
    """,
    {"k": normal(3), **integers(n=1, n3=3)},
    y="float[1,2,3]",
    old=11,
    twice={"Add(u, w)": "Sum(u, w, w)"},
)
CALLS = Piece(
    """
    a = Abs(x)
    b = local.once(a)
    y = Neg(b)
    """,
    twice={"Abs(x)": "Mul(x, x)"},
    functions="<> once (v) => (r) { e = Exp(v) r = Tanh(e) }",
)
