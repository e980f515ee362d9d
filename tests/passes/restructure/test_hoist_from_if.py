from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, numpy_helper

import graphopt
from tests.build import few, parse
from tests.passes.placed import PLACES, Place, placed
from tests.passes.support import Outcome, Scope, agree, lines, run

PASS = "hoist_from_if"

COND = "m = ReduceSum<keepdims = 0>(x) c = Cast<to = 9>(m) "


def branches(then: str, other: str) -> str:
    return f"""{COND} y = If (c) <
        then_branch = yes () => (float[2,3] p) {{ {then} }},
        else_branch = no () => (float[2,3] q) {{ {other} }}
    >"""


SHARED = branches("a = Exp(x) b = Add(a, w) p = Neg(b)", "d = Exp(x) e = Add(d, w) q = Abs(e)")
W = np.arange(3, dtype=np.float32)


def refused(outcome: Outcome) -> None:
    assert (outcome.unchanged, outcome.rewrites, outcome.left_out) == (True, 0, [])


def size(model: ModelProto) -> int:
    """Nodes, those of bodies and functions counted, Constant nodes not."""
    scopes: list[Scope] = [model.graph, *model.functions]
    return sum(" = Constant(" not in entry for scope in scopes for entry in lines(scope))


@pytest.mark.parametrize("place", PLACES)
def test_what_both_branches_compute_first(place: Place) -> None:
    model = placed(place, SHARED, {"w": W})
    outcome = run(model, PASS)
    assert (outcome.rewrites, outcome.left_out) == (1, [])
    assert size(outcome.after) == size(model) - 2
    agree(model, outcome.after, exact=True)
    assert run(outcome.model, PASS).unchanged


def test_the_result_as_text() -> None:
    outcome = run(placed("main", SHARED, {"w": W}), PASS)
    assert outcome.lines[2:] == [
        "a_Exp = Exp(x)", "b_Add = Add(a_Exp, w)", "y = If(c)",
        "  then_branch: p = Neg(b_Add)", "  else_branch: q = Abs(b_Add)",
    ]  # fmt: skip


def test_constants_of_the_branches() -> None:
    model = placed("main", branches("b = Add(x, u) p = Neg(b)", "e = Add(x, v) q = Abs(e)"))
    for attribute, name in zip(model.graph.node[2].attribute, "uv", strict=True):
        attribute.g.initializer.append(numpy_helper.from_array(W, name))
    outcome = run(model, PASS)
    assert outcome.rewrites == 1
    assert outcome.weights["u_1"].tolist() == W.tolist()
    agree(model, outcome.after, exact=True)


def test_a_node_that_a_branch_has_twice() -> None:
    then = "a = Exp(x) b = Exp(x) p = Sub(a, b)"
    model = placed("main", branches(then, "d = Exp(x) q = Mul(d, d)"))
    outcome = run(model, PASS)
    assert sum("Exp(" in entry for entry in outcome.lines) == 1
    agree(model, outcome.after, exact=True)


def test_more_than_one_output() -> None:
    halves = "{0}1, {0}2 = Split<axis = 1>(t, one) {0}3 = Add(x, {0}1) {0} = {1}({0}3, {0}2)"
    body = "t = Concat<axis = 1>(x, x) " + branches(
        halves.format("p", "Sub"), halves.format("q", "Mul")
    )
    model = placed("main", body, {"one": np.array([3, 3])})
    outcome = run(model, PASS)
    assert sum("Split(" in entry for entry in outcome.lines) == 1
    agree(model, outcome.after, exact=True)


