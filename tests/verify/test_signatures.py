from __future__ import annotations

import numpy as np

from graphopt.model import load_model
from graphopt.verify.signatures import signatures
from tests.build import parse

BODIES = """g (float[2] x, bool c) => (float[2] y) {
    a = Neg(x)
    y = If (c) <
        then_branch = t () => (p) { k = Constant<value_float = 1.0>() q = Mul(a, k) p = Add(q, x) },
        else_branch = e () => (r) { r = Mul(a, w) }
    >
}"""


def found(text: str, **initializers: np.ndarray) -> object:
    model = load_model(parse(text, **initializers))
    return signatures(model)[("y",)]


TEXT = "g (float[2] x) => (float[2] y) { y = Gemm <alpha = 0.5> (x, w) }"
W = np.ones((2, 2), np.float32)


def test_constants_count_by_content_and_values_by_name() -> None:
    same = found(TEXT.replace("w", "v"), v=W)
    assert found(TEXT, w=W) == same
    assert found(TEXT, w=W * 2) != same
    constant = "v = Constant <value = float[2, 2] {1, 1, 1, 1}> () y ="
    assert found(TEXT.replace("w", "v").replace("y =", constant)) == same
    assert found(TEXT.replace("x", "z"), w=W) != same


def test_operator_attributes_and_captured_constants_count() -> None:
    assert found(TEXT, w=W) != found(TEXT.replace("0.5", "0.25"), w=W)
    assert found(TEXT, w=W) != found(TEXT.replace("Gemm <alpha = 0.5>", "MatMul"), w=W)
    one, two = (np.full(2, value, np.float32) for value in (1, 2))
    assert found(BODIES, w=one) != found(BODIES, w=two)
    assert found(BODIES, w=one) == found(BODIES, w=one)
