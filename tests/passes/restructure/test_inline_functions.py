from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import AttributeProto, ModelProto, helper, numpy_helper

import graphopt
from tests.passes.support import Outcome, agree, lines, run

PASS = "inline_functions"

HEAD = '<ir_version: {ir}, opset_import: ["": {opset}, "local": 1{more}]>'
FUNCTION = '<domain: "local", opset_import: ["": {opset}{more}]> f (v) => (r) {{ {body} }}'


def model_of(
    main: str, *functions: str, opset: int = 17, ir: int = 8, more: str = "", outputs: str = ""
) -> ModelProto:
    head = HEAD.format(opset=opset, ir=ir, more=more)
    outputs = outputs or "float[2,3] y"
    return onnx.parser.parse_model(
        f"{head} g (float[2,3] x, bool c) => ({outputs}) {{ {main} }} {' '.join(functions)}"
    )


def function(body: str, *, opset: int = 17, more: str = "") -> str:
    return FUNCTION.format(body=body, opset=opset, more=more)


ONCE = function("a = Relu(v) r = Neg(a)")


def refused(outcome: Outcome, reason: str) -> None:
    assert (outcome.unchanged, outcome.rewrites, outcome.left_out) == (True, 0, [])
    assert list(outcome.skipped) == [reason]


@pytest.mark.parametrize("opset", [13, 17, 20, 22])
def test_called_once(opset: int) -> None:
    model = model_of("y = local.f(x)", function("a = Relu(v) r = Neg(a)", opset=opset), opset=opset)
    outcome = run(model, PASS)
    assert outcome.lines == ["a = Relu(x)", "y = Neg(a)"]
    assert not outcome.after.functions
    assert outcome.after.opset_import == model.opset_import
    agree(model, outcome.after, exact=True)


def test_one_of_two_functions() -> None:
    two = ONCE + ' <domain: "local", opset_import: ["": 17]> h (v) => (r) { a = Abs(v) r = Exp(a) }'
    model = model_of("p = local.f(x) q = local.h(p) s = local.h(q) y = local.h(s)", two)
    outcome = run(model, PASS)
    assert [f.name for f in outcome.after.functions] == ["h"]
    assert outcome.skipped == {"more nodes would remain": 1}
    agree(model, outcome.after, exact=True)


def test_called_in_a_body() -> None:
    model = model_of(
        """y = If (c) <
            then_branch = yes () => (float[2,3] p) { p = local.f(x) },
            else_branch = no () => (float[2,3] q) { a = Exp(x) q = Abs(a) }
        >""",
        ONCE,
    )
    outcome = run(model, PASS)
    assert outcome.lines == [
        "y = If(c)", "  then_branch: a_1 = Relu(x)", "  then_branch: p = Neg(a_1)",
        "  else_branch: a = Exp(x)", "  else_branch: q = Abs(a)",
    ]  # fmt: skip
    agree(model, outcome.after, exact=True)


def test_small_functions_go_with_every_call() -> None:
    model = model_of(
        """p = local.f(x)
        q = If (c) <
            then_branch = yes () => (float[2,3] s) { s = local.f(p) },
            else_branch = no () => (float[2,3] t) { t = Exp(p) }
        >
        y = local.f(q)""",
        function("r = Relu(v)"),
    )
    outcome = run(model, PASS)
    assert not outcome.after.functions
    assert not any("local" in entry for entry in outcome.lines)
    agree(model, outcome.after, exact=True)


def test_what_folds_where_it_is_called_does_not_count() -> None:
    body = "s = Abs(w) t = Neg(s) u = Exp(t) r = Add(v, u)"
    several = f'<domain: "local", opset_import: ["": 17]> f (v, w) => (r) {{ {body} }}'
    model = model_of("p = local.f(x, k) q = local.f(p, k) y = local.f(q, k)", several)
    refused(run(model, PASS), "more nodes would remain")
    model.graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), "k"))
    outcome = run(model, PASS)
    assert outcome.rewrites == 1
    agree(model, outcome.after, exact=True)
    report = graphopt.optimize(model, passes=[PASS, "fold_constants"]).report
    assert report.status == "verified"
    assert report.after.nodes < report.before.nodes


