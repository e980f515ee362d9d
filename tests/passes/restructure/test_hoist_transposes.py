"""hoist_transposes: what a Transpose goes through, what it meets there, and where it stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto

import graphopt
from graphopt.passes.restructure.hoist_transposes import HoistTransposes
from tests.build import few, parse
from tests.passes.fuse.fused import f32, normal
from tests.passes.placed import GRAPHS, Place, piece, placed
from tests.passes.support import Array, agree, run

HOIST = HoistTransposes()
HEAD = '<ir_version: 10, opset_import: ["" : 18, "com.example" : 1]>'
X = "float[2,3,4]"
FIRST = "t = Transpose <perm = [1, 2, 0]> (x)\n"
BACK = "Transpose <perm = [2, 0, 1]>"


CASES: dict[str, tuple[str, list[str]]] = {
    "one node": (f"a = Neg(t)\ny = {BACK} (a)", ["y = Neg(x)"]),
    "a chain": (
        f"a = Mul(t, c)\nb = Relu(a)\nd = Add(b, e)\ny = {BACK} (d)",
        ["y_Mul = Mul(x, c)", "y_Relu = Relu(y_Mul)", "y = Add(y_Relu, e_transposed)"],
    ),
    "constants of every rank": (
        f"a = Mul(t, r)\nb = Sub(m, a)\nd = Div(b, f)\ny = {BACK} (d)",
        ["y_Mul = Mul(x, r_transposed)", "y_Sub = Sub(m_transposed, y_Mul)",
         "y = Div(y_Sub, f_transposed)"],
    ),
    "one number in any shape": (
        f"a = Mul(t, o)\ny = {BACK} (a)", ["y = Mul(x, o)"],
    ),
    "read twice": (f"a = Mul(t, t)\ny = {BACK} (a)", ["y = Mul(x, x)"]),
    "two ways that meet": (
        f"a = Exp(t)\nb = Relu(a)\nd = Neg(a)\nf1 = Add(b, d)\ny = {BACK} (f1)",
        ["y_Exp = Exp(x)", "y_Relu = Relu(y_Exp)", "y_Neg = Neg(y_Exp)", "y = Add(y_Relu, y_Neg)"],
    ),
    "a condition": (
        f"a = Less(t, c)\nb = Not(a)\nd = Where(b, t, e)\ny = {BACK} (d)",
        ["y_Less = Less(x, c)", "y_Not = Not(y_Less)", "y = Where(y_Not, x, e_transposed)"],
    ),
    "left out inputs and attributes": (
        f"a = Clip(t, , c)\nb = LeakyRelu <alpha = 0.3> (a)\ny = {BACK} (b)",
        ["y_Clip = Clip(x, , c)", "y = LeakyRelu(y_Clip)"],
    ),
    "another type on the way": (
        f"a = Cast <to = 11> (t)\nb = Sqrt(a)\nd = Cast <to = 1> (b)\ny = {BACK} (d)",
        ["y_Cast = Cast(x)", "y_Sqrt = Sqrt(y_Cast)", "y = Cast(y_Sqrt)"],
    ),
    "the other still read": (
        f"a = Neg(t)\nb = {BACK} (a)\nd = ReduceMax <keepdims = 0> (t)\ny = Mul(b, d)",
        ["t = Transpose(x)", "b = Neg(x)", "d = ReduceMax(t)", "y = Mul(b, d)"],
    ),
}  # fmt: skip
STORED = {
    "c": np.array(0.5, np.float32), "e": normal(3, 4, 2), "r": normal(2), "m": normal(4, 1),
    "f": np.abs(normal(3, 1, 2)) + np.float32(0.5), "o": f32(2).reshape(1, 1),
}  # fmt: skip


@pytest.mark.parametrize("place", GRAPHS)
@pytest.mark.parametrize("case", CASES)
def test_hoists(case: str, place: Place) -> None:
    body, expected = CASES[case]
    outcome = run(placed(place, FIRST + body, STORED, x=X), HOIST)
    assert piece(outcome.after, place) == expected
    assert (outcome.rewrites, outcome.left_out) == (1, [])
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("place", ["if", "loop"])
def test_constants_captured_from_the_main_graph(place: Place) -> None:
    outcome = run(
        placed(place, f"{FIRST}a = Add(t, e)\ny = {BACK} (a)", STORED, x=X, captured=True), HOIST
    )
    assert piece(outcome.after, place) == ["y = Add(x, e_transposed)"]
    agree(outcome.before, outcome.after)


def two_inputs(
    nodes: str, y: str = "float[2,3]", *, z: str = "float[2,3]", **stored: Array
) -> ModelProto:
    head = f"{HEAD} g (float[2,3] x, {z} z) => ({y} y)"
    return parse(
        f"{head} {{ s = Transpose <perm = [1, 0]> (x) t = Transpose <perm = [1, 0]> (z) {nodes} }}",
        **stored,
    )


END = "y = Transpose <perm = [1, 0]> (u)"


def test_two_that_undo_it() -> None:
    outcome = run(two_inputs(f"u = Add(s, t) {END}"), HOIST)
    assert outcome.lines == ["y = Add(x, z)"]
    agree(outcome.before, outcome.after, exact=True)


def test_what_else_enters_gets_a_transpose() -> None:
    """Three go, one comes."""
    nodes = f"n = Reshape(x, w) o = Sub(s, n) p = Add(o, t) u = Relu(p) {END}"
    outcome = run(two_inputs(nodes, w=np.array([3, 2])), HOIST)
    assert outcome.lines == [
        "n = Reshape(x, w)", "y_Transpose = Transpose(n)", "y_Sub = Sub(x, y_Transpose)",
        "y_Add = Add(y_Sub, z)", "y = Relu(y_Add)",
    ]  # fmt: skip
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("z", ["float[1,3]", "float[2,1]", "float[1,1]", "float[N,3]"])
def test_operands_that_are_widened(z: str) -> None:
    outcome = run(two_inputs(f"u = Mul(t, s) {END}", z=z), HOIST)
    assert outcome.lines == ["y = Mul(z, x)"]
    agree(outcome.before, outcome.after, exact=True)


def test_overridable_constants() -> None:
    text = f"""{HEAD} g (float[2,3] x, float[3,2] k) => (float[2,3] y) {{
        s = Transpose <perm = [1, 0]> (x) u = Add(s, k) {END}
    }}"""
    outcome = run(parse(text, k=normal(3, 2)), HOIST)
    assert outcome.lines == ["y_Transpose = Transpose(k)", "y = Add(x, y_Transpose)"]
    agree(
        outcome.before,
        outcome.after,
        [{"x": normal(2, 3)}, {"x": normal(2, 3), "k": normal(3, 2, seed=9)}],
    )


def test_a_transpose_outside_of_the_body() -> None:
    text = f"""{HEAD} g (float[2,3] x, bool c) => (float[2,3] y) {{
        s = Transpose <perm = [1, 0]> (x)
        y = If(c) <then_branch = p () => (float[2,3] r) {{
                       u = Neg(s) r = Transpose <perm = [1, 0]> (u)
                   }},
                   else_branch = q () => (float[2,3] v) {{ v = Exp(x) }}>
    }}"""
    outcome = run(parse(text), HOIST)
    assert outcome.lines == ["y = If(c)", "  then_branch: r = Neg(x)", "  else_branch: v = Exp(x)"]
    agree(outcome.before, outcome.after, exact=True)


@pytest.mark.parametrize("ways", [1, 2, 3])
def test_ways_that_meet_again_are_counted_once(ways: int) -> None:
    """What two nodes of the region read does not enter from outside."""
    body, value = FIRST, "t"
    for n in range(ways):
        body += (
            f"a{n} = Exp({value})\nb{n} = Relu(a{n})\nd{n} = Neg(a{n})\nf{n} = Add(b{n}, d{n})\n"
        )
        value = f"f{n}"
    outcome = run(placed("main", f"{body}y = {BACK} ({value})", x=X), HOIST)
    assert sum("Transpose" in entry for entry in outcome.lines) == 0
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("op", ["Abs", "Neg", "Relu", "Clip"])
def test_bits_stay_whatever_the_order(op: str) -> None:
    model = two_inputs(f"u = {op}(s) {END}")
    result = graphopt.optimize(model, "identical", verify=False)
    assert [node.op_type for node in result.model.proto.graph.node] == [op]


@pytest.mark.parametrize("op", ["Exp", "Tanh", "Sigmoid", "Erf", "Sqrt", "Ceil"])
def test_other_kernels_may_round_otherwise(op: str) -> None:
    result = graphopt.optimize(two_inputs(f"u = {op}(s) {END}"), "identical", verify=False)
    assert sum(node.op_type == "Transpose" for node in result.model.proto.graph.node) == 2


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max", "Min", "Relu", "Clip"])
@pytest.mark.parametrize("size", [7, 33])
def test_identical_is_identical(op: str, size: int) -> None:
    """Of two zeros, Max and Min give one within a vector and the other at its end."""
    operands = "s, k" if op not in ("Relu", "Clip") else "s, , c" if op == "Clip" else "s"
    text = f"""{HEAD} g (float[2,{size}] x) => (float[2,{size}] y) {{
        s = Transpose <perm = [1, 0]> (x) u = {op}({operands}) {END}
    }}"""
    model = parse(text, k=np.zeros((size, 2), np.float32), c=np.array(0, np.float32))
    result = graphopt.optimize(model, "identical", verify=False)
    x = np.array([[-0.0], [0.0]], np.float32) * np.ones((1, size), np.float32)
    agree(model, result.model.proto, [{"x": x}, {"x": -x}], exact=True)


@st.composite
def regions(draw: st.DrawFn) -> tuple[str, dict[str, Array], int]:
    """Arithmetic on transposed inputs, constants and what is made of them, then a Transpose."""
    rank = draw(st.integers(2, 4))
    perm = draw(st.permutations(range(rank)))
    sizes = [2, 3, 4, 5][:rank]
    moved = [sizes[axis] for axis in perm]
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    stored: dict[str, Array] = {}
    known = ["t0", "t1"]
    nodes = [f"t{i} = Transpose <perm = {list(perm)}> ({name})" for i, name in enumerate("xz")]
    for number in range(draw(st.integers(1, 8))):
        op = draw(st.sampled_from(["Add", "Sub", "Mul", "Neg", "Abs", "Where", "constant"]))
        pick = [draw(st.sampled_from(known[-4:])) for _ in range(3)]
        if op == "constant":
            kept = draw(st.lists(st.booleans(), min_size=rank, max_size=rank))
            shape = [size if keep else 1 for size, keep in zip(moved, kept, strict=True)]
            stored[f"c{number}"] = rng.standard_normal(shape[draw(st.integers(0, rank)) :]).astype(
                np.float32
            )
            nodes.append(f"v{number} = Add({pick[0]}, c{number})")
        elif op == "Where":
            nodes.append(f"w{number} = Less({pick[0]}, {pick[1]})")
            nodes.append(f"v{number} = Where(w{number}, {pick[1]}, {pick[2]})")
        else:
            nodes.append(f"v{number} = {op}({', '.join(pick[: 1 if op in ('Neg', 'Abs') else 2])})")
        known.append(f"v{number}")
    undo = np.argsort(perm).tolist()
    x = ",".join(map(str, sizes))
    text = f"{HEAD} g (float[{x}] x, float[{x}] z) => (float[{x}] y) {{"
    return f"{text} {' '.join(nodes)} y = Transpose <perm = {undo}> ({known[-1]}) }}", stored, rank


@few
@given(regions())
def test_any_region(case: tuple[str, dict[str, Array], int]) -> None:
    text, stored, _ = case
    outcome = run(parse(text, **stored), HOIST)
    assert outcome.left_out == []
    assert outcome.unchanged or len(outcome.lines) < len(outcome.before.graph.node)
    agree(outcome.before, outcome.after, exact=True)
    assert run(outcome.model, HOIST).unchanged
