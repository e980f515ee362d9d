"""eliminate_expand: what broadcasts anyway reads what was expanded for it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

from graphopt.contract import Effect
from tests.build import few, parse
from tests.passes.eliminate.expanding import EXPAND, HEAD, expanded, f32, i64
from tests.passes.fold.gridding import typed
from tests.passes.placed import GRAPHS, Place, piece, placed
from tests.passes.support import agree, answers, random_feeds, run


def test_effect() -> None:
    assert EXPAND.effect is Effect.IDENTICAL


@pytest.mark.parametrize("operator", ["Add", "Mul", "Sub", "Div", "Less", "Equal"])
@pytest.mark.parametrize("turned", [False, True])
def test_expand_before_an_operator_that_broadcasts(operator: str, *, turned: bool) -> None:
    operands = "b, x" if turned else "x, b"
    outcome = expanded(
        "g (float[N,C] x, float[1,C] m) => (float[N,C] y) {"
        f"s = Shape(x) b = Expand(m, s) z = {operator}({operands}) y = Cast <to = 1> (z) }}"
    )
    assert outcome.lines[1:] == [
        f"z = {operator}({operands.replace('b', 'm')})", "y = Cast(z)",
    ]  # fmt: skip


def test_a_chain_up_to_the_node_whose_result_keeps_its_shape() -> None:
    outcome = expanded(
        "g (float[N,4,C,C] x, bool[N,1,1,C] m) => (float[N,4,C,C] y) {"
        "n = Shape <end = 1> (x) c = Shape <start = 2> (x) s = Concat <axis = 0> (n, one, c)"
        " e = Expand(m, s) i = Not(e) w = Where(i, low, zero) y = Add(x, w) }",
        one=i64(1), low=f32(1), zero=np.float32(0),
    )  # fmt: skip
    assert outcome.lines[3:] == [
        "i_Not = Not(m)", "w_Where = Where(i_Not, low, zero)", "y = Add(x, w_Where)",
    ]  # fmt: skip


def test_two_ways_to_one_node() -> None:
    outcome = expanded(
        "g (float[N,C] x, float[C] m) => (float[N,C] y) {"
        "s = Shape(x) e = Expand(m, s) a = Neg(e) b = Abs(e) c = Mul(a, b) d = Sub(c, a)"
        " y = Add(d, x) }"
    )
    assert len(outcome.lines) == 6
    assert outcome.lines[1:3] == ["a_Neg = Neg(m)", "b_Abs = Abs(m)"]


def test_one_value_used_twice() -> None:
    outcome = expanded(
        "g (float[N,C] x, float[C] m) => (float[N,C] y) {"
        "s = Shape(x) e = Expand(m, s) a = Mul(e, e) y = Add(a, x) }"
    )
    assert outcome.lines[1:] == ["a_Mul = Mul(m, m)", "y = Add(a_Mul, x)"]


def test_many_readers() -> None:
    outcome = expanded(
        "g (float[N,C] x, float[C] m) => (float[N,C] y, float[N,C] z) {"
        "s = Shape(x) e = Expand(m, s) y = Add(e, x) z = Mul(x, e) }"
    )
    assert outcome.lines[1:] == ["y = Add(m, x)", "z = Mul(x, m)"]


def test_an_expand_before_another() -> None:
    outcome = expanded(
        "g (float[N,C] x, float[C] m) => (float[N,C] y) {"
        "s = Shape(x) e = Expand(m, s) f = Expand(e, s) y = Identity(f) }"
    )
    assert outcome.lines[1:] == ["e = Expand(m, s)", "y = Identity(e)"]


def test_an_expand_to_the_same_shape() -> None:
    outcome = expanded(
        "g (float[N,C] x) => (float[N,C] y) { s = Shape(x) e = Expand(x, s) y = Neg(e) }"
    )
    assert outcome.lines[1:] == ["y = Neg(x)"]


@pytest.mark.parametrize(
    "add",
    [
        "e = Unsqueeze(m, axes)",
        "e = Reshape(m, target)",
        "f = Unsqueeze(m, first) e = Unsqueeze(f, first)",
    ],
)
def test_ones_in_front(add: str) -> None:
    outcome = expanded(
        "g (float[N,4,C] x, float[C] m) => (float[N,4,C] y) {" f"{add} y = Add(e, x) }}",
        axes=i64(0, 1), target=i64(1, 1, -1), first=i64(0),
    )  # fmt: skip
    assert outcome.lines == ["y = Add(m, x)"]


def test_ones_that_move_an_axis_stay() -> None:
    assert expanded(
        "g (float[N,C,C] x, float[C] m) => (float[N,C,C] y) {"
        " e = Unsqueeze(m, axes) y = Add(e, x) }",
        axes=i64(1),
    ).unchanged  # fmt: skip


def test_a_filled_tensor() -> None:
    outcome = expanded(
        "g (int64[N,C] x) => (int64[N,C] y) {"
        "s = Shape(x) f = ConstantOfShape <value = int64[1] {15}> (s) y = Min(x, f) }"
    )
    assert outcome.lines[-1] == "y = Min(x, f_1)"
    assert (outcome.weights["f_1"].shape, outcome.weights["f_1"].dtype.name) == ((), "int64")


@pytest.mark.parametrize("value", ["", "<value = float[1] {-0.0}>", "<value = float[1] {2.5}>"])
def test_a_filled_tensor_of_floats(value: str) -> None:
    outcome = expanded(
        "g (float[N,C] x) => (float[N,C] y) {"
        f"s = Shape(x) f = ConstantOfShape {value} (s) z = Sub(x, x) y = Mul(z, f) }}"
    )
    assert outcome.lines[-1] == "y = Mul(z, f_1)"


def test_the_same_row_again_and_again() -> None:
    outcome = expanded(
        "g (float[N,C,3] x) => (float[N,C,3] y) { s = Shape <end = 2> (x)"
        " i = ConstantOfShape <value = int64[1] {-1}> (s) r = Gather(table, i) y = Add(x, r) }",
        table=f32(2, 3),
    )  # fmt: skip
    assert outcome.lines[-1] == "y = Add(x, r_1)"
    np.testing.assert_array_equal(outcome.weights["r_1"], f32(2, 3)[1])


def test_a_mask_that_is_always_true() -> None:
    """Range(C) >= 0: the other operand alone, where the shape comes out the same behind it."""
    outcome = expanded(
        "g (float[N,C,C] x, bool[N,1,C] m) => (float[N,C,C] y) {"
        "c1 = Shape <start = 1, end = 2> (x) c = Squeeze(c1) r = Range(zero, c, one)"
        " u = Unsqueeze(r, last) t = GreaterOrEqual(u, zero) a = And(t, m)"
        " w = Where(a, fzero, low) y = Add(x, w) }",
        zero=np.int64(0), one=np.int64(1), last=i64(1), fzero=np.float32(0), low=np.float32(-3),
    )  # fmt: skip
    assert outcome.lines[-2:] == ["w_Where = Where(m, fzero, low)", "y = Add(x, w_Where)"]


KNOWN = (
    "c1 = Shape <start = 1, end = 2> (x) c = Squeeze(c1) r = Range(zero, c, one)"
    " t = Less(r, c) f = Greater(r, c)"
)


@pytest.mark.parametrize("combined", ["And(t, m)", "And(m, t)", "Or(m, f)", "Or(f, m)"])
def test_units_of_and_and_or(combined: str) -> None:
    outcome = expanded(
        f"g (float[N,C] x, bool[C] m) => (float[N,C] y) {{ {KNOWN} a = {combined}"
        " y = Where(a, x, low) }",
        zero=np.int64(0), one=np.int64(1), low=np.float32(-3),
    )  # fmt: skip
    assert outcome.lines[-1] == "y = Where(m, x, low)"


@pytest.mark.parametrize("chosen", ["Where(t, m, n)", "Where(f, n, m)"])
def test_where_of_a_known_condition(chosen: str) -> None:
    outcome = expanded(
        f"g (float[N,C] x, float m, float[C] n) => (float[N,C] y) {{ {KNOWN} a = {chosen}"
        " y = Sub(a, x) }",
        zero=np.int64(0), one=np.int64(1),
    )  # fmt: skip
    assert outcome.lines[-1] == "y = Sub(m, x)"


@pytest.mark.parametrize("combined", ["And(t, f)", "Or(t, f)", "And(m, f)", "Or(m, t)", "Not(t)"])
def test_what_is_known_whatever_the_other_is(combined: str) -> None:
    outcome = expanded(
        f"g (float[N,C] x, bool[C] m) => (float[N,C] y) {{ {KNOWN} a = {combined}"
        " y = Where(a, x, low) }",
        zero=np.int64(0), one=np.int64(1), low=np.float32(-3),
    )  # fmt: skip
    assert outcome.lines[-1].startswith("y = Where(a_")
    (known,) = (array for name, array in outcome.weights.items() if name.startswith("a_"))
    assert known.item() == combined.startswith("Or")


def test_in_old_opsets_and_ir_version_3() -> None:
    head = '<ir_version: 3, opset_import: ["" : 8]>'
    graph = (
        "g (float[N,3] x) => (float[N,3] y) { m = Constant <value = float[3] {1.0, 2.0, 3.0}> ()"
        " s = Shape(x) e = Expand(m, s) y = Mul(e, x) }"
    )
    model = parse(head + graph)
    outcome = run(model, EXPAND)
    assert outcome.lines[-1] == "y = Mul(m, x)"
    agree(outcome.before, outcome.after, [random_feeds(model, 0, {"N": 4})], exact=True)


BODY = """
    s = Shape(x)
    e = Expand(k, s)
    f = ConstantOfShape(s)
    a = Neg(e)
    b = Sub(a, f)
    y = Mul(x, b)
