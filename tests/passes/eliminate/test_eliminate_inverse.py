"""eliminate_inverse: what undoes what, who else may read, and what only nearly undoes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.passes.eliminate.eliminate_inverse import EliminateInverse
from tests.build import few, parse
from tests.passes.placed import GRAPHS, PLACES, Place, piece, placed
from tests.passes.support import Array, agree, run

PASS = EliminateInverse()
HEAD = '<ir_version: 10, opset_import: ["" : 18, "com.example" : 1]>'
BOTH = "both values are graph outputs"
INPUT = "a graph output would become an input or an initializer"


def i64(*values: int) -> Array:
    return np.array(values, np.int64)


FREE = {
    "Neg": "a = Neg(x)\nb = Neg(a)\ny = Exp(b)",
    "Split and Concat": "a, b = Split <axis = 1, split = [1, 2]> (x)\n"
                        "c = Concat <axis = 1> (a, b)\ny = Exp(c)",
    "equal parts": "a, b = Split (x)\nc = Concat <axis = 0> (a, b)\ny = Exp(c)",
}  # fmt: skip
"""Nothing of x's shape need be known; all in opset 11."""
SHAPED = {
    "an axis from the end": "a, b, d = Split <axis = -1> (x)\nc = Concat <axis = 1> (a, b, d)\n"
                            "y = Exp(c)",
    "Concat and Split": "c = Concat <axis = 1> (x, x)\n"
                        "a, b = Split <axis = -1, split = [3, 3]> (c)\ny = Exp(b)",
    "Concat and equal parts": "c = Concat <axis = 0> (x, x)\na, b = Split(c)\ny = Exp(a)",
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", [*FREE, *SHAPED])
def test_removes_both(case: str, place: Place) -> None:
    body = {**FREE, **SHAPED}[case]
    outcome = run(placed(place, body, opset=11, ir=8), PASS)
    assert (outcome.left_out, outcome.skipped) == ([], {})
    if place == "function" and case in SHAPED:
        assert outcome.unchanged
        return
    assert piece(outcome.after, place) == ["y = Exp(x)"]
    assert outcome.rewrites == 1
    agree(outcome.before, outcome.after, exact=True)


NEW: dict[str, tuple[str, str, str, dict[str, Array]]] = {
    "BitwiseNot": ("uint8[2,3]", "a = BitwiseNot(x)\nb = BitwiseNot(a)", "b", {}),
    "Not": ("bool[2,3]", "a = Not(x)\nb = Not(a)", "b", {}),
    "Neg of integers": ("int8[2,3]", "a = Neg(x)\nb = Neg(a)", "b", {}),
    "num_outputs": (
        "float[2,3]",
        "a, d = Split <axis = 1, num_outputs = 2> (x)\nb = Concat <axis = 1> (a, d)", "b", {},
    ),
    "sizes in an input": (
        "float[2,3]", "c = Concat <axis = 0> (x, x)\na, b = Split(c, s)", "a", {"s": i64(2, 2)},
    ),
    "what is empty": (
        "float[2,3]",
        "c = Concat <axis = 0> (e, x)\na, b = Split(c, s)", "b",
        {"s": i64(0, 2), "e": np.zeros((0, 3), np.float32)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NEW)
def test_forms_of_opset_18(case: str) -> None:
    x, body, result, constants = NEW[case]
    y = f"{x.partition('[')[0]}[4,3]"
    body = f"{body}\ny = Concat <axis = 0> ({result}, {result})"
    outcome = run(placed("main", body, constants, x=x, y=y), PASS)
    assert outcome.lines == ["y = Concat(x, x)"]
    agree(outcome.before, outcome.after, exact=True)


def test_every_bit_comes_back() -> None:
    values = np.array([[-0.0, 0.0, np.nan], [np.inf, -np.inf, 1e-45]], np.float32)
    outcome = run(placed("main", "a = Neg(x)\nb = Neg(a)\ny = Abs(b)"), PASS)
    assert outcome.lines == ["y = Abs(x)"]
    agree(outcome.before, outcome.after, [{"x": values}], exact=True)
    least = run(placed("main", "a = Neg(x)\nb = Neg(a)\ny = Neg(b)", x="int8[2]"), PASS)
    assert least.lines == ["y = Neg(x)"]
    agree(least.before, least.after, [{"x": np.array([-128, 127], np.int8)}], exact=True)


def test_space_and_depth() -> None:
    body = "a = SpaceToDepth <blocksize = 2> (x)\nb = DepthToSpace <blocksize = {}{}> (a)\n"
    body += "y = Neg(b)"
    x = "float[1,2,4,4]"
    outcome = run(placed("main", body.format(2, ""), x=x), PASS)
    assert outcome.lines == ["y = Neg(x)"]
    agree(outcome.before, outcome.after, exact=True)
    other = run(placed("main", body.format(2, ', mode = "CRD"'), x=x), PASS)
    assert other.unchanged


CHANGES: dict[str, str] = {
    "Reciprocal": "a = Reciprocal(x)\nb = Reciprocal(a)\ny = Neg(b)",
    "Exp and Log": "a = Exp(x)\nb = Log(a)\ny = Neg(b)",
    "Neg and something": "a = Neg(x)\nb = Abs(a)\ny = Neg(b)",
    "another order": "a, b = Split <axis = 0, num_outputs = 2> (x)\ny = Concat <axis = 0> (b, a)",
    "another axis": "a, b = Split <axis = 0, num_outputs = 2> (x)\nc = Concat <axis = 1> (a, b)\n"
                    "y = Reshape(c, s)",
    "one twice": "a, b = Split <axis = 0, num_outputs = 2> (x)\ny = Concat <axis = 0> (a, a)",
    "not all": "a, b, d = Split <axis = 1, num_outputs = 3> (x)\nc = Concat <axis = 1> (a, b)\n"
               "y = Concat <axis = 1> (c, x)",
    "of two Splits": "a, b = Split <num_outputs = 2> (x)\nn = Neg(x)\n"
                     "d, e = Split <num_outputs = 2> (n)\ny = Concat <axis = 0> (a, e)",
    "other borders": "c = Concat <axis = 0> (x, x, x)\na, b, d = Split(c, t)\n"
                     "y = Concat <axis = 0> (b, b)",
    "fewer parts": "c = Concat <axis = 1> (x, x, x, x)\n"
                   "a, b = Split <axis = 1, num_outputs = 2> (c)\ny = Neg(a)",
    "equal parts of unequal ones": "c = Concat <axis = 1> (x, o)\n"
                   "a, b = Split <axis = 1, num_outputs = 2> (c)\ny = Neg(a)",
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGES)
def test_what_is_not_undone_stays(case: str) -> None:
    constants = {"s": i64(2, 3), "t": i64(1, 2, 3), "o": np.ones((2, 5), np.float32)}
    read = {name: array for name, array in constants.items() if f" {name})" in CHANGES[case]}
    outcome = run(placed("main", CHANGES[case], read, y="float[?,?]"), PASS)
    assert (outcome.unchanged, outcome.skipped) == (True, {})
    agree(outcome.before, outcome.after, exact=True)


def test_open_lengths_prove_no_border() -> None:
    text = f"""{HEAD} g (float[N] x, float[M] z) => (float[?] y) {{
        c = Concat <axis = 0> (x, z)
        a, b = Split <num_outputs = 2> (c)
        y = Neg(a)
    }}"""
    assert run(parse(text), PASS).unchanged


def test_computed_sizes_prove_no_border() -> None:
    text = f"""{HEAD} g (float[2] x, int64[2] s) => (float[?] y) {{
        c = Concat <axis = 0> (x, x)
        a, b = Split(c, s)
        y = Neg(a)
    }}"""
    assert run(parse(text), PASS).unchanged


@pytest.mark.parametrize("place", GRAPHS)
def test_the_first_stays_where_others_read_it(place: Place) -> None:
    outcome = run(placed(place, "a = Neg(x)\nb = Neg(a)\ny = Sub(a, b)"), PASS)
    assert piece(outcome.after, place) == ["a = Neg(x)", "y = Sub(a, x)"]
    agree(outcome.before, outcome.after, exact=True)


def test_one_part_is_read_elsewhere() -> None:
    body = "a, b = Split <num_outputs = 2> (x)\nc = Concat <axis = 0> (a, b)\ny = Sub(c, a)"
    outcome = run(placed("main", body), PASS)
    assert outcome.lines == ["a, b = Split(x)", "y = Sub(x, a)"]
    agree(outcome.before, outcome.after, exact=True)


def test_three_and_four_in_a_row() -> None:
    for count, expected in ((3, ["v = Neg(x)"]), (4, [])):
        names = ["x", "a", "b", "c", "d"][: count + 1]
        nodes = [f"{b} = Neg({a})" for a, b in pairwise(names)]
        outcome = run(placed("main", "\n".join([*nodes, f"y = Exp({names[-1]})"])), PASS)
        assert len(outcome.lines) == len(expected) + 1
        agree(outcome.before, outcome.after, exact=True)


def test_a_graph_output_keeps_its_name() -> None:
    outcome = run(placed("main", "n = Exp(x)\na = Neg(n)\ny = Neg(a)"), PASS)
    assert outcome.lines == ["y = Exp(x)"]
    agree(outcome.before, outcome.after, exact=True)


def test_a_graph_output_cannot_be_an_input() -> None:
    outcome = run(placed("main", "a = Neg(x)\ny = Neg(a)"), PASS)
    assert (outcome.unchanged, outcome.skipped) == (True, {INPUT: 1})


def test_what_lies_between_is_a_graph_output() -> None:
    nodes = "a = Neg(x) b = Neg(a) y = Abs(b)"
    text = f"{HEAD} g (float[2] x) => (float[2] a, float[2] y) {{ {nodes} }}"
    outcome = run(parse(text), PASS)
    assert outcome.lines == ["a = Neg(x)", "y = Abs(x)"]
    agree(outcome.before, outcome.after, exact=True)


def test_two_graph_outputs_from_one_value() -> None:
    text = f"""{HEAD} g (float[2] x) => (float[2] y, float[2] z) {{
        a = Exp(x) c = Concat <axis = 0> (a, a) y, z = Split <num_outputs = 2> (c)
    }}"""
    outcome = run(parse(text), PASS)
    assert outcome.left_out == []
    assert outcome.skipped == {"one value would become two graph outputs": 1}
    agree(outcome.before, outcome.after, exact=True)


def test_two_graph_outputs_from_two_values() -> None:
    text = f"""{HEAD} g (float[2] x) => (float[2] y, float[2] z) {{
        a = Exp(x) b = Abs(x) c = Concat <axis = 0> (a, b) y, z = Split <num_outputs = 2> (c)
    }}"""
    outcome = run(parse(text), PASS)
    assert outcome.lines == ["y = Exp(x)", "z = Abs(x)"]
    agree(outcome.before, outcome.after, exact=True)


def test_two_graph_outputs_from_one_value_that_others_read_too() -> None:
    model = parse("""g (int64[1,A] x) => (int64[1,B] p, int64[2,C] y) {
       a = Concat <axis = 1> (x, x)
       c = Concat <axis = 0> (a, a)
       p, q = Split <axis = 0> (c)
       y = Concat <axis = 0> (q, p)
    }""")
    outcome = run(model, "eliminate_inverse")
    assert (outcome.rewrites, outcome.left_out) == (1, [])
    agree(model, outcome.after)


def test_the_first_stands_outside_of_a_body() -> None:
    text = f"""{HEAD} g (float[2] x, bool t) => (float[2] y) {{
        a = Neg(x)
        y = If(t) <then_branch = p () => (float[2] r) {{ b = Neg(a) r = Exp(b) }},
                   else_branch = q () => (float[2] s) {{ s = Exp(x) }}>
    }}"""
    outcome = run(parse(text), PASS)
    assert outcome.left_out == []
    assert "  then_branch: r = Exp(x)" in outcome.lines
    assert "a = Neg(x)" not in outcome.lines
    agree(outcome.before, outcome.after, exact=True)


def test_another_domain_is_no_inverse() -> None:
    nodes = "a = com.example.Neg(x) b = Neg(a) y = Abs(b)"
    text = f"{HEAD} g (float[2] x) => (float[2] y) {{ {nodes} }}"
    outcome = run(parse(text), PASS)
    assert outcome.unchanged
    assert outcome.skipped == {"the first is left alone": 1}


@few
@given(st.lists(st.integers(0, 3), min_size=1, max_size=4), st.data(), st.integers(-2, 1))
def test_concat_and_split_cancel_exactly_at_equal_borders(
    lengths: list[int], data: st.DataObject, axis: int
) -> None:
    """Other borders stay, and whatever is done gives the same numbers."""
    total = sum(lengths)
    cuts = sorted(data.draw(st.lists(st.integers(0, total), max_size=3)))
    free = [b - a for a, b in zip([0, *cuts], [*cuts, total], strict=True)]
    sizes = data.draw(st.sampled_from([free, lengths]))
    shapes = [(n, 2) if axis % 2 == 0 else (2, n) for n in lengths]
    inputs = ", ".join(f"float[{a},{b}] x{i}" for i, (a, b) in enumerate(shapes))
    parts = [f"p{i}" for i in range(len(sizes))]
    read = ", ".join(f"x{i}" for i in range(len(lengths)))
    text = f"""{HEAD} g ({inputs}) => (float[?,?] y) {{
        c = Concat <axis = {axis}> ({read})
        {", ".join(parts)} = Split <axis = {axis}> (c, s)
        y = Concat <axis = {axis}> ({", ".join(reversed(parts))})
    }}"""
    outcome = run(parse(text, s=i64(*sizes)), PASS)
    if sizes == lengths:
        assert all("Split" not in line for line in outcome.lines)
    elif len(sizes) > 1:
        assert any("Split" in line for line in outcome.lines)
    rng = np.random.default_rng(5)
    feed = {f"x{i}": rng.random(shape).astype(np.float32) for i, shape in enumerate(shapes)}
    agree(outcome.before, outcome.after, [feed], exact=True)