@pytest.mark.parametrize(
    ("then", "other"),
    [
        ("p = Exp(x)", "q = Exp(x)"),  # the results themselves
        ("a = Exp(x) p = Neg(a)", "d = Sin(x) q = Neg(d)"),
        ("a = Elu<alpha = 0.5>(x) p = Neg(a)", "d = Elu<alpha = 0.25>(x) q = Neg(d)"),
        ("a = Add(x, w) p = Neg(a)", "d = Add(w, x) q = Neg(d)"),
        ("a = Exp(x) b = Neg(a) p = Abs(b)", "d = Sin(x) e = Neg(d) q = Abs(e)"),
        ("a = RandomUniformLike<seed = 1.0>(x) p = Neg(a)",
         "d = RandomUniformLike<seed = 1.0>(x) q = Neg(d)"),
        ("a = Clip(x, , z) p = Neg(a)", "d = Clip(x, z) q = Neg(d)"),
        ("a, o = Dropout(x) p = Neg(a)", "d, r = Dropout(x) q = Neg(d)"),
        ("k = Constant<value = float {1}>() a = Add(x, k) p = Neg(a)",
         "k = Constant<value = float {2}>() a = Add(x, k) q = Neg(a)"),
    ],
)  # fmt: skip
def test_what_stays(then: str, other: str) -> None:
    refused(run(placed("main", branches(then, other), {"w": W, "z": np.array(1, "f")}), PASS))


def test_large_constants_of_a_branch_stay() -> None:
    then = "b = ReduceMax<keepdims = 0>(u) p = Add(x, b)"
    other = "e = ReduceMax<keepdims = 0>(v) q = Sub(x, e)"
    for size, rewrites in ((100, 1), (300, 0)):
        model = placed("main", branches(then, other))
        for attribute, name in zip(model.graph.node[2].attribute, "uv", strict=True):
            row = np.ones(size, np.float32)
            attribute.g.initializer.append(numpy_helper.from_array(row, name))
        assert run(model, PASS).rewrites == rewrites


def test_excluded_nodes() -> None:
    for pattern in ("If -> y", "Exp -> d"):
        model = placed("main", SHARED, {"w": W})
        assert not graphopt.optimize(model, passes=[PASS], exclude_nodes=[pattern]).report.changed


def test_a_long_chain() -> None:
    """Expressions that share their parts are numbered, not compared as trees."""
    chain = " ".join(f"{{0}}{i + 1} = Add({{0}}{i}, {{0}}{i})" for i in range(60))
    one, other = (f"{n}0 = Sin(x) {chain.format(n)} {n} = {op}({n}60)" for n, op in
                  (("p", "Neg"), ("q", "Abs")))  # fmt: skip
    outcome = run(placed("main", branches(one, other)), PASS)
    assert len(outcome.lines) == 2 + 61 + 1 + 2


operators = st.lists(
    st.tuples(st.sampled_from(["Neg", "Add", "Sub", "Exp"]), st.integers(0, 9)),
    min_size=1, max_size=5,
)  # fmt: skip


def body_of(drawn: list[tuple[str, int]], tag: str) -> str:
    text, names = "", ["x", "w"]
    for index, (op, which) in enumerate(drawn):
        first, second = names[which % len(names)], names[which // 2 % len(names)]
        operands = f"{first}, {second}" if op in ("Add", "Sub") else first
        text += f"{tag}{index} = {op}({operands}) "
        names.append(f"{tag}{index}")
    return text + f"{tag} = Tanh({names[-1]})"


@settings(few, max_examples=60)
@given(operators, operators)
def test_random_branches_keep_their_answers(
    one: list[tuple[str, int]], other: list[tuple[str, int]]
) -> None:
    model = parse(
        f"""g (float[2] x, float[2] w, bool c) => (float[2] y) {{
            y = If (c) <
                then_branch = yes () => (float[2] p) {{ {body_of(one, "p")} }},
                else_branch = no () => (float[2] q) {{ {body_of(other, "q")} }}
            >
        }}"""
    )
    outcome = run(model, PASS)
    assert not outcome.left_out
    assert outcome.rewrites or one[0] != other[0]
    agree(model, outcome.after, exact=True)
    assert run(outcome.model, PASS).unchanged
