from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto, helper

import graphopt
from tests.build import parse
from tests.passes.support import Outcome, agree, lines, run

PASS = "decide_if"
LSTM = {
    "w": np.random.default_rng(0).standard_normal((1, 8, 3)).astype(np.float32),
    "r": np.random.default_rng(1).standard_normal((1, 8, 2)).astype(np.float32),
}

SQUEEZED = """
    s = Shape(x)
    i = Constant<value = int64 {2}>()
    d = Gather(s, i)
    one = Constant<value = int64 {1}>()
    c = Equal(d, one)
    last = Constant<value = int64[1] {2}>()
    first = Constant<value = int64[1] {0}>()
    v = If (c) <
        then_branch = yes () => (float[A,B] p) { p = Squeeze(x, last) },
        else_branch = no () => (float[A,B,C] q) { q = Identity(x) }
    >
"""
"""What exporters write for x.squeeze(2)."""
READ = "u = Unsqueeze(v, first) t, h, k = LSTM<hidden_size = 2>(u, w, r)"
FEEDS = [{"x": np.random.default_rng(s).standard_normal((4, 3, 1)).astype("f")} for s in range(3)]
TYPE = "float[N,3,T]"


def model_of(after: str, before: str = SQUEEZED, *, opset: int = 17) -> ModelProto:
    head = f'<ir_version: 8, opset_import: ["": {opset}]> '
    flat = "flat = Constant<value = int64[1] {-1}>() y = Reshape(t, flat)"
    text = f"{head} g ({TYPE} x) => (float[Z] y) {{ {before} {after} {flat} }}"
    return parse(text, **LSTM, m=np.ones((3, 2), np.float32), conv=np.ones((2, 4, 1), np.float32))


def refused(outcome: Outcome) -> None:
    assert (outcome.unchanged, outcome.rewrites, outcome.left_out) == (True, 0, [])


def test_the_rank_that_the_lstm_takes_decides() -> None:
    model = model_of(READ)
    outcome = run(model, PASS)
    assert (outcome.rewrites, outcome.left_out) == (1, [])
    assert "p = Squeeze(x, last)" in outcome.lines
    assert not any("If(" in entry for entry in outcome.lines)
    agree(model, outcome.after, FEEDS, exact=True)


def fails(model: ModelProto, feeds: dict[str, Any]) -> bool:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    try:
        session.run(None, feeds)
    except Exception:
        return True
    return False


def test_where_the_original_fails_the_result_does() -> None:
    model = model_of(READ)
    wide = {"x": np.ones((4, 3, 2), np.float32)}
    assert fails(model, wide)
    assert fails(run(model, PASS).after, wide)


CHAINED = """
    vs = Shape(v)
    rank = Size(vs)
    two = Constant<value = int64 {2}>()
    thin = Equal(rank, two)
    deep = Not(thin)
    n = If (deep) <
        then_branch = yes2 () => (float[A,B,C] p2) { p2 = Unsqueeze(v, last) },
        else_branch = no2 () => (float[A,B] q2) { q2 = Identity(v) }
    >
    u = Unsqueeze(n, first)
    t, h, k = LSTM<hidden_size = 2>(u, w, r)
"""


def test_through_the_conditions_of_further_ifs() -> None:
    """As in silero_vad: the second If depends on the rank of what the first one gives."""
    model = model_of(CHAINED)
    outcome = run(model, PASS)
    assert "p = Squeeze(x, last)" in outcome.lines
    agree(model, outcome.after, FEEDS, exact=True)
    result = graphopt.optimize(model, passes=["decide_if", "fold_shapes", "inline_if"])
    again = graphopt.optimize(result.model, passes=["decide_if", "fold_shapes", "inline_if"])
    assert not any("If(" in entry for entry in lines(again.model.proto.graph))
    agree(model, again.model.proto, FEEDS, exact=True)


@pytest.mark.parametrize(
    ("read", "opset"),
    [
        ("t = Gemm(v, m)", 17),
        ("e = Relu(v) t = Gemm(e, m)", 17),
        ("e = Add(v, v) t = Gemm(e, m)", 17),
        ("e = Unsqueeze(v, first) t = MaxPool<kernel_shape = [1]>(e)", 17),
        ("e = Unsqueeze(v, first) t = Conv(e, conv)", 17),
        ("e = Unsqueeze<axes = [0]>(v) t = Conv(e, conv)", 12),
    ],
)
def test_other_operators_that_state_a_rank(read: str, opset: int) -> None:
    before = SQUEEZED
    if opset < 13:
        before = before.replace("Squeeze(x, last)", "Squeeze<axes = [2]>(x)")
    model = model_of(read, before, opset=opset)
    outcome = run(model, PASS)
    assert (outcome.rewrites, outcome.left_out) == (1, [])
    agree(model, outcome.after, FEEDS, exact=True)


@pytest.mark.parametrize("branch", ["then_branch", "else_branch"])
def test_either_branch_can_be_the_one_that_stays(branch: str) -> None:
    before = SQUEEZED
    if branch == "else_branch":
        before = before.replace("c = Equal", "e = Equal").replace("v = If", "c = Not(e) v = If")
        before = before.replace("then_branch =", "XX =").replace("else_branch =", "then_branch =")
        before = before.replace("XX =", "else_branch =")
    model = model_of(READ, before)
    outcome = run(model, PASS)
    assert "p = Squeeze(x, last)" in outcome.lines
    agree(model, outcome.after, FEEDS, exact=True)


