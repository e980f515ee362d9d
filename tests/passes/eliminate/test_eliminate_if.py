from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, numpy_helper

import graphopt
from tests.build import few, parse
from tests.passes.placed import PLACES, Place, piece, placed
from tests.passes.support import Outcome, agree, run

PASS = "eliminate_if"

COND = "m = ReduceSum<keepdims = 0>(x) c = Cast<to = 9>(m) "


def branches(then: str, other: str) -> str:
    return f"""{COND} y = If (c) <
        then_branch = yes () => (float[2,3] p) {{ {then} }},
        else_branch = no () => (float[2,3] q) {{ {other} }}
    >"""


SAME = branches("a = Relu(x) p = Sub(a, w)", "b = Relu(x) q = Sub(b, w)")
W = np.arange(3, dtype=np.float32)


def refused(outcome: Outcome) -> None:
    assert (outcome.unchanged, outcome.rewrites, outcome.left_out) == (True, 0, [])


@pytest.mark.parametrize("place", PLACES)
def test_equal_branches(place: Place) -> None:
    model = placed(place, SAME, {"w": W})
    outcome = run(model, PASS)
    assert (outcome.rewrites, outcome.left_out) == (1, [])
    assert [e.partition(" = ")[2].partition("(")[0] for e in piece(outcome.after, place)] == [
        "ReduceSum", "Cast", "Relu", "Sub",
    ]  # fmt: skip
    agree(model, outcome.after, exact=True)


@pytest.mark.parametrize(
    ("then", "other"),
    [
        ("p = Identity(x)", "q = Identity(x)"),
        ("i = Identity(x) p = Relu(i)", "q = Relu(x)"),
        ("p = Relu(x)", "i = Relu(x) j = Identity(i) q = Identity(j)"),
        ("p = Add(x, w)", "k = Constant<value = float[3] {0, 1, 2}>() q = Add(x, k)"),
        ("p = Clip(x, , z)", "q = Clip(x, , z)"),
        ("d = Exp(x) p = Relu(x)", "q = Relu(x)"),  # nobody reads the Exp
    ],
)
def test_what_counts_as_equal(then: str, other: str) -> None:
    constants = {"w": W, "z": np.array(1, np.float32)}
    model = placed("main", branches(then, other), constants)
    outcome = run(model, PASS)
    assert (outcome.rewrites, outcome.left_out) == (1, [])
    assert not any("If(" in entry for entry in outcome.lines)
    agree(model, outcome.after, exact=True)


@pytest.mark.parametrize(
    ("then", "other"),
    [
        ("p = Relu(x)", "q = Neg(x)"),
        ("p = Elu<alpha = 0.5>(x)", "q = Elu<alpha = 0.25>(x)"),
        ("p = Sub(x, w)", "q = Sub(w, x)"),
        ("p = Add(x, w)", "k = Constant<value = float[3] {0, 1, 3}>() q = Add(x, k)"),
        ("p = Add(x, w)", "k = Constant<value = float[1,3] {0, 1, 2}>() q = Add(x, k)"),
        ("p = Clip(x, z)", "q = Clip(x, , z)"),
        ("p = RandomUniformLike<seed = 1.0>(x)", "q = RandomUniformLike<seed = 1.0>(x)"),
        ("a, b = Split<axis = 1>(s, one) p = Add(x, a)",
         "a, b = Split<axis = 1>(s, one) q = Add(x, b)"),
    ],
)  # fmt: skip
def test_what_does_not(then: str, other: str) -> None:
    constants = {
        "w": W, "z": np.array(1, np.float32), "one": np.array([1, 1]),
        "s": np.ones((2, 2), np.float32),
    }  # fmt: skip
    refused(run(placed("main", branches(then, other), constants), PASS))


def test_weights_of_the_branches_are_compared_byte_by_byte() -> None:
    for last, rewrites in ((0.0, 1), (1.0, 0), (-0.0, 0)):
        model = placed("main", branches("p = Add(x, u)", "q = Add(x, v)"))
        for attribute, name in zip(model.graph.node[2].attribute, "uv", strict=True):
            row = np.array([1, 2, 0.0 if name == "u" else last], np.float32)
            attribute.g.initializer.append(numpy_helper.from_array(row, name))
        outcome = run(model, PASS)
        assert outcome.rewrites == rewrites
        agree(model, outcome.after, exact=True)


