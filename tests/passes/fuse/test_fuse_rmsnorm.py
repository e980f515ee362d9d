"""fuse_rmsnorm: the formula as exporters write it; what is shared with fuse_layernorm is there."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.passes.fuse.fuse_layernorm import FuseLayernorm
from graphopt.passes.fuse.fuse_rmsnorm import FuseRmsnorm
from tests.passes.fuse.fused import normal, refused
from tests.passes.fuse.spelled import READ, fuses, holds_everywhere, model, scalars
from tests.passes.support import Array, agree, run

FUSE = FuseRmsnorm()
NUMBERS = scalars(eps=1e-6, two=2.0, one=1.0, half=0.5, minus=-0.5)
CONSTANTS: dict[str, Array] = {**NUMBERS, "w": normal(8), "axes": np.array([-1])}
ONE = ["y = RMSNormalization(x, w)"]
MEAN = "p = Pow(x, two) v = ReduceMean(p, axes) e = Add(v, eps)\n"
SPELLINGS = {
    "torch": f"{MEAN} s = Sqrt(e) r = Div(one, s) n = Mul(x, r) y = Mul(w, n)",
    "torch dynamo": f"{MEAN} s = Sqrt(e) r = Reciprocal(s) n = Mul(x, r) y = Mul(n, w)",
    "paddle": f"{MEAN} r = Pow(e, minus) n = Mul(r, x) y = Mul(n, w)",
    "tensorflow": "p = Mul(x, x) v = ReduceMean(p, axes) e = Add(eps, v) s = Sqrt(e) "
    "r = Reciprocal(s) n = Mul(x, r) y = Mul(n, w)",
    "keras": f"{MEAN} s = Sqrt(e) r = Reciprocal(s) g = Mul(r, w) y = Mul(x, g)",
    "divided": f"{MEAN} s = Sqrt(e) n = Div(x, s) y = Mul(n, w)",
    "root as a power": f"{MEAN} s = Pow(e, half) n = Div(x, s) y = Mul(n, w)",
}


@pytest.mark.parametrize("case", SPELLINGS)
@pytest.mark.parametrize("opset", [23, 24])
def test_spellings(opset: int, case: str) -> None:
    outcome = fuses(FUSE, model(SPELLINGS[case], CONSTANTS, opset), ONE)
    feeds: list[dict[str, Array]] = [
        {"x": np.zeros((2, 3, 8), np.float32)},
        {"x": normal(2, 3, 8) * 1e-4},
    ]
    agree(outcome.before, outcome.after, feeds)


def test_everywhere() -> None:
    read = {name: CONSTANTS[name] for name in ("eps", "two", "w", "axes")}
    holds_everywhere(FUSE, SPELLINGS["divided"], read, 23, "e", ONE[0], in_functions=False)


@pytest.mark.parametrize("case", SPELLINGS)
def test_float16(case: str) -> None:
    constants = {n: a if n == "axes" else a.astype(np.float16) for n, a in CONSTANTS.items()}
    constants["eps"] = np.array(1e-3, np.float16)
    fuses(FUSE, model(SPELLINGS[case], constants, 23, x="float16[2,3,8]"), ONE)


def test_the_reference_agrees() -> None:
    for body in SPELLINGS.values():
        fuses(FUSE, model(body, CONSTANTS, 23), ONE, reference=True)


def test_without_a_scale() -> None:
    body = SPELLINGS["divided"].replace("y = Mul(n, w)", "y = Add(n, w)")
    outcome = run(model(body, CONSTANTS, 23), FUSE)
    assert outcome.lines == ["n = RMSNormalization(x, n_scale)", "y = Add(n, w)"]
    assert (outcome.weights["n_scale"] == np.ones(8)).all()
    agree(outcome.before, outcome.after)


def test_two_axes() -> None:
    constants = {**CONSTANTS, "axes": np.array([-1, 1]), "w": normal(3, 8)}
    fuses(FUSE, model(SPELLINGS["torch"], constants, 23), ONE)


@pytest.mark.parametrize("opset", [18, 22])
def test_before_opset_23(opset: int) -> None:
    reason = "RMSNormalization comes with opset 23"
    refused(model(SPELLINGS["torch"], CONSTANTS, opset), FUSE, reason)


def test_a_layer_normalisation_is_left_to_the_other_pass() -> None:
    body = f"m = ReduceMean(x, axes) d = Sub(x, m) {SPELLINGS['divided']}"
    body = body.replace("Pow(x", "Pow(d").replace("Div(x", "Div(d")
    before = model(body, CONSTANTS, 23)
    between = fuses(FuseLayernorm(), before, ["y = LayerNormalization(x, w)"])
    assert run(between.after, FUSE).unchanged


BODIES: dict[str, tuple[str, str | None]] = {
    "of another value": (SPELLINGS["torch"].replace("Pow(x", "Pow(z"), None),
    "times another value": (SPELLINGS["torch"].replace("Mul(x", "Mul(z"), None),
    "a sum of squares": (SPELLINGS["torch"].replace("ReduceMean", "ReduceSum"), None),
    "the inverse of two": (SPELLINGS["torch"].replace("Div(one", "Div(two"), None),
    "axes not constant": (SPELLINGS["torch"].replace("(p, axes)", "(p)"), None),
    "root read elsewhere": (
        SPELLINGS["torch"].replace("y = Mul(w, n)", "u = Mul(w, n) y = Add(u, s)"), READ
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BODIES)
def test_refused(case: str) -> None:
    body, reason = BODIES[case]
    refused(model(f"z = Abs(x) {body}", CONSTANTS, 23), FUSE, reason)
