from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto

from graphopt.model import Model
from graphopt.runtime import IsolatedRuntime, shared_runtime
from graphopt.verify.loads import check_loads
from tests.build import parse

LIMIT = 1 << 20


def unary(op: str) -> ModelProto:
    """Over float64, for which ONNX Runtime has no Acos."""
    return parse(
        f"g (double[N] x) => (double[N] y) {{ t = Add(x, w)\n y = {op}(t) }}", w=np.ones(1)
    )


@pytest.mark.parametrize(
    ("original", "result", "status", "detail"),
    [
        ("Abs", "Neg", "ok", ""),
        ("Acos", "Neg", "ok", ""),
        ("Abs", "Acos", "failed", "the original loads, the result does not: "),
        ("Acos", "Acos", "not verified", "the original does not load either"),
    ],
)
def test_loads(original: str, result: str, status: str, detail: str) -> None:
    row = check_loads(Model(unary(original)), Model(unary(result)), shared_runtime(), LIMIT)
    assert (row.what, row.status) == ("loads", status)
    assert row.detail.startswith(detail)


def test_what_the_runtime_says_is_told_without_temporary_names() -> None:
    row = check_loads(Model(unary("Abs")), Model(unary("Acos")), shared_runtime(), LIMIT)
    assert "Acos" in row.detail
    assert "graphopt-verify" not in row.detail
    assert "\n" not in row.detail


def test_what_is_too_large_is_not_tried() -> None:
    runtime = IsolatedRuntime()
    row = check_loads(Model(unary("Abs")), Model(unary("Acos")), runtime, 4)
    assert (row.status, runtime.generation) == ("not verified", 0)
    assert row.detail.startswith("not tried: weights exceed")
