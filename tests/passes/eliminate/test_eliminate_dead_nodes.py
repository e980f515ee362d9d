"""eliminate_dead_nodes: text in, text out; what is not dead, and what may not be taken for dead."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorAnnotation, helper

from graphopt.passes.eliminate.eliminate_dead_nodes import EliminateDeadNodes
from tests.build import parse
from tests.passes.placed import PLACES, Place, piece, placed, scope_of, stored
from tests.passes.support import agree, run

PASS = EliminateDeadNodes()
HEAD = '<ir_version: 10, opset_import: ["" : 18, "com.example" : 1]>'
OPAQUE = "unread, but left alone: excluded, of another domain, or a function"

CASES: dict[str, tuple[str, list[str]]] = {
    "one node": ("d = Exp(x)\ny = Neg(x)", ["y = Neg(x)"]),
    "first": ("d = Exp(x)\na = Abs(x)\ny = Neg(a)", ["a = Abs(x)", "y = Neg(a)"]),
    "last": ("a = Abs(x)\ny = Neg(a)\nd = Exp(y)", ["a = Abs(x)", "y = Neg(a)"]),
    "chain": ("d = Exp(x)\ne = Log(d)\nf = Abs(e)\ny = Neg(x)", ["y = Neg(x)"]),
    "fork": ("d = Exp(x)\ne = Log(d)\nf = Abs(d)\ng2 = Add(e, f)\ny = Neg(x)", ["y = Neg(x)"]),
    "half of a fork": (
        "d = Exp(x)\ne = Log(d)\nf = Abs(d)\ny = Neg(e)",
        ["d = Exp(x)", "e = Log(d)", "y = Neg(e)"],
    ),
    "twins": ("d = Exp(x)\ne = Exp(x)\ny = Neg(e)", ["e = Exp(x)", "y = Neg(e)"]),
    "reads one tensor twice": ("d = Mul(x, x)\ny = Neg(x)", ["y = Neg(x)"]),
    "several outputs": (
        "d, e = Split <num_outputs = 2, axis = 0> (x)\ny = Neg(x)", ["y = Neg(x)"],
    ),
    "one of several outputs is read": (
        "d, e = Split <num_outputs = 2, axis = 0> (x)\ny = Add(e, x)",
        ["d, e = Split(x)", "y = Add(e, x)"],
    ),
    "an optional output is read": (
        "v, d = Dropout(x)\nm = Cast <to = 1> (d)\ny = Mul(x, m)",
        ["v, d = Dropout(x)", "m = Cast(d)", "y = Mul(x, m)"],
    ),
    "an optional output is left out": ('d, "" = Dropout(x)\ny = Neg(x)', ["y = Neg(x)"]),
    "random": ("d = RandomNormalLike(x)\ny = Neg(x)", ["y = Neg(x)"]),
    "reads a constant": ("d = Add(x, k)\ny = Neg(x)", ["y = Neg(x)"]),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES)
def test_removes(case: str, place: Place) -> None:
    body, expected = CASES[case]
    values = {"k": np.ones(3, np.float32)} if "k)" in body else {}
    outcome = run(placed(place, body, values), PASS)
    assert piece(outcome.after, place) == expected
    assert not stored(outcome.after, place)
    removed = body.count("\n") + 1 - len(expected) + len(values)
    assert (outcome.rewrites, outcome.unchanged) == (removed, not removed)
    assert outcome.skipped == {}
    agree(outcome.before, outcome.after, exact=True)


@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_dead(place: Place) -> None:
    model = placed(place, "a = Add(x, k)\ny = Mul(a, k)", {"k": np.ones(3, np.float32)})
    assert run(model, PASS).unchanged


def test_a_node_with_a_body() -> None:
    """It goes whole; what only the body read from outside is then dead as well."""
    text = (
        HEAD
        + """g (float[2] x, bool c) => (float[2] y) <float[2] k = {1.0, 2.0}> {
        a = Exp(x)
        d = If(c) <then_branch = t () => (float[2] p) { b = Add(a, k) p = Neg(b) },
                   else_branch = e () => (float[2] q) <float[2] w = {3.0, 4.0}> { q = Mul(x, w) }>
        y = Neg(x)
    }"""
    )
    outcome = run(parse(text), PASS)
    assert outcome.lines == ["y = Neg(x)"]
    assert outcome.weights == {}


def test_what_a_body_reads_is_alive() -> None:
    text = (
        HEAD
        + """g (float[2] x, bool c) => (float[2] y) <float[2] k = {1.0, 2.0}> {
        a = Exp(x)
        b = Log(x)
        y = If(c) <then_branch = t () => (float[2] p) { p = Add(a, k) },
                   else_branch = e () => (float[2] q) { d = Neg(b) q = Neg(x) }>
    }"""
    )
    outcome = run(parse(text), PASS)
    assert outcome.lines == [
        "a = Exp(x)", "y = If(c)", "  then_branch: p = Add(a, k)", "  else_branch: q = Neg(x)",
    ]  # fmt: skip
    assert set(outcome.weights) == {"k"}
    agree(outcome.before, outcome.after, exact=True)


def test_what_a_body_of_a_body_reads_is_alive() -> None:
    text = (
        HEAD
        + """g (float[2] x, bool c) => (float[2] y) {
        a = Exp(x)
        y = If(c) <then_branch = t () => (float[2] p) {
                       p = If(c) <then_branch = tt () => (float[2] pp) { pp = Neg(a) },
                                  else_branch = te () => (float[2] pq) { pq = Neg(x) }>
                   },
                   else_branch = e () => (float[2] q) { q = Neg(x) }>
    }"""
    )
    assert run(parse(text), PASS).unchanged


def test_a_value_that_is_a_bodys_output_alone_is_alive() -> None:
    """No node reads it: a loop body may give back its input as it is."""
    text = (
        HEAD
        + """g (float[2] x, int64 n) => (float[2] y) {
        t = Constant <value = bool {1}> ()
        y = Loop(n, t, x) <body = b (int64 i, bool go, float[2] s) => (bool go, float[2] z) {
            z = Neg(s)
        }>
    }"""
    )
    assert run(parse(text), PASS).unchanged


def test_other_domains_stay() -> None:
    text = (
        HEAD
        + """g (float[2] x) => (float[2] y) {
        a = Abs(x)
        d = com.example.Log(a)
        y = Neg(x)
    }"""
    )
    outcome = run(parse(text), PASS)
    assert outcome.unchanged
    assert outcome.skipped == {OPAQUE: 1}


def test_bodies_with_nodes_of_other_domains_stay() -> None:
    text = (
        HEAD
        + """g (float[2] x, bool c) => (float[2] y) {
        d = If(c) <then_branch = t () => (float[2] p) { p = com.example.Log(x) },
                   else_branch = e () => (float[2] q) { q = Neg(x) }>
        y = Neg(x)
    }"""
    )
    outcome = run(parse(text), PASS)
    assert outcome.unchanged
    assert outcome.skipped == {OPAQUE: 1}


def test_calls_of_functions_stay() -> None:
    model = placed("function", "y = Neg(x)")
    model.graph.node.append(helper.make_node("piece", ["x"], ["d"], domain="local"))
    outcome = run(model, PASS)
    assert outcome.unchanged
    assert outcome.skipped == {OPAQUE: 1}


@pytest.mark.parametrize("place", ["main", "if", "loop"])
def test_unused_initializers(place: Place) -> None:
    model = placed(place, "y = Add(x, k)", {"k": np.ones(3, np.float32), "u": np.ones(9)})
    outcome = run(model, PASS)
    assert stored(outcome.after, place) == {"k"}
    assert outcome.rewrites == 1
    agree(outcome.before, outcome.after, exact=True)


def test_unused_initializers_of_every_type() -> None:
    values = {
        "text": np.array(["a", "b"], object),
        "half": np.ones(3, np.float16),
        "none": np.ones((0, 3), np.float32),
        "number": np.array(3, np.int64),
    }
    outcome = run(placed("main", "y = Neg(x)", values), PASS)
    assert outcome.weights == {}
    assert outcome.rewrites == len(values)


def test_an_initializer_that_is_a_graph_output_stays() -> None:
    text = HEAD + "g (float[2] x) => (float[2] y, float[2] k) { y = Neg(x) }"
    assert run(parse(text, k=np.ones(2, np.float32)), PASS).unchanged


def test_overridable_initializers_and_unused_inputs_stay() -> None:
    text = (
        HEAD + "g (float[2] x, float[2] k, int64 unused) => (float[2] y) { d = Exp(k) y = Neg(x) }"
    )
    outcome = run(parse(text, k=np.ones(2, np.float32)), PASS)
    assert outcome.lines == ["y = Neg(x)"]
    assert set(outcome.weights) == {"k"}
    assert outcome.after.graph.input == outcome.before.graph.input


def test_inputs_of_a_loop_body_stay() -> None:
    text = (
        HEAD
        + """g (float[2] x, int64 n) => (float[2] y) {
        y, d = Loop(n, , x, x) <
            body = b (int64 i, bool go, float[2] s, float[2] r) =>
                     (bool go2, float[2] z, float[2] v) {
                go2 = Cast <to = 9> (go)
                z = Neg(s)
                dead = Exp(s)
                v = Abs(r)
            }
        >
    }"""
    )
    outcome = run(parse(text), PASS)
    (loop,) = outcome.after.graph.node
    assert list(loop.output) == ["y", "d"]
    assert outcome.lines[1:] == [
        "  body: go2 = Cast(go)",
        "  body: z = Neg(s)",
        "  body: v = Abs(r)",
    ]
    assert loop.attribute[0].g.input == outcome.before.graph.node[0].attribute[0].g.input


def test_declared_types_of_dead_values_go_too() -> None:
    text = (
        HEAD
        + "g (float[2] x) => (float[2] y) <float[2] d, float[2] a>"
        + " { d = Exp(x) a = Abs(x) y = Neg(a) }"
    )
    outcome = run(parse(text), PASS)
    assert [info.name for info in outcome.after.graph.value_info] == ["a"]


def test_a_quantization_annotation_keeps_what_it_names() -> None:
    """Scale and zero point of a tensor that lives are read by whoever reads the annotation."""
    model = parse(
        HEAD + "g (float[2] x) => (float[2] y) { a = Abs(x) y = Neg(a) }",
        a_scale=np.array(0.5, np.float32), a_zero=np.array(3, np.uint8),
        unused=np.ones(3, np.float32),
    )  # fmt: skip
    note = TensorAnnotation(tensor_name="a")
    note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="a_scale")
    note.quant_parameter_tensor_names.add(key="ZERO_POINT_TENSOR", value="a_zero")
    model.graph.quantization_annotation.append(note)
    outcome = run(model, PASS)
    assert set(outcome.weights) == {"a_scale", "a_zero"}
    assert list(outcome.after.graph.quantization_annotation) == [note]


def test_a_long_dead_chain_goes_in_one_run() -> None:
    nodes = "\n".join(f"d{i + 1} = Neg(d{i})" for i in range(300))
    outcome = run(placed("main", f"d0 = Exp(x)\n{nodes}\ny = Abs(x)"), PASS)
    assert outcome.lines == ["y = Abs(x)"]
    assert outcome.rewrites == 301


def test_nodes_in_no_order() -> None:
    """A dead reader that stands before what it reads."""
    model = parse(HEAD + "g (float[2] x) => (float[2] y) { d = Exp(x) e = Neg(d) y = Neg(x) }")
    first, second, last = model.graph.node
    nodes = [second, first, last]
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    assert scope_of(model, "main").node[0].op_type == "Neg"
    assert run(model, PASS).lines == ["y = Neg(x)"]