TWO = """g (float[2] x, float[2] w, bool c) => (float[2] y, float[2] z) {
    a, b = If (c) <
        then_branch = yes () => (float[2] p, float[2] q) { p = Identity(w) q = Neg(x) },
        else_branch = no () => (float[2] r, float[2] s) {
            i = Identity(w) r = Identity(i) s = Abs(x)
        }
    >
    y = Exp(a)
    z = Exp(b)
}"""


def test_one_of_two_results_is_given_on_by_both() -> None:
    model = parse(TWO)
    outcome = run(model, PASS)
    assert (outcome.rewrites, outcome.left_out) == (1, [])
    assert "y = Exp(w)" in outcome.lines
    assert "z = Exp(b)" in outcome.lines
    agree(model, outcome.after, exact=True)


def test_it_stays_the_output_of_the_graph() -> None:
    model = parse(TWO)
    del model.graph.node[1:]
    model.graph.output[0].name, model.graph.output[1].name = "a", "b"
    refused(run(model, PASS))


def test_a_result_that_nobody_reads_may_differ() -> None:
    model = parse(TWO)
    del model.graph.node[2:]
    del model.graph.output[1:]
    outcome = run(model, PASS)
    assert outcome.lines == ["p = Identity(w)", "q = Neg(x)", "y = Exp(p)"]
    agree(model, outcome.after, exact=True)


def test_excluded_nodes() -> None:
    for pattern in ("If -> y", "Relu -> b"):
        model = placed("main", SAME, {"w": W})
        result = graphopt.optimize(model, passes=[PASS], exclude_nodes=[pattern])
        assert not result.report.changed


def test_calls_and_bodies_are_never_equal() -> None:
    text = """<ir_version: 8, opset_import: ["": 17, "local": 1]>
    g (float[2] x, bool c) => (float[2] y) {
        y = If (c) <
            then_branch = yes () => (float[2] p) { p = local.twice(x) },
            else_branch = no () => (float[2] q) { q = local.twice(x) }
        >
    }
    <domain: "local", opset_import: ["": 17]>
    twice (v) => (r) { r = Add(v, v) }"""
    refused(run(parse(text), PASS))


def test_a_long_chain() -> None:
    """Expressions that share their parts are numbered, not compared as trees."""
    chain = " ".join(f"{{0}}{i + 1} = Add({{0}}{i}, {{0}}{i})" for i in range(60))
    then, other = (f"{n}0 = Relu(x) {chain.format(n)} {n} = Neg({n}60)" for n in "pq")
    outcome = run(placed("main", branches(then, other)), PASS)
    assert outcome.rewrites == 1


operators = st.lists(
    st.tuples(st.sampled_from(["Neg", "Add", "Sub", "Identity"]), st.integers(0, 9)),
    min_size=1, max_size=4,
)  # fmt: skip


def body_of(drawn: list[tuple[str, int]], tag: str) -> str:
    text, names = "", ["x", "w"]
    for index, (op, which) in enumerate(drawn):
        first, second = names[which % len(names)], names[which // 2 % len(names)]
        operands = f"{first}, {second}" if op in ("Add", "Sub") else first
        text += f"{tag}{index} = {op}({operands}) "
        names.append(f"{tag}{index}")
    return text + f"{tag} = Abs({names[-1]})"


@settings(few, max_examples=80)
@given(operators, operators)
def test_random_branches_keep_their_answers(
    one: list[tuple[str, int]], other: list[tuple[str, int]]
) -> None:
    model: ModelProto = parse(
        f"""g (float[2] x, float[2] w, bool c) => (float[2] y) {{
            y = If (c) <
                then_branch = yes () => (float[2] p) {{ {body_of(one, "p")} }},
                else_branch = no () => (float[2] q) {{ {body_of(other, "q")} }}
            >
        }}"""
    )
    onnx.checker.check_model(model)
    outcome = run(model, PASS)
    assert outcome.rewrites == 1 or one != other
    agree(model, outcome.after, exact=True)
