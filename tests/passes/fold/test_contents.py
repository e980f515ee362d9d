"""Contents by rule against real tensors: shape arithmetic with real sizes gives what was learnt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto

from graphopt.passes.fold import _contents
from tests.build import few, parse
from tests.passes.fold.learning import Learnt, sizes_of
from tests.passes.support import Array

NAMES = ("N", "C", "H")
WORLDS = [
    {"N": 2, "C": 3, "H": 4}, {"N": 5, "C": 1, "H": 7}, {"N": 1, "C": 8, "H": 2},
    {"N": 0, "C": 2, "H": 3},
]  # fmt: skip
X = "float[N,C,H,6] x"
TOP = 2**63 - 1


def model(nodes: str, inputs: str = X, opset: int = 18, **constants: Any) -> ModelProto:
    head = f'<ir_version: 10, opset_import: ["" : {opset}]>'
    return parse(f"{head} g ({inputs}) => (y) {{ s = Shape(x)\n {nodes} }}", **constants)


def i64(*values: Any) -> Array:
    return np.array(values, np.int64)


def known(learnt: Learnt, expected: str | None) -> None:
    found = learnt.content("y")
    assert found == (None if expected is None else list(sizes_of(expected, NAMES)))


Row = tuple[str, str | None, dict[str, Any]]
RULES: dict[str, list[Row]] = {
    "Add": [
        ("y = Add(s, k)", "N + 1, C - 1, H, 8", {"k": i64(1, -1, 0, 2)}),
        ("y = Add(s, s)", "N * 2, C * 2, H * 2, 12", {}),
        ("y = Add(k, s)", "N + 5, C + 5, H + 5, 11", {"k": np.int64(5)}),
        ("y = Add(k, k)", None, {"k": i64(TOP)}),
    ],
    "Cast": [
        ("y = Cast <to = 6> (s)", "N, C, H, 6", {}),
        ("c = Cast <to = 6> (s) y = Cast <to = 7> (c)", "N, C, H, 6", {}),
        ("f = Cast <to = 1> (s) y = Cast <to = 7> (f)", None, {}),
        ("y = Cast <to = 9> (s)", None, {}),
        ("y = Cast <to = 7> (k)", "1, 0", {"k": np.array([True, False])}),
        ("y = Cast <to = 6> (k)", None, {"k": i64(2**31)}),
        ("y = Cast <to = 12> (s)", None, {}),
    ],
    "Concat": [
        ("y = Concat <axis = 0> (s, k)", "N, C, H, 6, -1", {"k": i64(-1)}),
        ("y = Concat <axis = -1> (k, s)", "N, C, H, 6", {"k": i64()}),
        ("u = Unsqueeze(s, o) y = Concat <axis = 1> (u, u)", "N, N, C, C, H, H, 6, 6",
         {"o": i64(1)}),
    ],
    "ConstantOfShape": [
        ("y = ConstantOfShape <value = int64[1] {7}> (k)", "7, 7", {"k": i64(2)}),
        ("y = ConstantOfShape <value = int64[1] {7}> (k)", "7", {"k": i64()}),
        ("y = ConstantOfShape <value = int64[1] {7}> (k)", "", {"k": i64(0)}),
        ("r = Shape(s) y = ConstantOfShape <value = int64[1] {-1}> (r)", "-1, -1, -1, -1", {}),
        ("y = ConstantOfShape(k)", None, {"k": i64(2)}),
        ("y = ConstantOfShape <value = int64[1] {7}> (k)", None, {"k": i64(20, 20)}),
        ("y = ConstantOfShape <value = bool[1] {1}> (k)", "1, 1", {"k": i64(2)}),
    ],
    "Div": [
        ("y = Div(s, k)", "N, C * -1, H, 3", {"k": i64(1, -1, 1, 2)}),
        ("d = Mul(s, k) y = Div(d, k)", "N, C, H, 6", {"k": i64(8)}),
        ("d = Mul(s, k) e = Add(d, t) y = Div(e, k)", "N, C, H, 6", {"k": i64(8), "t": i64(7)}),
        ("y = Div(k, t)", "-3, -3, 3", {"k": i64(-7, 7, -7), "t": i64(2, -2, -2)}),
        ("y = Div(k, t)", None, {"k": i64(7), "t": i64(0)}),
    ],
    "Equal": [
        ("y = Equal(s, s)", "1, 1, 1, 1", {}),
        ("y = Equal(s, k)", "0, 0, 0, 0", {"k": i64(-1)}),
        ("t = Add(s, k) y = Equal(s, t)", "0, 0, 0, 0", {"k": i64(1)}),
        ("y = Equal(s, k)", None, {"k": i64(2)}),
        ("n = Gather(s, z) y = Equal(n, m)", None, {"z": i64(0), "m": i64(0)}),
    ],
    "Gather": [
        ("y = Gather(s, k)", "H, N, 6", {"k": i64(2, -4, -1)}),
        ("y = Gather(s, k)", "C", {"k": np.int64(1)}),
        ("y = Gather(s, k)", "N, C, H, 6", {"k": i64([0, 1], [2, 3])}),
        ("y = Gather(s, k)", "", {"k": i64()}),
        ("y = Gather(s, k)", "H", {"k": np.array([2], np.int32)}),
        ("u = Unsqueeze(s, o) y = Gather <axis = -1> (u, z)", "N, C, H, 6",
         {"o": i64(1), "z": i64(0)}),
    ],
    "Greater": [
        ("t = Add(s, k) y = Greater(t, s)", "1, 1, 1, 1", {"k": i64(1)}),
        ("y = Greater(s, s)", "0, 0, 0, 0", {}),
        ("y = Greater(k, s)", "0, 0, 0, 0", {"k": i64(0)}),
        ("y = Greater(s, k)", None, {"k": i64(0)}),
    ],
    "Identity": [("y = Identity(s)", "N, C, H, 6", {})],
    "Less": [
        ("t = Add(s, k) y = Less(s, t)", "1, 1, 1, 1", {"k": i64(3)}),
        ("y = Less(s, k)", "0, 0, 0, 0", {"k": i64(0)}),
        ("y = Less(k, s)", None, {"k": i64(0)}),
        ("y = Less(k, s)", "1, 1, 1, 1", {"k": i64(-1)}),
    ],
    "Max": [
        ("y = Max(s, k)", "N, C, H, 6", {"k": i64(0)}),
        ("t = Add(s, k) y = Max(s, t)", "N + 2, C + 2, H + 2, 8", {"k": i64(2)}),
        ("y = Max(s, k)", None, {"k": i64(1)}),
        ("y = Max(s, s)", "N, C, H, 6", {}),
        ("y = Max(s, k, k)", None, {"k": i64(0)}),
    ],
    "Min": [
        ("y = Min(s, k)", "0, 0, 0, 0", {"k": i64(0)}),
        ("t = Add(s, k) y = Min(t, s)", "N, C, H, 6", {"k": i64(2)}),
        ("y = Min(s, k)", None, {"k": i64(TOP)}),
    ],
    "Mod": [
        ("t = Mul(s, k) y = Mod(t, k)", "0, 0, 0, 0", {"k": i64(4)}),
        ("y = Mod(k, t)", "1, -1, -1", {"k": i64(-7, 7, -7), "t": i64(2, -2, -2)}),
        ("y = Mod <fmod = 1> (k, t)", None, {"k": i64(-7), "t": i64(2)}),
        ("y = Mod(k, t)", None, {"k": i64(7), "t": i64(0)}),
    ],
    "Mul": [
        ("y = Mul(s, s)", "N * N, C * C, H * H, 36", {}),
        ("y = Mul(s, k)", "N * -1, 0, H * 2, 12", {"k": i64(-1, 0, 2, 2)}),
        ("y = Mul(k, k)", None, {"k": i64(2**32)}),
    ],
    "Not": [("e = Equal(s, s) y = Not(e)", "0, 0, 0, 0", {})],
    "ReduceProd": [
        ("y = ReduceProd(s)", "N * C * H * 6", {}),
        ("y = ReduceProd <keepdims = 0> (s)", "N * C * H * 6", {}),
        ("y = ReduceProd(s, k)", "N * C * H * 6", {"k": i64(0)}),
        ("y = ReduceProd(s, k)", "N * C * H * 6", {"k": i64(-1)}),
        ("y = ReduceProd(k)", "1", {"k": i64()}),
        ("y = ReduceProd <noop_with_empty_axes = 1> (s)", None, {}),
        ("u = Unsqueeze(s, o) y = ReduceProd(u, o)", None, {"o": i64(1)}),
    ],
    "Reshape": [
        ("y = Reshape(s, k)", "N, C, H, 6", {"k": i64(2, -1)}),
        ("y = Reshape(s, k)", "N, C, H, 6", {"k": i64(0, 1)}),
        ("g = Gather(s, z) y = Reshape(g, k)", "C", {"z": np.int64(1), "k": i64(-1)}),
        ("g = Gather(s, z) y = Reshape(g, k)", "C", {"z": i64(1), "k": i64()}),
    ],
    "Shape": [
        ("y = Shape <start = 1> (x)", "C, H, 6", {}),
        ("y = Shape <start = -3, end = -1> (x)", "C, H", {}),
        ("y = Shape <end = -9> (x)", "", {}),
        ("y = Shape <start = -9, end = 9> (x)", "N, C, H, 6", {}),
        ("y = Shape <start = 3, end = 1> (x)", "", {}),
    ],
    "Size": [("y = Size(x)", "N * C * H * 6", {}), ("y = Size(k)", "1", {"k": np.int64(3)})],
    "Squeeze": [
        ("g = Gather(s, z) y = Squeeze(g, z)", "N", {"z": i64(0)}),
        ("g = Gather(s, z) y = Squeeze(g)", "N", {"z": i64(0)}),
    ],
    "Sub": [("y = Sub(s, k)", "N - 1, C + 1, H, 4", {"k": i64(1, -1, 0, 2)})],
    "Transpose": [
        ("u = Reshape(s, k) y = Transpose(u)", "N, H, C, 6", {"k": i64(2, 2)}),
        ("y = Transpose <perm = [0]> (s)", "N, C, H, 6", {}),
    ],
    "Unsqueeze": [("y = Unsqueeze(s, k)", "N, C, H, 6", {"k": i64(0, -1)})],
    "Where": [
        ("y = Where(k, s, o)", "N, -1, H, -1", {"k": np.array([1, 0, 1, 0], bool), "o": i64(-1)}),
        ("e = Equal(s, o) y = Where(e, o, s)", "N, C, H, 6", {"o": i64(-1)}),
        ("e = Equal(s, o) y = Where(e, o, s)", None, {"o": i64(1)}),
        ("y = Where(k, s, t)", "N, C, H, 6", {"k": np.bool_(True), "t": i64([0, 0, 0, 0])}),
    ],
}  # fmt: skip

ROWS = [
    pytest.param(*row, id=f"{operator}-{index}")
    for operator, rows in RULES.items()
    for index, row in enumerate(rows)
]


def test_every_rule_is_in_the_table() -> None:
    """Slices have a file of their own."""
    assert set(RULES) | {"Slice"} == set(_contents._RULES)


@pytest.mark.parametrize(("nodes", "expected", "constants"), ROWS)
def test_rule(nodes: str, expected: str | None, constants: dict[str, Any]) -> None:
    learnt = Learnt(model(nodes, **constants))
    known(learnt, expected)
    divides_by_zero = any(op in nodes for op in ("Div(k", "Mod(k")) and 0 in constants["t"]
    if not divides_by_zero:
        learnt.holds(WORLDS)


def test_what_has_no_polynomial_is_still_known() -> None:
    """Half of a size, rounded, and a remainder: the same in both places, and true."""
    nodes = """d = Div(s, k) r = Mod(s, k) e = Mul(d, k) y = Add(e, r)
               d2 = Div(s, k) r2 = Mod(s, k) half = Sub(d2, s) below = Div(half, k)"""
    learnt = Learnt(model(nodes, k=i64(2)))
    assert learnt.content("d") == learnt.content("d2")
    assert learnt.content("r") == learnt.content("r2")
    learnt.holds(WORLDS)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint64, np.int8, np.int16])
@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul"])
def test_arithmetic_that_wraps_around(operator: str, dtype: Any) -> None:
    k = np.array([3, 200], np.uint8).astype(dtype)
    learnt = Learnt(model(f"a = {operator}(k, t) y = Cast <to = 7> (a)", k=k, t=k[::-1]))
    learnt.holds(WORLDS[:1], reference=True)


@pytest.mark.parametrize(("kind", "factor"), [(6, 1_000_000), (7, 2**62)])
def test_symbols_that_wrap_around(kind: int, factor: int) -> None:
    """A quotient is not the former factor where the product did not fit its type."""
    nodes = f"c = Cast <to = {kind}> (s) m = Mul(c, k) y = Div(m, k)"
    k = np.array([factor], np.int32 if kind == 6 else np.int64)
    learnt = Learnt(model(nodes, "float[N,C,0,H] x", k=k))
    learnt.true_of({"x": np.zeros((3000, 3, 0, 3000), np.float32)}, {"N": 3000, "C": 3, "H": 3000})


def test_long_tensors_are_data() -> None:
    learnt = Learnt(model("y = Add(k, t)", k=np.arange(257), t=np.int64(0)))
    assert learnt.content("y") is None
    short = Learnt(model("y = Add(k, t)", k=np.arange(256), t=np.int64(0)))
    assert short.content("y") is not None
    wide = Learnt(model("y = Add(k, t)", k=np.arange(16), t=np.zeros((17, 1), np.int64)))
    assert wide.content("y") is None


STEPS = st.sampled_from(["Add", "Sub", "Mul", "Div", "Mod", "Max", "Min"])
PLANS = st.lists(st.tuples(STEPS, st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=5)
"""Too short for a product that wraps around."""


@few
@given(PLANS)
def test_arithmetic_on_arithmetic(plan: list[tuple[str, int, int]]) -> None:
    """Operands are drawn from all that was computed before; divisors are kept off zero."""
    lines, names = ["k = Constant <value = int64[4] {1, -2, 3, 7}> ()"], ["s", "k"]
    for index, (operator, left, right) in enumerate(plan):
        first, second = names[left % len(names)], names[right % len(names)]
        if operator in ("Div", "Mod"):
            lines.append(f"a{index} = Abs({second}) b{index} = Max(a{index}, one)")
            second = f"b{index}" if right % 2 else "k"
        lines.append(f"v{index} = {operator}({first}, {second})")
        names.append(f"v{index}")
    text = "\n".join([*lines, f"y = Identity({names[-1]})"])
    Learnt(model(text, one=i64(1))).holds(WORLDS)


@few
@given(st.permutations(range(4)), st.sampled_from(["Equal", "Greater", "Less"]), st.integers(-2, 2))
def test_comparisons(order: list[int], operator: str, offset: int) -> None:
    nodes = f"g = Gather(s, p) a = Add(g, k) y = {operator}(a, s)"
    Learnt(model(nodes, p=i64(*order), k=i64(offset))).holds(WORLDS)


BROKEN: list[tuple[str, dict[str, Any]]] = [
    ("y = Gather <axis = 3> (s, k)", {"k": i64(0)}),
    ("y = Gather(s, k)", {"k": i64(4)}),
    ("y = Transpose <perm = [1, 0]> (s)", {}),
    ("y = Concat <axis = 1> (s, s)", {}),
    ("u = Unsqueeze(s, k) y = Concat <axis = 0> (u, s)", {"k": i64(0)}),
    ("y = Add(s, k)", {"k": i64(1, 2)}),
    ("y = Add(s)", {}),
    ("y = Where(k, s)", {"k": np.array([True])}),
    ("y = Reshape(s, k)", {"k": i64(3, -1)}),
    ("y = Reshape(s, k)", {"k": i64(-1, -1)}),
    ("y = Reshape(s)", {}),
    ("y = Squeeze(s, k)", {"k": i64(0)}),
    ("y = ConstantOfShape <value = int64[1] {1}> (k)", {"k": i64(-3)}),
    ("y = ConstantOfShape <value = int64[2] {1, 1}> (k)", {"k": i64(3)}),
    ("y = Cast(s)", {}),
    ("y = Shape()", {}),
]


@pytest.mark.parametrize(("nodes", "constants"), BROKEN)
def test_a_node_that_breaks_its_definition_teaches_nothing(
    nodes: str, constants: dict[str, Any]
) -> None:
    """Inference may give up on such a file altogether; the pass goes on with what there is."""
    learnt = Learnt(model(nodes, **constants))
    assert learnt.content("y") is None
    assert learnt.content("s") in (None, list(sizes_of("N, C, H, 6", NAMES)))


def test_broadcasting_of_old_is_not_numpys() -> None:
    """Up to opset 6 `axis` says where the second operand goes."""
    node = "y = Add <broadcast = 1, axis = 0> (k, t)"
    learnt = Learnt(model(node, opset=6, k=i64([1, 2], [3, 4]), t=i64(10, 20)))
    assert learnt.content("y") in (None, list(sizes_of("11, 12, 23, 24", NAMES)))


def test_reshape_of_old_has_its_shape_in_an_attribute() -> None:
    learnt = Learnt(model("y = Reshape <shape = [2, 2]> (s)", opset=4))
    assert learnt.content("y") in (None, list(sizes_of("N, C, H, 6", NAMES)))
