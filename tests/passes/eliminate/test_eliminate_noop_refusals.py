"""eliminate_noop: what changes values, widens a shape or cannot be proven stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.passes.eliminate.eliminate_noop import EliminateNoop
from tests.build import few, parse
from tests.passes.placed import GRAPHS, PLACES, Place, piece, placed
from tests.passes.support import Array, agree, run

PASS = EliminateNoop()
HEAD = '<ir_version: 10, opset_import: ["" : 18, "com.example" : 1]>'
INPUT = "a graph output would become an input or an initializer"
BOTH = "both values are graph outputs"
OUTER = "a graph output cannot come from an enclosing graph"
LARGE = 1 << 18


def f32(*values: float) -> Array:
    return np.array(values, np.float32)


def i64(*values: int) -> Array:
    return np.array(values, np.int64)


CHANGES: dict[str, tuple[str, dict[str, Array]]] = {
    "Cast to another type": ("b = Cast <to = 11> (x)\nn = Cast <to = 1> (b)", {}),
    "Transpose": ("n = Transpose <perm = [1, 0]> (x)", {}),
    "Transpose, reversed": ("n = Transpose(x)", {}),
    "Reshape": ("n = Reshape(x, c)", {"c": i64(3, 2)}),
    "Reshape, another rank": ("n = Reshape(x, c)", {"c": i64(0, -1, 1)}),
    "Reshape to a vector": ("n = Reshape(x, c)", {"c": i64(-1)}),
    "Flatten, axis 0": ("n = Flatten <axis = 0> (x)", {}),
    "Flatten, axis 2": ("n = Flatten <axis = 2> (x)", {}),
    "Flatten, axis -2": ("n = Flatten <axis = -2> (x)", {}),
    "Expand adds an axis": ("n = Expand(x, c)", {"c": i64(1, 1, 1)}),
    "Tile": ("n = Tile(x, c)", {"c": i64(1, 2)}),
    "Pad": ("n = Pad(x, c)", {"c": i64(0, 0, 0, 1)}),
    "Pad that takes and gives": ("n = Pad(x, c)", {"c": i64(0, -1, 0, 1)}),
    "Slice from 1": ("n = Slice(x, s, e)", {"s": i64(1), "e": i64(2)}),
    "Slice, the last left out": ("n = Slice(x, s, e, a)",
                                 {"s": i64(0), "e": i64(2), "a": i64(1)}),
    "Slice to -1": ("n = Slice(x, s, e)", {"s": i64(0), "e": i64(-1)}),
    "Slice backwards": ("n = Slice(x, s, e, a, t)",
                        {"s": i64(9), "e": i64(-9), "a": i64(1), "t": i64(-1)}),
    "Slice by twos": ("n = Slice(x, s, e, a, t)",
                      {"s": i64(0), "e": i64(9), "a": i64(1), "t": i64(2)}),
    "Slice, one axis by twos": ("n = Slice(x, s, e, a, t)",
                                {"s": i64(0, 0), "e": i64(9, 9), "a": i64(0, 1), "t": i64(1, 2)}),
    "Concat of two": ("n = Concat <axis = 0> (x, x)", {}),
    "Sum of two": ("n = Sum(x, x)", {}),
    "Max of two": ("n = Max(x, c)", {"c": f32(0)}),
    "Mul by 2": ("n = Mul(x, c)", {"c": f32(2)}),
    "Mul by 1 and 2": ("n = Mul(x, c)", {"c": f32(1, 1, 2)}),
    "Mul by NaN": ("n = Mul(x, c)", {"c": f32(np.nan)}),
    "Mul by 1, almost": ("n = Mul(x, c)", {"c": np.nextafter(f32(1), f32(2))}),
    "Mul by itself": ("n = Mul(x, x)", {}),
    "1 over x": ("n = Div(c, x)", {"c": f32(1)}),
    "Div by -1": ("n = Div(x, c)", {"c": f32(-1)}),
    "0 - x": ("n = Sub(c, x)", {"c": f32(0)}),
    "Add of the smallest number": ("n = Add(x, c)", {"c": f32(1e-45)}),
    "Add of NaN": ("n = Add(x, c)", {"c": f32(np.nan)}),
    "ones with another shape": ("n = Mul(x, c)", {"c": np.ones((1, 1, 1), np.float32)}),
    "ones for an axis more": ("n = Mul(x, c)", {"c": np.ones((4, 2, 3), np.float32)}),
}  # fmt: skip


@pytest.mark.parametrize("place", GRAPHS)
@pytest.mark.parametrize("case", CHANGES)
def test_what_does_something_stays(case: str, place: Place) -> None:
    body, constants = CHANGES[case]
    model = placed(place, f"{body}\nk = ReduceSum <keepdims = 0> (n)\ny = Add(x, k)", constants)
    outcome = run(model, PASS)
    assert outcome.unchanged
    assert outcome.skipped == ({INPUT: 1} if place == "loop" else {})


WIDENS: dict[str, tuple[str, str, str, Array]] = {
    "rows": ("Mul(x, c)", "float[1,3]", "float[2,3]", np.ones((2, 1), np.float32)),
    "columns": ("Div(x, c)", "float[2,1]", "float[2,3]", f32(1, 1, 1)),
    "an axis": ("Sub(x, c)", "float[3]", "float[2,3]", np.zeros((2, 3), np.float32)),
    "an axis of one": ("Add(c, x)", "float[3]", "float[1,3]", -np.zeros((1, 1), np.float32)),
    "a number": ("Mul(c, x)", "float", "float[1]", f32(1)),
    "Expand": ("Expand(x, c)", "float[2,1]", "float[2,3]", i64(3)),
    "Expand of a number": ("Expand(x, c)", "float", "float[1]", i64(1)),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", WIDENS)
def test_what_widens_stays(case: str, place: Place) -> None:
    """In a function nobody knows the shape of x."""
    form, x, y, constant = WIDENS[case]
    outcome = run(placed(place, f"n = {form}\ny = Neg(n)", {"c": constant}, x=x, y=y), PASS)
    assert outcome.unchanged
    agree(outcome.before, outcome.after, exact=True)


UNKNOWN: dict[str, tuple[str, dict[str, Array]]] = {
    "Reshape to a number": ("Reshape(x, c)", {"c": i64(2, 3)}),
    "Reshape, two to prove": ("Reshape(x, c)", {"c": i64(-1, 3)}),
    "Reshape, allowzero": ("Reshape <allowzero = 1> (x, c)", {"c": i64(0, 3)}),
    "Expand": ("Expand(x, c)", {"c": i64(2, 3)}),
    "Slice": ("Slice(x, s, e)", {"s": i64(0), "e": i64(2)}),
    "Mul by ones": ("Mul(x, c)", {"c": np.ones((2, 3), np.float32)}),
    "Mul by a row of ones": ("Mul(x, c)", {"c": np.ones(3, np.float32)}),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_open_dimensions_prove_no_number(case: str) -> None:
    form, constants = UNKNOWN[case]
    model = placed("main", f"n = {form}\ny = Neg(n)", constants, x="float[N,M]")
    assert run(model, PASS).unchanged


@pytest.mark.parametrize("size", [3, 5])
def test_a_slice_of_an_open_dimension(size: int) -> None:
    """A Slice up to 3 takes what x has only where x is no longer."""
    constants = {"s": i64(0), "e": i64(3), "a": i64(1)}
    model = placed("main", "n = Slice(x, s, e, a)\ny = Neg(n)", constants, x="float[2,N]",
                   y="float[2,M]")  # fmt: skip
    outcome = run(model, PASS)
    assert outcome.unchanged
    agree(model, outcome.after, [{"x": np.ones((2, size), np.float32)}], exact=True)


COMPUTED = {
    "Reshape": ("s = Shape(x)\nn = Reshape(x, s)", {}),
    "Expand": ("s = Shape(x)\nn = Expand(x, s)", {}),
    "Slice, axes": ("s = Shape(x)\nr = Shape <start = 1> (s)\nn = Slice(x, z, e, r)",
                    {"z": i64(0), "e": i64(9)}),
    "Slice, steps": ("s = Shape(x)\nr = Shape(s)\nn = Slice(x, z, e, z, r)",
                     {"z": i64(0), "e": i64(9)}),
    "Mul": ("m = ReduceMax <keepdims = 0> (x)\no = Div(m, m)\nn = Mul(x, o)", {}),
    "Dropout": ("m = ReduceMax <keepdims = 0> (x)\no = IsNaN(m)\nn = Dropout(x, , o)", {}),
}  # fmt: skip


@pytest.mark.parametrize("place", GRAPHS)
@pytest.mark.parametrize("case", COMPUTED)
def test_operands_that_are_computed(case: str, place: Place) -> None:
    body, constants = COMPUTED[case]
    assert run(placed(place, f"{body}\ny = Neg(n)", constants), PASS).unchanged


def test_a_dropout_that_trains_or_gives_its_mask() -> None:
    for body in (
        "n = Dropout(x, , c)\ny = Neg(n)",
        "n, m = Dropout(x)\nk = Cast <to = 1> (m)\ny = Mul(n, k)",
    ):
        assert run(placed("main", body, {"c": np.array(True)}), PASS).unchanged
    for opset, form in ((6, "Dropout(x)"), (1, "Dropout <is_test = 0> (x)")):
        assert run(placed("main", f"n = {form}\ny = Neg(n)", opset=opset, ir=8), PASS).unchanged


@pytest.mark.parametrize("shape", [(), (1,), (2,)])
def test_overridable_operands(shape: tuple[int, ...]) -> None:
    listed = f"float[{','.join(map(str, shape))}] c" if shape else "float c"
    text = f"{HEAD} g (float[2] x, {listed}) => (float[2] y) {{ n = Mul(x, c) y = Neg(n) }}"
    assert run(parse(text, c=np.ones(shape, np.float32)), PASS).unchanged


LEGACY = {
    "aligned at an axis": (6, "Mul <broadcast = 1, axis = 0> (x, c)", np.ones(2, np.float32)),
    "aligned to the last": (6, "Mul <broadcast = 1> (x, c)", np.ones(3, np.float32)),
    "the first is constant": (6, "Add(c, x)", -np.zeros((2, 3), np.float32)),
    "Tile by an input": (5, "Tile(x, c, c)", f32(1)),
    "Pad": (10, "Pad <pads = [0, 0, 0, 1]> (x)", f32()),
    "Slice": (9, "Slice <starts = [0], ends = [1]> (x)", f32()),
    "Reshape": (1, "Reshape <shape = [3, 2]> (x)", f32()),
}


@pytest.mark.parametrize("case", LEGACY)
def test_older_opsets(case: str) -> None:
    opset, form, constant = LEGACY[case]
    model = placed("main", f"n = {form}\ny = Neg(n)", {"c": constant}, opset=opset, ir=8,
                   y="float[?,?]")  # fmt: skip
    assert run(model, PASS).unchanged


def test_large_operands_are_not_searched() -> None:
    for count, found in ((LARGE, 1), (LARGE + 1, 0)):
        constants = {"c": np.ones(count, np.float32)}
        outcome = run(
            placed("main", "n = Mul(x, c)\ny = Neg(n)", constants, x=f"float[{count}]"), PASS
        )
        assert outcome.rewrites == found


def test_other_domains() -> None:
    text = f"{HEAD} g (float[2] x) => (float[2] y) {{ n = com.example.Mul(x, c) y = Neg(n) }}"
    assert run(parse(text, c=f32(1)), PASS).unchanged


def test_attributes_that_refer_to_a_functions_own() -> None:
    text = """<ir_version: 10, opset_import: ["" : 18, "local" : 1]>
        g (float[2,2] x) => (float[2,2] y) { y = local.piece <p = [1, 0]> (x) }
        <domain: "local", opset_import: ["" : 18]> piece <p> (x) => (y) {
            n = Transpose <perm: ints = @p> (x)
            y = Neg(n)
        }"""
    assert run(parse(text), PASS).unchanged


OUTPUTS: dict[str, tuple[str, dict[Place, str]]] = {
    "of an input": (
        "y = Mul(x, c)",
        {"main": INPUT, "if": OUTER, "loop": INPUT, "function": INPUT},
    ),
    "of a constant": ("y = Mul(m, c)", {"main": INPUT, "if": INPUT, "loop": INPUT}),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", OUTPUTS)
def test_nothing_would_compute_the_output(case: str, place: Place) -> None:
    body, reasons = OUTPUTS[case]
    constants = {"c": np.array(1, np.float32), "m": np.ones((2, 3), np.float32)}
    outcome = run(placed(place, body, constants), PASS)
    if place in reasons:
        assert outcome.unchanged
        assert outcome.skipped == {reasons[place]: 1 + (place == "loop")}
    agree(outcome.before, outcome.after, exact=True)


def test_both_are_graph_outputs() -> None:
    text = f"{HEAD} g (float[2] x) => (float[2] a, float[2] y) {{ a = Neg(x) y = Mul(a, c) }}"
    outcome = run(parse(text, c=f32(1)), PASS)
    assert outcome.unchanged
    assert outcome.skipped == {BOTH: 1}


def test_a_shadowed_name() -> None:
    text = f"""{HEAD} g (float[2] x, bool t) => (float[2] y) {{
        n = Mul(x, c)
        y = If(t) <then_branch = p () => (float[2] a) <float[2] x = {{1.0, 2.0}}> {{
                       a = Add(n, x)
                   }},
                   else_branch = q () => (float[2] e) {{ e = Neg(n) }}>
    }}"""
    outcome = run(parse(text, c=f32(1)), PASS)
    assert outcome.unchanged
    assert list(outcome.skipped) == [
        "the replacement's name means another value in a body that would read it"
    ]


def test_a_slice_with_more_axes_than_ends() -> None:
    """No runtime takes it; a pass leaves it alone, too, and does not raise."""
    constants = {"s": i64(0), "e": i64(2), "a": i64(0, 1)}
    assert run(placed("main", "n = Slice(x, s, e, a)\ny = Neg(n)", constants), PASS).unchanged


SHAPES = st.lists(st.integers(0, 3), max_size=3).map(tuple)


@few
@given(SHAPES, SHAPES, st.sampled_from(["Mul", "Div", "Add", "Sub"]), st.booleans())
def test_an_operand_goes_exactly_where_it_widens_nothing(
    source: tuple[int, ...], shape: tuple[int, ...], op: str, first: bool
) -> None:
    try:
        result = np.broadcast_shapes(source, shape)
    except ValueError:
        return
    number = {"Mul": 1.0, "Div": 1.0, "Add": -0.0, "Sub": 0.0}[op]
    form = f"{op}(c, x)" if first and op in ("Mul", "Add") else f"{op}(x, c)"
    constants = {"c": np.full(shape, number, np.float32)}
    x, y = (f"float[{','.join(map(str, s))}]" if s else "float" for s in (source, result))
    outcome = run(placed("main", f"n = {form}\ny = Neg(n)", constants, x=x, y=y), PASS)
    assert (piece(outcome.after, "main") == ["y = Neg(x)"]) == (result == source)
    values = np.random.default_rng(7).standard_normal(source).astype(np.float32)
    agree(outcome.before, outcome.after, [{"x": values}], exact=True)
