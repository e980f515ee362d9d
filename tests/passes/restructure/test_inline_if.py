from __future__ import annotations

from typing import Any

import numpy as np
import onnx.parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, helper, numpy_helper

import graphopt
from graphopt.model import load_model
from tests.build import few, parse
from tests.passes.placed import PLACES, Place, piece, placed
from tests.passes.support import Outcome, agree, lines, run

PASS = "inline_if"
YES, NO = np.array(True), np.array(False)


def branches(then: str, other: str, condition: str = "k") -> str:
    return f"""y = If ({condition}) <
        then_branch = yes () => (float[2,3] p) {{ {then} }},
        else_branch = no () => (float[2,3] q) {{ {other} }}
    >"""


TAKEN = branches("a = Relu(x) p = Neg(a)", "b = Exp(x) q = Abs(b)")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("condition", [YES, NO, np.array([True])])
def test_the_branch_that_is_taken_comes_in_the_place_of_the_if(
    place: Place, condition: Any
) -> None:
    model = placed(place, TAKEN, {"k": condition})
    outcome = run(model, PASS)
    ops = ["Relu", "Neg"] if condition.all() else ["Exp", "Abs"]
    assert [entry.split(" = ")[1].split("(")[0] for entry in piece(outcome.after, place)] == ops
    assert (outcome.rewrites, outcome.skipped, outcome.left_out) == (1, {}, [])
    agree(model, outcome.after, exact=True)


@pytest.mark.parametrize("place", ["if", "loop"])
def test_a_condition_of_an_enclosing_graph(place: Place) -> None:
    model = placed(place, TAKEN, {"k": YES}, captured=True)
    outcome = run(model, PASS)
    assert outcome.rewrites == 1
    agree(model, outcome.after, exact=True)


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 16, 19, 22])
def test_every_opset(opset: int) -> None:
    model = placed("main", TAKEN, {"k": YES}, opset=opset, ir=8 if opset < 20 else 10)
    outcome = run(model, PASS)
    assert outcome.lines == ["a = Relu(x)", "y = Neg(a)"]
    agree(model, outcome.after, exact=True)


def test_ir_version_3() -> None:
    body = "k = Constant<value_int = 1>() " + TAKEN
    model = placed("main", body.replace("value_int = 1", "value = bool {1}"), opset=9, ir=3)
    outcome = run(model, PASS)
    assert [entry for entry in outcome.lines if "Constant" not in entry] == [
        "a = Relu(x)", "y = Neg(a)",
    ]  # fmt: skip
    agree(model, outcome.after, exact=True)


@pytest.mark.parametrize(
    ("then", "expected"),
    [
        ("p = Identity(x)", ["y = Identity(x)"]),
        ("p = Constant<value = float[2,3] {1, 2, 3, 4, 5, 6}>()", ["y = Constant()"]),
        ("p = Relu(x)", ["y = Relu(x)"]),
    ],
)
def test_results_that_are_graph_outputs(then: str, expected: list[str]) -> None:
    model = placed("main", branches(then, "q = Neg(x)"), {"k": YES})
    outcome = run(model, PASS)
    assert outcome.lines == expected
    agree(model, outcome.after, exact=True)


TWO = """g (float[2] x) => (float[2] y, float[2] z) {{
    a, b = If (k) <
        then_branch = yes () => (float[2] p, float[2] q) {{ {then} }},
        else_branch = no () => (float[2] r, float[2] s) {{ r = Neg(x) s = Abs(x) }}
    >
    {after}
}}"""


def two(then: str, after: str) -> ModelProto:
    return parse(TWO.format(then=then, after=after).replace("{{", "{").replace("}}", "}"), k=YES)


def test_one_result_for_two_outputs() -> None:
    """Both outputs of the If, outputs of the graph too, are one value of the branch."""
    model = two("p = Exp(x) q = Identity(p)", "")
    model.graph.node[0].output[:] = ["y", "z"]
    model.graph.node[0].attribute[0].g.node.pop()
    model.graph.node[0].attribute[0].g.output[1].name = "p"
    outcome = run(model, PASS)
    assert outcome.lines == ["y = Exp(x)", "z = Identity(y)"]
    agree(model, outcome.after, exact=True, reference=True)


