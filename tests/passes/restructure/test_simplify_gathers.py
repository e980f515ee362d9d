"""simplify_gathers: a gather by its own grid gives the data itself, or its first rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

from graphopt.contract import Effect
from tests.build import few, parse
from tests.passes.fold.gridding import typed
from tests.passes.placed import GRAPHS, Place, piece, placed
from tests.passes.restructure.gathering import (
    BASE,
    BODY,
    FLAT,
    GATHERS,
    HEAD,
    SIZES,
    TUPLES,
    WORLDS,
    checked,
    f32,
    i64,
    operators,
    simplified,
)
from tests.passes.support import agree, answers, random_feeds, run


def test_effect() -> None:
    assert GATHERS.effect is Effect.IDENTICAL


def test_tuples_of_all_places() -> None:
    outcome = simplified(f"{TUPLES} y = GatherND(x, tuples)")
    assert outcome.lines[-1].startswith("y = Unsqueeze(x, ")
    (axes,) = (array for name, array in outcome.weights.items() if name.startswith("x_axes"))
    assert axes.tolist() == [1, 2]


def test_tuples_of_the_first_rows() -> None:
    """The data has M rows, of which the N first ones are asked for."""
    worlds = [{"N": 2, "C": 3, "M": 2}, {"N": 1, "C": 1, "M": 4}, {"N": 3, "C": 4, "M": 5}]
    outcome = simplified(
        f"{TUPLES} y = GatherND(z, tuples)", "float[N,C] x, float[M,C] z", worlds=worlds
    )
    assert operators(outcome)[-2:] == ["Slice", "Unsqueeze"]


def test_tuples_of_the_first_rows_and_columns() -> None:
    worlds = [{"N": 2, "C": 3, "M": 3, "K": 3}, {"N": 1, "C": 1, "M": 4, "K": 2}]
    outcome = simplified(
        f"{TUPLES} y = GatherND(z, tuples)", "float[N,C] x, float[M,K,2] z", worlds=worlds
    )
    assert operators(outcome)[-3:] == ["Slice", "Slice", "Unsqueeze"]


def test_tuples_of_all_places_behind_an_open_reshape() -> None:
    """[M, C] as [N, -1] has M * C / N columns: the model divides without a rest."""
    nodes = """
        m1 = Shape <start = 0, end = 1> (z)
        m0 = Squeeze(m1)
        whole = Mul(c, m0)
        width = Div(whole, n)
        wide = Range(zero, width, one)
        k = Concat <axis = 0> (n1, flat)
        v = Reshape <allowzero = 1> (z, k)
        b = Cast <to = 9> (v)
    """
    tuples = TUPLES.replace("Unsqueeze(cols, a012)", "Unsqueeze(wide, a012)")
    outcome = simplified(
        f"{nodes} {tuples} y = GatherND(b, tuples)", "float[N,C] x, float[M,C] z",
        worlds=[{"N": 2, "C": 3, "M": 2}, {"N": 1, "C": 1, "M": 4}, {"N": 3, "C": 3, "M": 2}],
    )  # fmt: skip
    assert outcome.lines[-1].startswith("y = Unsqueeze(b, ")


def test_numbers_of_all_places() -> None:
    outcome = simplified(FLAT)
    assert outcome.lines[-1].startswith("y = Unsqueeze(x, ")


def test_numbers_of_places_with_another_reader() -> None:
    """What lies between has its own shape, of the same elements."""
    outcome = simplified(f"{FLAT} z = Neg(g)", outputs="y, z")
    assert sum("= Unsqueeze(x, " in line for line in outcome.lines) == 2
    assert not any("= Gather(" in line for line in outcome.lines)
    kept = simplified(f"{FLAT} z = Neg(f)", outputs="y, z")
    assert "f = Flatten(x)" in kept.lines


def test_a_graph_output_among_the_indices() -> None:
    outcome = simplified(f"{TUPLES} y = GatherND(x, tuples)", outputs="y, tuples")
    assert outcome.lines[-1].startswith("y = Unsqueeze(x, ")
    assert any(line.startswith("tuples = ") for line in outcome.lines)


def test_rows_of_a_table() -> None:
    outcome = simplified("i = Unsqueeze(rows, a0) y = Gather(table, i)", table=f32(9, 2))
    assert operators(outcome) == ["Slice", "Unsqueeze"]
    assert outcome.lines[-2].endswith("= Slice(table, table_start, n1, table_axis)")


def test_rows_of_a_table_by_a_scalar() -> None:
    """Nothing holds the length as a vector, which a Slice asks for."""
    nodes = "k = Mul(n, c) r = Range(zero, k, one) i = Unsqueeze(r, a0) y = Gather(table, i)"
    outcome = simplified(nodes, table=f32(20, 2))
    assert operators(outcome)[-3:] == ["Unsqueeze", "Slice", "Unsqueeze"]


def test_rows_of_a_table_by_counting_constants() -> None:
    """The first of them as many as there are columns, and all of them if there are fewer."""
    nodes = "i = Slice(counted, a0, c1, a1) y = Gather(table, i)"
    outcome = simplified(nodes, counted=np.arange(9)[None], table=f32(9, 2))
    assert operators(outcome) == ["Slice", "Unsqueeze"]
    longer = simplified(
        nodes, counted=np.arange(9)[None], table=f32(11, 2), worlds=[{"N": 1, "C": 20}]
    )
    assert longer.unchanged


def test_all_rows_of_a_table() -> None:
    outcome = simplified("y = Gather(table, counted)", counted=np.arange(9), table=f32(9, 2))
    assert outcome.unchanged  # a graph output does not become a constant
    outcome = simplified(
        "t = Gather(table, counted) y = Neg(t)", counted=np.arange(9), table=f32(9, 2)
    )
    assert outcome.lines[-1] == "y = Neg(table)"


def test_first_rows_of_a_table_by_counting_constants() -> None:
    outcome = simplified("y = Gather(table, counted)", counted=np.arange(5), table=f32(9, 2))
    assert operators(outcome) == ["Slice"]


def test_columns_of_a_tensor() -> None:
    outcome = simplified(
        "y = Gather <axis = -1> (z, cols)", "float[N,C] x, float[N,M] z",
        worlds=[{"N": 2, "C": 3, "M": 3}, {"N": 2, "C": 1, "M": 4}],
    )  # fmt: skip
    assert operators(outcome)[-1] == "Slice"


def test_gather_elements() -> None:
    nodes = (
        "i0 = Unsqueeze(cols, a0) s = Shape(x) i = Expand(i0, s)"
        " y0 = GatherElements <axis = 1> (x, i)"
    )
    outcome = simplified(f"{nodes} y = Neg(y0)")
    assert outcome.lines[-1] == "y = Neg(x)"
    first = simplified(
        f"{nodes} y = Neg(y0)".replace("(x, i)", "(z, i)"), "float[N,C] x, float[M,C] z",
        worlds=[{"N": 2, "C": 3, "M": 3}, {"N": 1, "C": 2, "M": 1}],
    )  # fmt: skip
    assert operators(first)[-2:] == ["Slice", "Neg"]
    other = simplified(
        f"{nodes} y = Neg(y0)".replace("axis = 1", "axis = 0"), worlds=[{"N": 3, "C": 3}]
    )
    assert other.unchanged


def test_in_opset_12() -> None:
    """Axes are attributes there."""
    head = '<ir_version: 3, opset_import: ["" : 12]>'
    text = f"""{head} g (float[N,C] x) => (float[?,?,?] y) {{
        zero = Constant <value = int64 {{0}}> () one = Constant <value = int64 {{1}}> ()
        first = Constant <value = int64[1] {{0}}> ()
        s = Shape(x) n = Gather(s, zero) n1 = Unsqueeze <axes = [0]> (n) spare = Add(n1, n1)
        r = Range(zero, n, one) i = Unsqueeze <axes = [0]> (r) y = Gather(x, i) }}"""
    outcome = checked(parse(text))
    assert outcome.lines[-1] == "y = Unsqueeze(x)"


@pytest.mark.parametrize("place", GRAPHS)
@pytest.mark.parametrize("captured", [False, True])
def test_in_a_body(place: Place, *, captured: bool) -> None:
    constants: dict[str, Any] = {
        "zero": np.int64(0),
        "one": np.int64(1),
        "first": i64(0),
        "table": f32(4, 3),
    }
    outcome = run(placed(place, BODY, constants, captured=captured), GATHERS)
    assert outcome.left_out == []
    assert not any("Gather" in line for line in piece(outcome.after, place))
    agree(outcome.before, outcome.after, exact=True)


@st.composite
def gathers(draw: st.DrawFn) -> str:
    """A gather by grids, some of which are its own, of data that may be larger."""
    data = draw(st.sampled_from(["x", "x", "z", "table"]))
    row = draw(st.sampled_from(["rows", "rows", "cols", "four"]))
    col = draw(st.sampled_from(["cols", "cols", "rows", "four"]))
    lines = [f"r = Unsqueeze({row}, last)", f"c2 = Unsqueeze({col}, a0)"]
    if draw(st.booleans()):
        length = draw(st.sampled_from(["c", "c", "n", "two"]))
        lines += [f"p = Mul(r, {length})", "i = Add(p, c2)", f"d = Reshape({data}, flat)"]
        lines += ["g = Gather(d, i)", "s = Shape(i)", "h = Reshape(g, s)"]
        return " ".join([*lines, "y = Neg(h)"])
    lines += ["m = Max(r, c2)", "s = Shape(m)", "re = Expand(r, s)", "ce = Expand(c2, s)"]
    lines += ["r5 = Unsqueeze(re, back)", "c5 = Unsqueeze(ce, back)"]
    tuples = draw(st.sampled_from(["r5, c5", "r5, c5", "c5, r5", "r5, r5", "r5"]))
    return " ".join([*lines, f"t = Concat <axis = -1> ({tuples})", f"y = GatherND({data}, t)"])


@few
@given(gathers())
def test_random_gathers_keep_their_answers(nodes: str) -> None:
    text = f"{HEAD} g (float[N,C] x, float[M,C] z) => (y) {{ {SIZES} {nodes} }}"
    constants: dict[str, Any] = {**BASE, "four": np.arange(4), "last": i64(1), "table": f32(4, 4)}
    model = typed(parse(text, **constants))
    outcome = run(model, GATHERS)
    assert outcome.left_out == []
    for seed, sizes in enumerate([*WORLDS, {"N": 4, "C": 4, "M": 4}, {"N": 2, "C": 2, "M": 7}]):
        feeds = [random_feeds(model, seed, sizes)]
        try:
            answers(model, feeds[0], reference=False)
        except (
            Fail,
            InvalidArgument,
            RuntimeException,
        ):  # indices out of bounds: the model does not run
            continue
        agree(outcome.before, outcome.after, feeds, exact=True)