@pytest.mark.parametrize(
    ("read", "before"),
    [
        ("t = Relu(v)", SQUEEZED),  # either rank will do
        ("t = Transpose<perm = [1, 0]>(v)", SQUEEZED),  # ONNX Runtime may optimise it away
        ("e = Gemm(v, m) t = Relu(x)", SQUEEZED),  # nobody needs the Gemm
        (
            "t = If (c) < then_branch = a () => (float[A,B] j) { j = Gemm(v, m) },"
            " else_branch = b () => (float[A,B,C] o) { o = Identity(x) } >",
            SQUEEZED,
        ),  # it runs only behind the Squeeze
        ("e = Unsqueeze(v, axes) t = Gemm(e, m)", SQUEEZED + "axes = Identity(last)"),
        ("e = Unsqueeze(v, first) t = Gemm(e, m)", SQUEEZED),  # runs with neither
        ("e = Squeeze(v) t = Gemm(e, m)", SQUEEZED),  # axes not stated
        ("t = Gemm(v, m)", SQUEEZED.replace("Identity(x)", "Squeeze(x)")),
    ],
)
def test_where_nothing_is_decided(read: str, before: str) -> None:
    refused(run(model_of(read, before), PASS))


def test_the_rank_of_a_weight_that_callers_may_replace_says_nothing() -> None:
    model = model_of("e = Unsqueeze(v, first) t = Conv(e, conv)")
    model.graph.input.append(helper.make_tensor_value_info("conv", 1, (2, 4, 1)))
    refused(run(model, PASS))


def test_in_a_body() -> None:
    text = f"""g (bool b, {TYPE} x) => (float[A,B,C,D] y) {{
        y = If (b) <
            then_branch = outer () => (float[A,B,C,D] t) {{ {SQUEEZED} {READ} }},
            else_branch = other () => (float[A,B,C,D] y2) {{
                ax = Constant<value = int64[1] {{0}}>() y2 = Unsqueeze(x, ax)
            }}
        >
    }}"""
    model = parse(text, **LSTM)
    outcome = run(model, PASS)
    assert (outcome.rewrites, outcome.left_out) == (1, [])
    feeds = [{**feed, "b": np.array(b)} for feed in FEEDS for b in (True, False)]
    agree(model, outcome.after, feeds, exact=True)


def test_what_stands_in_another_if_does_not_decide() -> None:
    """It runs only when that one lets it."""
    read = """t = If (b) <
        then_branch = inner () => (float[A,B] t1) { t1 = Gemm(v, m) },
        else_branch = other () => (float[A,B,C] t2) { t2 = Neg(v) }
    >"""
    model = model_of(read)
    model.graph.input.append(helper.make_tensor_value_info("b", 9, []))
    refused(run(model, PASS))


def test_excluded_nodes() -> None:
    model = model_of(READ)
    for pattern in ("If -> v", "Squeeze -> p"):
        result = graphopt.optimize(
            model, passes=[PASS], exclude_nodes=[pattern],
            data=[dict(feed) for feed in FEEDS],
        )  # fmt: skip
        assert not result.report.changed


STATED: dict[str, tuple[str, dict[str, Any], list[int]]] = {
    "LSTM": ("a, b, c = LSTM<hidden_size = 2>(e, w, r)", LSTM, [2, 4]),
    "GRU": (
        "a, b = GRU<hidden_size = 2>(e, w, r)",
        {"w": np.zeros((1, 6, 3), "f"), "r": np.zeros((1, 6, 2), "f")}, [2, 4],
    ),
    "RNN": (
        "a, b = RNN<hidden_size = 2>(e, w, r)",
        {"w": np.zeros((1, 2, 3), "f"), "r": np.zeros((1, 2, 2), "f")}, [2, 4],
    ),
    "Gemm": ("a = Gemm(e, m)", {"m": np.zeros((3, 3), "f")}, [0, 3, 4]),
    "Gemm B": ("a = Gemm(m, e)", {"m": np.zeros((3, 3), "f")}, [0, 1, 3]),
    "MaxPool": ("a = MaxPool<kernel_shape = [1, 1]>(e)", {}, [2, 3, 5]),
    "AveragePool": ("a = AveragePool<kernel_shape = [1, 1]>(e)", {}, [2, 3, 5]),
    "LpPool": ("a = LpPool<kernel_shape = [1, 1]>(e)", {}, [2, 3, 5]),
    "Conv": ("a = Conv(e, m)", {"m": np.zeros((1, 3, 1), "f")}, [2, 4, 5]),
    "ConvTranspose": ("a = ConvTranspose(e, m)", {"m": np.zeros((3, 3, 1), "f")}, [2, 4, 5]),
    "Squeeze": ("a = Squeeze(e, m)", {"m": np.array([0, 1])}, [0, 1]),
}  # fmt: skip


@pytest.mark.parametrize("name", STATED)
@pytest.mark.parametrize("opset", [13, 21])
def test_what_is_called_impossible_does_not_run(name: str, opset: int) -> None:
    text, arrays, ranks = STATED[name]
    head = f'<ir_version: 8, opset_import: ["": {opset}]>'
    body = f"e = Expand(x, s) {text} y = ReduceMax<keepdims = 0>(a)"
    model = parse(f"{head} g (float x, int64[R] s) => (float y) {{ {body} }}", **arrays)
    for rank in ranks:
        for length in (1, 3):
            shape = np.array([length] * rank, np.int64)
            assert fails(model, {"x": np.array(1, np.float32), "s": shape}), (rank, length)
