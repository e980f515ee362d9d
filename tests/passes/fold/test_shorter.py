"""fold_shapes: sizes that stay open are computed by fewer nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphopt.passes.fold.fold_shapes import FoldShapes
from tests.build import parse
from tests.passes.support import Array, Outcome, agree, bodies, lines, random_feeds, run

FOLD = FoldShapes()
HEAD = '<ir_version: {ir}, opset_import: ["" : {opset}]>'
WORLDS = [{"N": 2, "C": 3, "H": 4}, {"N": 5, "C": 1, "H": 2}]
SCALARS: dict[str, Any] = {"i": np.int64(1), "j": np.int64(0), "z": np.array([0], np.int64)}


def i64(*values: int) -> Array:
    return np.array(values, np.int64)


def done(graph: str, *, opset: int = 17, ir: int = 8, **constants: Array) -> Outcome:
    """Run the pass; the answers stay the same."""
    model = parse(HEAD.format(opset=opset, ir=ir) + graph, **SCALARS, **constants)
    outcome = run(model, FOLD)
    assert outcome.left_out == []
    feeds = [random_feeds(model, seed, sizes) for sizes in WORLDS for seed in (0, 1)]
    agree(outcome.before, outcome.after, feeds, exact=True)
    return outcome


def attributes(outcome: Outcome, output: str) -> dict[str, int]:
    (node,) = (n for n in outcome.after.graph.node if output in n.output)
    return {a.name: a.i for a in node.attribute}


ONE = "g (float[N,C,H] x) => (int64[1] y) {"


def test_shape_gather_unsqueeze_is_a_shape() -> None:
    outcome = done(ONE + "s = Shape(x) g = Gather(s, i) u = Unsqueeze(g, z) y = Neg(u) }")
    assert "u = Shape(x)" in outcome.lines
    assert attributes(outcome, "u") == {"start": 1, "end": 2}


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ("s = Shape(x) u = Gather(s, k) y = Neg(u)", {"start": 1, "end": 3}),
        ("s = Shape(x) u = Slice(s, a, b) y = Neg(u)", {"start": 0, "end": 2}),
        ("s = Shape(x) p = Gather(s, j) q = Unsqueeze(p, z) t = Slice(s, a1, c)"
         " u = Concat <axis = 0> (q, t) y = Neg(u)", {"start": 0, "end": 2}),
    ],
)  # fmt: skip
def test_dimensions_that_follow_each_other(nodes: str, expected: dict[str, int]) -> None:
    head = "g (float[N,C,H] x) => (int64[2] y) {"
    constants: dict[str, Any] = {
        "k": i64(1, 2),
        "a": i64(0),
        "b": i64(2),
        "a1": i64(1),
        "c": i64(2),
    }
    outcome = done(head + nodes + " }", **constants)
    assert attributes(outcome, "u") == expected


def test_the_whole_shape() -> None:
    head = "g (float[N,C] x, float[N] v) => (int64[2] y) {"
    outcome = done(head + "s = Shape(x) u = Gather(s, k) y = Neg(u) }", k=i64(0, 1))
    assert outcome.lines[-1] == "y = Neg(s)"


def test_an_inputs_shape_in_place_of_a_later_ones() -> None:
    outcome = done(
        ONE + "a = Relu(x) s = Shape(a) g = Gather(s, i) u = Unsqueeze(g, z) y = Neg(u) }"
    )
    assert "u = Shape(x)" in outcome.lines


def test_sizes_that_only_an_inner_value_has() -> None:
    outcome = done(
        ONE
        + "a = NonZero(x) b = Neg(a) s = Shape(b) g = Gather(s, i) u = Unsqueeze(g, z) y = Neg(u) }"
    )
    assert "u = Shape(b)" in outcome.lines


def test_a_number_beside_its_vector() -> None:
    head = "g (float[N,C,H] x) => (int64[1] y, int64 w) {"
    outcome = done(
        head + "s = Shape(x) g = Gather(s, i) w = Neg(g) u = Unsqueeze(g, z) y = Neg(u) }"
    )
    assert [line for line in outcome.lines if "s = " not in line] == [
        "u = Shape(x)", "g = Squeeze(u)", "w = Neg(g)", "y = Neg(u)",
    ]  # fmt: skip


def test_a_number_alone_stays() -> None:
    outcome = done("g (float[N,C,H] x) => (int64 w) { s = Shape(x) g = Gather(s, i) w = Neg(g) }")
    assert outcome.unchanged


def test_before_opset_15_a_gather_takes_vectors() -> None:
    outcome = done(ONE + "s = Shape(x) g = Gather(s, i) u = Unsqueeze(g, z) y = Neg(u) }", opset=14)
    assert any(line.startswith("u = Gather(s, ") for line in outcome.lines)
    old = done(
        ONE + "s = Shape(x) g = Gather(s, i) u = Unsqueeze <axes = [0]> (g) y = Neg(u) }", opset=11
    )
    assert any(line.startswith("u = Gather(s, ") for line in old.lines)


def test_where_the_graph_stores_no_initializers_nothing_is_added() -> None:
    text = HEAD.format(opset=12, ir=3) + ONE
    nodes = "i = Constant <value = int64 {1}> () s = Shape(x) g = Gather(s, i)"
    model = parse(text + nodes + " u = Unsqueeze <axes = [0]> (g) y = Neg(u) }")
    assert run(model, FOLD).unchanged


def test_a_where_over_known_sizes_is_a_concat() -> None:
    head = "g (float[N,C,H] x) => (int64[3] y) {"
    outcome = done(
        head + "a = Shape <end = 1> (x) b = Shape <start = 2> (x) c = Concat <axis = 0> (a, m, b)"
        " w = Where(q, o, c) y = Neg(w) }",
        m=i64(-1), o=i64(1, 1, 1), q=np.array([False, True, False]),
    )  # fmt: skip
    assert outcome.lines[-2].startswith("w = Concat(a, ")
    assert outcome.rewrites == 1


def test_a_where_whose_operand_stays_stays() -> None:
    head = "g (float[N,C,H] x) => (int64[3] y, int64[3] v) {"
    outcome = done(
        head + "a = Shape <end = 1> (x) b = Shape <start = 2> (x) c = Concat <axis = 0> (a, m, b)"
        " w = Where(q, o, c) y = Neg(w) v = Neg(c) }",
        m=i64(-1), o=i64(1, 1, 1), q=np.array([False, True, False]),
    )  # fmt: skip
    assert outcome.unchanged


def test_a_concat_of_what_stands_elsewhere() -> None:
    """The Shape of an inner value goes where its size is there already."""
    head = "g (float[N,C,H] x) => (int64[3] y, int64[1] v) {"
    outcome = done(
        head + "a = Shape <end = 1> (x) v = Neg(a) f = Flatten(x) l = Reshape(f, k)"
        " s = Shape <end = 2> (l) c = Concat <axis = 0> (s, m) y = Neg(c) }",
        k=i64(0, 1, -1), m=i64(7),
    )  # fmt: skip
    (concat,) = (line for line in outcome.lines if line.startswith("c = "))
    assert concat.startswith("c = Concat(a, ")
    agree(outcome.before, outcome.after, [random_feeds(outcome.before, 0, WORLDS[0])], exact=True)


def test_in_a_branch() -> None:
    outcome = done(
        """g (float[N,C,H] x, bool flag) => (int64[1] y) {
            y = If (flag) <
                then_branch = yes () => (int64[1] p) {
                    s = Shape(x) g = Gather(s, i) u = Unsqueeze(g, z) p = Neg(u)
                },
                else_branch = no () => (int64[1] q) { t = Shape <end = 1> (x) q = Abs(t) }
            > }"""
    )
    assert "u = Shape(x)" in lines(bodies(outcome.after.graph)["y.then_branch"])


def test_a_graph_output_keeps_its_name() -> None:
    outcome = done(ONE + "s = Shape(x) g = Gather(s, i) y = Unsqueeze(g, z) }")
    assert outcome.lines[-1] == "y = Shape(x)"


def test_another_type_is_left_alone() -> None:
    head = "g (float[N,C,H] x) => (int32[1] y) {"
    outcome = done(
        head
        + "s = Shape(x) g = Gather(s, i) c = Cast <to = 6> (g) u = Unsqueeze(c, z) y = Neg(u) }"
    )
    assert "u = Unsqueeze(c, z)" in outcome.lines
