"""eliminate_identity: text in, text out, wherever it stands; what must stay, and why."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto

from graphopt.passes.eliminate.eliminate_identity import EliminateIdentity
from tests.build import parse
from tests.passes.placed import GRAPHS, PLACES, Place, piece, placed
from tests.passes.support import agree, run

PASS = EliminateIdentity()
HEAD = '<ir_version: 10, opset_import: ["" : 18]>'
INPUT = "a graph output would become an input or an initializer"
OUTER = "a graph output cannot come from an enclosing graph"
BOTH = "both values are graph outputs"


def same(before: ModelProto, after: ModelProto) -> None:
    agree(before, after, exact=True)


CASES: dict[str, tuple[str, list[str]]] = {
    "between two nodes": ("a = Neg(x)\ni = Identity(a)\ny = Abs(i)", ["a = Neg(x)", "y = Abs(a)"]),
    "of an input": ("i = Identity(x)\ny = Abs(i)", ["y = Abs(x)"]),
    "chain": (
        "i = Identity(x)\nj = Identity(i)\nk = Identity(j)\ny = Abs(k)", ["y = Abs(x)"],
    ),
    "chain to an output": (
        "a = Neg(x)\ni = Identity(a)\nj = Identity(i)\ny = Identity(j)", ["y = Neg(x)"],
    ),
    "output keeps its name": ("a = Neg(x)\ny = Identity(a)", ["y = Neg(x)"]),
    "output, and the value is read too": (
        "a = Neg(x)\nb = Mul(a, a)\ni = Identity(b)\nc = Abs(b)\ny = Add(i, c)",
        ["a = Neg(x)", "b = Mul(a, a)", "c = Abs(b)", "y = Add(b, c)"],
    ),
    "renamed output with other readers": (
        "a = Neg(x)\nb = Abs(a)\nc = Add(a, b)\nd = Sub(c, b)\ny = Identity(d)",
        ["a = Neg(x)", "b = Abs(a)", "c = Add(a, b)", "y = Sub(c, b)"],
    ),
    "two of one value": (
        "a = Neg(x)\ni = Identity(a)\nj = Identity(a)\ny = Sub(i, j)",
        ["a = Neg(x)", "y = Sub(a, a)"],
    ),
    "read twice by one node": ("i = Identity(x)\ny = Mul(i, i)", ["y = Mul(x, x)"]),
    "unread": ("i = Identity(x)\ny = Abs(x)", ["y = Abs(x)"]),
    "left out inputs stay left out": (
        "i = Identity(x)\ny = Clip(i, , m)", ["y = Clip(x, , m)"],
    ),
    "of a constant": ("i = Identity(m)\ny = Add(x, i)", ["y = Add(x, m)"]),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES)
def test_removes(case: str, place: Place) -> None:
    body, expected = CASES[case]
    values = {"m": np.array(0.5, np.float32)} if "m)" in body else {}
    outcome = run(placed(place, body, values), PASS)
    assert piece(outcome.after, place) == expected
    assert outcome.rewrites == body.count("Identity")
    assert outcome.skipped == {}
    same(outcome.before, outcome.after)


@pytest.mark.parametrize("place", ["if", "loop"])
def test_of_a_value_captured_from_outside(place: Place) -> None:
    body = "i = Identity(m)\ny = Add(x, i)"
    outcome = run(placed(place, body, {"m": np.array(2, np.float32)}, captured=True), PASS)
    assert piece(outcome.after, place) == ["y = Add(x, m)"]
    same(outcome.before, outcome.after)


REFUSED: dict[str, str] = {"y = Identity(x)": INPUT, "y = Identity(m)": INPUT}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("body", REFUSED)
def test_output_of_an_input_or_a_constant(body: str, place: Place) -> None:
    """Nothing would be left to write y: a function's Constant node can write it."""
    values = {"m": np.ones((2, 3), np.float32)} if "(m)" in body else {}
    outcome = run(placed(place, body, values), PASS)
    if place == "function" and values:
        assert piece(outcome.after, place) == []
        assert outcome.after.functions[0].node[-1].output[0] == "y"
    else:
        assert outcome.unchanged
        reason = OUTER if place == "if" and not values else REFUSED[body]
        assert outcome.skipped == {reason: 1}
    same(outcome.before, outcome.after)


