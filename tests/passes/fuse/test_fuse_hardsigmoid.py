"""fuse_hardsigmoid: clipped lines as exporters write them; gates; what is no such line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from onnx import ModelProto, helper

from graphopt.passes.fuse.fuse_hardsigmoid import FuseHardsigmoid
from tests.build import few
from tests.passes.fuse.fused import refused
from tests.passes.fuse.spelled import (
    READ,
    TYPE,
    WIDENS,
    fuses,
    holds_everywhere,
    model,
    scalars,
    special,
)
from tests.passes.support import Array, agree, run

FUSE = FuseHardsigmoid()
NUMBERS = {
    "zero": 0.0, "one": 1.0, "three": 3.0, "minus": -3.0, "six": 6.0, "sixth": 1 / 6, "fifth": 0.2,
    "half": 0.5, "five": 5.0,
}  # fmt: skip
CONSTANTS = scalars(**NUMBERS)  # type: ignore[arg-type]
ONE = ["y = HardSigmoid(x)"]

LINES: dict[str, tuple[str, float, float]] = {
    "torch": ("a = Add(x, three) c = Clip(a, zero, six) y = Div(c, six)", 1 / 6, 0.5),
    "paddle": ("a = Add(three, x) c = Clip(a, zero, six) y = Mul(c, sixth)", 1 / 6, 0.5),
    "keras": ("a = Mul(x, fifth) b = Add(a, half) y = Clip(b, zero, one)", 0.2, 0.5),
    "tensorflow": ("a = Add(x, three) r = Relu(a) c = Min(r, six) y = Mul(sixth, c)", 1 / 6, 0.5),
    "with Max": ("a = Add(x, three) r = Max(zero, a) c = Min(six, r) y = Div(c, six)", 1 / 6, 0.5),
    "a difference": ("a = Sub(x, minus) c = Clip(a, zero, six) y = Div(c, six)", 1 / 6, 0.5),
    "scaled first": ("a = Div(x, five) b = Add(half, a) y = Clip(b, zero, one)", 0.2, 0.5),
    "scaled behind": ("a = Add(x, three) b = Mul(a, sixth) y = Clip(b, zero, one)", 1 / 6, 0.5),
    "only shifted": ("a = Add(x, half) y = Clip(a, zero, one)", 1.0, 0.5),
    "only scaled": ("a = Mul(fifth, x) y = Clip(a, zero, one)", 0.2, 0.0),
    "only divided": ("c = Clip(x, zero, six) y = Div(c, six)", 1 / 6, 0.0),
    "scaled twice": (
        "a = Mul(x, fifth) b = Add(a, half) c = Clip(b, zero, five) y = Div(c, five)", 0.04, 0.1
    ),
}  # fmt: skip


def numbers_of(after: ModelProto) -> tuple[float, float]:
    (node,) = (node for node in after.graph.node if node.op_type == "HardSigmoid")
    found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return found["alpha"], found["beta"]


@pytest.mark.parametrize("case", LINES)
@pytest.mark.parametrize("opset", [12, 13, 20])
def test_lines(opset: int, case: str) -> None:
    body, alpha, beta = LINES[case]
    outcome = fuses(FUSE, model(body, CONSTANTS, opset), ONE)
    assert numbers_of(outcome.after) == pytest.approx((alpha, beta), rel=3e-7)
    special(outcome.before, outcome.after)


@pytest.mark.parametrize("opset", [7, 10])
@pytest.mark.parametrize(("top", "last"), [("6.0", "y = Div(c, six)"), ("1.0", "y = Relu(c)")])
def test_bounds_as_attributes(opset: int, top: str, last: str) -> None:
    body = f"a = Add(x, three) c = Clip <min = 0.0, max = {top}> (a) {last}"
    outcome = run(model(body, CONSTANTS, opset), FUSE)
    assert outcome.rewrites == 1
    agree(outcome.before, outcome.after)
    half = f"a = Add(x, three) c = Clip <min = 0.0> (a) {last}"
    refused(model(half, CONSTANTS, opset), FUSE, None)


def test_without_scalars_that_broadcast() -> None:
    body = "a = Add <broadcast = 1> (x, three) y = Clip <min = 0.0, max = 1.0> (a)"
    refused(model(body, CONSTANTS, 6), FUSE, None)


@pytest.mark.parametrize(
    "product",
    ["m = Mul(x, c) y = Div(m, six)", "m = Mul(c, x) y = Mul(sixth, m)",
     "m = Div(x, six) y = Mul(m, c)", "m = Mul(sixth, x) y = Mul(c, m)"],
)  # fmt: skip
@pytest.mark.parametrize("opset", [11, 12, 13])
def test_hardswish_becomes_two(opset: int, product: str) -> None:
    """As PaddlePaddle writes it at the opsets that lack HardSwish."""
    body = f"a = Add(x, three) c = Clip(a, zero, six) {product}"
    outcome = fuses(
        FUSE,
        model(body, CONSTANTS, opset),
        ["y_HardSigmoid = HardSigmoid(x)", "y = Mul(x, y_HardSigmoid)"],
    )
    special(outcome.before, outcome.after)


def test_the_division_before_the_product() -> None:
    body = "a = Add(x, three) c = Clip(a, zero, six) h = Div(c, six) y = Mul(x, h)"
    fuses(FUSE, model(body, CONSTANTS, 12), ["h = HardSigmoid(x)", "y = Mul(x, h)"])


def test_a_gate_of_another_value() -> None:
    body = """g = ReduceMean <axes = [1, 2]> (x) a = Add(g, three) c = Clip(a, zero, six)
              m = Mul(x, c) y = Div(m, six)"""
    expected = ["g = ReduceMean(x)", "y_HardSigmoid = HardSigmoid(g)", "y = Mul(x, y_HardSigmoid)"]
    fuses(FUSE, model(body, CONSTANTS, 12), expected)


def test_the_product_goes_on() -> None:
    """A further number is no part of it, in either order."""
    for last in ("y = Mul(n, five)", "y = Div(n, six)"):
        body = f"a = Add(x, three) c = Clip(a, zero, six) m = Mul(x, c) n = Div(m, six) {last}"
        outcome = run(model(body, CONSTANTS, 12), FUSE)
        assert outcome.lines[:2] == ["n_HardSigmoid = HardSigmoid(x)", "n = Mul(x, n_HardSigmoid)"]
        agree(outcome.before, outcome.after)


def test_everywhere() -> None:
    read = {name: CONSTANTS[name] for name in ("three", "zero", "six")}
    holds_everywhere(FUSE, LINES["torch"][0], read, 18, "c", ONE[0])


def test_gates_everywhere() -> None:
    body = "a = Add(x, three) c = Clip(a, zero, six) m = Mul(x, c) y = Div(m, six)"
    for place in ("if", "loop"):
        outcome = run(model(body, CONSTANTS, 13, place=place), FUSE)
        assert outcome.rewrites == 1
        agree(outcome.before, outcome.after)


def test_the_reference_agrees() -> None:
    for body, _, _ in LINES.values():
        fuses(FUSE, model(body, CONSTANTS, 13), ONE, reference=True)


def test_float16() -> None:
    constants = scalars(np.float16, **NUMBERS)  # type: ignore[arg-type]
    for body, _, _ in LINES.values():
        fuses(FUSE, model(body, constants, 13, x="float16[2,3]"), ONE)


def test_double() -> None:
    constants = scalars(np.float64, **NUMBERS)  # type: ignore[arg-type]
    body = LINES["torch"][0].replace("Div(c, six)", "Abs(c)").replace("six)", "one)")
    refused(model(body, constants, 13, x="double[2,3]"), FUSE, TYPE)


def test_integers() -> None:
    body = "a = Add(x, three) y = Clip(a, zero, one)"
    constants = scalars(np.int32, zero=0, one=1, three=3)
    refused(model(body, constants, 13, x="int32[2,3]"), FUSE, TYPE)


def test_constants_that_widen() -> None:
    constants = {**CONSTANTS, "three": np.full((1, 1, 1, 1), 3, np.float32)}
    body = LINES["torch"][0]
    refused(model(body, constants, 13, y="float[1,2,3,8]"), FUSE, WIDENS)
    fuses(FUSE, model(body, constants, 13, x="float[2,2,3,8]"), ONE)


BODIES: dict[str, tuple[str, str | None]] = {
    "a lower bound": ("a = Add(x, three) c = Clip(a, half, six) y = Div(c, six)", None),
    "no lower bound": ("a = Add(x, three) c = Clip(a, , six) y = Div(c, six)", None),
    "no upper bound": ("a = Add(x, three) c = Clip(a, zero) y = Div(c, six)", None),
    "another top": ("a = Add(x, three) c = Clip(a, zero, five) y = Div(c, six)", None),
    "the quotient turned": ("a = Add(x, three) c = Clip(a, zero, six) y = Div(six, c)", None),
    "the line alone": ("a = Add(x, three) y = Clip(a, zero, six)", None),
    "the clip alone": ("y = Clip(x, zero, one)", None),
    "the line turned": ("a = Sub(three, x) y = Clip(a, zero, one)", None),
    "the line divides": ("a = Div(one, x) y = Clip(a, zero, one)", None),
    "a product with the clip": ("a = Add(x, three) c = Clip(a, zero, six) y = Mul(x, c)", None),
    "the square of a ramp": (
        "a = Add(x, three) c = Clip(a, zero, six) m = Mul(c, c) y = Div(m, six)", None
    ),
    "two clips": ("c = Clip(x, zero, six) d = Clip(c, zero, six) y = Mul(c, d)", None),
    "the line read elsewhere": (
        "a = Add(x, three) c = Clip(a, zero, six) d = Div(c, six) n = Neg(c) y = Sub(d, n)", READ
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BODIES)
def test_left_alone(case: str) -> None:
    body, reason = BODIES[case]
    refused(model(body, CONSTANTS, 13), FUSE, reason)


def test_the_shifted_value_is_read_elsewhere() -> None:
    """Then it is what the line is of."""
    body = "a = Add(x, three) c = Clip(a, zero, six) d = Div(c, six) y = Mul(a, d)"
    fuses(
        FUSE,
        model(body, CONSTANTS, 13),
        ["a = Add(x, three)", "d = HardSigmoid(a)", "y = Mul(a, d)"],
    )


def test_numbers_that_attributes_cannot_hold() -> None:
    constants = {**CONSTANTS, **scalars(fifth=1e-30, six=1e20)}
    body = "m = Mul(x, fifth) a = Add(m, half) c = Clip(a, zero, six) y = Div(c, six)"
    refused(model(body, constants, 13), FUSE, "slope or offset is no float32 number")


@few
@given(
    st.floats(-4, 4, width=32), st.floats(-4, 4, width=32), st.floats(0.125, 8, width=32),
    st.sampled_from(
        ["s = Mul(x, a) l = Add(s, b)", "s = Add(b, x) l = Mul(a, s)", "l = Sub(x, b)"]
    ),
)  # fmt: skip
def test_any_line(a: float, b: float, top: float, line: str) -> None:
    assume(abs(a) > 1e-3 and (b == 0 or abs(b) > 1e-3) and top != 1)
    constants: dict[str, Array] = {**CONSTANTS, **scalars(a=a, b=b, top=top)}
    body = f"{line} c = Clip(l, zero, top) y = Div(c, top)"
    outcome = run(model(body, constants, 13), FUSE)
    assert outcome.lines == ONE
    feeds: list[dict[str, Any]] = [
        {"x": np.linspace(-20, 20, 48, dtype=np.float32).reshape(2, 3, 8)}
    ]
    agree(outcome.before, outcome.after, feeds)
