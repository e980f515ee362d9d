"""fold_constants: integer divisions that would kill a process that evaluates them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphopt.passes.fold.fold_constants import FoldConstants
from tests.build import parse
from tests.passes.support import Array, agree, run

FOLD = FoldConstants()
HEAD = '<ir_version: 10, opset_import: ["" : 20, "com.example" : 1]>'


def i64(*values: int) -> Array:
    return np.array(values, np.int64)


TRAPS: dict[str, tuple[str, list[Any], Any]] = {
    "Div by zero": ("a = Div(k, m)", [1, 2], [0, 1]),
    "Mod by zero": ("a = Mod(k, m)", [1, 2], [0, 1]),
    "fmod by zero": ("a = Mod <fmod = 1> (k, m)", [1, 2], [0, 1]),
    "lowest Div -1": ("a = Div(k, m)", ["min", 2], [-1, 1]),
    "lowest Mod -1": ("a = Mod(k, m)", ["min", 2], [-1, 1]),
    "lowest Div -1, broadcast": ("a = Div(k, m)", ["min"], [5, -1]),
    "lowest Div -1, a number": ("a = Div(k, m)", ["min", 3], -1),
}


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
@pytest.mark.parametrize("case", TRAPS)
def test_integer_traps(case: str, dtype: Any) -> None:
    """They kill a process that evaluates them: this one, and the one that runs the kernels."""
    nodes, left, right = TRAPS[case]
    lowest = np.iinfo(dtype).min
    k = np.array([lowest if item == "min" else item for item in left], dtype)
    text = f"{HEAD} g (float[2] x) => (float[2] y) {{ {nodes} b = com.example.Use(a) y = Neg(x) }}"
    outcome = run(parse(text, k=k, m=np.array(right, dtype)), FOLD)
    assert "a_1" not in outcome.weights
    assert outcome.skipped == {"integer division that overflows or divides by zero": 1}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint32, np.uint64])
def test_unsigned_division_by_zero(dtype: Any) -> None:
    text = (
        HEAD + "g (float[2] x) => (float[2] y) { a = Div(k, m) b = com.example.Use(a) y = Neg(x) }"
    )
    outcome = run(parse(text, k=np.array([1], dtype), m=np.array([0], dtype)), FOLD)
    assert "a_1" not in outcome.weights


def test_what_comes_before_a_trap_is_folded() -> None:
    nodes = "n = Neg(o) a = Div(k, n) b = com.example.Use(a) y = Neg(x)"
    text = f"{HEAD} g (float[2] x) => (float[2] y) {{ {nodes} }}"
    trap = run(parse(text, k=i64(np.iinfo(np.int64).min), o=i64(1)), FOLD)
    assert [entry for entry in trap.lines if "Div" in entry] == ["a = Div(k, n_1)"]
    safe = run(parse(text, k=i64(7, -7), o=i64(1, -2)), FOLD)
    np.testing.assert_array_equal(safe.weights["a_1"], i64(-7, -3))


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_a_mean_of_no_integers(dtype: Any) -> None:
    """A division by zero that no Div shows."""
    nodes = "a = ReduceMean(k, d) b = com.example.Use(a) y = Neg(x)"
    text = f"{HEAD} g (float[2] x) => (float[2] y) {{ {nodes} }}"
    outcome = run(parse(text, k=np.ones((0, 2), dtype), d=i64(0)), FOLD)
    assert outcome.left_out == []
    text = HEAD + "g (int64[1] x) => (int64[1] y) { a = Neg(k) y = Add(x, a) }"
    assert run(parse(text, k=i64(1)), FOLD).lines == ["y = Add(x, a_1)"]


def test_a_range_that_takes_one_number_in_a_vector_keeps_it_computed() -> None:
    """ONNX Runtime runs it, but does not load it once the vector is a constant."""
    text = f"""{HEAD} g (float[2] x) => (float[2] y, int64[N] r)
    <int64 z = {{0}}, int64 o = {{1}}> {{
        n = Add(k, k) m = Sub(n, k) r = Range(z, m, o) y = Neg(x)
    }}"""
    outcome = run(parse(text, k=i64(3)), FOLD)
    assert [node.op_type for node in outcome.after.graph.node] == ["Sub", "Range", "Neg"]
    agree(outcome.before, outcome.after)


def test_a_range_of_numbers_takes_constants() -> None:
    text = f"""{HEAD} g (float[2] x) => (float[2] y, int64[N] r)
    <int64 z = {{0}}, int64 o = {{1}}> {{
        n = Add(o, o) s = Range(z, n, o) r = Neg(s) y = Neg(x)
    }}"""
    assert run(parse(text), FOLD).lines[-1].startswith("y = Neg")
    assert "Range" not in str(run(parse(text), FOLD).lines)
