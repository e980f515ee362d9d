"""fold_shapes: shape arithmetic whose every element is known becomes a constant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

from graphopt.contract import Effect
from graphopt.passes.fold.fold_shapes import FoldShapes
from tests.build import parse
from tests.passes.contract_checks import check_situation
from tests.passes.placed import GRAPHS, PLACES, Place, piece, placed, stored
from tests.passes.support import Array, Outcome, agree, constants, random_feeds, run

FOLD = FoldShapes()
HEAD = '<ir_version: 10, opset_import: ["" : 18, "local" : 1, "com.example" : 1]>'
WORLDS = [{"N": 2, "C": 3}, {"N": 1, "C": 1}, {"N": 5, "C": 4}]


def i64(*values: Any) -> Array:
    return np.array(values, np.int64)


def folded(
    graph: str | ModelProto, worlds: Sequence[Mapping[str, int]] = WORLDS, **constants: Any
) -> Outcome:
    """Run the pass; the answers must stay the same, bit by bit, for every choice of sizes."""
    model = parse(HEAD + graph, **constants) if isinstance(graph, str) else graph
    outcome = run(model, FOLD)
    assert outcome.left_out == []
    feeds = [random_feeds(model, seed, sizes) for seed, sizes in enumerate(worlds)]
    agree(outcome.before, outcome.after, feeds, exact=True)
    return outcome


def used(outcome: Outcome, name: str) -> Array:
    """The constant that took the place of a value."""
    (found,) = (array for key, array in outcome.weights.items() if key.startswith(f"{name}_"))
    return found


def test_effect() -> None:
    assert FOLD.effect is Effect.IDENTICAL


@pytest.mark.parametrize(
    ("nodes", "value", "expected"),
    [
        ("k = Shape <start = 1> (x)", "k", i64(4, 6)),
        ("s = Shape(x) k = Gather(s, z)", "k", np.int64(4)),
        ("s = Shape(x) t = Gather(s, z) k = Unsqueeze(t, o)", "k", i64(4)),
        ("s = Shape <start = 1> (x) k = Cast <to = 6> (s)", "k", np.array([4, 6], np.int32)),
        ("s = Shape(x) t = Sub(s, s) k = ReduceProd(t)", "k", i64(0)),
        ("s = Shape(x) t = Mul(s, two) k = Mod(t, two)", "k", i64(0, 0, 0)),
        ("s = Shape(x) t = Mul(s, s) u = Div(t, s) k = Sub(u, s)", "k", i64(0, 0, 0)),
        ("s = Shape(x) t = Add(s, two) k = Greater(t, s)", "k", np.array([True] * 3)),
        ("s = Shape(x) m = Sub(o, two) k = Equal(s, m)", "k", np.array([False] * 3)),
        ("t = Transpose <perm = [1, 0, 2]> (x) k = Shape <end = 1> (t)", "k", i64(4)),
        ("t = Concat <axis = 1> (x, x) k = Shape <start = 1> (t)", "k", i64(8, 6)),
        ("t = Flatten(x) k = Shape <start = 1> (t)", "k", i64(24)),
    ],
)
def test_a_known_value_becomes_a_constant(nodes: str, value: str, expected: Array) -> None:
    outcome = folded(
        f"g (float[N,4,6] x) => (float[N,4,6] y, int64[?] c) "
        f"{{ {nodes} w = CastLike(k, x) v = ReduceSum(w) y = Add(x, v) i = Identity(k)"
        " j = Cast <to = 7> (i) c = Reshape(j, m1) }",
        z=np.int64(1), o=i64(0), two=i64(2, 2, 2)[:1], m1=i64(-1),
    )  # fmt: skip
    found = used(outcome, value)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_only_what_is_read_afterwards_is_stored() -> None:
    """In a chain of known values the last one alone; what leads up to it is left to die."""
    outcome = folded(
        "g (float[N,4,6] x) => (int64[?] y) { s = Shape(x) h = Gather(s, z) w = Gather(s, o)"
        " p = Mul(h, w) q = Add(p, o) n = Shape(p) u = Add(q, o) c = Shape <end = 1> (x)"
        " y = Mul(c, u) }",
        z=i64(1), o=i64(2),
    )  # fmt: skip
    assert set(outcome.weights) == {"z", "o", "u_1"}
    assert outcome.rewrites == 1
    assert outcome.lines[-1] == "y = Mul(c, u_1)"


def test_a_value_with_a_reader_that_is_not_known_is_stored() -> None:
    outcome = folded(
        "g (float[N,4] x, int64[1] i) => (int64[?] y, int64[?] z) {"
        "h = Shape <start = 1> (x) p = Mul(h, h) y = Mul(h, i) z = Mul(p, i) }"
    )
    assert set(outcome.weights) == {"h_1", "p_1"}


def test_a_graph_output_keeps_being_computed() -> None:
    outcome = folded("g (float[N,4] x) => (int64[1] k) { k = Shape <start = 1> (x) }")
    assert (outcome.rewrites, outcome.unchanged) == (0, True)
    outcome = folded(
        "g (float[N,4] x) => (int64[1] k, int64[?] y) {"
        "h = Shape <start = 1> (x) k = Mul(h, h) y = Mul(k, k) }"
    )
    assert outcome.lines[1] == "k = Mul(h_1, h_1)"


def test_open_sizes_stay_computed() -> None:
    outcome = folded("g (float[N,C] x) => (int64[2] y) { s = Shape(x) t = Add(s, s) y = Neg(t) }")
    assert outcome.unchanged


def test_a_constant_already() -> None:
    outcome = folded(
        "g (int64[2] x) => (int64[2] y) { k = Constant <value_ints = [1, 2]> () y = Add(x, k) }"
    )
    assert outcome.unchanged


BODY = "s = Shape(x)\nh = Gather(s, k)\nf = Cast <to = 1> (h)\ny = Mul(x, f)"


@pytest.mark.parametrize("place", GRAPHS)
@pytest.mark.parametrize("captured", [False, True])
def test_in_a_body(place: Place, captured: bool) -> None:
    """A Loop's body states the size of what it carries; that need not hold in every turn."""
    model = placed(place, BODY, {"k": i64(1)}, captured=captured)
    outcome = run(model, FOLD)
    assert outcome.left_out == []
    agree(outcome.before, outcome.after, exact=True)
    if place != "loop":
        assert piece(outcome.after, place)[2] == "f = Cast(h_1)"
        assert "h_1" in stored(outcome.after, place)


