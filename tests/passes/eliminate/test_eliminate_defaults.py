"""eliminate_defaults: what recurrent operators are told and would assume anyway."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphopt
from graphopt.engine.recipe import parse_recipe
from graphopt.passes.eliminate.eliminate_defaults import EliminateDefaults
from tests.build import few, parse
from tests.passes.placed import GRAPHS, PLACES, Place, piece, placed
from tests.passes.support import Array, agree, run

PASS = EliminateDefaults()
HEAD = '<ir_version: 10, opset_import: ["" : 18]>'
ALONE = 'admits = "identical"\n[[stage]]\n[[stage.pass]]\nname = "eliminate_defaults"'
SEQUENCE = "float[5,2,3]"
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def f32(*values: float) -> Array:
    return np.array(values, np.float32)


def zeros(*shape: int) -> Array:
    return np.zeros(shape, np.float32)


def weights(op: str, directions: int = 1) -> dict[str, Array]:
    """W and R for 3 inputs and 4 hidden units."""
    rng = np.random.default_rng(3)
    rows = 4 * GATES[op]
    return {
        "w": rng.standard_normal((directions, rows, 3)).astype(np.float32),
        "r": rng.standard_normal((directions, rows, 4)).astype(np.float32),
    }


def recurrent(op: str, *rest: str, more: str = "") -> str:
    """One recurrent node; each of `rest` is B, lengths, initial_h, initial_c, P in turn."""
    listed = ", ".join(["x", "w", "r", *(name or '""' for name in rest)])
    return f"q = {op} <hidden_size = 4{more}> ({listed})\ny = Neg(q)"


Y = "float[5,1,2,4]"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("op", GATES)
def test_initial_states_of_zeros(op: str, place: Place) -> None:
    rest = ("", "", "h", "c") if op == "LSTM" else ("", "", "h")
    constants = {**weights(op), "h": zeros(1, 2, 4)}
    constants |= {"c": zeros(1, 2, 4)} if op == "LSTM" else {}
    outcome = run(placed(place, recurrent(op, *rest), constants, x=SEQUENCE, y=Y), PASS)
    assert piece(outcome.after, place)[0] == f"q = {op}(x, w, r)"
    assert (outcome.rewrites, outcome.left_out) == (1, [])
    agree(outcome.before, outcome.after, exact=True)


COMPUTED: dict[str, str] = {
    "ConstantOfShape": "h = ConstantOfShape(shape)",
    "Expand": "h = Expand(zero, shape)",
    "a sliced one": "a = Concat <axis = 0> (two, batch, four)\nb = ConstantOfShape(a)\n"
                    "h = Slice(b, start, one)",
    "a taken one": "a = Concat <axis = 0> (two, one, batch, four)\nb = ConstantOfShape(a)\n"
                   "h = Gather(b, number)",
    "moved ones": "a = Concat <axis = 0> (four, batch)\nb = ConstantOfShape(a)\n"
                  "d = Transpose(b)\nh = Unsqueeze(d, start)",
    "in another shape": "a = Concat <axis = 0> (four, batch)\nb = Expand(zero, a)\n"
                        "h = Reshape(b, shape)",
    "in another type": "a = Concat <axis = 0> (one, batch, four)\n"
                       "b = ConstantOfShape <value = int64[1] {0}> (a)\nh = Cast <to = 1> (b)",
    "repeated ones": "a = Concat <axis = 0> (one, one, four)\nb = ConstantOfShape(a)\n"
                     "t = Concat <axis = 0> (one, batch, one)\nh = Tile(b, t)",
    "split ones": "a = Concat <axis = 0> (two, batch, four)\nb = ConstantOfShape(a)\n"
                  "g, h = Split <num_outputs = 2> (b)",
}  # fmt: skip
INTEGERS = {
    "one": np.array([1]), "two": np.array([2]), "four": np.array([4]), "start": np.array([0]),
    "number": np.array(1), "zero": zeros(),
}  # fmt: skip
SIZES = "size = Shape <start = 1, end = 2> (x)\nbatch = Identity(size)\n" \
        "shape = Concat <axis = 0> (one, batch, four)\n"  # fmt: skip


@pytest.mark.parametrize("place", GRAPHS)
@pytest.mark.parametrize("case", COMPUTED)
def test_computed_zeros(case: str, place: Place) -> None:
    body = SIZES + COMPUTED[case] + "\n" + recurrent("LSTM", "", "", "h", "h")
    constants = {**weights("LSTM"), **INTEGERS}
    model = placed(place, body, constants, x=SEQUENCE, y=Y)
    outcome = run(model, PASS)
    assert piece(outcome.after, place)[-2] == "q = LSTM(x, w, r)"
    agree(model, outcome.after, exact=True)
    if place == "main":
        assert graphopt.optimize(model, parse_recipe(ALONE, "mine")).report.changed
        assert graphopt.optimize(model).report.after.nodes == 2


NOT_ZERO: dict[str, str] = {
    "ones": "h = ConstantOfShape <value = float[1] {1.0}> (shape)",
    "NaN": "h = Expand(nan, shape)",
    "computed": "m = ReduceMax <keepdims = 0> (x)\nh = Expand(m, shape)",
    "zero times what is not known": "m = ReduceMax <keepdims = 0> (x)\nk = Mul(m, zero)\n"
                                    "h = Expand(k, shape)",
    "zeros and ones": "a = Concat <axis = 0> (one, batch, two)\nb = ConstantOfShape(a)\n"
                "d = ConstantOfShape <value = float[1] {1.0}> (a)\nh = Concat <axis = 2> (b, d)",
}  # fmt: skip


@pytest.mark.parametrize("case", NOT_ZERO)
def test_what_is_not_sure_to_be_zero_stays(case: str) -> None:
    body = SIZES + NOT_ZERO[case] + "\n" + recurrent("LSTM", "", "", "h", "h")
    constants = {**weights("LSTM"), **INTEGERS, "nan": np.array(np.nan, np.float32)}
    assert run(placed("main", body, constants, x=SEQUENCE, y=Y), PASS).unchanged


def test_negative_zeros_and_biases_are_rounding() -> None:
    for rest, given_values in (
        (("", "", "h"), {"h": -zeros(1, 2, 4)}), (("b",), {"b": zeros(1, 24)}),
    ):  # fmt: skip
        constants = {**weights("GRU"), **given_values}
        model = placed("main", recurrent("GRU", *rest), constants, x=SEQUENCE, y=Y)
        assert not graphopt.optimize(model, parse_recipe(ALONE, "mine")).report.changed
        outcome = run(model, PASS)
        assert outcome.lines[0] == "q = GRU(x, w, r)"
        agree(model, outcome.after)


def test_each_input_by_itself() -> None:
    rest = ("b", "n", "h", "c", "p")
    plain = {
        "b": np.ones((1, 32), np.float32), "n": np.array([3, 5], np.int32), "p": zeros(1, 12),
        "h": np.ones((1, 2, 4), np.float32), "c": np.ones((1, 2, 4), np.float32),
    }  # fmt: skip
    cases = {
        "b": zeros(1, 32), "n": np.array([5, 5], np.int32), "h": zeros(1, 2, 4),
        "c": zeros(1, 2, 4), "p": zeros(1, 12),
    }  # fmt: skip
    plain["p"] = np.ones((1, 12), np.float32)
    for name, array in cases.items():
        constants = {**weights("LSTM"), **plain, name: array}
        model = placed("main", recurrent("LSTM", *rest), constants, x=SEQUENCE, y=Y)
        outcome = run(model, PASS)
        left = [other if other != name else "" for other in rest]
        while not left[-1]:
            left.pop()
        assert outcome.lines[0] == f"q = LSTM({', '.join(['x', 'w', 'r', *left])})"
        agree(model, outcome.after)


def test_lengths() -> None:
    """Whole ones say nothing; in the other layout, the sequence is the second axis."""
    for x, more, lengths, y, gone in (
        (SEQUENCE, "", [5, 5], Y, True),
        (SEQUENCE, "", [5, 4], Y, False),
        ("float[N,2,3]", "", [5, 5], "float[N,1,2,4]", False),
        (SEQUENCE, ", layout = 1", [2, 2, 2, 2, 2], "float[5,2,1,4]", True),
        (SEQUENCE, ", layout = 1", [5, 5, 5, 5, 5], "float[5,2,1,4]", False),
    ):
        constants = {**weights("RNN"), "n": np.array(lengths, np.int32)}
        body = recurrent("RNN", "", "n", more=more)
        outcome = run(placed("main", body, constants, x=x, y=y), PASS)
        assert outcome.unchanged != gone
        if "layout" not in more:
            agree(outcome.before, outcome.after, [{"x": np.ones((5, 2, 3), np.float32)}])


def test_both_directions() -> None:
    constants = {**weights("LSTM", 2), "h": zeros(2, 2, 4), "b": zeros(2, 32)}
    body = recurrent("LSTM", "b", "", "h", "h", more=', direction = "bidirectional"')
    outcome = run(placed("main", body, constants, x=SEQUENCE, y="float[5,2,2,4]"), PASS)
    assert outcome.lines[0] == "q = LSTM(x, w, r)"
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize("name", ["h", "b"])
def test_overridable_inputs(name: str) -> None:
    constants = {**weights("GRU"), "h": zeros(1, 2, 4), "b": zeros(1, 24)}
    listed = "float[1,2,4] h" if name == "h" else "float[1,24] b"
    rest = ("", "", "h") if name == "h" else ("b",)
    text = f"{HEAD} g ({SEQUENCE} x, {listed}) => ({Y} y) {{ {recurrent('GRU', *rest)} }}"
    assert run(parse(text, **constants), PASS).unchanged


def test_shared_zeros_stay_for_their_other_reader() -> None:
    constants = {**weights("GRU"), "h": zeros(1, 2, 4)}
    body = recurrent("GRU", "", "", "h").replace("y = Neg(q)", "k = Exp(h)\ny = Mul(q, k)")
    outcome = run(placed("main", body, constants, x=SEQUENCE, y=Y), PASS)
    assert outcome.lines == ["q = GRU(x, w, r)", "k = Exp(h)", "y = Mul(q, k)"]
    agree(outcome.before, outcome.after, exact=True)


def test_zeros_from_an_enclosing_graph() -> None:
    constants: dict[str, Any] = {**weights("RNN"), "h": zeros(1, 2, 4)}
    body = recurrent("RNN", "", "", "h")
    for place in ("if", "loop"):
        model = placed(place, body, constants, x=SEQUENCE, y=Y, captured=True)
        outcome = run(model, PASS)
        assert piece(outcome.after, place)[0] == "q = RNN(x, w, r)"
        agree(model, outcome.after, exact=True)


@few
@given(
    st.sampled_from(["LSTM", "GRU", "RNN"]),
    st.tuples(*[st.sampled_from(["left out", "zero", "not zero"])] * 5),
    st.sampled_from(["forward", "reverse", "bidirectional"]),
)
def test_any_mixture(op: str, kinds: tuple[str, ...], direction: str) -> None:
    count = 2 if direction == "bidirectional" else 1
    shapes = {
        "b": (count, 8 * GATES[op]), "n": (2,), "h": (count, 2, 4), "c": (count, 2, 4),
        "p": (count, 12),
    }  # fmt: skip
    rest, constants = [], weights(op, count)
    for (name, shape), kind in zip(list(shapes.items())[: 5 if op == "LSTM" else 3], kinds,
                                   strict=False):  # fmt: skip
        rest.append("" if kind == "left out" else name)
        if name == "n":
            array = np.array([5, 5] if kind == "zero" else [2, 5], np.int32)
        else:
            array = np.full(shape, kind == "not zero", np.float32)
        if rest[-1]:
            constants[name] = array
    body = recurrent(op, *rest, more=f', direction = "{direction}"')
    model = placed("main", body, constants, x=SEQUENCE, y=f"float[5,{count},2,4]")
    outcome = run(model, PASS)
    left = [name if kind == "not zero" else "" for name, kind in zip(rest, kinds, strict=False)]
    found = list(outcome.after.graph.node[0].input[3:])
    assert [name for name in found if name] == [name for name in left if name]
    assert all(name == "" or left[index] == name for index, name in enumerate(found))
    agree(model, outcome.after)
