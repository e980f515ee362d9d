"""Dimensions by rule against those of real tensors: operators that cut, gather and fill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.passes.fold._extents import EXTENTS, cut
from graphopt.passes.fold._sizes import size, symbol
from tests.build import few
from tests.passes.fold.learning import Learnt, World, sizes_of
from tests.passes.fold.test_dims import EMPTY, NAMES, WORLDS, i64, model

X = "float[N,C,H] x"
LONG = [{"N": 5, "C": 3, "H": 9}, {"N": 9, "C": 3, "H": 5}]
S = "s = Shape <end = 1> (x)\n"
N = S + "n = Squeeze(s)\n"
NUMBERS = {"zero": np.int64(0), "one": np.int64(1), "two": np.int64(2)}
NAMED = "named"
"""The cut axis has a symbol of its own."""

Row = tuple[str, str, str, dict[str, Any], Sequence[dict[str, int]]]
ROWS: list[Row] = [
    ("Slice", S + "y = Slice(x, k, s, z)", "N, C, H", {"k": i64(0), "z": i64(0)}, WORLDS),
    ("Slice", "y = Slice(x, k, e, z)", "N, C, H", {"k": i64(0), "e": i64(2**62), "z": i64(-1)},
     [*WORLDS, EMPTY]),
    ("Slice", S + "y = Slice(x, k, s, z)", NAMED, {"k": i64(0), "z": i64(2)}, LONG),
    ("Slice", S + "y = Slice(x, k, s, z, t)", NAMED, {"k": i64(0), "z": i64(2), "t": i64(2)}, LONG),
    ("Slice", "y = Slice(x, k, e, z)", NAMED, {"k": i64(-2), "e": i64(-1), "z": i64(2)}, LONG),
    ("Slice", "y = Slice(x, k, e, z)", NAMED, {"k": i64(1), "e": i64(4), "z": i64(2)}, LONG),
    ("Split", "y, w = Split <axis = 1, num_outputs = 2> (x)", "N, 2, H", {}, []),
    ("Split", "y, w = Split <axis = -2> (x, k)", "N, 1, H", {"k": i64(1, 2)},
     [{"N": 2, "C": 3, "H": 4}]),
    ("Range", N + "y = Range(zero, n, one)", "N", NUMBERS, [*WORLDS, EMPTY]),
    ("Range", N + "m = Mul(n, two) y = Range(n, m, one)", "N", NUMBERS, [*WORLDS, EMPTY]),
    ("Range", N + "y = Range(two, n, one)", NAMED, NUMBERS, [*WORLDS, EMPTY]),
    ("Range", N + "y = Range(zero, n, two)", NAMED, NUMBERS, [*WORLDS, EMPTY]),
    ("Tile", "y = Tile(x, k)", "N, C * 2, H", {"k": i64(1, 2, 1)}, [*WORLDS, EMPTY]),
    ("Pad", "y = Pad(x, k)", "N, C + 3, H", {"k": i64(0, 1, 0, 0, 2, 0)}, [*WORLDS, EMPTY]),
    ("Pad", "y = Pad(x, k)", NAMED, {"k": i64(0, 0, -1, 0, 0, 0)}, LONG),
    ("GatherElements", "y = GatherElements(x, k)", "1, 1, 1", {"k": i64([[0]])}, WORLDS),
    ("GatherND", S + "e = Expand(k, s) y = GatherND(x, e)", NAMED, {"k": i64(0)}, []),
    ("GatherND", "y = GatherND(x, k)", "2, 3, H", {"k": np.zeros((2, 3, 2), np.int64)}, WORLDS),
    ("GlobalAveragePool", "y = GlobalAveragePool(x)", "N, C, 1", {}, WORLDS),
    ("GlobalMaxPool", "y = GlobalMaxPool(x)", "N, C, 1", {}, WORLDS),
]  # fmt: skip


@pytest.mark.parametrize(("operator", "nodes", "expected", "constants", "worlds"), ROWS)
def test_rule(
    operator: str,
    nodes: str,
    expected: str,
    constants: dict[str, Any],
    worlds: Sequence[dict[str, int]],
) -> None:
    inputs = X if operator != "Split" or "num" not in nodes else "float[N,4,H] x"
    learnt = Learnt(model(nodes, inputs, **constants))
    if expected != NAMED:
        assert learnt.dims("y") == sizes_of(expected, NAMES)
    learnt.holds(worlds)


def test_every_rule_is_in_the_table() -> None:
    assert set(EXTENTS) - {row[0] for row in ROWS} == {"GlobalLpPool"}


def test_equal_cuts_are_equal() -> None:
    nodes = S + "a = Slice(x, k, s, z) b = Neg(x) c = Slice(b, k, s, z)"
    learnt = Learnt(model(nodes, X, k=i64(1), z=i64(2)))
    assert learnt.dims("a") == learnt.dims("c")
    learnt.holds(LONG)


BOUNDS = st.sampled_from(
    [size(n) for n in (-(2**40), -3, -1, 0, 1, 4, 2**40)] + [symbol("N"), symbol("N") + 1]
)


@few
@given(
    st.sampled_from([size(4), symbol("N"), symbol("N") + 2]), BOUNDS, BOUNDS,
    st.integers(0, 6),
)  # fmt: skip
def test_a_cut_is_as_long_as_pythons(length: Any, start: Any, end: Any, n: int) -> None:
    world = World({symbol("N").terms[0][0][0]: n})
    whole = world.value(length)
    expected = len(range(whole)[world.value(start) : world.value(end)])
    world.holds(cut(length, start, end, size(1)), expected)