def test_an_initializer_of_the_branch_as_its_result() -> None:
    model = parse("g (float[2] x) => (float[2] y) {" + TAKEN.replace("2,3", "2") + "}", k=YES)
    body = model.graph.node[0].attribute[0].g
    del body.node[:]
    body.initializer.append(numpy_helper.from_array(np.array([5, 6], np.float32), "p"))
    outcome = run(model, PASS)
    assert outcome.lines == ["y = Identity(p)"]
    assert outcome.weights["p"].tolist() == [5, 6]
    agree(model, outcome.after, exact=True)


def test_an_output_that_is_read_twice_and_one_that_nobody_reads() -> None:
    model = two("p = Exp(x) q = Neg(p)", "y = Add(a, a) z = Sqrt(a)")
    outcome = run(model, PASS)
    assert outcome.lines == ["p = Exp(x)", "q = Neg(p)", "y = Add(p, p)", "z = Sqrt(p)"]
    agree(model, outcome.after, exact=True)


def test_names_of_the_users_tensors_are_left_to_them() -> None:
    model = parse(
        "g (float[2] x, float[2] a_1) => (float[2] y, float[2] z) { a = Abs(a_1) z = Exp(a) "
        + TAKEN.replace("2,3", "2")
        + "}",
        k=YES,
    )
    outcome = run(model, PASS)
    assert outcome.lines == ["a = Abs(a_1)", "z = Exp(a)", "a_2 = Relu(x)", "y = Neg(a_2)"]
    agree(model, outcome.after, exact=True, reference=True)  # ONNX Runtime wants no a twice


def test_a_deeper_if_goes_too_and_what_it_reads_is_renamed() -> None:
    inner = branches("a = Relu(x) p = Neg(a)", "q = Abs(o)", "k").replace("y = If", "p = If")
    inner = inner.replace("(float[2,3] p)", "(float[2,3] p2)").replace("p = Neg", "p2 = Neg")
    model = placed("main", branches("o = Exp(x) " + inner, "a = Relu(x) q = Neg(a)"), {"k": NO})
    model.graph.initializer.append(numpy_helper.from_array(YES, "k2"))
    model.graph.node[0].input[0] = "k2"
    outcome = run(model, PASS)
    assert outcome.lines == ["o = Exp(x)", "y = Abs(o)"]
    agree(model, outcome.after, exact=True)


def test_an_if_that_stays_inside_reads_what_was_renamed() -> None:
    text = """g (float[2] x, bool c, float[2] s) => (float[2] y, float[2] z) {
        z = Neg(s)
        y = If (k) <
            then_branch = t () => (float[2] p) {
                e = Exp(x)
                p = If (c) <
                    then_branch = tt () => (float[2] u) { u = Relu(e) },
                    else_branch = te () => (float[2] v) { v = Identity(e) }
                >
            },
            else_branch = f () => (float[2] q) { e = Abs(x) q = Neg(e) }
        >
    }"""
    model = parse(text, k=YES)
    outcome = run(model, PASS)
    assert outcome.lines == [
        "z = Neg(s)", "e_1 = Exp(x)", "y = If(c)",
        "  then_branch: u = Relu(e_1)", "  else_branch: v = Identity(e_1)",
    ]  # fmt: skip
    agree(model, outcome.after, exact=True)


COMPUTED = "c = ReduceSum<keepdims = 0>(x) k = Cast<to = 9>(c) "


def refused(outcome: Outcome) -> None:
    assert outcome.unchanged
    assert outcome.rewrites == 0


def test_a_condition_that_is_computed_or_can_be_overridden() -> None:
    refused(
        run(placed("main", f"c = ReduceSum<keepdims = 0>(x) k = Cast<to = 9>(c) {TAKEN}"), PASS)
    )
    model = placed("main", TAKEN, {"k": YES})
    model.graph.input.append(helper.make_tensor_value_info("k", onnx.TensorProto.BOOL, []))
    refused(run(model, PASS))


def test_a_condition_of_two_elements() -> None:
    refused(run(placed("main", TAKEN, {"k": np.array([True, True])}), PASS))