def test_what_a_loop_reads_from_outside_has_one_size() -> None:
    body = "s = Shape(x0)\nh = Gather(s, k)\nf = Cast <to = 1> (h)\ny = Mul(x, f)"
    outcome = run(placed("loop", body, {"k": i64(1)}), FOLD)
    assert piece(outcome.after, "loop")[2] == "f = Cast(h_1)"
    agree(outcome.before, outcome.after, exact=True)


def test_functions_have_no_sizes() -> None:
    """What calls them may give them anything; they are left alone, and so is a call."""
    outcome = run(placed("function", BODY, {"k": i64(1)}), FOLD)
    assert outcome.unchanged
    model = parse(
        HEAD
        + """g (float[2,3] x) => (int64[?] y) {
            a = local.rows(x) t = Transpose(x) b = local.rows(t) y = Concat <axis = 0> (a, b) }
        <domain: "local", opset_import: ["" : 18]>
        rows (v) => (r) { s = Shape(v) z = Constant <value_ints = [0]> () r = Gather(s, z) }"""
    )
    outcome = run(model, FOLD)
    assert outcome.left_out == []
    agree(outcome.before, outcome.after, exact=True)
    assert [entry for entry in outcome.lines if "local.rows" in entry]


@pytest.mark.parametrize("place", PLACES)
def test_everywhere_it_stays_valid(place: Place) -> None:
    body = "s = Shape(x) c = Mul(s, s) d = Div(c, s) t = Concat <axis = 0> (d) y = Reshape(x, t)"
    model = placed(place, body)
    outcome = run(model, FOLD)
    assert outcome.left_out == []
    agree(outcome.before, outcome.after, exact=True)


