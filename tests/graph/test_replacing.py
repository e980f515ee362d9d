from __future__ import annotations

import numpy as np
import pytest

from graphopt.graph.replacing import refusal
from tests.build import build

TEXT = """g (float[2] x, bool c) => (float[2] y, float[2] z) {
    a = Neg(x)
    b = Abs(x)
    y = Add(a, b)
    z = If (c) <
        then_branch = t () => (p) { q = Exp(a) p = Mul(q, b) },
        else_branch = e () => (r) { r = Sub(a, w) }
    >
}"""


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("a", "b", None),
        ("a", "x", None),
        ("a", "w", None),
        ("y", "a", None),
        ("q", "a", None),
        ("a", "q", "not visible"),
        ("q", "r", "not visible"),
        ("y", "x", "input or an initializer"),
        ("y", "w", "input or an initializer"),
        ("y", "z", "both values"),
        ("p", "a", "enclosing"),
        ("x", "a", None),
    ],
)
def test_refusal(old: str, new: str, reason: str | None) -> None:
    program = build(TEXT, w=np.ones(2, np.float32))
    names = {name: value for scope in program.scopes() for name, value in scope.names.items()}
    found = refusal(names[old], names[new])
    if reason is None:
        assert found is None
    else:
        assert found is not None and reason in found.reason


def test_an_output_that_nothing_computes_stays() -> None:
    program = build("g (float[2] x) => (x, y) { y = Neg(x) }")
    x, y = program.main.names["x"], program.main.names["y"]
    y.output_of = 0
    found = refusal(x, y)
    assert found is not None and "nothing computes" in found.reason


def test_a_name_that_means_something_else_in_a_body() -> None:
    program = build("""g (float[2] x, bool c) => (float[2] z) {
        y = Neg(x)
        k = Abs(x)
        z = If (c) <
            then_branch = t () => (p) { k = Exp(y) p = Add(k, y) },
            else_branch = e () => (r) { r = Relu(x) }
        >
    }""")
    main = program.main.names
    found = refusal(main["y"], main["k"])
    assert found is not None and "another value in a body" in found.reason
    assert refusal(main["k"], main["y"]) is None
