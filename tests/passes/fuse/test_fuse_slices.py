"""fuse_slices: two windows as one, over all axes, steps and ends that can be known."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from graphopt.passes.fuse.fuse_slices import FuseSlices
from tests.build import few, parse
from tests.passes.placed import GRAPHS, PLACES, Place, piece, placed, stored
from tests.passes.support import Array, agree, run

PASS = FuseSlices()
HEAD = '<ir_version: 10, opset_import: ["" : 18]>'
READ = "what lies between is read elsewhere"
CONSTANT = "starts, ends, axes or steps are not constants, or axes are not known"
LENGTH = "where the second ends depends on an unknown length"
END = 2**63 - 1
X = "float[5,6]"

Row = tuple[int, int, int, int]
"""Start, end, axis and step."""


def rows(name: str, given_rows: list[Row]) -> dict[str, Array]:
    return {
        f"{name}{key}": np.array([row[i] for row in given_rows], np.int64)
        for i, key in enumerate("seat")
    }


def body(last: str = "y = Neg(b)") -> str:
    return f"a = Slice(x, ps, pe, pa, pt)\nb = Slice(a, qs, qe, qa, qt)\n{last}"


def shape(*given_rows: list[Row]) -> str:
    return f"float[{','.join(map(str, taken(*given_rows).shape))}]"


def taken(*given_rows: list[Row]) -> Array:
    array = np.arange(30, dtype=np.float32).reshape(5, 6)
    for listed in given_rows:
        window = [slice(None), slice(None)]
        for start, end, axis, step in listed:
            window[axis] = slice(start, end, step)
        array = array[tuple(window)]
    return array


CASES: dict[str, tuple[list[Row], list[Row], dict[int, tuple[int, int, int]]]] = {
    "two axes": ([(1, 4, 0, 1)], [(2, 5, 1, 1)], {0: (1, 4, 1), 1: (2, 5, 1)}),
    "one axis": ([(1, 5, 1, 1)], [(1, 3, 1, 1)], {1: (2, 4, 1)}),
    "to the end": ([(1, END, 1, 1)], [(2, END, 1, 1)], {1: (3, 6, 1)}),
    "an axis from the end": ([(1, 5, -1, 1)], [(0, -1, 1, 1)], {1: (1, 4, 1)}),
    "steps": ([(0, 6, 1, 2)], [(1, 3, 1, 1)], {1: (2, 6, 2)}),
    "steps of steps": ([(0, 6, 1, 2)], [(0, 3, 1, 2)], {1: (0, 6, 4)}),
    "backwards and back": ([(END, -END, 1, -1)], [(END, -END, 1, -1)], {1: (0, 6, 1)}),
    "backwards": ([(1, 5, 1, 1)], [(END, -END, 1, -1)], {1: (4, 0, -1)}),
    "backwards to the first": ([(0, 3, 1, 1)], [(END, -END, 1, -1)], {1: (2, -(2**63), -1)}),
    "axes and axis": (
        [(1, 4, 0, 1), (1, 5, 1, 1)], [(1, 9, 0, 1)], {0: (2, 4, 1), 1: (1, 5, 1)},
    ),
}  # fmt: skip


IN_FUNCTIONS = ("two axes", "one axis", "to the end", "axes and axis")
"""Those that need not know how long an axis is."""


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES)
def test_makes_one(case: str, place: Place) -> None:
    first, second, expected = CASES[case]
    constants = {**rows("p", first), **rows("q", second)}
    outcome = run(placed(place, body(), constants, x=X, y=shape(first, second)), PASS)
    assert outcome.left_out == []
    if place == "function" and case not in IN_FUNCTIONS:
        assert outcome.unchanged
    else:
        assert len(piece(outcome.after, place)) == 2
    if place == "main":
        assert windows(outcome.after) == expected
    agree(outcome.before, outcome.after, exact=True)


def windows(model: onnx.ModelProto) -> dict[int, tuple[int, int, int]]:
    weights = {t.name: onnx.numpy_helper.to_array(t).tolist() for t in model.graph.initializer}
    (node,) = (node for node in model.graph.node if node.op_type == "Slice")
    starts, ends, axes, *steps = (weights[name] for name in node.input[1:])
    steps = steps[0] if steps else [1] * len(starts)
    return {a: (s, e, t) for s, e, a, t in zip(starts, ends, axes, steps, strict=True)}


def test_what_takes_nothing() -> None:
    constants = {**rows("p", [(3, 4, 1, 1)]), **rows("q", [(1, 2, 1, 1)])}
    outcome = run(placed("main", body(), constants, x=X, y="float[5,0]"), PASS)
    assert windows(outcome.after) == {1: (0, 0, 1)}
    agree(outcome.before, outcome.after, exact=True)


OPEN: dict[str, tuple[Row, Row, tuple[int, int, int] | None]] = {
    "inside": ((1, 5, 1, 1), (1, 3, 1, 1), (2, 4, 1)),
    "the inner one ends first": ((1, 3, 1, 1), (1, 9, 1, 1), (2, 3, 1)),
    "to the end": ((1, END, 1, 1), (2, END, 1, 1), (3, END, 1)),
    "both end before the end": ((1, -1, 1, 1), (1, -2, 1, 1), (2, -3, 1)),
    "the outer one ends before": ((1, END, 1, 1), (0, -2, 1, 1), (1, -2, 1)),
    "the inner one ends before": ((1, -2, 1, 1), (1, END, 1, 1), (2, -2, 1)),
    "the shorter end is open": ((0, -2, 1, 1), (0, 3, 1, 1), None),
    "the shorter end is open, too": ((0, 4, 1, 1), (0, -1, 1, 1), None),
    "from the end": ((-3, END, 1, 1), (1, END, 1, 1), None),
    "from the end, behind": ((1, END, 1, 1), (-2, END, 1, 1), None),
    "steps": ((0, END, 1, 2), (1, END, 1, 1), None),
    "steps behind": ((0, END, 1, 1), (1, END, 1, 2), None),
}


@pytest.mark.parametrize("case", OPEN)
def test_an_open_length(case: str) -> None:
    first, second, expected = OPEN[case]
    constants = {**rows("p", [first]), **rows("q", [second])}
    model = placed("main", body(), constants, x="float[5,N]", y="float[5,M]")
    outcome = run(model, PASS)
    if expected is None:
        assert (outcome.unchanged, outcome.skipped) == (True, {LENGTH: 1})
    else:
        assert windows(outcome.after) == {1: expected}
    for size in range(9):
        feed = {"x": np.arange(5 * size, dtype=np.float32).reshape(5, size)}
        agree(model, outcome.after, [feed], exact=True)


def test_defaults() -> None:
    """Axes and steps that are left out, and windows in int32."""
    constants = {"s": np.array([1, 2], np.int32), "e": np.array([4, 5], np.int32),
                 "f": np.array([1]), "g": np.array([2])}  # fmt: skip
    text = "a = Slice(x, s, e)\nb = Slice(a, f, g)\ny = Neg(b)"
    outcome = run(placed("main", text, constants, x=X, y="float[1,3]"), PASS)
    assert windows(outcome.after) == {0: (2, 3, 1), 1: (2, 5, 1)}
    agree(outcome.before, outcome.after, exact=True)


def test_attributes_of_older_opsets() -> None:
    text = """a = Slice <starts = [1], ends = [4]> (x)
        b = Slice <axes = [1], starts = [-4], ends = [-1]> (a)
        c = Slice <axes = [0, 1], starts = [1, 0], ends = [9, 2]> (b)
        y = Neg(c)"""
    outcome = run(placed("main", text, x=X, y="float[2,2]", opset=9, ir=8), PASS)
    assert outcome.lines == ["c = Slice(x)", "y = Neg(c)"]
    node = outcome.after.graph.node[0]
    found = {a.name: list(helper.get_attribute_value(a)) for a in node.attribute}
    assert found == {"starts": [2, 2], "ends": [4, 4], "axes": [0, 1]}
    agree(outcome.before, outcome.after, exact=True)


def test_what_lies_between_is_read_elsewhere() -> None:
    constants = {**rows("p", [(1, 4, 0, 1)]), **rows("q", [(0, 3, 0, 1)])}
    read = run(placed("main", body("y = Add(a, b)"), constants, x=X, y="float[3,6]"), PASS)
    assert (read.unchanged, read.skipped) == (True, {READ: 1})
    listed = "float[3,6] a, float[3,6] y"
    text = f"{HEAD} g ({X} x) => ({listed}) {{ {body()} }}"
    given_back = run(parse(text, **constants), PASS)
    assert (given_back.unchanged, given_back.skipped) == (True, {READ: 1})


def test_a_graph_output_keeps_its_name() -> None:
    constants = {**rows("p", [(1, 4, 0, 1)]), **rows("q", [(0, 2, 0, 1)])}
    text = body("").replace("b =", "y =")
    outcome = run(placed("main", text, constants, x=X, y="float[2,6]"), PASS)
    assert outcome.lines == ["y = Slice(x, y_starts, y_ends, y_axes)"]
    agree(outcome.before, outcome.after, exact=True)


@pytest.mark.parametrize("name", ["ps", "qe", "qa", "pt"])
def test_computed_windows(name: str) -> None:
    constants = {**rows("p", [(1, 4, 0, 1)]), **rows("q", [(0, 2, 0, 1)])}
    text = f"{HEAD} g ({X} x, int64[1] {name}) => (float[?,?] y) {{ {body()} }}"
    del constants[name]
    outcome = run(parse(text, **constants), PASS)
    assert (outcome.unchanged, outcome.skipped) == (True, {CONSTANT: 1})


def test_overridable_windows() -> None:
    constants = {**rows("p", [(1, 4, 0, 1)]), **rows("q", [(0, 2, 0, 1)])}
    text = f"{HEAD} g ({X} x, int64[1] ps) => (float[?,?] y) {{ {body()} }}"
    assert run(parse(text, **constants), PASS).unchanged


def test_the_first_stands_outside_of_a_body() -> None:
    constants = {**rows("p", [(1, 4, 0, 1)]), **rows("q", [(0, 2, 0, 1)])}
    text = f"""{HEAD} g ({X} x, bool t) => (float[?,6] y) {{
        a = Slice(x, ps, pe, pa, pt)
        y = If(t) <then_branch = p () => (float[2,6] r) {{ r = Slice(a, qs, qe, qa, qt) }},
                   else_branch = q () => (float[5,6] s) {{ s = Neg(x) }}>
    }}"""
    outcome = run(parse(text, **constants), PASS)
    assert outcome.unchanged
    assert outcome.skipped == {"the first slice is not a plain one beside the second": 1}


@pytest.mark.parametrize("place", GRAPHS)
def test_shared_constants_stay(place: Place) -> None:
    """Another Slice reads the same windows."""
    constants = {**rows("p", [(1, 4, 0, 1)]), **rows("q", [(0, 2, 0, 1)])}
    text = body(
        "c = Exp(x)\nd = Slice(c, ps, pe, pa, pt)\ne = Slice(d, qs, qe, qa, qt)\nf = Neg(d)\n"
        "g = ReduceMax <keepdims = 0> (f)\nh = Add(b, e)\ny = Add(h, g)"
    )
    outcome = run(placed(place, text, constants, x=X, y="float[2,6]"), PASS)
    assert outcome.rewrites == 1
    assert {"ps", "qe"} <= stored(outcome.after, place)
    agree(outcome.before, outcome.after, exact=True)


def test_a_constant_node_and_the_empty_tensor() -> None:
    constants = {**rows("p", [(1, 4, 0, 1)]), **rows("q", [(0, 2, 0, 1)])}
    model = placed("main", body(), {}, x="float[0,6]", y="float[0,6]")
    for name, array in constants.items():
        tensor = onnx.numpy_helper.from_array(array)
        model.graph.node.insert(0, helper.make_node("Constant", [], [name], value=tensor))
    outcome = run(model, PASS)
    assert piece(outcome.after, "main") == ["b = Slice(x, b_starts, b_ends, b_axes)", "y = Neg(b)"]
    agree(model, outcome.after, [{"x": np.zeros((0, 6), np.float32)}], exact=True)


NUMBERS = st.sampled_from([-END, -7, -6, -3, -2, -1, 0, 1, 2, 3, 5, 6, 7, END])
ROW = st.tuples(NUMBERS, NUMBERS, st.sampled_from([0, 1, -1, -2]), st.sampled_from([-2, -1, 1, 2]))


@few
@given(st.lists(st.lists(ROW, min_size=1, max_size=2), min_size=2, max_size=4), st.booleans())
def test_random_windows(listed: list[list[Row]], shown: bool) -> None:
    """Whatever is made of them takes the same; where lengths are known, one is made."""
    listed = [
        [row for i, row in enumerate(one) if all(row[2] % 2 != o[2] % 2 for o in one[:i])]
        for one in listed
    ]
    nodes, constants = [], {}
    for number, one in enumerate(listed):
        source = f"v{number - 1}" if number else "x"
        constants.update(rows(f"k{number}", one))
        names = ", ".join(f"k{number}{key}" for key in "seat")
        nodes.append(f"v{number} = Slice({source}, {names})")
    text = "\n".join([*nodes, f"y = Neg(v{len(nodes) - 1})"])
    x = X if shown else "float[N,M]"
    model = placed("main", text, constants, x=x, y="float[?,?]")
    outcome = run(model, PASS)
    if shown:
        assert len(outcome.lines) == 2
    array = np.arange(30, dtype=np.float32).reshape(5, 6)
    feeds = [{"x": array}] if shown else [{"x": array}, {"x": array[:2, :1]}, {"x": array[:0]}]
    agree(model, outcome.after, feeds, exact=True)