def test_functions_that_call_functions() -> None:
    outer = (
        '<domain: "local", opset_import: ["": 17, "local": 1]>'
        " h (v) => (r) { a = local.f(v) m = Neg(v) b = local.f(m) r = Sub(a, b) }"
    )
    model = model_of("y = local.h(x)", ONCE, outer)
    outcome = run(model, PASS)
    assert not outcome.after.functions
    whole = graphopt.optimize(model, passes=[PASS])
    assert whole.report.status == "verified"
    assert whole.report.after.nodes <= whole.report.before.nodes
    agree(model, whole.model.proto, exact=True)


def test_attributes_of_the_call_and_their_defaults() -> None:
    text = """<ir_version: 9, opset_import: ["": 17, "local": 1]>
    g (float[2,3] x) => (float[2,3] y) { y = local.f<alpha = 0.5>(x) }
    <domain: "local", opset_import: ["": 17]>
    f <alpha> (v) => (r) {
        a = Elu<alpha: float = @alpha>(v)
        r = LeakyRelu<alpha: float = @beta>(a)
    }"""
    for given, default in ((True, False), (False, True), (True, True)):
        model = onnx.parser.parse_model(text)
        model.functions[0].attribute_proto.append(
            helper.make_attribute("beta", 0.25) if default else helper.make_attribute("other", 1)
        )
        if not default:
            model.functions[0].attribute.append("beta")
        if given:
            model.graph.node[0].attribute.append(helper.make_attribute("beta", 0.125))
        outcome = run(model, PASS)
        found = {n.op_type: n.attribute[0].f for n in outcome.after.graph.node}
        assert found == {"Elu": 0.5, "LeakyRelu": 0.125 if given else 0.25}
        agree(model, outcome.after, exact=True)


def test_an_attribute_that_nobody_gives_is_left_out() -> None:
    model = model_of("y = local.f(x)", function("r = LeakyRelu(v)"))
    reference = AttributeProto(name="alpha", ref_attr_name="slope", type=AttributeProto.FLOAT)
    model.functions[0].node[0].attribute.append(reference)
    model.functions[0].attribute.append("slope")
    outcome = run(model, PASS)
    assert not outcome.after.graph.node[0].attribute
    agree(model, outcome.after, exact=True, reference=False)


def test_inputs_and_outputs_that_a_call_leaves_out() -> None:
    """Which neither ONNX Runtime nor onnx.reference takes: compared with what it stands for."""
    text = (
        '<domain: "local", opset_import: ["": 17]>'
        " f (v, low, high) => (r, s) { r = Clip(v, low, high) s = Neg(r) }"
    )
    model = model_of("z = Constant<value = float {0}>() y = local.f(x, z)", text)
    outcome = run(model, PASS)
    assert "y = Clip(x, z)" in outcome.lines
    zero = "z = Constant<value = float {0}>()"
    agree(model_of(f"{zero} y = Clip(x, z)"), outcome.after, exact=True)
    model.graph.node[1].input[:] = ["x", "", "z"]
    outcome = run(model, PASS)
    assert "y = Clip(x, , z)" in outcome.lines
    agree(model_of(f"{zero} y = Clip(x, , z)"), outcome.after, exact=True)


def test_an_input_that_the_function_gives_back() -> None:
    text = '<domain: "local", opset_import: ["": 17]> f (v, w) => (r, w) { r = Neg(v) }'
    model = model_of("y, z = local.f(x, x)", text, outputs="float[2,3] y, float[2,3] z")
    outcome = run(model, PASS)
    assert outcome.lines == ["y = Neg(x)", "z = Identity(x)"]
    model.graph.node[0].input.pop()
    refused(run(model, PASS), "the function gives on an input that a call leaves out")


