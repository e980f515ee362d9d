"""eliminate_noop: which rewrites keep every bit, and which one the sign of a zero."""

from __future__ import annotations

import numpy as np
import pytest

import graphopt
from graphopt.passes.eliminate.eliminate_noop import EliminateNoop
from tests.passes.placed import placed
from tests.passes.support import run

PASS = EliminateNoop()


def f32(*values: float) -> np.typing.NDArray[np.float32]:
    return np.array(values, np.float32)


ZEROS = {
    "x + 0": ("Add(x, c)", 0.0, False),
    "0 + x": ("Add(c, x)", 0.0, False),
    "x - (-0)": ("Sub(x, c)", -0.0, False),
    "x + (-0)": ("Add(x, c)", -0.0, True),
    "x - 0": ("Sub(x, c)", 0.0, True),
}


@pytest.mark.parametrize("case", ZEROS)
def test_the_sign_of_a_zero_is_rounding(case: str) -> None:
    form, constant, identical = ZEROS[case]
    model = placed("main", f"n = {form}\ny = Neg(n)", {"c": f32(constant)})
    done = {r: graphopt.optimize(model, r, verify=False).report for r in ("identical", "exact")}
    assert done["identical"].rewrites()["eliminate_noop"] == int(identical)
    assert done["exact"].rewrites()["eliminate_noop"] == 1


def test_zeros_of_both_signs_are_rounding() -> None:
    model = placed("main", "n = Add(x, c)\ny = Neg(n)", {"c": f32(-0.0, 0.0, -0.0)})
    assert not graphopt.optimize(model, "identical", verify=False).report.changed
    assert len(run(model, PASS).lines) == 1


def test_an_integer_zero_has_no_sign() -> None:
    model = placed("main", "n = Add(x, c)\ny = Neg(n)", {"c": np.array([0])}, x="int64[2,3]")
    result = graphopt.optimize(model, "identical", verify=False)
    assert [node.op_type for node in result.model.proto.graph.node] == ["Neg"]