def test_ir_version_3_has_no_constants_but_nodes() -> None:
    """There every initializer is an input, which counts as one that a caller may override."""
    text = '<ir_version: 3, opset_import: ["" : 13]> g (float[N,4] x{}) => (int64[1] y) {{ {} {} }}'
    nodes = "s = Shape(x) h = Gather(s, k) n = Shape(s) y = Add(h, n)"
    outcome = folded(parse(text.format("", "k = Constant <value_ints = [1]> ()", nodes)))
    assert constants(outcome.after.graph)["h_1"] == i64(4)
    assert constants(outcome.after.graph)["n_1"] == i64(2)
    assert outcome.weights == {}
    model = parse(text.format(", int64[1] k", "", nodes), k=i64(1))
    overridable = run(model, FOLD)
    assert "y = Add(h, n_1)" in overridable.lines
    agree(overridable.before, overridable.after, exact=True)


def test_an_initializer_that_may_be_overridden_is_no_constant() -> None:
    model = parse(
        HEAD + "g (float[N,4] x, int64[1] k) => (int64[1] y) { s = Shape(x) y = Gather(s, k) }",
        k=i64(1),
    )
    outcome = run(model, FOLD)
    assert outcome.unchanged


@pytest.mark.parametrize("domain", ["com.example", "local"])
def test_a_twin_of_another_domain_teaches_nothing(domain: str) -> None:
    twin = f"g (float[3,4] x) => (int64[2] y) {{ s = {domain}.Shape(x) t = Add(s, s) y = Neg(t) }}"
    if domain == "local":
        twin += '<domain: "local", opset_import: ["" : 18]> Shape (v) => (r) { r = Size(v) }'
    assert run(parse(HEAD + twin), FOLD).unchanged


def test_a_standard_operator_overridden_by_a_function() -> None:
    """A local function may have the name of a standard operator: its body counts."""
    text = """<ir_version: 10, opset_import: ["" : 18]>
        g (float[3,4] x) => (int64[2] y) { s = Shape(x) t = Add(s, s) y = Neg(t) }
        <domain: "", opset_import: ["" : 18]>
        Shape (v) => (r) { r = Constant <value_ints = [7, 7]> () }"""
    outcome = run(parse(text), FOLD)
    assert "s_1" not in outcome.weights


def test_values_of_every_reader_are_replaced() -> None:
    """Two readers, one of them twice, one in a branch."""
    outcome = folded(
        """g (float[N,4] x, bool c) => (int64[1] y, int64[1] z) {
            h = Shape <start = 1> (x)
            a = Shape <end = 1> (x)
            b = Add(h, a)
            y = Mod(b, h)
            z = If (c) <
                then_branch = yes () => (int64[1] p) { p = Mul(h, a) },
                else_branch = no () => (int64[1] q) { q = Sub(a, h) }
            > }"""
    )
    assert outcome.lines[2:4] == ["b = Add(h_1, a)", "y = Mod(b, h_1)"]
    assert "  then_branch: p = Mul(h_1, a)" in outcome.lines
    assert outcome.weights == {"h_1": i64(4)}


def test_a_fresh_name_is_taken() -> None:
    outcome = folded(
        "g (float[N,4] x, int64[1] h_1) => (int64[1] y) { h = Shape <start = 1> (x)"
        " y = Mul(h, h_1) }"
    )
    assert outcome.lines[1] == "y = Mul(h_2, h_1)"


@pytest.mark.parametrize(
    "graph",
    [
        "g (float[N,4,6] x) => (float[?,?] y) { s = Shape(x) n = Gather(s, z) u = Unsqueeze(n, o)"
        " t = Concat <axis = 0> (u, m1) y = Reshape(x, t) }",
        "g (float[N,4,6] x) => (float[?,?,?] y) { s = Shape(x) e = Expand(x, s) y = Add(x, e) }",
        "g (float[N,C,6] x) => (float[?,?,?] y) { s = Shape(x) r = Shape(x) e = Expand(one, r)"
        " f = Expand(one, s) g = Add(e, f) y = Add(x, g) }",
    ],
)
def test_the_contract(graph: str) -> None:
    """Verified by graphopt itself, the same bytes again, nothing left for a second run."""
    model = parse(
        HEAD + graph, z=np.array(0), o=i64(0), m1=i64(-1), one=np.ones((1, 1, 1), np.float32)
    )
    assert check_situation(FOLD, model).report.changed
