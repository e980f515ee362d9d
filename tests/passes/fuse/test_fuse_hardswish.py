"""fuse_hardswish: the formula as exporters write it, in every order; what is nearly it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.passes.fuse.fuse_hardsigmoid import FuseHardsigmoid
from graphopt.passes.fuse.fuse_hardswish import FuseHardswish
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
from tests.passes.support import agree, run

FUSE = FuseHardswish()
NUMBERS = {"zero": 0.0, "three": 3.0, "minus": -3.0, "six": 6.0, "sixth": 1 / 6}
CONSTANTS = scalars(**NUMBERS)  # type: ignore[arg-type]
ONE = ["y = HardSwish(x)"]
CLIP = "a = Add(x, three) c = Clip(a, zero, six)"

SPELLINGS = {
    "torch": f"{CLIP} m = Mul(x, c) y = Div(m, six)",
    "paddle": f"{CLIP} m = Mul(c, x) y = Mul(m, sixth)",
    "keras": f"{CLIP} h = Mul(sixth, c) y = Mul(x, h)",
    "tensorflow": "a = Add(x, three) r = Relu(a) c = Min(r, six) h = Mul(c, sixth) y = Mul(x, h)",
    "divided first": f"{CLIP} h = Div(c, six) y = Mul(h, x)",
    "x divided": f"{CLIP} h = Div(x, six) y = Mul(h, c)",
    "a difference": "a = Sub(x, minus) c = Clip(a, zero, six) m = Mul(x, c) y = Div(m, six)",
    "HardSigmoid": "h = HardSigmoid <alpha = 0.16666667, beta = 0.5> (x) y = Mul(x, h)",
    "HardSigmoid, default beta": "h = HardSigmoid <alpha = 0.1666666667> (x) y = Mul(h, x)",
}


@pytest.mark.parametrize("case", SPELLINGS)
@pytest.mark.parametrize("opset", [14, 18, 22])
def test_spellings(opset: int, case: str) -> None:
    outcome = fuses(FUSE, model(SPELLINGS[case], CONSTANTS, opset), ONE)
    special(outcome.before, outcome.after)


@pytest.mark.parametrize("case", SPELLINGS)
def test_spellings_in_float16(case: str) -> None:
    constants = scalars(np.float16, **NUMBERS)  # type: ignore[arg-type]
    fuses(FUSE, model(SPELLINGS[case], constants, 14, x="float16[2,3]"), ONE)


@pytest.mark.parametrize("case", SPELLINGS)
def test_before_opset_14(case: str) -> None:
    refused(model(SPELLINGS[case], CONSTANTS, 13), FUSE, "HardSwish comes with opset 14")


@pytest.mark.parametrize("case", SPELLINGS)
def test_behind_the_other_pass(case: str) -> None:
    """fuse_hardsigmoid may come first."""
    between = run(model(SPELLINGS[case], CONSTANTS, 14), FuseHardsigmoid())
    outcome = run(between.after, FUSE)
    assert outcome.lines == ONE
    agree(between.before, outcome.after)


def test_everywhere() -> None:
    read = {name: CONSTANTS[name] for name in ("three", "zero", "six")}
    holds_everywhere(FUSE, SPELLINGS["torch"], read, 14, "c", ONE[0])


def test_the_reference_agrees() -> None:
    for body in SPELLINGS.values():
        fuses(FUSE, model(body, CONSTANTS, 14), ONE, reference=True)


def test_what_made_x_stays() -> None:
    body = SPELLINGS["torch"].replace("(x,", "(u,").replace("a =", "u = Mul(x, six) a =", 1)
    fuses(FUSE, model(body, CONSTANTS, 14), ["u = Mul(x, six)", "y = HardSwish(u)"])


def test_types_and_ranks() -> None:
    double = scalars(np.float64, **{**NUMBERS, "sixth": 0.0})  # type: ignore[arg-type]
    refused(model(SPELLINGS["HardSigmoid"], double, 14, x="double[2,3]"), FUSE, TYPE)
    wide = {**CONSTANTS, "six": np.full((1, 1, 1, 1), 6, np.float32)}
    refused(model(SPELLINGS["torch"], wide, 14, y="float[1,2,3,8]"), FUSE, WIDENS)


BODIES = {
    "another shift": SPELLINGS["torch"].replace("three", "six"),
    "another top": "a = Add(x, three) c = Clip(a, zero, three) m = Mul(x, c) y = Div(m, six)",
    "no division": f"{CLIP} y = Mul(x, c)",
    "a quotient": f"{CLIP} m = Div(x, c) y = Div(m, six)",
    "times another value": f"{CLIP} n = Abs(x) m = Mul(n, c) y = Div(m, six)",
    "scaled within": "s = Mul(x, six) a = Add(s, three) c = Clip(a, zero, six) m = Mul(x, c) "
    "y = Div(m, six)",
    "another HardSigmoid": "h = HardSigmoid(x) y = Mul(x, h)",
    "HardSigmoid of another value": "n = Neg(x) h = HardSigmoid <alpha = 0.16666667> (n) "
    "y = Mul(x, h)",
}


@pytest.mark.parametrize("case", BODIES)
def test_left_alone(case: str) -> None:
    refused(model(BODIES[case], CONSTANTS, 14), FUSE, None)


@few
@given(st.permutations(["x", "c", "sixth"]), st.booleans())
def test_any_order(factors: list[str], left: bool) -> None:
    pair = f"Mul({factors[0]}, {factors[1]})"
    last = f"Mul(pair, {factors[2]})" if left else f"Mul({factors[2]}, pair)"
    outcome = run(model(f"{CLIP} pair = {pair} y = {last}", CONSTANTS, 14), FUSE)
    assert outcome.lines == ONE
    agree(outcome.before, outcome.after)
