"""fold_shapes: tensors that are equal for every size are computed once, where that may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from graphopt.passes.fold.fold_shapes import FoldShapes
from tests.build import parse
from tests.passes.support import Array, Outcome, agree, bodies, lines, random_feeds, run

FOLD = FoldShapes()
HEAD = '<ir_version: 10, opset_import: ["" : 18]>'
WORLDS = [{"N": 2, "C": 3, "M": 4}, {"N": 5, "C": 1, "M": 2}]


def i64(*values: int) -> Array:
    return np.array(values, np.int64)


def shared(graph: str, worlds: Sequence[Mapping[str, int]] = WORLDS, **constants: Array) -> Outcome:
    """Run the pass; the answers stay the same. Even and odd seeds take different branches."""
    model = parse(HEAD + graph, **constants)
    outcome = run(model, FOLD)
    assert outcome.left_out == []
    feeds = [random_feeds(model, seed, sizes) for sizes in worlds for seed in (0, 1)]
    agree(outcome.before, outcome.after, feeds, exact=True)
    return outcome


def inside(outcome: Outcome, name: str) -> list[str]:
    """The nodes of a body, named by its owner's first output and its attribute."""
    return lines(bodies(outcome.after.graph)[name])


def test_equal_sizes_are_computed_once() -> None:
    outcome = shared(
        "g (float[N,C] x, float[N] v) => (int64[1] y) {"
        "a = Shape <end = 1> (x) b = Shape(v) c = Add(a, b) d = Mul(b, k) y = Sub(c, d) }",
        k=i64(2),
    )
    assert outcome.lines[2:] == ["c = Add(a, a)", "d = Mul(a, k)", "y = Sub(c, c)"]
    assert outcome.rewrites == 2


def test_equal_by_algebra() -> None:
    outcome = shared(
        "g (float[N,C] x) => (int64[?] y) {"
        "n = Shape <end = 1> (x) c = Shape <start = 1> (x) p = Mul(n, c) q = Mul(n, k)"
        "s = Size(x) r = Reshape(s, k1) u = Add(p, q) w = Add(c, k) t = Mul(w, n)"
        "y = Concat <axis = 0> (r, u, t) }",
        k=i64(2), k1=i64(1),
    )  # fmt: skip
    assert outcome.lines[-1] == "y = Concat(p, u, u)"


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        ("a = Shape(x) b = Cast <to = 6> (a) y = Neg(a) z = Neg(b)", "int64[2] y, int32[2] z"),
        ("a = Shape(v) b = Squeeze(a) y = Neg(a) z = Neg(b)", "int64[1] y, int64 z"),
        ("a = Shape(v) b = Size(v) y = Neg(a) z = Neg(b)", "int64[1] y, int64 z"),
        ("a = Shape(x) t = Transpose(x) b = Shape(t) y = Neg(a) z = Neg(b)",
         "int64[2] y, int64[2] z"),
        ("a = Shape(v) b = Shape(w) y = Neg(a) z = Neg(b)", "int64[1] y, int64[1] z"),
        ("a = Shape(v) b = Add(a, k) y = Neg(a) z = Neg(b)", "int64[1] y, int64[1] z"),
        ("p = NonZero(v) q = NonZero(w) a = Shape(p) b = Shape(q) y = Neg(a) z = Neg(b)",
         "int64[2] y, int64[2] z"),
    ],
)  # fmt: skip
def test_another_type_shape_or_size_is_another_value(nodes: str, outputs: str) -> None:
    outcome = shared(
        f"g (float[N,C] x, float[N] v, float[M] w) => ({outputs}) {{ {nodes} }}", k=i64(1)
    )
    assert outcome.lines[-2:] == ["y = Neg(a)", "z = Neg(b)"]


def test_the_first_in_order_stays() -> None:
    outcome = shared(
        "g (float[N] x, float[N] v) => (int64[1] y, int64[1] z) {"
        "b = Shape(v) y = Neg(b) a = Shape(x) z = Abs(a) }"
    )
    assert outcome.lines == ["b = Shape(v)", "y = Neg(b)", "a = Shape(x)", "z = Abs(b)"]


def test_two_graph_outputs_stay_two() -> None:
    outcome = shared(
        "g (float[N] x, float[N] v) => (int64[1] a, int64[1] b, int64[1] y) {"
        "a = Shape(x) b = Shape(v) y = Add(a, b) }"
    )
    assert {"a", "b"} <= {entry.split(" = ")[0] for entry in outcome.lines}


