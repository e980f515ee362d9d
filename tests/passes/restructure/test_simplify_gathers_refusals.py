"""simplify_gathers: other places than those of its own grid, and lengths that nothing holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.build import parse
from tests.passes.placed import placed
from tests.passes.restructure.gathering import (
    BASE,
    BODY,
    FLAT,
    GATHERS,
    HEAD,
    SIZES,
    TUPLES,
    checked,
    f32,
    i64,
    operators,
    simplified,
)
from tests.passes.support import run


@pytest.mark.parametrize(
    "tuples",
    [
        "tuples = Concat <axis = -1> (q5, r5)",  # turned around
        "tuples = Concat <axis = -1> (r5, r5)",  # the diagonal
        "k = Add(q5, one) tuples = Concat <axis = -1> (r5, k)",  # beside it
        "k = Sub(q5, one) tuples = Concat <axis = -1> (r5, k)",  # from the end
        "k = Concat <axis = -1> (r5, q5) t0 = Expand(k, four) tuples = Identity(t0)",  # repeated
    ],
)
def test_other_tuples(tuples: str) -> None:
    nodes = TUPLES.replace("tuples = Concat <axis = -1> (r5, q5)", tuples)
    size = {"N": 3, "C": 3}
    outcome = simplified(
        f"{nodes} y = GatherND(z, tuples)", "float[N,C] x, float[5,5] z", worlds=[size],
        four=i64(1, 2, 1, 1, 1),
    )  # fmt: skip
    assert outcome.unchanged


def test_batched_tuples_stay() -> None:
    outcome = simplified(
        "r = Unsqueeze(cols, back) e = Unsqueeze(r, a0) s = Concat <axis = 0> (n1, c1, a1)"
        " i = Expand(e, s) y = GatherND <batch_dims = 1> (x, i)",
        outputs="float[?,?] y",
    )
    assert operators(outcome)[-1] == "GatherND"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Mul(r4, c)", "Mul(r4, n)"),  # another stride
        ("Mul(r4, c)", "Mul(r4, two)"),
        ("Add(from, q4)", "Sub(from, q4)"),
        ("Range(zero, n, one)", "Range(one, n, one)"),  # not all rows
        ("Range(zero, n, one)", "Range(zero, one, one)"),
    ],
)
def test_numbers_of_other_places(old: str, new: str) -> None:
    nodes = SIZES + FLAT
    assert old in nodes
    text = f"{HEAD} g (float[N,C] x) => (y) {{ {nodes.replace(old, new)} }}"
    outcome = checked(parse(text, **BASE), [{"N": 3, "C": 3}, {"N": 2, "C": 3}])
    assert not any("(x, " in line and line.startswith("y") for line in outcome.lines)


def test_a_length_that_nothing_holds() -> None:
    nodes = "s = Shape(z) y = Gather(table, cut)"
    assert simplified(
        nodes, "float[N,C] x, float[M] z", table=f32(20, 2), cut=i64(0, 1, 3)
    ).unchanged


@pytest.mark.parametrize(
    "index",
    ["Add(rows, one)", "Sub(rows, one)", "Mul(rows, two)", "Sub(zero, rows)", "Mul(rows, rows)"],
)
def test_other_rows(index: str) -> None:
    assert simplified(f"i = {index} y = Gather(table, i)", table=f32(20, 2)).unchanged


def test_a_matrix_of_equal_rows_of_indices() -> None:
    nodes = "s = Shape(x) e = Expand(cols, s) y = Gather(table, e)"
    assert simplified(nodes, table=f32(20, 2)).unchanged


def test_before_opset_10_a_slice_has_no_inputs() -> None:
    head = '<ir_version: 4, opset_import: ["" : 9]>'
    text = f"{head} g (float[N,4] x) => (float[?,?] y) {{ y = Gather(x, counted) }}"
    assert run(parse(text, counted=np.arange(2)), GATHERS).unchanged


def test_in_a_function_nothing_is_known() -> None:
    constants: dict[str, Any] = {
        "zero": np.int64(0),
        "one": np.int64(1),
        "first": i64(0),
        "table": f32(4, 3),
    }
    assert run(placed("function", BODY, constants), GATHERS).unchanged


def test_lengths_of_an_outer_graph_are_not_looked_for() -> None:
    """A holder must stand in the same graph, before the node."""
    outcome = checked(
        parse(
            f"{HEAD} g (float[N,C] x, bool b) => (float[?,?] y) {{ {SIZES} y = If(b) <"
            " then_branch = p () => (float[?,?] u) { u = Gather(table, rows) },"
            " else_branch = q () => (float[?,?] v) { v = Gather(table, cols) }> }",
            **{**BASE, "table": f32(9, 2)},
        )
    )
    assert outcome.unchanged
