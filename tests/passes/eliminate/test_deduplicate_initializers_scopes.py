"""deduplicate_initializers: whose constants may be merged: bodies, functions, inputs, outputs."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, TensorAnnotation, helper, numpy_helper

from graphopt.passes.eliminate.deduplicate_initializers import DeduplicateInitializers
from tests.build import parse
from tests.passes.placed import piece, placed
from tests.passes.support import Array, agree, constants, run, weights

PASS = DeduplicateInitializers()
HEAD = '<ir_version: 10, opset_import: ["" : 18]>'


def ones(*names: str) -> dict[str, Array]:
    return {name: np.ones(2, np.float32) for name in names}


def test_a_body_gives_way_to_the_outer_graph() -> None:
    text = (
        HEAD
        + """g (float[2] x, bool c) => (float[2] y) {
        a = Add(x, k)
        y = If(c) <then_branch = t () => (float[2] p) <float[2] w = {1.0, 1.0}> { p = Mul(a, w) },
                   else_branch = e () => (float[2] q) {
                       v = Constant <value = float[2] {1.0, 1.0}> () q = Sub(a, v)
                   }>
    }"""
    )
    outcome = run(parse(text, **ones("k")), PASS)
    assert outcome.lines == [
        "a = Add(x, k)",
        "y = If(c)",
        "  then_branch: p = Mul(a, k)",
        "  else_branch: q = Sub(a, k)",
    ]
    assert all(not a.g.initializer for a in outcome.after.graph.node[1].attribute)
    agree(outcome.before, outcome.after, exact=True)


def test_a_body_gives_way_to_a_constant_node_that_stands_behind_it() -> None:
    text = (
        HEAD
        + """g (float[2] x, bool c) => (float[2] y, float[2] z) {
        y = If(c) <then_branch = t () => (float[2] p) {
                       v = Constant <value = float[2] {1.0, 1.0}> () p = Add(x, v)
                   }, else_branch = e () => (float[2] q) { q = Neg(x) }>
        k = Constant <value = float[2] {1.0, 1.0}> ()
        z = Mul(x, k)
    }"""
    )
    outcome = run(parse(text), PASS)
    assert sum("Constant" in entry for entry in outcome.lines) == 1
    agree(outcome.before, outcome.after, exact=True)


def test_siblings_keep_their_own() -> None:
    text = (
        HEAD
        + """g (float[2] x, bool c) => (float[2] y) {
        y = If(c) <then_branch = t () => (float[2] p) <float[2] w = {1.0, 1.0}> { p = Mul(x, w) },
                   else_branch = e () => (float[2] q) <float[2] v = {1.0, 1.0}> { q = Sub(x, v) }>
    }"""
    )
    assert run(parse(text), PASS).unchanged


def test_siblings_of_one_name_inside_a_common_body() -> None:
    text = (
        HEAD
        + """g (float[2] x, bool c) => (float[2] y) {
        y = If(c) <then_branch = t () => (float[2] p) <float[2] k = {1.0, 1.0}> {
                       r = Mul(x, k)
                       p = If(c) <
                           then_branch = tt () => (float[2] u)
                               <float[2] w = {1.0, 1.0}> { u = Add(r, w) },
                           else_branch = te () => (float[2] v)
                               <float[2] w = {1.0, 1.0}> { v = Sub(r, w) }>
                   },
                   else_branch = e () => (float[2] q) <float[2] w = {1.0, 1.0}> { q = Sub(x, w) }>
    }"""
    )
    outcome = run(parse(text), PASS)
    assert [entry.strip() for entry in outcome.lines if "(r, " in entry] == [
        "then_branch:   then_branch: u = Add(r, k)", "then_branch:   else_branch: v = Sub(r, k)",
    ]  # fmt: skip
    assert outcome.lines[-1] == "  else_branch: q = Sub(x, w)"
    agree(outcome.before, outcome.after, exact=True)


def test_shadowed_name() -> None:
    """The outer constant's name means something else in the body: it cannot be read there."""
    text = (
        HEAD
        + """g (float[2] x, bool c) => (float[2] y) {
        a = Add(x, k)
        y = If(c) <then_branch = t () => (float[2] p)
                       <float[2] k = {5.0, 6.0}, float[2] w = {1.0, 1.0}> {
                       b = Mul(a, w) p = Add(b, k)
                   },
                   else_branch = e () => (float[2] q) { q = Neg(a) }>
    }"""
    )
    outcome = run(parse(text, **ones("k")), PASS)
    agree(outcome.before, outcome.after, exact=True)