def test_an_excluded_node_in_either_branch() -> None:
    for text in ("Relu -> a", "Exp -> b"):
        source = load_model(placed("main", TAKEN, {"k": YES}))
        result = graphopt.optimize(source, passes=[PASS], exclude_nodes=[text])
        assert not result.report.changed


SEQUENCE = """<ir_version: 8, opset_import: ["": 15]>
g (float[2] x, int64 i) => (float[2] y) {
    s = SequenceConstruct(x, x)
    o = If (k) <
        then_branch = yes () => (seq(float[2]) p) { p = Identity(s) },
        else_branch = no () => (seq(float[2]) q) { t = Neg(x) q = SequenceConstruct(t) }
    >
    y = SequenceAt(o, i)
}"""


def test_a_sequence_that_is_passed_on() -> None:
    model = parse(SEQUENCE, k=YES)
    outcome = run(model, PASS)
    assert "  " not in "".join(outcome.lines)
    agree(model, outcome.after, [{"x": np.ones(2, np.float32), "i": np.array(1)}], exact=True)
    captured = parse(SEQUENCE, k=YES)
    body = captured.graph.node[1].attribute[0].g
    body.output[0].name = "s"
    del body.node[:]
    outcome = run(captured, PASS)
    assert outcome.skipped == {"it gives on a value of unknown type": 1}


CALL = """<ir_version: 8, opset_import: ["": 17, "local": 1]>
g (float[2] x) => (float[2] y) {
    y = If (k) <
        then_branch = yes () => (float[2] p) { p = local.twice(x) },
        else_branch = no () => (float[2] q) { q = Abs(x) }
    >
}
<domain: "local", opset_import: ["": 17]>
twice (v) => (r) { r = Add(v, v) }"""


def test_a_call_of_a_function_moves_along() -> None:
    model = parse(CALL, k=YES)
    outcome = run(model, PASS)
    assert outcome.lines == ["y = local.twice(x)"]
    agree(model, outcome.after, exact=True)


kinds = st.lists(st.sampled_from(["Relu", "Neg", "Add", "If"]), min_size=1, max_size=5)


def nested(ops: list[str], depth: int, seed: list[bool], visible: list[str], tag: str) -> str:
    """Nodes with Ifs of constant and of open conditions, names repeated between branches."""
    text = ""
    for index, op in enumerate(ops):
        name, source = f"v{depth}{index}", visible[index % len(visible)]
        if op == "If" and depth < 3:
            seed[:] = [*seed[1:], seed[0]]
            condition = ("k" if seed[0] else "n") if seed[1] else "c"
            bodies = []
            for branch in ("then_branch", "else_branch"):
                inner = nested(ops[::-1], depth + 1, seed, [*visible], tag + branch[0])
                last = f"v{depth + 1}{len(ops) - 1}"
                bodies.append(f"{branch} = {branch}{tag} () => (float[2] {last}) {{ {inner} }}")
            text += f"{name} = If ({condition}) < {', '.join(bodies)} >\n"
        elif op == "Add":
            text += f"{name} = Add({source}, {visible[-1]})\n"
        else:
            text += f"{name} = {op if op != 'If' else 'Abs'}({source})\n"
        visible.append(name)
    return text


@settings(few, max_examples=40)
@given(kinds, st.lists(st.booleans(), min_size=4, max_size=8))
def test_random_nests_keep_their_answers(ops: list[str], seed: list[bool]) -> None:
    body = nested([*ops, "If"], 0, list(seed), ["x"], "")
    model = parse(
        f"g (float[2] x, bool c) => (float[2] y) {{ {body} y = Identity(v0{len(ops)}) }}",
        k=YES, n=NO,
    )  # fmt: skip
    outcome = run(model, PASS)
    assert not outcome.left_out
    assert not any(entry.strip().startswith(("k)", "n)")) for entry in lines(outcome.after.graph))
    assert not any("If(k)" in entry or "If(n)" in entry for entry in outcome.lines)
    agree(model, outcome.after, exact=True)


def test_verified_as_a_whole() -> None:
    model = placed("loop", TAKEN, {"k": YES})
    result = graphopt.optimize(model, passes=[PASS])
    assert (result.report.status, result.report.left_out) == ("verified", [])