def test_constants_and_bodies_of_the_function() -> None:
    body = """k = Constant<value = float[3] {1, 2, 3}>()
        i = Add(v, k)
        r = If (w) <
            then_branch = yes () => (float[A,B] p) { h = Exp(i) p = Neg(h) },
            else_branch = no () => (float[A] q) { q = Abs(k) }
        >"""
    text = f'<domain: "local", opset_import: ["": 17]> f (v, w) => (r) {{ {body} }}'
    model = model_of("h1 = Relu(x) y = local.f(h1, c)", text)
    outcome = run(model, PASS)
    assert outcome.rewrites == 1
    assert not outcome.after.functions
    agree(model, outcome.after, exact=True, reference=True)
    model.graph.node[0].output[0] = model.graph.node[1].input[0] = "h"
    refused(run(model, PASS), "a body in the function defines a name that another graph has too")


def test_functions_that_nobody_calls() -> None:
    model = model_of("y = Neg(x)", ONCE)
    outcome = run(model, PASS)
    assert not outcome.after.functions
    agree(model, outcome.after, exact=True)


def test_names_of_the_users_tensors() -> None:
    model = model_of("a = Abs(x) r = local.f(a) a_1 = Exp(r) y = Neg(a_1)", ONCE)
    outcome = run(model, PASS)
    assert outcome.lines[:3] == ["a = Abs(x)", "a_2 = Relu(a)", "r_1 = Neg(a_2)"]
    agree(model, outcome.after, exact=True)


def overload(model: ModelProto) -> None:
    model.ir_version = 10
    model.functions[0].overload = "one"
    model.graph.node[0].overload = "one"


def other_opset(model: ModelProto) -> None:
    model.functions[0].opset_import[0].version = 18


def known_domain(model: ModelProto) -> None:
    model.opset_import[1].domain = model.functions[0].domain = "com.microsoft"
    model.graph.node[0].domain = "com.microsoft"


def training(model: ModelProto) -> None:
    info = model.training_info.add()
    info.algorithm.name = "a"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (overload, "the function is overloaded"),
        (other_opset, "the function is written for other opsets"),
        (known_domain, "a runtime may have a kernel for it"),
        (training, "training information may call functions"),
    ],
)
def test_functions_that_stay(spoil: object, reason: str) -> None:
    model = model_of("y = local.f(x)", ONCE)
    assert callable(spoil)
    spoil(model)
    refused(run(model, PASS), reason)


def test_large_constants_are_not_copied() -> None:
    model = model_of("p = local.f(x) y = local.f(p)", function("k = Identity(v) r = Add(v, w)"))
    held = numpy_helper.from_array(np.ones((700, 1, 1, 3), np.float32)[:1], "w")
    model.functions[0].node.insert(0, helper.make_node("Constant", [], ["w"], value=held))
    wide = numpy_helper.from_array(np.ones((300, 2, 3), np.float32), "w")
    assert run(model, PASS).rewrites == 1
    model.functions[0].node[0].attribute[0].t.CopyFrom(wide)
    refused(run(model, PASS), "its constants would be copied")


def test_excluded_nodes() -> None:
    for pattern in ("f -> y", "Relu -> a"):
        model = model_of("y = local.f(x)", ONCE)
        result = graphopt.optimize(model, passes=[PASS], exclude_nodes=[pattern])
        assert not result.report.changed
        assert not result.report.left_out


def test_the_whole_recipe_sees_through() -> None:
    model = model_of("y = local.f(x)", function("a = Identity(v) b = Relu(a) r = Identity(b)"))
    result = graphopt.optimize(model, passes=[PASS, "eliminate_identity"])
    assert result.report.status == "verified"
    assert lines(result.model.proto.graph) == ["y = Relu(x)"]


def test_opsets_of_a_function_that_is_called_by_another() -> None:
    """Two versions do not meet, whoever calls whom."""
    for own, reason in ((18, {"the function is written for other opsets": 2}), (17, {})):
        outer = (
            f'<domain: "local", opset_import: ["": {own}, "local": 1]>'
            " h (v) => (r) { a = local.f(v) r = Abs(a) }"
        )
        outcome = run(model_of("y = local.h(x)", ONCE, outer), PASS)
        assert (outcome.skipped, outcome.left_out) == (reason, [])
        assert len(outcome.after.functions) == (2 if reason else 0)
