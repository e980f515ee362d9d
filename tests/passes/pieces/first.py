"""For the first passes: a Conv with its BatchNormalization, Identity nodes, constant arithmetic,
equal constants, dead nodes.
"""

from __future__ import annotations

import numpy as np

from tests.passes.piece import Piece
from tests.passes.support import Array

NODES = """
    t = Identity(x)
    k = Add(k1, k2)
    s = Mul(t, k)
    h = Conv <pads = [1, 1, 1, 1]> (s, w, b)
    n = BatchNormalization(h, scale, shift, mean, var)
    r = Relu(n)
    p = Mul(r, d1)
    q = Sub(p, d2)
    dead = Neg(q)
    gone = Exp(dead)
    y = Identity(q)
"""


def _constants() -> dict[str, Array]:
    """d1 and d2 are equal, and so are scale and var."""
    rng = np.random.default_rng(11)
    made = {
        "d1": rng.random((4, 1, 1)) + 0.5,
        "k1": rng.standard_normal((3, 1, 1)),
        "k2": rng.standard_normal((3, 1, 1)),
        "w": rng.standard_normal((4, 3, 3, 3)),
        "b": rng.standard_normal(4),
        "scale": rng.random(4) + 0.5,
        "shift": rng.standard_normal(4),
        "mean": rng.standard_normal(4),
    }
    arrays = {name: array.astype(np.float32) for name, array in made.items()}
    return {**arrays, "var": arrays["scale"].copy(), "d2": arrays["d1"].copy()}


FIRST = Piece(
    NODES,
    _constants(),
    x="float[2,3,6,6]",
    y="float[2,4,6,6]",
    old=9,
    hidden=("gone",),
    twice={
        "k = Add(k1, k2)": "k0 = Mul(k1, k1)\nk = ReduceMax <keepdims = 0> (k0)",
        "Mul(t, k)": "Mul(t, t)",
        "(h, scale, shift, mean, var)": "(h, var, shift, shift, var)",
        "r = Relu(n)": "a = Mul(n, n)\nr = Add(a, k)",
        "p = Mul(r, d1)": "e = Div(d1, d2)\np = Mul(r, e)",
    },
)
