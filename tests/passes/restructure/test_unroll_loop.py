from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, helper, numpy_helper

import graphopt
from graphopt.engine import make_pass
from tests.build import few, parse
from tests.passes.placed import Place, placed
from tests.passes.support import Outcome, agree, lines, run

PASS = "unroll_loop"

LOOP = """{last}, {all} = Loop({inputs}) <
    body = step (int64 turn, bool go, float[2,3] v) => (bool go2, float[2,3] v2, float[2,3] s) {{
        {body}
    }}
>"""
BODY = "go2 = Identity(go) v2 = Neg(v) s = Exp(v2)"


def loop(
    body: str = BODY, inputs: str = "n, , x", *, last: str = "y", all_: str = "all",
    after: str = "", opset: int = 17, **constants: Any,
) -> ModelProto:  # fmt: skip
    text = LOOP.format(last=last, all=all_, inputs=inputs, body=body)
    head = f'<ir_version: 8, opset_import: ["": {opset}]>'
    whole = f"{head} g (float[2,3] x) => (float[2,3] y, float[K,2,3] all) {{ {text} {after} }}"
    return parse(whole, **{"n": np.array(1), **constants})


def refused(outcome: Outcome, reason: str = "") -> None:
    assert (outcome.unchanged, outcome.rewrites, outcome.left_out) == (True, 0, [])
    assert list(outcome.skipped) == ([reason] if reason else [])


@pytest.mark.parametrize("opset", [11, 12, 13, 17, 21])
def test_one_turn(opset: int) -> None:
    model = loop(opset=opset)
    outcome = run(model, PASS)
    assert (outcome.rewrites, outcome.left_out) == (1, [])
    assert [e for e in outcome.lines if "go2" not in e] == [
        "y = Neg(x)", "s = Exp(y)", f"all = Unsqueeze(s{', axes' if opset > 12 else ''})",
    ]  # fmt: skip
    agree(model, outcome.after, exact=True)


@pytest.mark.parametrize("place", ["main", "if", "loop"])
@pytest.mark.parametrize("captured", [False, True])
def test_in_bodies(place: Place, captured: bool) -> None:
    text = LOOP.format(last="y", all="all", inputs="n, , x", body=BODY)
    model = placed(place, text, {"n": np.array(1)}, captured=captured)
    outcome = run(model, PASS)
    assert (outcome.rewrites, outcome.left_out) == (1, [])
    assert sum("= Loop(" in entry for entry in outcome.lines) == (place == "loop")
    agree(model, outcome.after, exact=True)


def test_in_a_function() -> None:
    text = LOOP.format(last="y", all="all", inputs="n, , x", body=BODY)
    for body in (text, text.replace("Identity(go)", "Identity(yes)").replace("Exp(v2)", "Exp(v)")):
        constants = {"n": np.array(1), "yes": np.array(True)}
        model = placed("function", body, constants)
        outcome = run(model, PASS)
        if "yes" in body:
            assert outcome.rewrites == 1
            agree(model, outcome.after, exact=True)
        else:
            refused(outcome, "the body may take its turn or its condition as a vector")


@pytest.mark.parametrize("going", [None, np.array(True)])
@pytest.mark.parametrize(
    "goes_on",
    ["go2 = Identity(go)", "go2 = Identity(yes)", "h = Identity(yes) go2 = Identity(h)",
     "go2 = Constant<value = bool {1}>()"],
)  # fmt: skip
def test_conditions_that_stay_true(going: Any, goes_on: str) -> None:
    constants = {"yes": np.array(True), **({} if going is None else {"c": going})}
    body = BODY.replace("go2 = Identity(go)", goes_on)
    model = loop(body, "n, , x" if going is None else "n, c, x", **constants)
    outcome = run(model, PASS)
    assert (outcome.rewrites, outcome.left_out) == (1, [])
    agree(model, outcome.after, exact=True)


def test_a_condition_that_ends_it_after_one_turn() -> None:
    model = loop(BODY.replace("Identity(go)", "Identity(no)"), no=np.array(False), n=np.array(9))
    outcome = run(model, PASS)
    assert outcome.rewrites == 1
    agree(model, outcome.after, exact=True)
    model.graph.node[0].input[0] = ""
    outcome = run(model, PASS)
    assert outcome.rewrites == 1
    agree(model, outcome.after, exact=True)


