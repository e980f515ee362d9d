"""eliminate_repeated: what changes nothing the second time, and two limits that are one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

import graphopt
from graphopt.engine.recipe import parse_recipe
from graphopt.passes.eliminate.eliminate_repeated import EliminateRepeated
from tests.build import few, parse
from tests.passes.placed import GRAPHS, PLACES, Place, piece, placed, stored
from tests.passes.support import Array, agree, run

PASS = EliminateRepeated()
HEAD = '<ir_version: 10, opset_import: ["" : 18, "com.example" : 1]>'
ALONE = 'admits = "identical"\n[[stage]]\n[[stage.pass]]\nname = "eliminate_repeated"'
READ = "what lies between is read elsewhere"
WIDE = np.array([[-7, -0.5, 0.25], [2.5, 6.5, 70], [np.inf, -np.inf, 1e-45]], np.float32)
X = "float[3,3]"


def n(number: float, kind: str = "float32") -> Array:
    return np.array(number, kind)


AGAIN = ["Abs", "Ceil", "Floor", "Relu", "Round", "Sign"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("op", AGAIN)
def test_the_second_time(op: str, place: Place) -> None:
    body = f"a = {op}(x)\nb = {op}(a)\nc = {op}(b)\ny = Exp(c)"
    outcome = run(placed(place, body, x=X), PASS)
    assert piece(outcome.after, place) == [f"a = {op}(x)", "y = Exp(a)"]
    assert outcome.rewrites == 2
    agree(outcome.before, outcome.after, exact=True)
    if place == "main":
        odd = WIDE.copy()
        odd[0] = [-0.0, 0.0, np.nan]
        agree(outcome.before, outcome.after, [{"x": WIDE}, {"x": odd}], exact=True)
        report = graphopt.optimize(outcome.before, parse_recipe(ALONE, "mine")).report
        assert report.changed


WITHIN: dict[str, tuple[str, str]] = {
    "Relu of Sigmoid": ("a = Sigmoid(x)", "Relu(a)"),
    "Relu of Softmax": ("a = Softmax(x)", "Relu(a)"),
    "Relu of Exp": ("a = Exp(x)", "Relu(a)"),
    "Relu of Abs": ("a = Abs(x)", "Relu(a)"),
    "Relu of Softplus": ("a = Softplus(x)", "Relu(a)"),
    "Relu of HardSigmoid": ("a = HardSigmoid(x)", "Relu(a)"),
    "Abs of Relu": ("a = Relu(x)", "Abs(a)"),
    "Abs of Sqrt": ("e = Exp(x)\na = Sqrt(e)", "Abs(a)"),
    "Abs of a norm": ("a = ReduceL2(x)", "Abs(a)"),
    "Clip of Sigmoid": ("a = Sigmoid(x)", "Clip(a, z, o)"),
    "Clip of Tanh": ("a = Tanh(x)", "Clip(a, m, o)"),
    "Clip of a tighter Clip": ("a = Clip(x, z, o)", "Clip(a, m, s)"),
    "Clip to infinity": ("a = Relu(x)", "Clip(a, m, f)"),
    "Round of Floor": ("a = Floor(x)", "Round(a)"),
    "Ceil of Sign": ("a = Sign(x)", "Ceil(a)"),
    "Floor of integers": ("i = Cast <to = 6> (o)\na = Cast <to = 1> (i)", "Floor(a)"),
    "Relu of a mask": ("i = IsNaN(x)\na = Cast <to = 1> (i)", "Relu(a)"),
    "through movement": ("r = Relu(x)\nt = Transpose(r)\na = Unsqueeze(t, w)", "Relu(a)"),
}
NUMBERS = {"z": n(0), "o": n(1), "m": n(-1), "s": n(6), "w": np.array([0]), "f": n(np.inf)}


def read_by(body: str) -> dict[str, Array]:
    return {
        name: array for name, array in NUMBERS.items()
        if any(f"{mark}{name}{end}" in body for mark in "( " for end in ",)")
    }  # fmt: skip


@pytest.mark.parametrize("case", WITHIN)
def test_numbers_that_lie_within(case: str) -> None:
    above, form = WITHIN[case]
    body = f"{above}\nb = {form}\nc = Neg(b)\ny = Add(x, c)"
    model = placed("main", body, read_by(body), x=X, y="float[?,?]")
    if "Unsqueeze" in body:
        model.graph.output[0].type.CopyFrom(helper.make_tensor_type_proto(1, [1, 3, 3]))
    outcome = run(model, PASS)
    assert outcome.lines[-2:] == ["c = Neg(a)", "y = Add(x, c)"]
    agree(model, outcome.after, [{"x": np.where(np.isinf(WIDE), np.float32(3), WIDE)}])


BEYOND: dict[str, tuple[str, str]] = {
    "Relu of Tanh": ("a = Tanh(x)", "Relu(a)"),
    "Relu of Neg": ("a = Neg(x)", "Relu(a)"),
    "Abs of Sign": ("a = Sign(x)", "Abs(a)"),
    "Clip of Softplus": ("a = Softplus(x)", "Clip(a, m, s)"),
    "Clip of Sigmoid": ("a = Sigmoid(x)", "Clip(a, z, h)"),
    "Clip without bounds": ("a = Relu(x)", "Clip(a)"),
    "Round of Abs": ("a = Abs(x)", "Round(a)"),
    "Relu of Elu": ("a = Elu(x)", "Relu(a)"),
    "Sign of Relu": ("a = Relu(x)", "Sign(a)"),
    "Relu of a graph input": ("a = Identity(x)", "Relu(a)"),
    "Neg of Neg": ("a = Neg(x)", "Neg(a)"),
    "Abs of the other output": ("t, i = TopK(x, k)\na = Cast <to = 1> (i)", "Ceil(t)"),
}


@pytest.mark.parametrize("case", BEYOND)
def test_numbers_that_may_lie_beyond(case: str) -> None:
    above, form = BEYOND[case]
    body = f"{above}\nb = {form}\nd = Neg(a)\ny = Add(b, d)"
    constants = {**read_by(body), "h": n(0.5), "k": np.array([3])}
    model = placed("main", body, constants, x=X, y="float[?,?]")
    assert run(model, PASS).unchanged


def test_the_least_integer_has_no_counterpart() -> None:
    body = "a = Abs(x)\nb = Relu(a)\ny = Neg(b)"
    assert run(placed("main", body, x="int8[2]"), PASS).unchanged
    again = run(placed("main", "a = Abs(x)\nb = Abs(a)\ny = Neg(b)", x="int8[2]"), PASS)
    assert len(again.lines) == 2
    agree(again.before, again.after, [{"x": np.array([-128, 3], np.int8)}], exact=True)


MERGED: dict[str, tuple[str, dict[str, Array], tuple[float | None, float | None]]] = {
    "overlapping": (
        "a = Clip(x, l, h)\nb = Clip(a, p, q)",
        {"l": n(0), "h": n(9), "p": n(-1), "q": n(6)}, (0, 6),
    ),
    "above": (
        "a = Clip(x, l, h)\nb = Clip(a, p, q)",
        {"l": n(3), "h": n(4), "p": n(-1), "q": n(2)}, (2, 2),
    ),
    "below": (
        "a = Clip(x, l, h)\nb = Clip(a, p, q)",
        {"l": n(-3), "h": n(-2), "p": n(0), "q": n(6)}, (0, 0),
    ),
    "one bound each": ("a = Clip(x, l)\nb = Clip(a, , q)", {"l": n(-2), "q": n(6)}, (-2, 6)),
    "lower bounds": ("a = Clip(x, l)\nb = Clip(a, p)", {"l": n(-2), "p": n(-1)}, (-1, None)),
    "upper bounds": ("a = Clip(x, , h)\nb = Clip(a, , q)", {"h": n(8), "q": n(6)}, (None, 6)),
    "crossed bounds": ("a = Clip(x, l, h)\nb = Clip(a, , q)",
                       {"l": n(3), "h": n(-4), "q": n(-5)}, (-5, -5)),
    "Relu6": ("a = Relu(x)\nb = Clip(a, l, h)", {"l": n(0), "h": n(6)}, (0, 6)),
    "Relu and an upper bound": ("a = Relu(x)\nb = Clip(a, , h)", {"h": n(6)}, (0, 6)),
    "Relu and a negative one": ("a = Relu(x)\nb = Clip(a, l, h)", {"l": n(-3), "h": n(6)}, (0, 6)),
    "Relu and bounds below": ("a = Relu(x)\nb = Clip(a, l, h)", {"l": n(-3), "h": n(-1)}, (-1, -1)),
    "Relu of Clip": ("a = Clip(x, l, h)\nb = Relu(a)", {"l": n(-2), "h": n(6)}, (0, 6)),
    "Relu of an upper bound": ("a = Clip(x, , h)\nb = Relu(a)", {"h": n(6)}, (0, 6)),
    "Relu of bounds below": ("a = Clip(x, l, h)\nb = Relu(a)", {"l": n(-2), "h": n(-1)}, (0, 0)),
    "Relu and an infinite bound": ("a = Relu(x)\nb = Clip(a, l, h)",
                                   {"l": n(1), "h": n(np.inf)}, (1, np.inf)),
}  # fmt: skip


@pytest.mark.parametrize("place", GRAPHS)
@pytest.mark.parametrize("case", MERGED)
def test_one_clip_of_two_limits(case: str, place: Place) -> None:
    body, constants, bounds = MERGED[case]
    outcome = run(placed(place, f"{body}\ny = Neg(b)", constants, x=X), PASS)
    assert outcome.left_out == []
    clip, last = piece(outcome.after, place)
    assert (clip.startswith("b = Clip(x"), last) == (True, "y = Neg(b)")
    agree(outcome.before, outcome.after)
    if place != "main":
        return
    node = next(node for node in outcome.after.graph.node if node.op_type == "Clip")
    names = [*node.input[1:], "", ""][:2]
    found = tuple(float(outcome.weights[name]) if name else None for name in names)
    assert found == bounds
    agree(outcome.before, outcome.after, [{"x": WIDE}])


def test_bounds_that_fit_are_not_stored_again() -> None:
    body, constants, _ = MERGED["overlapping"]
    outcome = run(placed("main", f"{body}\ny = Neg(b)", constants, x=X), PASS)
    assert outcome.lines[0] == "b = Clip(x, l, q)"
    assert stored(outcome.after, "main") == set(constants)


def test_types_in_functions_are_not_known() -> None:
    body = "a = Relu(x)\nb = Clip(a, , h)\ny = Neg(b)"
    outcome = run(placed("function", body, {"h": n(6)}), PASS)
    assert outcome.unchanged


def test_other_types() -> None:
    body = "a = Clip(x, l, h)\nb = Clip(a, p)\ny = Neg(b)"
    for kind, elem in (("float16", "float16"), ("float64", "double"), ("int32", "int32")):
        constants = {"l": n(-2, kind), "h": n(3, kind), "p": n(-1, kind)}
        outcome = run(placed("main", body, constants, x=f"{elem}[7]"), PASS)
        assert outcome.lines == ["b = Clip(x, p, h)", "y = Neg(b)"]
        agree(outcome.before, outcome.after, [{"x": np.arange(-3, 4).astype(kind)}], exact=True)


def test_bounds_in_attributes() -> None:
    body = "a = Clip <min = -2.0, max = 7.0> (x)\nb = Clip <max = 6.0> (a)\nc = Relu(b)\ny = Neg(c)"
    outcome = run(placed("main", body, x=X, opset=9, ir=8), PASS)
    assert outcome.lines == ["c = Clip(x)", "y = Neg(c)"]
    found = {a.name: helper.get_attribute_value(a) for a in outcome.after.graph.node[0].attribute}
    assert found == {"min": 0.0, "max": 6.0}
    agree(outcome.before, outcome.after, [{"x": WIDE}])


def test_neg_before_abs() -> None:
    for place in PLACES:
        outcome = run(placed(place, "a = Neg(x)\nb = Abs(a)\ny = Exp(b)", x=X), PASS)
        assert piece(outcome.after, place) == ["b = Abs(x)", "y = Exp(b)"]
        agree(outcome.before, outcome.after, exact=True)


REFUSED: dict[str, tuple[str, str]] = {
    "read elsewhere": ("a = Relu(x)\nb = Clip(a, , h)\ny = Add(a, b)", READ),
    "Neg is read elsewhere": ("a = Neg(x)\nb = Abs(a)\ny = Add(a, b)", READ),
    "a computed bound": (
        "k = ReduceMax <keepdims = 0> (x)\na = Relu(x)\nb = Clip(a, , k)\ny = Neg(b)",
        "bounds are not constant numbers",
    ),
    "a NaN for a bound": (
        "a = Relu(x)\nb = Clip(a, , v)\ny = Neg(b)", "bounds are not constant numbers",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str) -> None:
    body, reason = REFUSED[case]
    constants = {"h": n(6), "v": n(np.nan)}
    outcome = run(placed("main", body, constants, x=X), PASS)
    assert (outcome.unchanged, outcome.skipped) == (True, {reason: 1})


def test_an_overridable_bound() -> None:
    text = f"{HEAD} g ({X} x, float h) => ({X} y) {{ a = Relu(x) b = Clip(a, , h) y = Neg(b) }}"
    assert run(parse(text, h=n(6)), PASS).unchanged


def test_a_graph_output_and_what_lies_between() -> None:
    text = f"{HEAD} g ({X} x) => ({X} a, {X} y) {{ a = Relu(x) y = Relu(a) }}"
    both = run(parse(text), PASS)
    assert (both.unchanged, both.skipped) == (True, {"both values are graph outputs": 1})
    text = f"{HEAD} g ({X} x) => ({X} a, {X} y) {{ a = Relu(x) y = Clip(a, , h) }}"
    merged = run(parse(text, h=n(6)), PASS)
    assert (merged.unchanged, merged.skipped) == (True, {READ: 1})
    last = run(placed("main", "a = Relu(x)\ny = Relu(a)", x=X), PASS)
    assert last.lines == ["y = Relu(x)"]
    agree(last.before, last.after, exact=True)


def test_the_first_stands_outside_of_a_body() -> None:
    text = f"""{HEAD} g ({X} x, bool t) => ({X} y) {{
        a = Relu(x)
        y = If(t) <then_branch = p () => ({X} r) {{ b = Relu(a) r = Exp(b) }},
                   else_branch = q () => ({X} s) {{ c = Clip(a, , h) s = Neg(c) }}>
    }}"""
    outcome = run(parse(text, h=n(6)), PASS)
    assert "  then_branch: r = Exp(a)" in outcome.lines
    assert outcome.skipped == {"the first stands in another graph": 1}
    agree(outcome.before, outcome.after)


def test_another_domain() -> None:
    text = f"{HEAD} g ({X} x) => ({X} y) {{ a = com.example.Relu(x) b = Relu(a) y = Neg(b) }}"
    assert run(parse(text), PASS).unchanged


BOUND = st.sampled_from([None, -5.0, -1.0, 0.0, 1.0, 2.0, 5.0, np.inf, -np.inf])


@few
@given(st.lists(st.one_of(st.just("Relu"), st.tuples(BOUND, BOUND)), min_size=2, max_size=5))
def test_chains_become_one(chain: list[str | tuple[float | None, float | None]]) -> None:
    nodes, constants, value = [], {}, "x"
    for number, limit in enumerate(chain):
        if isinstance(limit, str):
            nodes.append(f"v{number} = Relu({value})")
        else:
            named = {f"k{number}{i}": bound for i, bound in enumerate(limit) if bound is not None}
            constants.update({name: n(bound) for name, bound in named.items()})
            listed = [f"k{number}{i}" if b is not None else '""' for i, b in enumerate(limit)]
            nodes.append(f"v{number} = Clip({', '.join([value, *listed])})")
        value = f"v{number}"
    body = "\n".join([*nodes, f"y = Neg({value})"])
    outcome = run(placed("main", body, constants, x=X), PASS)
    assert len(outcome.lines) == 2
    agree(outcome.before, outcome.after, [{"x": WIDE}])
