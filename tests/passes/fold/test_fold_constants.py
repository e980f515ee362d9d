"""fold_constants: text in, text out, wherever it stands; what is never folded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.passes.fold.fold_constants import FoldConstants
from tests.build import parse
from tests.passes.placed import GRAPHS, PLACES, Place, piece, placed, scope_of
from tests.passes.support import Array, agree, constants, run, weights

FOLD = FoldConstants()
HEAD = '<ir_version: 10, opset_import: ["" : 18, "com.example" : 1]>'


def f32(*values: float) -> Array:
    return np.array(values, np.float32)


CASES: dict[str, tuple[str, list[str]]] = {
    "one node": ("a = Add(k, m)\ny = Mul(x, a)", ["y = Mul(x, a_1)"]),
    "chain": (
        "a = Add(k, m)\nb = Neg(a)\nc = Exp(b)\nd = Mul(c, a)\ny = Mul(x, d)", ["y = Mul(x, d_1)"],
    ),
    "part of a chain": (
        "a = Add(k, m)\nb = Mul(a, x)\nc = Neg(m)\ny = Sub(b, c)",
        ["b = Mul(a_1, x)", "y = Sub(b, c_1)"],
    ),
    "one constant twice": ("a = Mul(k, k)\ny = Mul(x, a)", ["y = Mul(x, a_1)"]),
    "two readers": (
        "a = Add(k, m)\nb = Mul(x, a)\ny = Sub(b, a)", ["b = Mul(x, a_1)", "y = Sub(b, a_1)"],
    ),
    "several outputs": (
        "s = Concat <axis = 0> (k, m)\na, b = Split <axis = 0, num_outputs = 2> (s)\n"
        "c = Mul(x, a)\ny = Sub(c, b)",
        ["c = Mul(x, a_1)", "y = Sub(c, b_1)"],
    ),
    "one of several outputs": (
        "s = Concat <axis = 0> (k, m)\na, b = Split <axis = 0, num_outputs = 2> (s)\n"
        "y = Mul(x, b)",
        ["y = Mul(x, b_1)"],
    ),
    "a left out input": ("a = Clip(k, , h)\ny = Mul(x, a)", ["y = Mul(x, a_1)"]),
    "shape arithmetic": (
        "s = Shape(k)\nf = Cast <to = 1> (s)\nt = ReduceProd <keepdims = 0> (f)\ny = Mul(x, t)",
        ["y = Mul(x, t_1)"],
    ),
    "NaN and infinity": ("a = Div(k, z)\nb = Add(a, m)\ny = Mul(x, b)", ["y = Mul(x, b_1)"]),
}  # fmt: skip
VALUES = {
    "k": f32(1, -2, 0),
    "m": f32(3, 4, 0.5),
    "h": np.array(0.5, np.float32),
    "z": f32(0, 0, 0),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES)
def test_folds(case: str, place: Place) -> None:
    body, expected = CASES[case]
    outcome = run(placed(place, body, VALUES), FOLD)
    assert piece(outcome.after, place) == expected
    assert outcome.left_out == []
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("place", ["if", "loop"])
def test_captured_constants(place: Place) -> None:
    outcome = run(placed(place, CASES["chain"][0], VALUES, captured=True), FOLD)
    assert piece(outcome.after, place) == ["y = Mul(x, d_1)"]
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("place", ["if", "loop"])
def test_a_result_of_small_constants_stays_in_the_body(place: Place) -> None:
    outcome = run(placed(place, "a = Add(k, m)\ny = Mul(x, a)", VALUES, captured=True), FOLD)
    scope = scope_of(outcome.after, place)
    assert [tensor.name for tensor in getattr(scope, "initializer")] == ["a_1"]  # noqa: B009
    assert "a_1" not in weights(outcome.after.graph)


def test_a_body_reads_what_the_main_graph_folds() -> None:
    text = (
        HEAD
        + """g (float[3] x, bool c) => (float[3] y) {
        a = Add(k, m)
        y = If(c) <then_branch = t () => (float[3] p) { b = Neg(a) p = Mul(x, b) },
                   else_branch = e () => (float[3] q) { q = Sub(x, a) }>
    }"""
    )
    outcome = run(parse(text, **VALUES), FOLD)
    assert outcome.lines == [
        "y = If(c)", "  then_branch: p = Mul(x, b_1)", "  else_branch: q = Sub(x, a_1)",
    ]  # fmt: skip
    agree(outcome.before, outcome.after)


def test_a_function_and_ir_version_3_get_constant_nodes() -> None:
    body = "a = Add(k, m)\ny = Mul(x, a)"
    function = run(placed("function", body, VALUES), FOLD).after.functions[0]
    np.testing.assert_array_equal(constants(function)["a_1"], f32(4, 2, 0.5))
    text = (
        '<ir_version: 3, opset_import: ["" : 9]> g (float[3] x) => (float[3] y) {'
        + """
        k = Constant <value = float[3] {1.0, 2.0, 3.0}> ()
        a = Mul(k, k)
        y = Mul(x, a)
    }"""
    )
    outcome = run(parse(text), FOLD)
    assert not outcome.after.graph.initializer
    assert piece(outcome.after, "main") == ["y = Mul(x, a_1)"]
    np.testing.assert_array_equal(constants(outcome.after.graph)["a_1"], f32(1, 4, 9))
    agree(outcome.before, outcome.after)
    assert run(outcome.model, FOLD).unchanged


@pytest.mark.parametrize("place", PLACES)
def test_a_graph_output_keeps_its_node(place: Place) -> None:
    outcome = run(
        placed(place, "a = Add(k, m)\nb = Mul(x, a)\ny = Exp(k)", VALUES, y="float[3]"), FOLD
    )
    assert piece(outcome.after, place) == ["b = Mul(x, a_1)", "y = Exp(k)"]
    assert outcome.left_out == []


def test_what_a_graph_output_is_made_of_is_folded() -> None:
    text = (
        HEAD + "g (float[3] x) => (float[3] y, float[3] v) { a = Add(k, m) y = Neg(a) v = Neg(x) }"
    )
    outcome = run(parse(text, **VALUES), FOLD)
    assert outcome.lines == ["y = Neg(a_1)", "v = Neg(x)"]
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("place", GRAPHS)
def test_fresh_names(place: Place) -> None:
    body = "a = Add(k, m)\na_1 = Neg(x)\ny = Mul(a_1, a)"
    outcome = run(placed(place, body, {**VALUES, "a_2": f32(9, 9, 9)}), FOLD)
    assert piece(outcome.after, place) == ["a_1 = Neg(x)", "y = Mul(a_1, a_3)"]
    agree(outcome.before, outcome.after)


def test_cast_like_by_type() -> None:
    """The second input lends its type, whatever its values: it need not be a constant."""
    text = (
        HEAD
        + """g (float16[3] x, int32[3] n) => (float16[3] y, int32[3] v) {
        a = CastLike(k, x)
        y = Add(x, a)
        b = CastLike(k, n)
        v = Mul(n, b)
    }"""
    )
    outcome = run(parse(text, **VALUES), FOLD)
    assert outcome.lines == ["y = Add(x, a_1)", "v = Mul(n, b_1)"]
    assert outcome.weights["a_1"].dtype == np.float16
    assert outcome.weights["b_1"].dtype == np.int32
    agree(outcome.before, outcome.after)


def test_cast_like_of_an_unknown_type_stays() -> None:
    model = placed("function", "a = CastLike(k, x)\ny = Add(x, a)", VALUES, x="float16[3]")
    outcome = run(model, FOLD)
    assert piece(outcome.after, "function") == ["a = CastLike(k, x)", "y = Add(x, a)"]


def test_declared_types_go_with_the_values() -> None:
    text = (
        HEAD
        + """g (float[3] x) => (float[3] y) <float[3] a, float[3] b> {
        a = Add(k, m)
        b = Mul(x, a)
        y = Neg(b)
    }"""
    )
    outcome = run(parse(text, **VALUES), FOLD)
    assert [info.name for info in outcome.after.graph.value_info] == ["b"]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.data(), st.sampled_from(PLACES))
def test_random_webs(data: st.DataObject, place: Place) -> None:
    """Whatever depends on constants alone goes; whatever depends on x stays."""
    known = {"x": False, "k": True, "m": True}
    nodes = []
    for index in range(data.draw(st.integers(1, 7))):
        op = data.draw(st.sampled_from(["Neg", "Exp", "Add", "Mul", "Max"]))
        count = 1 if op in ("Neg", "Exp") else 2
        read = [data.draw(st.sampled_from(sorted(known))) for _ in range(count)]
        nodes.append(f"v{index} = {op}({', '.join(read)})")
        known[f"v{index}"] = all(known[name] for name in read)
    live = sum(not known[f"v{index}"] for index in range(len(nodes)))
    body = "\n".join([*nodes, f"y = Sum({', '.join(sorted(known))})"])
    outcome = run(placed(place, body, VALUES), FOLD)
    assert len(piece(outcome.after, place)) == live + 1
    agree(outcome.before, outcome.after)


def test_sibling_bodies_fold_the_same_weight_once() -> None:
    """Each alone would add a copy of the weight; together they add one and free one."""
    piece_ = """i = Constant <value = int64[1] {{1}}> () u = Unsqueeze(w, i) s = Squeeze(u, i)
        t = Transpose <perm = [1, 0]> (s) {0} = MatMul(x, t)"""
    text = (
        HEAD
        + f"""g (float[2,64] x, bool c) => (float[2,80] y) {{
        y = If(c) <then_branch = t () => (float[2,80] p) {{ {piece_.format("p")} }},
                   else_branch = e () => (float[2,80] q) {{ {piece_.format("q")} }}>
    }}"""
    )
    weight = np.random.default_rng(0).standard_normal((80, 64)).astype(np.float32)
    outcome = run(parse(text, w=weight), FOLD)
    assert sorted(outcome.weights) == ["t_1", "t_2", "w"]
    merged = run(run(outcome.model, "deduplicate_initializers").model, "eliminate_dead_nodes")
    assert list(merged.weights) == ["t_1"]
    agree(outcome.before, merged.after)
