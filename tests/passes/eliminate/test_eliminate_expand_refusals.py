"""eliminate_expand: where a smaller tensor would show, and what is not known to be the same."""

from __future__ import annotations

import pytest

from tests.build import parse
from tests.passes.eliminate.expanding import EXPAND, HEAD, expanded, f32
from tests.passes.support import agree, random_feeds, run


@pytest.mark.parametrize(
    "graph",
    [
        # The result would be smaller.
        "g (float[N,C] x, float[C] m) => (float[N,C] y) {"
        " s = Shape(x) e = Expand(m, s) y = Neg(e) }",
        "g (float[N,C] x, float[C] m) => (float[N,C] y, float[N,C] z) {"
        " s = Shape(x) e = Expand(m, s) a = Neg(e) y = Add(a, x) z = Identity(a) }",
        # Sizes of the inputs have other names.
        "g (float[N,C] x, float[A,C] z, float[C] m) => (float[?,C] y) {"
        " s = Shape(z) e = Expand(m, s) y = Add(e, x) }",
        "g (float[N,C] x, float[C] m, int64[2] s) => (float[?,?] y) {"
        " e = Expand(m, s) y = Add(e, x) }",
        # It is a graph output, or its successor is.
        "g (float[N,C] x, float[C] m) => (float[N,C] y, float[N,C] e) {"
        " s = Shape(x) e = Expand(m, s) y = Add(e, x) }",
        # A reader that does not broadcast.
        "g (float[N,C] x, float[C] m) => (float[N,C] y) {"
        " s = Shape(x) e = Expand(m, s) a = Softmax(e) y = Add(a, x) }",
        "g (float[N,N] x, float[N] m) => (float[N,N] y) {"
        " s = Shape(x) e = Expand(m, s) y = MatMul(e, x) }",
        # The last bit, or the sign of a zero, may come out otherwise.
        "g (float[N,C] x, float[C] m) => (float[N,C] y) {"
        " s = Shape(x) e = Expand(m, s) a = Abs(x) y = Pow(a, e) }",
        "g (float[N,C] x, float[C] m) => (float[N,C] y) {"
        " s = Shape(x) e = Expand(m, s) a = Exp(e) y = Add(a, x) }",
        "g (float[N,C] x, float[C] m) => (float[N,C] y) {"
        " s = Shape(x) e = Expand(m, s) y = Max(e, x) }",
        # A few numbers are no burden.
        "g (int64[3] x, int64 m) => (int64[3] y) { s = Shape(x) e = Expand(m, s) y = Add(e, x) }",
        # One of two readers does not.
        "g (float[N,C] x, float[C] m) => (float[N,C] y, float[C,N] z) {"
        " s = Shape(x) e = Expand(m, s) y = Add(e, x) z = Transpose(e) }",
        # A body reads it.
        "g (float[N,C] x, float[C] m, bool b) => (float[N,C] y) {"
        " s = Shape(x) e = Expand(m, s) y = If(b) <"
        " then_branch = p () => (float[N,C] u) { u = Add(e, x) },"
        " else_branch = q () => (float[N,C] v) { v = Mul(e, x) }> }",
    ],
)
def test_refusals(graph: str) -> None:
    worlds = [{"N": 2, "C": 3, "A": 1}, {"N": 4, "C": 1, "A": 1}]
    model = parse(HEAD + graph)
    outcome = run(model, EXPAND)
    assert outcome.unchanged
    if "s)" not in graph.split("=>")[0]:
        feeds = [random_feeds(model, seed, sizes) for seed, sizes in enumerate(worlds)]
        agree(outcome.before, outcome.after, feeds, exact=True)


def test_a_long_row_of_a_table_that_stays() -> None:
    graph = (
        "g (float[N,C,300] x, int64[N] j) => (float[N,C,300] y, float[N,300] z) {"
        " s = Shape <end = 2> (x) i = ConstantOfShape <value = int64[1] {1}> (s)"
        " r = Gather(table, i) y = Add(x, r) z = Gather(table, j) }"
    )
    assert run(parse(HEAD + graph, table=f32(2, 300)), EXPAND).unchanged
    short = graph.replace("300", "30")
    assert run(parse(HEAD + short, table=f32(2, 30)), EXPAND).lines[2] == "y = Add(x, r_1)"


@pytest.mark.parametrize("index", [2, -3])
def test_a_row_that_is_not_there(index: int) -> None:
    graph = (
        "g (float[N,C,3] x) => (float[N,C,3] y) { s = Shape <end = 2> (x)"
        f" i = ConstantOfShape <value = int64[1] {{{index}}}> (s) r = Gather(table, i)"
        " y = Add(x, r) }"
    )
    assert run(parse(HEAD + graph, table=f32(2, 3)), EXPAND).unchanged


def test_columns_of_a_table_stay() -> None:
    outcome = expanded(
        "g (float[3,N,C] x) => (float[3,N,C] y) { s = Shape <start = 1> (x)"
        " i = ConstantOfShape <value = int64[1] {1}> (s) r = Gather <axis = 1> (table, i)"
        " y = Add(x, r) }",
        table=f32(3, 2),
    )  # fmt: skip
    assert outcome.unchanged


def test_before_opset_8_max_does_not_broadcast() -> None:
    head = '<ir_version: 3, opset_import: ["" : 7]>'
    graph = (
        "g (float[N,3] x, float[3] m) => (float[N,3] y) {"
        " e = Unsqueeze <axes = [0]> (m) y = Add(e, x) }"
    )
    assert run(parse(head + graph), EXPAND).unchanged