def test_output_of_an_overridable_initializer() -> None:
    text = (
        HEAD
        + "g (float[2] x, float[2] m) => (float[2] y, float[2] z) { y = Identity(m) z = Neg(x) }"
    )
    outcome = run(parse(text, m=np.ones(2, np.float32)), PASS)
    assert outcome.unchanged
    assert outcome.skipped == {INPUT: 1}


def test_reader_of_an_overridable_initializer_may_read_it_directly() -> None:
    text = HEAD + "g (float[2] m) => (float[2] y) { i = Identity(m) y = Neg(i) }"
    outcome = run(parse(text, m=np.ones(2, np.float32)), PASS)
    assert outcome.lines == ["y = Neg(m)"]
    assert [info.name for info in outcome.after.graph.input] == ["m"]
    agree(outcome.before, outcome.after, [{}, {"m": np.full(2, 7, np.float32)}], exact=True)


def test_two_outputs_from_one_value() -> None:
    text = (
        HEAD
        + """g (float[2] x) => (float[2] y, float[2] z, float[2] v) {
        a = Neg(x)
        y = Identity(a)
        z = Identity(a)
        v = Exp(a)
    }"""
    )
    outcome = run(parse(text), PASS)
    assert outcome.lines == ["y = Neg(x)", "z = Identity(y)", "v = Exp(y)"]
    assert outcome.skipped == {BOTH: 1}
    same(outcome.before, outcome.after)


def test_value_and_its_copy_are_both_outputs() -> None:
    text = HEAD + "g (float[2] x) => (float[2] a, float[2] y) { a = Neg(x) y = Identity(a) }"
    outcome = run(parse(text), PASS)
    assert outcome.unchanged
    assert outcome.skipped == {BOTH: 1}


def test_one_value_twice_among_the_outputs() -> None:
    text = (
        HEAD
        + """g (float[2] x, bool c) => (float[2] u, float[2] v) {
        u, v = If(c) <then_branch = t () => (float[2] p, float[2] p) { a = Neg(x) p = Identity(a) },
                      else_branch = e () => (float[2] q, float[2] r) { q = Exp(x) r = Abs(x) }>
    }"""
    )
    outcome = run(parse(text), PASS)
    assert outcome.lines[1] == "  then_branch: p = Neg(x)"
    assert [info.name for info in outcome.after.graph.node[0].attribute[0].g.output] == ["p", "p"]


def test_readers_in_bodies_follow() -> None:
    text = (
        HEAD
        + """g (float[2] x, bool c) => (float[2] y) {
        a = Neg(x)
        i = Identity(a)
        y = If(c) <then_branch = t () => (float[2] p) {
                       p = If(c) <then_branch = tt () => (float[2] pp) { pp = Exp(i) },
                                  else_branch = te () => (float[2] pq) { pq = Abs(i) }>
                   },
                   else_branch = e () => (float[2] q) { q = Add(i, i) }>
    }"""
    )
    outcome = run(parse(text), PASS)
    assert outcome.lines == [
        "a = Neg(x)",
        "y = If(c)",
        "  then_branch: p = If(c)",
        "  then_branch:   then_branch: pp = Exp(a)",
        "  then_branch:   else_branch: pq = Abs(a)",
        "  else_branch: q = Add(a, a)",
    ]
    same(outcome.before, outcome.after)


def test_output_that_a_body_reads_keeps_its_name() -> None:
    """The producer is renamed to the output; the body's reader of the old name follows."""
    text = (
        HEAD
        + """g (float[2] x, bool c) => (float[2] y, float[2] z) {
        a = Neg(x)
        z = If(c) <then_branch = t () => (float[2] p) { p = Exp(a) },
                   else_branch = e () => (float[2] q) { q = Abs(a) }>
        y = Identity(a)
    }"""
    )
    outcome = run(parse(text), PASS)
    assert outcome.lines == [
        "y = Neg(x)", "z = If(c)", "  then_branch: p = Exp(y)", "  else_branch: q = Abs(y)",
    ]  # fmt: skip
    same(outcome.before, outcome.after)


