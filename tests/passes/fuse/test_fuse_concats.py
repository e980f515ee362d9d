"""fuse_concats: one Concat of two, along one axis, where nobody else reads the inner one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.passes.fuse.fuse_concats import FuseConcats
from tests.build import few, parse
from tests.passes.placed import GRAPHS, PLACES, Place, piece, placed
from tests.passes.support import agree, run

PASS = FuseConcats()
HEAD = '<ir_version: 10, opset_import: ["" : 18]>'
READ = "the inner result is read elsewhere, or twice"
AXES = "the axes differ, or are not known to be one"
WIDE = "float[2,?]"
C = {"c": np.array([[5], [6]], np.float32)}

CASES: dict[str, tuple[str, list[str]]] = {
    "first": (
        "a = Concat <axis = 1> (x, c)\ny = Concat <axis = 1> (a, x)", ["y = Concat(x, c, x)"],
    ),
    "last": (
        "a = Concat <axis = 1> (x, c)\ny = Concat <axis = 1> (c, a)", ["y = Concat(c, x, c)"],
    ),
    "two in one": (
        "a = Concat <axis = 1> (x, c)\nb = Concat <axis = 1> (c, x)\n"
        "y = Concat <axis = 1> (b, c, a)",
        ["y = Concat(c, x, c, x, c)"],
    ),
    "three deep": (
        "a = Concat <axis = 1> (x, c)\nb = Concat <axis = 1> (a, c)\ny = Concat <axis = 1> (x, b)",
        ["y = Concat(x, x, c, c)"],
    ),
    "both from the end": (
        "a = Concat <axis = -1> (x, c)\ny = Concat <axis = -1> (a, x)", ["y = Concat(x, c, x)"],
    ),
    "of one": ("a = Concat <axis = 1> (x)\ny = Concat <axis = 1> (a, c)", ["y = Concat(x, c)"]),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES)
def test_makes_one(case: str, place: Place) -> None:
    body, expected = CASES[case]
    outcome = run(placed(place, body, C, y=WIDE), PASS)
    assert piece(outcome.after, place) == expected
    assert (outcome.left_out, outcome.skipped) == ([], {})
    agree(outcome.before, outcome.after, exact=True)


@pytest.mark.parametrize("place", PLACES)
def test_axes_counted_from_both_ends(place: Place) -> None:
    body = "a = Concat <axis = 1> (x, c)\ny = Concat <axis = -1> (a, x)"
    outcome = run(placed(place, body, C, y=WIDE), PASS)
    if place == "function":
        assert (outcome.unchanged, outcome.skipped) == (True, {AXES: 1})
    else:
        assert piece(outcome.after, place) == ["y = Concat(x, c, x)"]
    agree(outcome.before, outcome.after, exact=True)


STAYS: dict[str, tuple[str, str]] = {
    "another axis": ("a = Concat <axis = 0> (x, x)\ny = Concat <axis = 1> (a, a)", READ),
    "another axis, alone": (
        "a = Concat <axis = 0> (x, x)\nb = Concat <axis = 0> (x, x)\ny = Concat <axis = 1> (a, b)",
        AXES,
    ),
    "read twice": ("a = Concat <axis = 1> (x, c)\ny = Concat <axis = 1> (a, a)", READ),
    "read elsewhere": (
        "a = Concat <axis = 1> (x, c)\nb = Concat <axis = 1> (a, x)\n"
        "n = ReduceMax <keepdims = 0> (a)\ny = Add(b, n)",
        READ,
    ),
    "something between": (
        "a = Concat <axis = 1> (x, c)\nn = Neg(a)\ny = Concat <axis = 1> (n, x)", "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", STAYS)
def test_both_stay(case: str) -> None:
    body, reason = STAYS[case]
    outcome = run(placed("main", body, C, y="float[?,?]"), PASS)
    assert (outcome.unchanged, outcome.skipped) == (True, {reason: 1} if reason else {})


def test_one_of_two_can_go() -> None:
    body = """
        a = Concat <axis = 0> (x, x)
        n = Exp(a)
        b = Concat <axis = 1> (n, n)
        d = Concat <axis = 0> (x, x)
        y = Concat <axis = 1> (d, b)
    """
    outcome = run(placed("main", body, y="float[?,?]"), PASS)
    assert outcome.lines[-1] == "y = Concat(d, n, n)"
    assert outcome.skipped == {AXES: 1}
    agree(outcome.before, outcome.after, exact=True)


def test_a_long_chain_becomes_a_few() -> None:
    nodes = [f"v{i} = Concat <axis = 1> ({f'v{i - 1}' if i else 'x'}, c)" for i in range(400)]
    outcome = run(placed("main", "\n".join([*nodes, "y = Neg(v399)"]), C, y=WIDE), PASS)
    assert [len(node.input) for node in outcome.after.graph.node] == [256, 146, 1]
    assert outcome.skipped == {"more than 256 inputs": 1}
    agree(outcome.before, outcome.after, exact=True)


def test_graph_outputs() -> None:
    text = f"""{HEAD} g (float[2] x) => (float[4] a, float[6] y) {{
        a = Concat <axis = 0> (x, x) y = Concat <axis = 0> (a, x)
    }}"""
    outcome = run(parse(text), PASS)
    assert (outcome.unchanged, outcome.skipped) == (True, {READ: 1})


def test_the_inner_one_stands_outside_of_a_body() -> None:
    text = f"""{HEAD} g (float[2] x, bool t) => (float[6] y) {{
        a = Concat <axis = 0> (x, x)
        y = If(t) <then_branch = p () => (float[6] r) {{ r = Concat <axis = 0> (a, x) }},
                   else_branch = q () => (float[6] s) {{ s = Concat <axis = 0> (x, x, x) }}>
    }}"""
    outcome = run(parse(text), PASS)
    assert outcome.unchanged
    assert outcome.skipped == {"the inner concat is not a plain one beside the outer": 1}


def test_an_axis_left_out_in_the_first_opset() -> None:
    body = "a = Concat(x, c)\ny = Concat <axis = 1> (a, x)"
    outcome = run(placed("main", body, C, y=WIDE, opset=1, ir=8), PASS)
    assert outcome.lines == ["y = Concat(x, c, x)"]


@few
@given(st.data(), st.sampled_from(GRAPHS))
def test_random_trees(data: st.DataObject, place: Place) -> None:
    """Of a tree of Concats along one axis, one stays."""
    nodes: list[str] = []

    def tree(depth: int) -> str:
        if not depth or data.draw(st.booleans()):
            return data.draw(st.sampled_from(["x", "c"]))
        parts = [tree(depth - 1) for _ in range(data.draw(st.integers(1, 3)))]
        nodes.append(f"v{len(nodes)} = Concat <axis = 1> ({', '.join(parts)})")
        return f"v{len(nodes) - 1}"

    body = [tree(2) for _ in range(2)]
    text = "\n".join([*nodes, f"y = Concat <axis = -1> ({', '.join(body)})"])
    outcome = run(placed(place, text, C, y=WIDE), PASS)
    assert len(piece(outcome.after, place)) == 1
    agree(outcome.before, outcome.after, exact=True)
