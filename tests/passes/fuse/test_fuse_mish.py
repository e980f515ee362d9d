"""fuse_mish: the formula in both orders; what only looks like it."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.passes.fuse.fuse_mish import FuseMish
from tests.passes.fuse.fused import kind, refused
from tests.passes.fuse.spelled import TYPE, fuses, holds_everywhere, model, scalars, special

FUSE = FuseMish()
BODY = "s = Softplus(x) t = Tanh(s) y = Mul(x, t)"


@pytest.mark.parametrize("product", ["Mul(x, t)", "Mul(t, x)"])
@pytest.mark.parametrize("opset", [18, 20, 22])
def test_fuses(opset: int, product: str) -> None:
    before = model(BODY.replace("Mul(x, t)", product), {}, opset)
    outcome = fuses(FUSE, before, ["y = Mish(x)"])
    special(before, outcome.after)


def test_everywhere() -> None:
    holds_everywhere(FUSE, BODY, {}, 18, "s", "y = Mish(x)", in_functions=False)


def test_the_reference_agrees() -> None:
    fuses(FUSE, model(BODY, {}, 18), ["y = Mish(x)"], reference=True)


def test_before_opset_18() -> None:
    refused(model(BODY, {}, 17), FUSE, "Mish comes with opset 18")


@pytest.mark.parametrize("dtype", [np.float64])
def test_types(dtype: type[np.generic]) -> None:
    refused(model(BODY, {}, 18, x=f"{kind(dtype)}[2,3]"), FUSE, TYPE)


BODIES = {
    "of another value": "n = Neg(x) s = Softplus(n) t = Tanh(s) y = Mul(x, t)",
    "another function": BODY.replace("Tanh", "Sigmoid"),
    "a quotient": BODY.replace("Mul", "Div"),
    "without softplus": "t = Tanh(x) y = Mul(x, t)",
    "faster as it is": "e = Exp(x) a = Add(e, one) s = Log(a) t = Tanh(s) y = Mul(x, t)",
    "the product of the tanh": "s = Softplus(x) t = Tanh(s) y = Mul(t, t)",
}


@pytest.mark.parametrize("case", BODIES)
def test_left_alone(case: str) -> None:
    refused(model(BODIES[case], scalars(one=1.0), 18), FUSE, None)