@pytest.mark.parametrize(("limit", "going"), [(0, True), (-1, True), (5, False)])
def test_no_turn_at_all(limit: int, going: bool) -> None:
    model = loop(
        inputs="n, c, x", n=np.array(limit), c=np.array(going), last="z", all_="unread",
        after="y = Abs(z) f = Constant<value = int64[1] {0}>() all = Unsqueeze(y, f)",
    )  # fmt: skip
    outcome = run(model, PASS)
    assert [e for e in outcome.lines if "Constant" not in e] == [
        "y = Abs(x)", "all = Unsqueeze(y, f)",
    ]  # fmt: skip
    agree(model, outcome.after, exact=True)


def test_no_turn_and_something_is_collected() -> None:
    refused(run(loop(n=np.array(0)), PASS), "it collects nothing, in a shape that is not certain")


def test_no_turn_gives_back_an_input_through_an_identity() -> None:
    model = parse(
        """g (float[2,3] x) => (float[2,3] y) { y = Loop(n, , x) <
            body = step (int64 turn, bool go, float[2,3] v) => (bool go2, float[2,3] v2) {
                go2 = Identity(go) v2 = Neg(v)
            }
        > }""",
        n=np.array(0),
    )
    outcome = run(model, PASS)
    assert outcome.lines == ["y = Identity(x)"]
    agree(model, outcome.after, exact=True)


TABLE = """g (float[4] x) => (float[4] y, int64[K] all) {{
    i, all = Loop(n, , start) <
        body = step (int64 turn, bool go, int64 v) => (bool go2, int64 v2, int64 s) {{
            go2 = Identity(go)
            v2 = Add(v, turn)
            d = Mul(v2, v2)
            e = Sub(d, turn)
            f = Mul(e, two)
            s = Identity(f)
        }}
    >
    j = Cast<to = 1>(i)
    y = Add(x, j)
}}"""


@pytest.mark.parametrize("turns", [2, 3, 4])
def test_turns_that_come_down_to_constants(turns: int) -> None:
    model = parse(
        TABLE.replace("{{", "{").replace("}}", "}"),
        n=np.array(turns), start=np.array(3), two=np.array(2),
    )  # fmt: skip
    outcome = run(model, PASS)
    assert (outcome.rewrites, outcome.left_out) == (1, [])
    agree(model, outcome.after, exact=True)
    whole = graphopt.optimize(
        model, passes=[PASS, "fold_constants", "eliminate_identity", "eliminate_dead_nodes"]
    )
    report = whole.report
    assert report.status == "verified"
    assert report.after.nodes <= report.before.nodes


def test_more_turns_than_that_would_leave_more_nodes() -> None:
    model = parse(
        TABLE.replace("{{", "{").replace("}}", "}"),
        n=np.array(9), start=np.array(3), two=np.array(2),
    )  # fmt: skip
    refused(run(model, PASS), "more nodes would remain")
    refused(run(loop(n=np.array(2)), PASS), "more nodes would remain")
    refused(run(loop(n=np.array(99)), PASS))


def test_large_constants_are_not_copied() -> None:
    body = "go2 = Identity(go) k = ReduceSum<keepdims = 0>(big) v2 = Identity(k) s = Identity(k)"
    for size, rewrites in ((300, 0), (200, 1)):
        text = f"""g (float x) => (float y) {{ z, all = Loop(n, , start) <
            body = step (int64 turn, bool go, float v) => (bool go2, float v2, float s) {{ {body} }}
        > y = Add(x, z) }}"""
        model = parse(text, n=np.array(2), start=np.array(0, np.float32))
        model.graph.node[0].attribute[0].g.initializer.append(
            numpy_helper.from_array(np.ones(size, np.float32), "big")
        )
        assert run(model, PASS).rewrites == rewrites


@pytest.mark.parametrize(
    ("inputs", "goes_on"),
    [
        (", , x", "go2 = Identity(go)"),  # without an end
        (", c, x", "go2 = Identity(go)"),
        (", , x", "go2 = Constant<value = bool {1}>()"),
        ("m, , x", "go2 = Identity(go)"),  # as often as a computed number says
        ("n, d, x", "go2 = Identity(go)"),
        ("n, , x", "t = ReduceSum<keepdims = 0>(v) go2 = Cast<to = 9>(t)"),
        ("huge, , x", "go2 = Identity(go)"),
    ],
)
def test_loops_of_unknown_length(inputs: str, goes_on: str) -> None:
    body = BODY.replace("go2 = Identity(go)", goes_on)
    text = LOOP.format(last="y", all="all", inputs=inputs, body=body)
    model = parse(
        f"""g (float[2,3] x) => (float[2,3] y, float[K,2,3] all) {{
            s = Shape(x) i = Constant<value = int64 {{0}}>()
            m = Gather(s, i) d = Cast<to = 9>(m)
            {text}
        }}""",
        n=np.array(1), c=np.array(True), huge=np.array(2**62),
    )  # fmt: skip
    refused(run(model, PASS))