def test_functions_keep_their_own() -> None:
    model = placed("function", "y = Add(x, k)", ones("k"), x="float[2]")
    model.graph.node[0].input[0] = "s"
    model.graph.node.insert(0, helper.make_node("Mul", ["x", "k"], ["s"]))
    model.graph.initializer.append(numpy_helper.from_array(ones("k")["k"], "k"))
    outcome = run(model, PASS)
    assert outcome.unchanged
    assert list(constants(outcome.after.functions[0])) == ["k"]


def test_overridable_initializers_never() -> None:
    text = (
        HEAD
        + "g (float[2] x, float[2] k, float[2] m) => (float[2] y) {"
        + " a = Add(x, k) b = Mul(a, m) y = Sub(b, n) }"
    )
    outcome = run(parse(text, **ones("k", "m", "n")), PASS)
    assert outcome.unchanged
    assert set(weights(outcome.after.graph)) == {"k", "m", "n"}


def graph_output(constant_first: bool) -> ModelProto:
    names = ("k", "m") if constant_first else ("m", "k")
    text = HEAD + "g (float[2] x) => (float[2] y, float[2] k) { a = Add(x, k) y = Mul(a, m) }"
    return parse(text, **ones(*names))


@pytest.mark.parametrize("first", [True, False])
def test_an_initializer_that_is_a_graph_output_stays(first: bool) -> None:
    outcome = run(graph_output(first), PASS)
    assert "k" in outcome.weights
    assert {"k", "m"} - set(outcome.weights) in ({"m"}, set())
    agree(outcome.before, outcome.after, exact=True)
    if first:
        assert outcome.lines == ["a = Add(x, k)", "y = Mul(a, k)"]


def test_two_that_are_graph_outputs_both_stay() -> None:
    text = HEAD + "g (float[2] x) => (float[2] y, float[2] k, float[2] m) { y = Neg(x) }"
    assert run(parse(text, **ones("k", "m")), PASS).unchanged


def test_ir_version_3_merges_constant_nodes() -> None:
    text = (
        '<ir_version: 3, opset_import: ["" : 9]>'
        + """g (float[2] x) => (float[2] y) {
        k = Constant <value = float[2] {1.0, 1.0}> ()
        m = Constant <value = float[2] {1.0, 1.0}> ()
        a = Add(x, k)
        y = Mul(a, m)
    }"""
    )
    outcome = run(parse(text), PASS)
    assert piece(outcome.after, "main") == ["a = Add(x, k)", "y = Mul(a, k)"]
    assert not outcome.after.graph.initializer


def test_a_quantization_annotation_follows() -> None:
    """What an annotation names must still be there, under that name or the kept one's."""
    text = HEAD + "g (float[2] x) => (float[2] y) { a = Add(x, k) y = Mul(a, m) }"
    model = parse(text, **ones("k", "m"))
    note = TensorAnnotation(tensor_name="a")
    note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="m")
    model.graph.quantization_annotation.append(note)
    after = run(model, PASS).after
    (kept,) = after.graph.quantization_annotation
    assert kept.quant_parameter_tensor_names[0].value in weights(after.graph)


def test_a_constant_that_the_graph_gives_back_stays() -> None:
    model = parse("""g (float[3] x) => (float[3] z, float[3] b) {
        a = Constant <value = float[3] {1.0, 2.0, 3.0}> ()
        y = Add(x, a)
        b = Constant <value = float[3] {1.0, 2.0, 3.0}> ()
        z = Mul(y, b)
    }""")
    outcome = run(model, DeduplicateInitializers())
    assert (outcome.rewrites, outcome.left_out) == (0, [])