def test_a_graph_output_among_equal_values() -> None:
    """It keeps its name, whoever computes it; the third one is not lost on the way."""
    outcome = shared(
        "g (float[N] x, float[N] v, float[N] w) => (int64[1] b, int64[1] y) {"
        "a = Shape(x) e = Abs(a) b = Shape(v) f = Mul(b, e) c = Shape(w) y = Add(c, f) }"
    )
    assert sum(entry.startswith("b = Shape") for entry in outcome.lines) == 1
    assert [entry for entry in outcome.lines if "Shape" not in entry] == [
        "e = Abs(b)", "f = Mul(b, e)", "y = Add(b, f)",
    ]  # fmt: skip


IF = """{} = If (flag) <
    then_branch = yes () => (int64[?] p) {{ {} }},
    else_branch = no () => (int64[?] q) {{ {} }}
>"""
TWO = "float[N] x, float[N] v, bool flag"


def test_a_branch_reads_what_stands_before_it() -> None:
    nodes = IF.format("y", "b = Shape(v) p = Neg(b)", "c = Shape(v) q = Abs(c)")
    outcome = shared(f"g ({TWO}) => (int64[?] y) {{ a = Shape(x) u = Abs(a) {nodes} }}")
    assert inside(outcome, "y.then_branch") == ["b = Shape(v)", "p = Neg(a)"]
    assert inside(outcome, "y.else_branch") == ["c = Shape(v)", "q = Abs(a)"]


def test_nothing_reads_into_a_branch() -> None:
    """Neither the other branch nor what stands behind the If; nor the If what stands behind it."""
    nodes = IF.format("y", "b = Shape(v) p = Neg(b)", "c = Shape(v) d = Shape(x) q = Add(c, d)")
    outcome = shared(
        f"g ({TWO}) => (int64[?] y, int64[?] z) {{ {nodes} a = Shape(x) d2 = Shape(v)"
        " z = Add(a, d2) }"
    )
    assert inside(outcome, "y.then_branch") == ["b = Shape(v)", "p = Neg(b)"]
    assert inside(outcome, "y.else_branch")[-1] == "q = Add(c, c)"
    assert outcome.lines[-1] == "z = Add(a, a)"


def test_the_output_of_a_branch_is_its_own() -> None:
    nodes = IF.format("y", "p = Shape(v)", "q = Shape(v)")
    outcome = shared(f"g ({TWO}) => (int64[?] y) {{ a = Shape(x) u = Abs(a) {nodes} }}")
    assert inside(outcome, "y.then_branch") == ["p = Shape(v)"]
    assert inside(outcome, "y.else_branch") == ["q = Shape(v)"]


def test_an_if_in_an_if() -> None:
    outcome = shared(
        f"""g ({TWO}) => (int64[1] y) {{
            y = If (flag) <
                then_branch = yes () => (int64[1] p) {{
                    b = Shape(v)
                    r = If (flag) <
                        then_branch = yes2 () => (int64[1] i) {{ d = Shape(x) i = Neg(d) }},
                        else_branch = no2 () => (int64[1] j) {{ e = Shape(v) j = Abs(e) }}
                    >
                    p = Add(b, r)
                }},
                else_branch = no () => (int64[1] q) {{ q = Shape(v) }}
            > }}"""
    )
    then = inside(outcome, "y.then_branch")
    assert "  then_branch: i = Neg(b)" in then
    assert "  else_branch: j = Abs(b)" in then


def test_a_body_where_the_name_is_taken() -> None:
    """`a` is another value in the branch, so what reads `b` there must go on reading it."""
    outcome = shared(
        f"""g ({TWO}) => (int64[?] y) {{
            a = Shape(x)
            u = Abs(a)
            b = Shape(v)
            w = Neg(b)
            y = If (flag) <
                then_branch = yes () => (int64[1] p) <int64[1] a = {{100}}> {{ p = Add(a, b) }},
                else_branch = no () => (int64[1] q) {{ q = Add(w, u) }}
            > }}"""
    )
    assert inside(outcome, "y.then_branch") == ["p = Add(a, b)"]