def test_a_trip_count_that_callers_may_replace() -> None:
    model = loop()
    model.graph.input.append(helper.make_tensor_value_info("n", 7, []))
    refused(run(model, PASS))


def test_what_the_turn_number_is_used_for() -> None:
    body = "go2 = Identity(go) t = Cast<to = 1>(turn) v2 = Add(v, t) s = Mul(v2, t)"
    model = loop(body)
    outcome = run(model, PASS)
    assert outcome.rewrites == 1
    assert outcome.weights["turn_1"].shape == ()
    agree(model, outcome.after, exact=True)


def test_values_that_are_passed_through_and_swapped() -> None:
    text = """g (float[2] x, float[2] z) => (float[2] a, float[2] b, float[K,2] all) {
        a, b, all = Loop(n, , x, z) <
            body = step (int64 turn, bool go, float[2] v, float[2] w)
                => (bool go2, float[2] w2, float[2] v2, float[2] s) {
                go2 = Identity(go) w2 = Identity(w) v2 = Identity(v) s = Sub(v, w)
            }
        >
    }"""
    model = parse(text, n=np.array(1))
    outcome = run(model, PASS)
    assert (outcome.rewrites, outcome.left_out) == (1, [])
    agree(model, outcome.after, exact=True)


def test_names_of_two_bodies_that_are_the_same() -> None:
    text = LOOP.format(last="a", all="rows", inputs="n, , x", body=BODY)
    other = LOOP.format(last="b", all="all", inputs="n, , a", body=BODY)
    end = "v2_1 = Abs(b) y = Add(v2_1, rows)"
    model = parse(
        f"g (float[2,3] x) => (float[1,2,3] y, float[K,2,3] all) {{ {text} {other} {end} }}",
        n=np.array(1),
    )
    outcome = run(model, PASS)
    assert (outcome.rewrites, outcome.left_out) == (2, [])
    made = [name for node in outcome.after.graph.node for name in node.output]
    assert len(made) == len(set(made))
    agree(model, outcome.after, exact=True)


def test_excluded_nodes_and_a_shorter_limit() -> None:
    for pattern in ("Loop -> y", "Exp -> s"):
        result = graphopt.optimize(loop(), passes=[PASS], exclude_nodes=[pattern])
        assert not result.report.changed
    model = parse(
        TABLE.replace("{{", "{").replace("}}", "}"),
        n=np.array(4), start=np.array(3), two=np.array(2),
    )  # fmt: skip
    assert run(model, make_pass(PASS, {"max_turns": 4})).rewrites == 1
    assert run(model, make_pass(PASS, {"max_turns": 3})).unchanged


steps = st.lists(st.sampled_from(["Neg", "Add", "turn", "Identity"]), min_size=1, max_size=6)


@settings(few, max_examples=40)
@given(steps, st.integers(0, 3), st.booleans())
def test_random_bodies_keep_their_answers(drawn: list[str], turns: int, scalar: bool) -> None:
    """Whatever is unrolled gives what the Loop gave."""
    body, value = "go2 = Identity(go) t = Cast<to = 1>(turn)", "v"
    for index, kind in enumerate(drawn):
        result = f"r{index}"
        operand = {"Add": f"{value}, v", "turn": f"{value}, t"}.get(kind, value)
        op = {"Add": "Add", "turn": "Mul"}.get(kind, kind)
        body += f" {result} = {op}({operand})"
        value = result
    start = "k" if scalar else "x"
    text = f"""g (float[2] x) => (float[2] y) {{
        z, all = Loop(n, , {start}) <
            body = step (int64 turn, bool go, float[2] v) => (bool go2, float[2] v2, float[2] s) {{
                {body} v2 = Abs({value}) s = Exp({value})
            }}
        >
        y = Add(x, z)
    }}"""
    model = parse(text, n=np.array(turns), k=np.array([3, -4], np.float32))
    outcome = run(model, PASS)
    assert not outcome.left_out
    agree(model, outcome.after, exact=True)
    if outcome.rewrites:
        assert not any("Loop" in entry for entry in lines(outcome.after.graph))
