"""deduplicate_nodes: which nodes are the same, which may not be merged, and across which scopes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

import graphopt
from graphopt.passes.eliminate.deduplicate_nodes import DeduplicateNodes
from tests.build import few, parse
from tests.passes.placed import GRAPHS, PLACES, Place, piece, placed
from tests.passes.support import Array, agree, random_feeds, run

PASS = DeduplicateNodes()
HEAD = '<ir_version: 10, opset_import: ["" : 18, "com.example" : 1]>'


def f32(*values: float) -> Array:
    return np.array(values, np.float32)


CASES: dict[str, tuple[str, list[str]]] = {
    "two": ("a = Relu(x)\nb = Relu(x)\ny = Sub(a, b)", ["a = Relu(x)", "y = Sub(a, a)"]),
    "three": (
        "a = Exp(x)\nb = Exp(x)\nd = Exp(x)\ne = Sub(b, d)\ny = Add(a, e)",
        ["a = Exp(x)", "e = Sub(a, a)", "y = Add(a, e)"],
    ),
    "a tower": (
        "a = Exp(x)\nb = Neg(a)\nd = Exp(x)\ne = Neg(d)\nf = Abs(b)\ng = Abs(e)\ny = Sub(f, g)",
        ["a = Exp(x)", "b = Neg(a)", "f = Abs(b)", "y = Sub(f, f)"],
    ),
    "equal attributes": (
        "a = Elu <alpha = 2.0> (x)\nb = Elu <alpha = 2.0> (x)\ny = Sub(a, b)",
        ["a = Elu(x)", "y = Sub(a, a)"],
    ),
    "attributes in another order": (
        "a = Selu <alpha = 2.0, gamma = 3.0> (x)\nb = Selu <gamma = 3.0, alpha = 2.0> (x)\n"
        "y = Sub(a, b)",
        ["a = Selu(x)", "y = Sub(a, a)"],
    ),
    "one constant": (
        "a = Mul(x, c)\nb = Mul(x, c)\ny = Sub(a, b)", ["a = Mul(x, c)", "y = Sub(a, a)"],
    ),
    "left out inputs": (
        "a = Clip(x, , c)\nb = Clip(x, , c)\ny = Sub(a, b)",
        ["a = Clip(x, , c)", "y = Sub(a, a)"],
    ),
    "two outputs": (
        "a, b = Split <num_outputs = 2> (x)\nd, e = Split <num_outputs = 2> (x)\n"
        "f = Concat <axis = 0> (a, e)\ng = Concat <axis = 0> (d, b)\ny = Sub(f, g)",
        ["a, b = Split(x)", "f = Concat(a, b)", "y = Sub(f, f)"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES)
def test_merges(case: str, place: Place) -> None:
    body, expected = CASES[case]
    constants = {"c": np.array(0.5, np.float32)} if "c)" in body else {}
    outcome = run(placed(place, body, constants), PASS)
    assert piece(outcome.after, place) == expected
    assert outcome.rewrites == len(body.splitlines()) - len(expected)
    assert (outcome.skipped, outcome.left_out) == ({}, [])
    agree(outcome.before, outcome.after, exact=True)


DIFFERENT: dict[str, str] = {
    "another operator": "a = Exp(x)\nb = Abs(x)\ny = Sub(a, b)",
    "another input": "a = Exp(x)\nb = Exp(a)\ny = Sub(a, b)",
    "inputs in another order": "a = Sub(x, c)\nb = Sub(c, x)\ny = Mul(a, b)",
    "another attribute": "a = Elu <alpha = 2.0> (x)\nb = Elu <alpha = 1.0> (x)\ny = Sub(a, b)",
    "an attribute more": "a = ArgMax(x)\nb = ArgMax <select_last_index = 1> (x)\n"
                         "f = Sub(a, b)\ny = Cast <to = 1> (f)",
    "-0 is another 0": "a = Elu <alpha = 0.0> (x)\nb = Elu <alpha = -0.0> (x)\ny = Div(a, b)",
    "an optional input": "a = Clip(x, c)\nb = Clip(x, , c)\ny = Sub(a, b)",
    "another constant": "a = Mul(x, c)\nb = Mul(x, d)\ny = Sub(a, b)",
    "only equal to eyes": "a = Mul(x, z)\nb = Mul(x, m)\ny = Div(a, b)",
    "another type": "a = Cast <to = 7> (x)\nb = Cast <to = 6> (x)\nf = Cast <to = 1> (a)\n"
                            "e = Cast <to = 1> (b)\ny = Sub(f, e)",
    "fewer outputs": "a, i = TopK(x, k)\nb = TopK(x, k)\nf = Cast <to = 1> (i)\ne = Add(a, f)\n"
                     "y = Sub(e, b)",
    "Dropout": "a = Dropout(x, r, t)\nb = Dropout(x, r, t)\ny = Sub(a, b)",
    "RandomNormalLike": "a = RandomNormalLike(x)\nb = RandomNormalLike(x)\ny = Sub(a, b)",
    "RandomUniformLike": "a = RandomUniformLike <seed = 1.0> (x)\n"
                         "b = RandomUniformLike <seed = 1.0> (x)\ny = Sub(a, b)",
    "RandomNormal": "a = RandomNormal <shape = [3]> ()\nb = RandomNormal <shape = [3]> ()\n"
                    "y = Sub(a, b)",
    "RandomUniform": "a = RandomUniform <shape = [3]> ()\nb = RandomUniform <shape = [3]> ()\n"
                     "y = Sub(a, b)",
    "Bernoulli": "a = Bernoulli(u)\nb = Bernoulli(u)\ny = Sub(a, b)",
    "Multinomial": "a = Multinomial(x)\nb = Multinomial(x)\nf = Sub(a, b)\ny = Cast <to = 1> (f)",
}  # fmt: skip


@pytest.mark.parametrize("case", DIFFERENT)
def test_what_differs_or_is_random_stays(case: str) -> None:
    constants: dict[str, Array] = {
        "c": f32(0.5), "d": f32(0.25), "z": f32(0.0), "m": f32(-0.0), "u": f32(0.5, 0.5, 0.5),
        "r": np.array(0.5, np.float32), "t": np.array(True), "k": np.array([3]),
    }  # fmt: skip
    assert run(placed("main", DIFFERENT[case], constants, y="float[?,?]"), PASS).unchanged


@pytest.mark.parametrize("place", PLACES)
def test_constants_are_compared_by_their_bytes(place: Place) -> None:
    constants = {"c": f32(1, 2, 3), "d": f32(1, 2, 3), "e": f32(1, 2, 3).reshape(1, 3)}
    body = "a = Mul(x, c)\nb = Mul(x, d)\nf = Mul(x, e)\ng = Sub(a, b)\ny = Add(f, g)"
    outcome = run(placed(place, body, constants), PASS)
    assert piece(outcome.after, place) == [
        "a = Mul(x, c)", "f = Mul(x, e)", "g = Sub(a, a)", "y = Add(f, g)",
    ]  # fmt: skip
    agree(outcome.before, outcome.after, exact=True)


@pytest.mark.parametrize("body", ["y = Exp(x) a = Exp(x)", "a = Exp(x) b = Neg(a) y = Exp(x)"])
def test_one_of_them_is_a_graph_output(body: str) -> None:
    text = f"{HEAD} g (float[2] x) => (float[2] y, float[2] z) {{ {body} z = Abs(a) }}"
    outcome = run(parse(text), PASS)
    assert outcome.lines[0] == "y = Exp(x)"
    assert outcome.lines[-1] == "z = Abs(y)"
    assert outcome.rewrites == 1
    agree(outcome.before, outcome.after, exact=True)


@pytest.mark.parametrize("place", GRAPHS)
def test_the_second_is_read_and_a_graph_output(place: Place) -> None:
    body = "a = Exp(x)\nd = Neg(a)\ny = Exp(x)\nu = Abs(y)\nv = Add(d, u)"
    outcome = run(placed(place, body), PASS)
    assert piece(outcome.after, place) == [
        "y = Exp(x)",
        "d = Neg(y)",
        "u = Abs(y)",
        "v = Add(d, u)",
    ]
    agree(outcome.before, outcome.after, exact=True)


def test_both_are_graph_outputs() -> None:
    text = f"""{HEAD} g (float[2] x) => (float[2] y, float[2] z, float[2] v) {{
        y = Exp(x) z = Exp(x) w = Add(y, z) v = Exp(x) u = Neg(v)
    }}"""
    outcome = run(parse(text), PASS)
    assert outcome.unchanged
    assert outcome.left_out == []


def test_outputs_that_are_left_out() -> None:
    """The first gives no indices: it cannot stand for one that does."""
    text = """g (float[1,1,4,4] x) => (float[1,1,2,2] y, int64[1,1,2,2] i) {
        a, "" = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
        b, j = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
        c, k = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
        d = Sub(a, b) y = Sub(d, c) i = Sub(j, k)
    }"""
    outcome = run(parse(HEAD + text), PASS)
    assert outcome.left_out == []
    agree(outcome.before, outcome.after, exact=True)


def test_other_domains_calls_and_bodies() -> None:
    same = "(float[2] r) { r = Neg(x) }"
    text = f"""<ir_version: 10, opset_import: ["" : 18, "local" : 1]>
        g (float[2] x, bool t) => (float[2] y) {{
            a = local.f(x) b = local.f(x) d = Sub(a, b)
            e = If(t) <then_branch = p () => {same}, else_branch = q () => {same}>
            f = If(t) <then_branch = p () => {same}, else_branch = q () => {same}>
            h = Sub(e, f) y = Add(d, h)
        }}
        <domain: "local", opset_import: ["" : 18]> f (x) => (r) {{ r = RandomNormalLike(x) }}"""
    assert run(parse(text), PASS).unchanged
    opaque = "a = com.example.Exp(x) b = com.example.Exp(x) d = Exp(x) e = Sub(a, b) y = Add(d, e)"
    assert run(parse(f"{HEAD} g (float[2] x) => (float[2] y) {{ {opaque} }}"), PASS).unchanged


def test_constant_nodes_are_another_passs_matter() -> None:
    model = placed("main", "y = Sub(c, d)", y="float[1]", ir=3, opset=9)
    for name in "dc":
        tensor = numpy_helper.from_array(f32(1))
        model.graph.node.insert(0, helper.make_node("Constant", [], [name], value=tensor))
    assert run(model, PASS).unchanged


def test_overridable_operands_are_what_the_caller_says() -> None:
    text = f"""{HEAD} g (float[2] x, float[2] c, float[2] d) => (float[2] y) {{
        a = Mul(x, c) b = Mul(x, d) e = Mul(x, c) f = Sub(a, b) h = Add(e, a) y = Add(f, h)
    }}"""
    outcome = run(parse(text, c=f32(1, 2), d=f32(1, 2)), PASS)
    assert outcome.lines[:3] == ["a = Mul(x, c)", "b = Mul(x, d)", "f = Sub(a, b)"]
    feeds = [{**random_feeds(outcome.before), **more} for more in ({}, {"c": f32(3, 4)})]
    agree(outcome.before, outcome.after, feeds, exact=True)


def nested(inner: str, *, before: str = "a = Exp(x) b = Abs(a)") -> str:
    return f"""{HEAD} g (float[2] x, bool t) => (float[2] y) {{
        {before}
        y = If(t) <then_branch = p () => (float[2] r) {{ {inner} }},
                   else_branch = q () => (float[2] s) {{ u = Exp(x) s = Neg(u) }}>
    }}"""


def test_a_body_reads_what_stands_before_it_outside() -> None:
    outcome = run(parse(nested("u = Exp(x) v = Exp(x) r = Add(u, v)")), PASS)
    assert outcome.lines == [
        "a = Exp(x)", "b = Abs(a)", "y = If(t)", "  then_branch: r = Add(a, a)",
        "  else_branch: s = Neg(a)",
    ]  # fmt: skip
    agree(outcome.before, outcome.after, exact=True)


def test_two_bodies_share_nothing() -> None:
    """One branch does not run; and what follows a body outside cannot read what is in it."""
    model = parse(nested("u = Exp(x) r = Abs(u)", before="").replace("y = If", "w = If"))
    model.graph.node.extend(
        parse("g (float[2] x) => (float[2] y) { u = Exp(x) y = Add(u, w) }").graph.node
    )
    outcome = run(model, PASS)
    assert outcome.unchanged
    agree(outcome.before, outcome.after, exact=True)


def test_the_output_of_a_body_stays_there() -> None:
    outcome = run(parse(nested("r = Exp(x)")), PASS)
    assert "  then_branch: r = Exp(x)" in outcome.lines
    assert outcome.left_out == []
    agree(outcome.before, outcome.after, exact=True)


@pytest.mark.parametrize("name", ["x", "a"])
def test_a_name_means_another_value_in_the_body(name: str) -> None:
    """The body's own `x` is another input; where it has an `a`, it cannot read the outer one."""
    text = f"""{HEAD} g (float[2] x, float[2] z, bool t) => (float[2] y) {{
        a = Exp(x) b = Abs(a)
        y = If(t) <then_branch = p () => (float[2] r) <float[2] {name} = {{1.0, 2.0}}> {{
                       u = Exp(x) r = Add(u, {name})
                   }},
                   else_branch = q () => (float[2] s) {{ s = Neg(z) }}>
    }}"""
    outcome = run(parse(text), PASS)
    assert outcome.unchanged
    agree(outcome.before, outcome.after, exact=True)