"""


@pytest.mark.parametrize("place", GRAPHS)
@pytest.mark.parametrize("captured", [False, True])
def test_in_a_body(place: Place, *, captured: bool) -> None:
    outcome = run(placed(place, BODY, {"k": f32(3)}, captured=captured), EXPAND)
    assert outcome.left_out == []
    agree(outcome.before, outcome.after, exact=True)
    if place != "loop":  # what a Loop carries may change its shape from turn to turn
        assert [line.split(" = ")[1].split("(")[0] for line in piece(outcome.after, place)] == [
            "Shape", "Neg", "Sub", "Mul",
        ]  # fmt: skip


def test_in_a_function_nothing_is_known() -> None:
    assert run(placed("function", BODY, {"k": f32(3)}), EXPAND).unchanged


DIMS = st.sampled_from(["1", "3", "N"])


@st.composite
def broadcasts(draw: st.DrawFn) -> str:
    """An expanded value, a few nodes that work element by element, and what they meet."""
    shape = [draw(DIMS) for _ in range(draw(st.integers(0, 3)))]
    wide = [draw(DIMS) for _ in range(draw(st.integers(1, 3)))]
    other = [draw(DIMS) for _ in range(draw(st.integers(0, 3)))]
    lines, pool = ["s = Shape(w)", "e = Expand(m, s)"], ["e", "x"]
    for number in range(draw(st.integers(1, 5))):
        first, second = draw(st.sampled_from(pool)), draw(st.sampled_from(pool))
        kind = draw(st.sampled_from(["Neg", "Add", "Mul", "Sub", "Softmax"]))
        operands = f"{first}, {second}" if kind in ("Add", "Mul", "Sub") else first
        if kind == "Softmax" and not other:
            continue
        pool.append(f"v{number}")
        lines.append(f"v{number} = {kind}({operands})")
    head = f"g (float[{','.join(shape)}] m, float[{','.join(wide)}] w, float[{','.join(other)}] x)"
    head = head.replace("float[]", "float")
    return f"{head} => (y) {{ {' '.join(lines)} y = Identity({pool[-1]}) }}"


@few
@given(broadcasts())
def test_random_graphs_keep_their_answers(graph: str) -> None:
    model = typed(parse(HEAD + graph))
    outcome = run(model, EXPAND)
    assert outcome.left_out == []
    for seed, size in enumerate((1, 2, 3)):
        feeds = [random_feeds(model, seed, {"N": size})]
        try:
            answers(model, feeds[0], reference=False)
        except (
            Fail,
            InvalidArgument,
            RuntimeException,
        ):  # shapes that do not fit each other: the model does not run
            continue
        agree(outcome.before, outcome.after, feeds, exact=True)
