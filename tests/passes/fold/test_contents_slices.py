"""Slices of known contents: every clamp of ONNX's own, against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.build import few
from tests.passes.fold.learning import Learnt, sizes_of
from tests.passes.fold.test_contents import NAMES, WORLDS, i64, model

LOW, TOP = -(2**63), 2**63 - 1


def sliced(opset: int = 18, **bounds: Any) -> Learnt:
    """Slice the shape of x; the bounds are given by name, those left out are left out."""
    named = [name if name in bounds else "" for name in ("starts", "ends", "axes", "steps")]
    inputs = ", ".join(name or '""' for name in named).replace('""', "")
    return Learnt(model(f"y = Slice(s, {inputs})", opset=opset, **bounds))


SLICES: list[tuple[str, Mapping[str, Any]]] = [
    ("N, C", {"starts": i64(0), "ends": i64(2)}),
    ("H, 6", {"starts": i64(-2), "ends": i64(TOP)}),
    ("N, C, H", {"starts": i64(0), "ends": i64(-1), "axes": i64(0)}),
    ("N, H", {"starts": i64(0), "ends": i64(9), "axes": i64(-1), "steps": i64(2)}),
    ("N, C, H, 6", {"starts": i64(-99), "ends": i64(99)}),
    ("", {"starts": i64(3), "ends": i64(1)}),
    ("", {"starts": i64(9), "ends": i64(TOP)}),
    ("6, H, C, N", {"starts": i64(-1), "ends": i64(LOW), "axes": i64(0), "steps": i64(-1)}),
    ("6, H, C", {"starts": i64(TOP), "ends": i64(0), "axes": i64(0), "steps": i64(-1)}),
    ("6, C", {"starts": i64(9), "ends": i64(-9), "axes": i64(0), "steps": i64(-2)}),
    ("H, C", {"starts": i64(2), "ends": i64(-4), "axes": i64(0), "steps": i64(-1)}),
    ("N", {"starts": i64(-99), "ends": i64(-99), "axes": i64(0), "steps": i64(-1)}),
    ("N, C, H", {"starts": i64(0), "ends": i64(3), "steps": i64(1)}),
    ("C", {"starts": np.array([1], np.int32), "ends": np.array([2], np.int32)}),
]


@pytest.mark.parametrize(("expected", "bounds"), SLICES)
def test_slices(expected: str, bounds: Mapping[str, Any]) -> None:
    learnt = sliced(**bounds)
    learnt.holds(WORLDS)
    assert learnt.content("y") == list(sizes_of(expected, NAMES))


@pytest.mark.parametrize("opset", [1, 9])
def test_bounds_in_attributes(opset: int) -> None:
    """Up to opset 9; ONNX Runtime has kernels from 7 on."""
    for attributes, expected in [
        ("starts = [1], ends = [9223372036854775807]", "C, H, 6"),
        ("starts = [-3], ends = [-1], axes = [0]", "C, H"),
        ("starts = [1], ends = [1], axes = [-1]", ""),
    ]:
        learnt = Learnt(model(f"y = Slice <{attributes}> (s)", opset=opset))
        assert learnt.content("y") == list(sizes_of(expected, NAMES))
        learnt.holds(WORLDS if opset > 6 else [])


BOUNDS = st.integers(-7, 7) | st.sampled_from([LOW, TOP, -(2**31), 2**31 - 1])


@settings(few, max_examples=60)
@given(BOUNDS, BOUNDS, st.sampled_from([-3, -2, -1, 1, 2, 5]), st.sampled_from([0, -1]))
def test_any_slice(start: int, end: int, step: int, axis: int) -> None:
    learnt = sliced(starts=i64(start), ends=i64(end), axes=i64(axis), steps=i64(step))
    if step < 0 and end >= 2**31 - 1:
        # ONNX says that this is nothing, ONNX Runtime goes on to the first element.
        assert learnt.content("y") is None
        return
    assert learnt.content("y") is not None
    learnt.holds(WORLDS[:1])


def test_two_axes_at_once() -> None:
    nodes = "u = Reshape(s, k) v = Concat <axis = 1> (u, u) y = Slice(v, a, b, c, d)"
    bounds: dict[str, Any] = {"a": i64(3, -1), "b": i64(LOW, 2), "c": i64(-1, 0), "d": i64(-2, 1)}
    learnt = Learnt(model(nodes, k=i64(2, 2), **bounds))
    learnt.holds(WORLDS)
    assert learnt.content("y") == list(sizes_of("6, 6", NAMES))
    unnamed = Learnt(model("u = Reshape(s, k) y = Slice(u, a, b)", k=i64(2, 2), a=i64(1, 0),
                           b=i64(2, 1)))  # fmt: skip
    unnamed.holds(WORLDS)
    assert unnamed.content("y") == list(sizes_of("H", NAMES))


@pytest.mark.parametrize(
    "nodes",
    [
        "y = Slice(s, i, k)",
        "y = Slice(s, k, i)",
        "y = Slice(s, k, k, i)",
        "y = Slice(s, k, k, k, i)",
        "y = Slice(s, k, k, , i)",
    ],
)
def test_bounds_that_nobody_knows(nodes: str) -> None:
    learnt = Learnt(model(nodes, "float[N,C,H,6] x, int64[1] i", k=i64(0)))
    assert learnt.content("y") is None


def test_bounds_out_of_sizes() -> None:
    """The length of a shape is a number, a dimension is not."""
    known = Learnt(model("r = Shape(s) h = Div(r, t) y = Slice(s, z, h)", t=i64(2), z=i64(0)))
    known.holds(WORLDS)
    assert known.content("y") == list(sizes_of("N, C", NAMES))
    nodes = "n = Slice(s, z, one) y = Slice(s, z, n)"
    unknown = Learnt(model(nodes, z=i64(0), one=i64(1)))
    assert unknown.content("y") is None


@pytest.mark.parametrize(
    "bounds",
    [
        {"starts": i64(0), "ends": i64(2), "axes": i64(0), "steps": i64(0)},
        {"starts": i64(0), "ends": i64(2), "axes": i64(1)},
        {"starts": i64(0, 0), "ends": i64(2)},
        {"starts": i64(0, 0), "ends": i64(2, 2)},
        {"starts": i64(0), "ends": i64(2), "axes": i64(0), "steps": i64(1, 1)},
    ],
)
def test_slices_that_are_none(bounds: Mapping[str, Any]) -> None:
    assert sliced(**bounds).content("y") is None