LOOP = """turns = Constant <value_int = 3> ()
    yes = Constant <value = bool {{1}}> ()
    fin, all = Loop(turns, yes, x) <
        body = b (int64 i, bool on, float{dims} v) => (bool on2, float[?] v2, int64[1] one) {{
            on2 = Identity(on)
            {nodes}
        }}
    >"""
GROWS = "v2 = Concat <axis = 0> (v, v)"
FLAT = "m = Constant <value = int64[1] {-1}> () f = Reshape(v, m)"
"""The rank of what a Loop carries is not known, whatever the body declares; that of f is."""


@pytest.mark.parametrize("dims", ["[?]", "[N]", "[M]"])
def test_what_varies_in_a_loop(dims: str) -> None:
    """v starts as x and doubles: its size is the size of x in the first turn alone.

    A body may call a dimension by the name that the main graph uses; it promises nothing.
    """
    body = f"{GROWS} s = Shape(v) t = Shape(v2) u = Add(s, t) m = Shape(x) one = Sub(u, m)"
    outcome = shared(
        f"""g (float[N] x) => (int64[?] y, int64[?,1] all) {{
            a = Shape(x) z = Abs(a)
            {LOOP.format(dims=dims, nodes=body)}
            f = Shape(fin) y = Sub(f, z) }}"""
    )
    found = inside(outcome, "fin.body")
    assert found[-1] == "one = Sub(u, a)"
    assert "u = Add(s, t)" in found
    assert outcome.lines[-1] == "y = Sub(f, z)"


def test_what_varies_is_shared_within_a_turn() -> None:
    rest = "s = Shape(f) t = Shape(v2) w = Add(s, s) u = Mul(t, s) one = Add(u, w)"
    body = f"{FLAT} {GROWS.replace('(v, v)', '(f, f)')} {rest}"
    outcome = shared(
        f"g (float[N] x) => (int64[?,1] all) {{ {LOOP.format(dims='[?]', nodes=body)} }}"
    )
    assert inside(outcome, "fin.body")[-2:] == ["u = Mul(t, s)", "one = Add(u, t)"]


def test_two_loops_of_one_kind() -> None:
    """Equal text in two bodies is not one value."""
    body = f"{GROWS} s = Shape(v) u = Neg(s) one = Abs(u)"
    first = LOOP.format(dims="[?]", nodes=body)
    second = (
        first.replace("fin, all", "fin2, all2").replace("turns", "turns2").replace("yes", "yes2")
    )
    outcome = shared(f"g (float[N] x) => (int64[?,1] all, int64[?,1] all2) {{ {first} {second} }}")
    assert outcome.unchanged


def test_a_loop_in_a_loop() -> None:
    """The inner body reads the size of the outer one's value, which does not vary within it."""
    inner = """last, alls = Loop(turns, on, v) <
        body = c (int64 j, bool o, float[?] w) => (bool o2, float[?] w2, int64[1] two) {
            o2 = Identity(o)
            w2 = Concat <axis = 0> (w, v)
            p = Shape(f)
            q = Shape(w)
            two = Sub(q, p)
        }
    >"""
    rest = "r = ReduceSum <keepdims = 0> (alls, k) one = Add(r, s)"
    body = f"{FLAT} s = Shape(f) {inner} {GROWS} {rest}"
    outcome = shared(
        f"g (float[N] x) => (int64[?,1] all) {{ {LOOP.format(dims='[?]', nodes=body)} }}",
        k=i64(0),
    )
    assert "  body: two = Sub(q, s)" in inside(outcome, "fin.body")


def test_slices_of_a_scan() -> None:
    """A body's input is a row of what the Scan reads, whatever its dimensions are called."""
    outcome = shared(
        """g (float[N] x, float[M,C] rows) => (float[?] fin, int64[?,1] all, int64[1] y) {
            a = Shape(x)
            fin, all = Scan <num_scan_inputs = 1,
                body = b (float[N] state, float[N] row) => (float[N] next, int64[1] one) {
                    next = Identity(state)
                    s = Shape(row)
                    t = Shape(state)
                    n = Neg(s)
                    one = Add(n, t)
                }
            > (x, rows)
            y = Neg(a) }"""
    )
    found = inside(outcome, "fin.body")
    assert "n = Neg(s)" in found
    assert found[-1] in ("one = Add(n, t)", "one = Add(n, a)")
