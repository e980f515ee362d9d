from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

import graphopt
from tests.build import parse
from tests.passes.support import Outcome, agree, run

PASS = "eliminate_loop_state"

BODY = "go2 = Identity(go) s = Add(v, w) v2 = Neg(s) w2 = Identity(w)"


def loop(
    body: str = BODY, after: str = "y = Sub(a, b)", first: str = "x, k", **more: Any
) -> ModelProto:
    return parse(
        f"""g (float[3] x, int64 n) => (float[3] y, float[K,3] all) {{
            a, b, all = Loop(n, , {first}) <
                body = step (int64 turn, bool go, float[3] v, float[3] w)
                    => (bool go2, float[3] v2, float[3] w2, float[3] s) {{ {body} }}
            >
            {after}
        }}""",
        k=np.array([1, -2, 3], np.float32), **more,
    )  # fmt: skip


FEEDS = [{"x": np.array([1, 2, -3], np.float32), "n": np.array(n)} for n in (0, 1, 3)]


def refused(outcome: Outcome) -> None:
    assert (outcome.unchanged, outcome.rewrites, outcome.left_out) == (True, 0, [])


def test_inside_and_behind() -> None:
    model = loop()
    outcome = run(model, PASS)
    assert (outcome.rewrites, outcome.left_out) == (1, [])
    assert "  body: s = Add(v, k)" in outcome.lines
    assert "  body: w2 = Identity(k)" in outcome.lines
    assert outcome.lines[-1] == "y = Sub(a, k)"
    agree(model, outcome.after, FEEDS[1:], exact=True)
    assert run(outcome.model, PASS).unchanged


def test_without_a_turn() -> None:
    model = loop(after="y = Sub(b, a) all2 = Identity(all)")
    agree(model, run(model, PASS).after, FEEDS[:1], exact=True)


def test_through_more_than_one_identity_and_as_the_input_itself() -> None:
    chained = loop(BODY.replace("w2 = Identity(w)", "i = Identity(w) w2 = Identity(i)"))
    outcome = run(chained, PASS)
    assert "  body: i = Identity(k)" in outcome.lines
    agree(chained, outcome.after, FEEDS[1:], exact=True)
    # ONNX Runtime does not take an input of a body as its output; what is behind is read directly.
    itself = loop(BODY.replace("w2 = Identity(w)", ""))
    itself.graph.node[0].attribute[0].g.output[2].name = "w"
    assert run(itself, PASS).lines[-1] == "y = Sub(a, k)"


def test_a_computed_value_and_an_input_of_the_graph() -> None:
    for first in ("x, x", "x, e"):
        model = loop(first=first)
        if "e" in first:
            model.graph.node.insert(0, parse("g (float[3] x) => (float[3] e) { e = Exp(x) }")
                                    .graph.node[0])  # fmt: skip
        outcome = run(model, PASS)
        assert outcome.rewrites == 1
        agree(model, outcome.after, FEEDS[1:], exact=True)


@pytest.mark.parametrize(
    "body",
    [
        BODY.replace("w2 = Identity(w)", "w2 = Neg(w)"),
        BODY.replace("w2 = Identity(w)", "w2 = Identity(v)"),
        BODY.replace("w2 = Identity(w)", "w2 = Identity(s)"),
        BODY.replace("v2 = Neg(s) w2 = Identity(w)", "v2 = Identity(w) w2 = Identity(v)"),
    ],
)
def test_what_changes_from_turn_to_turn(body: str) -> None:
    refused(run(loop(body), PASS))


def test_a_graph_output_keeps_its_node() -> None:
    model = loop(after="")
    model.graph.node[0].output[:] = ["a", "y", "all"]
    outcome = run(model, PASS)
    assert "  body: s = Add(v, k)" in outcome.lines
    assert "y" in outcome.after.graph.node[0].output
    agree(model, outcome.after, FEEDS[1:], exact=True)


def test_in_a_branch_with_what_it_captures() -> None:
    text = """g (float[3] x, bool c) => (float[3] y) {
        y = If (c) <
            then_branch = yes () => (float[3] p) {
                b, a = Loop(n, , k, x) <
                    body = step (int64 turn, bool go, float[3] w, float[3] v)
                        => (bool go2, float[3] w2, float[3] v2) {
                        go2 = Identity(go) v2 = Mul(v, w) w2 = Identity(w)
                    }
                >
                p = Sub(a, b)
            },
            else_branch = no () => (float[3] q) { q = Abs(x) }
        >
    }"""
    model = parse(text, n=np.array(2), k=np.array([1, -2, 3], np.float32))
    outcome = run(model, PASS)
    assert outcome.rewrites == 1
    agree(model, outcome.after, exact=True)


def test_a_constant_can_be_folded_then() -> None:
    body = "go2 = Identity(go) e = Exp(w) s = Add(v, e) v2 = Neg(s) w2 = Identity(w)"
    model = loop(body)
    result = graphopt.optimize(model, passes=[PASS, "fold_constants"], verify=False)
    assert result.report.after.nodes < result.report.before.nodes
    agree(model, result.model.proto, FEEDS[1:])


def test_a_body_that_has_the_name_itself() -> None:
    refused(
        run(
            loop(BODY.replace("s = Add(v, w)", "k = Neg(v) s = Add(k, w)"), after="y = Abs(a)"),
            PASS,
        )
    )


def test_excluded_nodes() -> None:
    result = graphopt.optimize(loop(), passes=[PASS], exclude_nodes=["Loop -> a"], verify=False)
    assert not result.report.changed
