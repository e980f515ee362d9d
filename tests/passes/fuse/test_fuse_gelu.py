"""fuse_gelu: both formulas as exporters write them, in every order; what is nearly one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

import graphopt
from graphopt.passes.fuse.fuse_gelu import FuseGelu
from tests.build import few
from tests.passes.fuse.fused import refused
from tests.passes.fuse.spelled import (
    TYPE,
    WIDENS,
    fuses,
    holds_everywhere,
    model,
    scalars,
    special,
)
from tests.passes.support import agree, lines, run

FUSE = FuseGelu()
ROOT, SLOPE = math.sqrt(2), math.sqrt(2 / math.pi)
NUMBERS = {
    "root": ROOT, "inverse": 1 / ROOT, "one": 1.0, "half": 0.5, "three": 3.0, "two": 2.0,
    "cubic": 0.044715, "slope": SLOPE, "both": SLOPE * 0.044715,
}  # fmt: skip
CONSTANTS = scalars(**NUMBERS)  # type: ignore[arg-type]

ERF = {
    "torch": "d = Div(x, root) e = Erf(d) a = Add(e, one) m = Mul(x, a) y = Mul(m, half)",
    "torch dynamo": "d = Mul(x, inverse) e = Erf(d) a = Add(e, one) h = Mul(x, half) y = Mul(h, a)",
    "paddle": "d = Div(x, root) e = Erf(d) a = Add(one, e) m = Mul(x, a) y = Mul(half, m)",
    "tensorflow": "d = Mul(inverse, x) e = Erf(d) a = Add(e, one) h = Mul(a, half) y = Mul(x, h)",
    "keras": "h = Mul(half, x) d = Div(x, root) e = Erf(d) a = Add(one, e) y = Mul(h, a)",
    "a quotient": "d = Div(x, root) e = Erf(d) a = Add(e, one) m = Mul(x, a) y = Div(m, two)",
    "halves added": "d = Div(x, root) e = Erf(d) g = Mul(e, half) a = Add(g, half) y = Mul(a, x)",
}
INNER = "c = Mul(p, cubic) s = Add(x, c) i = Mul(s, slope) t = Tanh(i) a = Add(t, one)\n"
TANH = {
    "torch": f"h = Mul(x, half) p = Pow(x, three) {INNER} y = Mul(h, a)",
    "a product": f"q = Mul(x, x) p = Mul(q, x) {INNER} h = Mul(half, x) y = Mul(a, h)",
    "a square times x": f"q = Pow(x, two) p = Mul(x, q) {INNER} m = Mul(x, a) y = Mul(m, half)",
    "keras": "q = Mul(x, x) c = Mul(q, cubic) o = Add(one, c) v = Mul(x, slope) i = Mul(v, o) "
    "t = Tanh(i) a = Add(one, t) h = Mul(a, half) y = Mul(x, h)",
    "multiplied out": "p = Pow(x, three) c = Mul(both, p) v = Mul(slope, x) i = Add(c, v) "
    "t = Tanh(i) a = Add(one, t) h = Mul(x, half) y = Mul(h, a)",
}
SPELLINGS = [(body, "none") for body in ERF.values()] + [(body, "tanh") for body in TANH.values()]
TOO_OLD = "Gelu comes with opset 20"


@pytest.mark.parametrize(("body", "approximate"), SPELLINGS)
def test_spellings(body: str, approximate: str) -> None:
    outcome = fuses(FUSE, model(body, CONSTANTS, 20), ["y = Gelu(x)"])
    (node,) = outcome.after.graph.node
    assert helper.get_node_attr_value(node, "approximate") == approximate.encode()
    special(outcome.before, outcome.after)


@pytest.mark.parametrize("body", ERF.values())
def test_spellings_in_float16(body: str) -> None:
    constants = scalars(np.float16, **NUMBERS)  # type: ignore[arg-type]
    fuses(FUSE, model(body, constants, 20, x="float16[2,3]"), ["y = Gelu(x)"])


@pytest.mark.parametrize("body", TANH.values())
def test_the_second_form_in_float16(body: str) -> None:
    """Recognised, and done only where it does not take longer."""
    constants = scalars(np.float16, **NUMBERS)  # type: ignore[arg-type]
    before = model(body, constants, 20, x="float16[2,3]")
    refused(before, FUSE, "ONNX Runtime's CPU takes longer for the operator in float16")
    result = graphopt.optimize(before, passes=[FUSE], target="cuda", verify=False)
    assert lines(result.model.proto.graph) == ["y = Gelu(x)"]
    agree(before, result.model.proto)


@pytest.mark.parametrize("body", [ERF["torch"], TANH["torch"]])
def test_everywhere(body: str) -> None:
    names = {name: CONSTANTS[name] for name in NUMBERS if f" {name})" in body}
    holds_everywhere(FUSE, body, names, 20, "a", "y = Gelu(x)")


def test_the_reference_agrees() -> None:
    for body, _ in SPELLINGS:
        fuses(FUSE, model(body, CONSTANTS, 20), ["y = Gelu(x)"], reference=True)


def test_numbers_as_vectors_of_one() -> None:
    constants = scalars(np.float32, (1, 1), **NUMBERS)
    fuses(FUSE, model(ERF["torch"], constants, 20), ["y = Gelu(x)"])
    wide = model(ERF["torch"], constants, 20, x="float[3]", y="float[1,3]")
    refused(wide, FUSE, WIDENS)


def test_gated_by_another_product() -> None:
    """What the result is multiplied with stays outside, and so does what made x."""
    body = f"x2 = Mul(x, two) {ERF['keras']} y = Mul(g, x)".replace("y = Mul(h", "g = Mul(h")
    body = body.replace("half, x)", "half, x2)").replace("Div(x,", "Div(x2,")
    expected = ["x2 = Mul(x, two)", "g = Gelu(x2)", "y = Mul(g, x)"]
    fuses(FUSE, model(body, CONSTANTS, 20), expected)


WRONG = {
    "a longer root": ("root", 1.41422),
    "not a half": ("half", 0.51),
    "not one": ("one", 1.001),
    "no number": ("one", math.nan),
}


@pytest.mark.parametrize("case", WRONG)
def test_other_numbers(case: str) -> None:
    name, number = WRONG[case]
    refused(
        model(ERF["torch"], {**CONSTANTS, **scalars(np.float32, (), **{name: number})}, 20),
        FUSE,
        None,
    )


@pytest.mark.parametrize("number", [0.044714, 0.0448, 0.0, -0.044715])
def test_another_cubic(number: float) -> None:
    refused(model(TANH["torch"], {**CONSTANTS, **scalars(cubic=number)}, 20), FUSE, None)


TORCH, CUBIC = ERF["torch"], TANH["torch"]
BODIES = {
    "of another value": TORCH.replace("Div(x", "Div(z").replace("d =", "z = Abs(x) d ="),
    "times another value": TORCH.replace("Mul(x", "Mul(z").replace("d =", "z = Abs(x) d ="),
    "a difference": TORCH.replace("Add(e, one)", "Sub(e, one)"),
    "divided by the gate": TORCH.replace("Mul(x, a)", "Div(x, a)"),
    "another function": TORCH.replace("Erf", "Sin"),
    "the square alone": CUBIC.replace("three", "two"),
    "a difference within": CUBIC.replace("Add(x, c)", "Sub(x, c)"),
    "a constant beside": CUBIC.replace("s = Add(x, c)", "w = Add(x, c) s = Add(w, one)"),
    "a factor read elsewhere": f"{TORCH.replace('y = ', 'r = ')} n = Neg(m) y = Sub(r, n)",
}


@pytest.mark.parametrize("case", BODIES)
def test_left_alone(case: str) -> None:
    refused(model(BODIES[case], CONSTANTS, 20), FUSE, None)


@pytest.mark.parametrize("body", [ERF["torch"], TANH["torch"]])
def test_opsets(body: str) -> None:
    refused(model(body, CONSTANTS, 19), FUSE, TOO_OLD)
    fuses(FUSE, model(body, CONSTANTS, 22), ["y = Gelu(x)"])


def test_double() -> None:
    constants = scalars(np.float64, **NUMBERS)  # type: ignore[arg-type]
    refused(model(TANH["torch"], constants, 20, x="double[2,3]"), FUSE, TYPE)


def test_a_constant_that_varies() -> None:
    constants = {**CONSTANTS, "half": np.full(8, 0.5, np.float32)}
    refused(model(ERF["torch"], constants, 20), FUSE, None)


@few
@given(st.permutations(["x", "gate", "half"]), st.booleans(), st.sampled_from(["Erf", "Tanh"]))
def test_any_order(factors: list[str], left: bool, function: str) -> None:
    inner = "i = Div(x, root)" if function == "Erf" else TANH["torch"].split("t =")[0]
    pair = f"Mul({factors[0]}, {factors[1]})"
    last = f"Mul(pair, {factors[2]})" if left else f"Mul({factors[2]}, pair)"
    body = f"{inner} t = {function}(i) gate = Add(t, one) pair = {pair} y = {last}"
    body = body.replace("h = Mul(x, half)", "")
    outcome = run(model(body, CONSTANTS, 20), FUSE)
    assert outcome.lines == ["y = Gelu(x)"]
