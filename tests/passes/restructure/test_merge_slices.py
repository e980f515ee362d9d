"""merge_slices: text in, text out; opset forms; what is left alone, and why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, helper

from graphopt.passes.restructure.merge_slices import MergeSlices
from tests.build import few, parse
from tests.passes.fuse.fused import kind, refused
from tests.passes.placed import GRAPHS, Place, piece, placed
from tests.passes.support import Array, agree, random_feeds, run

MERGE = MergeSlices()
HEAD = '<ir_version: 10, opset_import: ["" : 18, "com.example" : 1]>'
X = "float[2,6]"
BOUNDS: dict[str, Array] = {f"c{n}".replace("-", "m"): np.array([n]) for n in range(-6, 9)}
BOUNDS |= {"end": np.array([np.iinfo(np.int64).max]), "least": np.array([np.iinfo(np.int64).min])}
ROLL = "a = Slice(x, c4, end, c1)\nb = Slice(x, c0, c4, c1)\ny = Concat <axis = 1> (a, b)"
OVERLAP = "slices overlap"
WASTE = "too much would be copied for nothing"
SHAPE = "a shape, which other passes follow through Slice alone"


def main(body: str, x: str = X, y: str = "", **options: Any) -> ModelProto:
    used = {name: array for name, array in BOUNDS.items() if name in body}
    return placed("main", body, used, x=x, y=y or x, **options)


def split_of(model: ModelProto) -> dict[str, Any]:
    (node,) = (node for node in model.graph.node if node.op_type == "Split")
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


@pytest.mark.parametrize("place", GRAPHS)
def test_merges(place: Place) -> None:
    used = {name: array for name, array in BOUNDS.items() if name in ROLL}
    outcome = run(placed(place, ROLL, used, x=X), MERGE)
    assert piece(outcome.after, place) == ["b, a = Split(x, x_split)", "y = Concat(a, b)"]
    assert (outcome.rewrites, outcome.skipped, outcome.left_out) == (1, {}, [])
    agree(outcome.before, outcome.after, exact=True)


@pytest.mark.parametrize("opset", [7, 9, 10, 12, 13, 17, 18, 21])
def test_opsets(opset: int) -> None:
    """Sizes are an attribute before 13; equal parts need none, but their number from 18 on."""
    if opset < 10:
        cut = "Slice <axes = [1], starts = [{}], ends = [{}]> (x)"
        body = f"a = {cut.format(0, 3)}\nb = {cut.format(3, 2**62)}\ny = Concat <axis = 1> (b, a)"
    else:
        body = "a = Slice(x, c0, c3, c1)\nb = Slice(x, c3, end, c1)\ny = Concat <axis = 1> (b, a)"
    outcome = run(main(body, opset=opset, ir=8), MERGE)
    assert outcome.lines == ["a, b = Split(x)", "y = Concat(b, a)"]
    wanted = {"axis": 1} if opset < 18 else {"axis": 1, "num_outputs": 2}
    assert split_of(outcome.after) == wanted
    agree(outcome.before, outcome.after, exact=True)
    unequal = run(main(body.replace("c3", "c2").replace("[3]", "[2]"), opset=opset, ir=8), MERGE)
    if opset < 13:
        assert split_of(unequal.after) == {"axis": 1, "split": [2, 4]}
    else:
        assert unequal.lines[0] == "a, b = Split(x, x_split)"
    agree(unequal.before, unequal.after, exact=True)


@pytest.mark.parametrize("ir", [3, 10])
def test_constant_nodes(ir: int) -> None:
    head = "".join(
        f"{n} = Constant <value = int64[1] {{{n[1:]}}}> ()\n" for n in ("c0", "c1", "c4")
    )
    body = head + ROLL.replace("end", "c6").replace(
        "a = ", "c6 = Constant <value = int64[1] {6}> ()\na = ", 1
    )
    outcome = run(placed("main", body, x=X, ir=ir, opset=11), MERGE)
    assert piece(outcome.after, "main") == ["b, a = Split(x)", "y = Concat(a, b)"]
    agree(outcome.before, outcome.after, exact=True)


def test_negative_bounds_and_axes() -> None:
    body = (
        "a = Slice(x, cm2, end, cm1)\nb = Slice(x, least, cm2, c1, c1)\ny = Concat<axis = 1>(a, b)"
    )
    outcome = run(main(body), MERGE)
    assert outcome.lines == ["b, a = Split(x, x_split)", "y = Concat(a, b)"]
    agree(outcome.before, outcome.after, exact=True)


def test_without_axes_the_first_one_is_meant() -> None:
    body = "a = Slice(x, c0, c1)\nb = Slice(x, c1, c2)\ny = Concat <axis = 0> (b, a)"
    outcome = run(main(body), MERGE)
    assert outcome.lines[0] == "a, b = Split(x)"
    agree(outcome.before, outcome.after, exact=True)


def test_graph_outputs_keep_their_names() -> None:
    nodes = "a = Slice(x, c0, c2, c1) b = Slice(x, c2, c6, c1)"
    text = f"{HEAD} g ({X} x) => (float[2,2] a, float[2,4] b) {{ {nodes} }}"
    outcome = run(parse(text, **{n: BOUNDS[n] for n in ("c0", "c1", "c2", "c6")}), MERGE)
    assert outcome.lines == ["a, b = Split(x, x_split)"]
    agree(outcome.before, outcome.after, exact=True)


def test_what_nobody_takes_becomes_a_part() -> None:
    body = "a = Slice(x, c0, c2, c1)\nb = Slice(x, c3, c5, c1)\ny = Concat <axis = 1> (b, a)"
    outcome = run(main(body, y="float[2,4]"), MERGE)
    first, second = outcome.lines
    assert second == "y = Concat(b, a)"
    assert [name for name in first.split(" = ")[0].split(", ") if name in "ab"] == ["a", "b"]
    assert outcome.weights["x_split"].tolist() == [2, 1, 2, 1]
    agree(outcome.before, outcome.after, exact=True)


def test_an_open_dimension_beside_the_axis() -> None:
    outcome = run(main(ROLL, 'float["N",6]'), MERGE)
    assert outcome.rewrites == 1
    feeds = [random_feeds(outcome.before, 1, {"N": n}) for n in (0, 1, 3)]
    agree(outcome.before, outcome.after, feeds, exact=True)


def test_axes_apart() -> None:
    """A roll along two axes: each pair is merged."""
    body = (
        ROLL.replace("y =", "m =")
        + "\nd = Slice(m, c1, end, c0)\ne = Slice(m, c0, c1, c0)\ny = Concat <axis = 0> (d, e)"
    )
    outcome = run(main(body), MERGE)
    assert outcome.rewrites == 2
    assert [entry.split(" = ")[1].split("(")[0] for entry in outcome.lines] == [
        "Split",
        "Concat",
    ] * 2
    agree(outcome.before, outcome.after, exact=True)


def test_a_body_cuts_what_it_captures() -> None:
    text = f"""{HEAD} g ({X} x, bool t) => ({X} y) {{
        z = Neg(x)
        y = If(t) <then_branch = p () => ({X} y1) {{
                       a = Slice(z, c4, end, c1) b = Slice(z, c0, c4, c1)
                       y1 = Concat <axis = 1> (a, b) }},
                   else_branch = q () => ({X} y2) {{ y2 = Neg(z) }}>
    }}"""
    outcome = run(parse(text, **{n: BOUNDS[n] for n in ("c0", "c1", "c4", "end")}), MERGE)
    assert outcome.rewrites == 1
    assert "  then_branch: b, a = Split(z, z_split)" in outcome.lines
    agree(outcome.before, outcome.after, exact=True)


@pytest.mark.parametrize(
    "dtype", [np.float16, np.float64, np.int8, np.uint8, np.int32, np.int64, np.bool_]
)
def test_types(dtype: Any) -> None:
    outcome = run(main(ROLL, X.replace("float", kind(dtype))), MERGE)
    assert outcome.rewrites == 1
    agree(outcome.before, outcome.after, exact=True)


REFUSED: dict[str, tuple[str, str, str, str | None]] = {
    "one slice": ("y = Slice(x, c0, c6, c1)", X, X, None),
    "two tensors": ("n = Neg(x)\na = Slice(x, c0, c3, c1)\nb = Slice(n, c3, c6, c1)\n"
                    "y = Concat <axis = 1> (a, b)", X, X, None),
    "two axes": ("a = Slice(x, c0, c1, c0)\nb = Slice(x, c0, c3, c1)\nd = ReduceSum(b)\n"
                 "y = Add(a, d)", X, "float[1,6]", None),
    "steps": ("a = Slice(x, c0, c6, c1, c2)\nb = Slice(x, c1, c6, c1, c2)\n"
              "y = Concat <axis = 1> (a, b)", X, X, None),
    "backwards": ("a = Slice(x, c5, c2, c1, cm1)\nb = Slice(x, c2, least, c1, cm1)\n"
                  "y = Concat <axis = 1> (a, b)", X, X, None),
    "empty": ("a = Slice(x, c0, c6, c1)\nb = Slice(x, c6, c6, c1)\ny = Concat <axis = 1> (a, b)",
              X, X, None),
    "overlap": ("a = Slice(x, c0, c4, c1)\nb = Slice(x, c3, c6, c1)\n"
                "y = Concat <axis = 1> (a, b)", X, "float[2,7]", OVERLAP),
    "twice": ("a = Slice(x, c0, c3, c1)\nb = Slice(x, c0, c3, c1)\ny = Concat <axis = 1> (a, b)",
              X, X, OVERLAP),
    "unknown length": ("a = Slice(x, c0, c3, c1)\nb = Slice(x, c3, end, c1)\n"
                       "y = Concat <axis = 1> (b, a)", 'float[2,"N"]', "float[2,?]", None),
    "waste": ("a = Slice(x, c0, c1, c1)\nb = Slice(x, c2, c3, c1)\ny = Concat <axis = 1> (b, a)",
              'float["N",6]', "float[?,2]", WASTE),
    "waste of many": ("a = Slice(x, c0, c1, c1)\nb = Slice(x, c2, c3, c1)\n"
                      "y = Concat <axis = 1> (b, a)", "float[1025,6]", "float[1025,2]", WASTE),
    "a shape": ("a = Slice(x, c0, c3, c0)\nb = Slice(x, c3, c6, c0)\ny = Concat <axis = 0> (b, a)",
                "int64[6]", "int64[6]", SHAPE),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    body, x, y, reason = REFUSED[case]
    refused(main(body, x, y), MERGE, reason)


def test_a_vector_of_other_numbers() -> None:
    body = "a = Slice(x, c0, c3, c0)\nb = Slice(x, c3, c6, c0)\ny = Concat <axis = 0> (b, a)"
    assert run(main(body, "float[6]"), MERGE).rewrites == 1


def test_bounds_that_are_computed_or_overridable() -> None:
    text = f"{HEAD} g ({X} x, int64[1] c4) => ({X} y) {{ {ROLL} }}"
    refused(parse(text, **{n: BOUNDS[n] for n in ("c0", "c1", "c4", "end")}), MERGE, None)
    refused(main("k = Abs(c4)\n" + ROLL.replace("c4", "k")), MERGE, None)


def test_shapes_in_functions_are_not_known() -> None:
    used = {name: array for name, array in BOUNDS.items() if name in ROLL}
    refused(placed("function", ROLL, used, x=X), MERGE, None)


def test_other_domains() -> None:
    nodes = ROLL.replace("Slice(x, c4", "com.example.Slice(x, c4")
    text = f"{HEAD} g ({X} x) => ({X} y) {{ {nodes} }}"
    refused(parse(text, **{n: BOUNDS[n] for n in ("c0", "c1", "c4", "end")}), MERGE, None)


@few
@given(st.lists(st.tuples(st.integers(-8, 8), st.integers(-8, 8)), min_size=2, max_size=4))
def test_any_bounds(pairs: list[tuple[int, int]]) -> None:
    """Merged where no two share an element; the same bits in any case."""
    taken = [set(range(7)[start:end]) for start, end in pairs]
    constants = {"one": np.array([1])}
    body = ""
    for index, (start, end) in enumerate(pairs):
        constants |= {f"s{index}": np.array([start]), f"e{index}": np.array([end])}
        body += f"p{index} = Slice(x, s{index}, e{index}, one)\n"
    body += f"y = Concat <axis = 1> ({', '.join(f'p{i}' for i in range(len(pairs)))})"
    y = f"float[2,{sum(map(len, taken))}]"
    outcome = run(placed("main", body, constants, x="float[2,7]", y=y), MERGE)
    some = [piece for piece in taken if piece]
    apart = len(some) > 1 and sum(map(len, some)) == len(set().union(*some))
    assert outcome.rewrites == int(apart)
    agree(outcome.before, outcome.after, exact=True)