def test_loops_read_what_does_not_change() -> None:
    text = (
        HEAD
        + """g (float[2] x) => (float[2] y, float[3,2] z) {
        n = Constant <value = int64 {3}> ()
        a = Exp(x)
        y, z = Loop(n, , a) <
            body = b (int64 i, bool c, float[2] s) => (bool d, float[2] e, float[2] f) {
            d = Not(c)
            g = Exp(x)
            h = Exp(s)
            k = Exp(s)
            e = Mul(g, h)
            f = Sub(h, k)
        }>
    }"""
    )
    outcome = run(parse(text), PASS)
    assert [entry for entry in outcome.lines if "Exp" in entry] == [
        "a = Exp(x)",
        "  body: h = Exp(s)",
    ]
    agree(outcome.before, outcome.after, exact=True)


def test_the_dead_are_left_to_another_pass() -> None:
    assert run(placed("main", "a = Exp(x)\nb = Exp(x)\ny = Neg(a)"), PASS).unchanged


def test_weights_equal_by_bytes_within_the_recipe() -> None:
    body = "a = Mul(x, c)\nb = Mul(x, d)\ny = Sub(a, b)"
    result = graphopt.optimize(placed("main", body, {"c": f32(1, 2, 3), "d": f32(1, 2, 3)}))
    assert result.report.after.nodes == 2


@few
@given(st.data(), st.sampled_from(GRAPHS))
def test_random_webs(data: st.DataObject, place: Place) -> None:
    """No two nodes of the result compute the same; nothing else has changed."""
    known, nodes = ["x"], []
    for index in range(data.draw(st.integers(2, 10))):
        op, arity = data.draw(st.sampled_from([("Neg", 1), ("Exp", 1), ("Max", 2), ("Sub", 2)]))
        read = [data.draw(st.sampled_from(known[-3:])) for _ in range(arity)]
        nodes.append(f"v{index} = {op}({', '.join(read)})")
        known.append(f"v{index}")
    body = "\n".join([*nodes, f"y = Sum({', '.join(known)})"])
    outcome = run(placed(place, body), PASS)
    left = [entry.split(" = ")[1] for entry in piece(outcome.after, place)]
    assert len(left) == len(set(left))
    assert outcome.rewrites == len(nodes) + 1 - len(left)
    agree(outcome.before, outcome.after, exact=True)