def test_body_output_that_comes_from_outside_is_refused() -> None:
    text = (
        HEAD
        + """g (float[2] x, bool c) => (float[2] y) {
        a = Neg(x)
        y = If(c) <then_branch = t () => (float[2] p) { p = Identity(a) },
                   else_branch = e () => (float[2] q) { q = Identity(x) }>
    }"""
    )
    outcome = run(parse(text), PASS)
    assert outcome.unchanged
    assert outcome.skipped == {OUTER: 2}


SHADOWED = {
    "body initializer": """y = If(c) <
        then_branch = t () => (float[2] p) <float[2] a = {1.0, 2.0}> { p = Add(a, i) },
        else_branch = e () => (float[2] q) { q = Neg(i) }>""",
    "loop variable": """n = Constant <value = int64 {2}> ()
        y = Loop(n, , x) <body = b (int64 k, bool go, float[2] a) => (bool go2, float[2] p) {
            go2 = Cast <to = 9> (go)
            p = Add(a, i)
        }>""",
}


@pytest.mark.parametrize("case", SHADOWED)
def test_shadowed_name(case: str) -> None:
    """A body may define its own `a`; a reader of `i` in there must not get that one."""
    nodes = f"a = Exp(x) i = Identity(a) {SHADOWED[case]}"
    outcome = run(parse(f"{HEAD} g (float[2] x, bool c) => (float[2] y) {{ {nodes} }}"), PASS)
    same(outcome.before, outcome.after)


def test_a_body_defines_the_outputs_name() -> None:
    """Renaming the producer to `y` must not let the reader of `a` meet a body's own `y`."""
    text = (
        HEAD
        + """g (float[2] x, bool c) => (float[2] y, float[2] z) {
        a = Neg(x)
        z = If(c) <then_branch = t () => (float[2] p) <float[2] y = {1.0, 2.0}> { p = Add(a, y) },
                   else_branch = e () => (float[2] q) { q = Abs(a) }>
        y = Identity(a)
    }"""
    )
    outcome = run(parse(text), PASS)
    same(outcome.before, outcome.after)


def test_an_identity_of_another_domain_stays() -> None:
    text = (
        '<ir_version: 10, opset_import: ["" : 18, "com.example" : 1]>'
        " g (float[2] x) => (float[2] y) { i = com.example.Identity(x) y = Neg(i) }"
    )
    assert run(parse(text), PASS).unchanged


def test_identity_of_a_sequence() -> None:
    text = (
        HEAD
        + """g (float[2] x) => (float[4] y) {
        s = SequenceConstruct(x, x)
        i = Identity(s)
        y = ConcatFromSequence <axis = 0> (i)
    }"""
    )
    outcome = run(parse(text), PASS)
    assert outcome.lines == ["s = SequenceConstruct(x, x)", "y = ConcatFromSequence(s)"]
    same(outcome.before, outcome.after)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data(), st.sampled_from(GRAPHS))
def test_random_webs(data: st.DataObject, place: Place) -> None:
    """Any mix of Identity and real nodes: none is left but those that outputs need."""
    known, nodes = ["x"], []
    for index in range(data.draw(st.integers(1, 8))):
        op = data.draw(st.sampled_from(["Identity", "Identity", "Neg", "Mul"]))
        read = [data.draw(st.sampled_from(known)) for _ in range(2 if op == "Mul" else 1)]
        nodes.append(f"v{index} = {op}({', '.join(read)})")
        known.append(f"v{index}")
    last = data.draw(st.sampled_from(known))
    body = "\n".join([*nodes, f"y = Identity({last})"])
    outcome = run(placed(place, body), PASS)
    left = [entry for entry in piece(outcome.after, place) if "Identity" in entry]
    assert left in ([], ["y = Identity(x)"])
    same(outcome.before, outcome.after)
