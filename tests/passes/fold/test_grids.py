"""Forms of index tensors: what is told of them, and that it is true."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.build import few, parse
from tests.passes.fold.gridding import Gridded
from tests.passes.support import Array

HEAD = '<ir_version: 10, opset_import: ["" : 18]>'
WORLDS = [{"N": 2, "C": 3}, {"N": 1, "C": 1}, {"N": 5, "C": 4}]
SIZES = """
    n1 = Shape <start = 0, end = 1> (x)
    c1 = Shape <start = 1, end = 2> (x)
    n = Squeeze(n1)
    c = Squeeze(c1)
    rows = Range(zero, n, one)
    cols = Range(zero, c, one)
    down = Unsqueeze(rows, last)
"""


def i64(*values: Any) -> Array:
    return np.array(values, np.int64)


BASE = {
    "zero": np.int64(0), "one": np.int64(1), "two": np.int64(2), "first": i64(0), "last": i64(1),
    "third": i64(2), "minus": np.int64(-1), "flat": i64(-1), "whole": i64(2**62),
}  # fmt: skip


def gridded(nodes: str, inputs: str = "float[N,C] x", **constants: Any) -> Gridded:
    model = parse(f"{HEAD} g ({inputs}) => (y) {{ {SIZES} {nodes} }}", **{**BASE, **constants})
    return Gridded(model)


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ("y = Identity(rows)", ["1*local axis 0"]),
        ("y = Identity(down)", ["1*local axis 1"]),
        ("y = Unsqueeze(rows, first)", ["1*local axis 0"]),
        ("y = Range(two, c, one)", ["2+1*local axis 0"]),
        ("k = Add(c, two) y = Range(two, k, one)", ["2+1*local axis 0"]),
        ("k = Add(c, n) y = Range(n, k, one)", ["1*'N'+1*local axis 0"]),
        ("m = Mul(down, c) y = Add(m, cols)", ["1*'C'*local axis 1+1*local axis 0"]),
        ("y = Sub(cols, down)", ["1*local axis 0+-1*local axis 1"]),
        ("t = Sub(cols, down) y = Transpose <perm = [1, 0]> (t)",
         ["-1*local axis 0+1*local axis 1"]),
        ("t = Sub(cols, down) y = Transpose(t)", ["-1*local axis 0+1*local axis 1"]),
        ("y = Mul(rows, rows)", ["1*local axis 0*local axis 0"]),
        ("y = Mul(cols, random)", None),
        ("y = Neg(cols)", ["-1*local axis 0"]),
        ("m = Neg(cols) y = Abs(m)", ["1*local axis 0"]),
        ("y = Abs(cols)", ["1*local axis 0"]),
        ("m = Sub(cols, down) y = Abs(m)", None),
        ("y = Slice(cols, first, n1, first)", ["1*local axis 0"]),
        ("y = Slice(cols, last, n1, first)", None),
        ("y = Slice(cols, first, n1, first, third)", None),
        ("y = Slice(ramp, first, n1, last)", ["1*local axis 0"]),
        ("s = Shape(x) y = Expand(down, s)", ["1*local axis 1"]),
        ("s = Shape(x) y = Expand(seven, s)", ["7"]),
        ("s = Shape(x) y = ConstantOfShape <value = int64[1] {7}> (s)", ["7"]),
        ("s = Shape(x) y = ConstantOfShape(s)", None),
        ("y = Reshape(down, flat)", ["1*local axis 0"]),
        ("m = Sub(cols, down) y = Reshape(m, flat)", None),
        ("y = Flatten <axis = 0> (rows)", ["1*local axis 0"]),
        ("t = Cast <to = 6> (rows) y = Add(t, t)", None),
        ("t = Cast <to = 6> (rows) y = Unsqueeze(t, first)", ["1*local axis 0"]),
        ("t = Cast <to = 1> (rows) y = Cast <to = 7> (t)", None),
        ("y = Gather(random, rows)", None),
        ("y = Gather(sevens, rows)", ["7"]),
        ("r = Unsqueeze(rows, first) y = GatherElements <axis = 1> (sevens1, r)", ["7"]),
        ("k = Concat <axis = -1> (down, down) y = Identity(k)", None),
        ("y = Concat <axis = -1> (down, down)", ["1*local axis 1", "1*local axis 1"]),
        ("y = Concat <axis = 0> (down, down)", None),
        ("y = Concat <axis = 0> (rows, rows)", None),
        ("y = Max(cols, minus)", ["1*local axis 0"]),
        ("y = Min(cols, minus)", ["-1"]),
        ("y = Max(cols, two)", None),
        ("y = Min(cols, c)", ["1*local axis 0"]),
        ("y = Identity(uneven)", None),
        ("y = Identity(ramp)", ["1*local axis 0"]),
    ],
)  # fmt: skip
def test_forms(nodes: str, expected: list[str] | None) -> None:
    found = gridded(
        nodes, random=i64(3, 1, 4, 1, 5)[:, None], seven=np.int64(7), sevens=np.full(9, 7),
        sevens1=np.full((1, 9), 7), ramp=np.arange(9)[None], uneven=i64(0, 1, 3),
    )  # fmt: skip
    assert found.parts("y") == expected
    if "random" not in nodes:
        found.holds(WORLDS)


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ("y = GreaterOrEqual(cols, zero)", True),
        ("y = Greater(cols, minus)", True),
        ("y = Greater(cols, zero)", None),
        ("y = Less(cols, c)", True),
        ("y = Less(cols, n)", None),
        ("y = Less(cols, zero)", False),
        ("y = LessOrEqual(cols, cols)", True),
        ("y = LessOrEqual(cols, down)", None),
        ("k = Add(c, one) y = GreaterOrEqual(cols, k)", False),
        ("y = Equal(cols, c)", False),
        ("y = Equal(cols, minus)", False),
        ("y = Equal(cols, zero)", None),
        ("m = Mul(down, c) a = Add(m, cols) k = Mul(n, c) y = Less(a, k)", True),
        ("m = Mul(down, c) a = Add(m, cols) k = Mul(n, n) y = Less(a, k)", None),
        ("t = Less(cols, c) y = Not(t)", False),
        ("t = Less(cols, c) u = Less(rows, n) r = Unsqueeze(u, last) y = And(t, r)", True),
        ("t = Less(cols, zero) u = Less(rows, c) r = Unsqueeze(u, last) y = And(t, r)", False),
        ("t = Less(cols, c) u = Less(rows, c) r = Unsqueeze(u, last) y = And(t, r)", None),
        ("t = Less(cols, c) u = Less(rows, c) r = Unsqueeze(u, last) y = Or(r, t)", True),
        ("t = Less(cols, zero) y = Or(t, t)", False),
        ("t = Sub(c, zero) y = Cast <to = 9> (t)", None),
        ("t = Less(cols, c) u = Cast <to = 7> (t) y = Cast <to = 9> (u)", True),
    ],
)
def test_comparisons(nodes: str, *, expected: bool | None) -> None:
    found = gridded(nodes)
    assert found.parts("y") == (None if expected is None else [str(int(expected))])
    found.holds(WORLDS)


def test_where_of_a_known_condition() -> None:
    found = gridded("t = Less(cols, c) y = Where(t, cols, zero)")
    assert found.parts("y") == ["1*local axis 0"]
    assert gridded("t = Less(cols, n) y = Where(t, cols, zero)").parts("y") is None


def test_an_operand_that_may_be_one_long_has_no_coordinate_in_the_result() -> None:
    """M is 5 or 1: where it is 1, the coordinate beside the five is 0."""
    nodes = "m1 = Shape <start = 0, end = 1> (z) m = Squeeze(m1) r = Range(zero, m, one)"
    found = gridded(
        f"{nodes} y = Add(r, five)", "float[N,C] x, float[M] z", five=i64(0, 0, 0, 0, 0)
    )
    assert found.parts("y") is None
    found.holds([{"N": 2, "C": 3, "M": 5}, {"N": 2, "C": 3, "M": 1}])


def test_a_long_polynomial_hides_no_coordinate() -> None:
    """What became one symbol would look as if all elements were equal."""
    squares = "".join(f"p{i} = Mul(p{i - 1}, p{i - 1}) " for i in range(1, 5))
    found = gridded(f"p0 = Add(cols, down) {squares} y = Identity(p4)")
    assert found.parts("p1") is not None
    assert found.parts("y") is None


def test_unsigned_and_narrow_integers_are_not_followed() -> None:
    for code in (2, 3, 5, 13):
        assert gridded(f"y = Cast <to = {code}> (rows)").parts("y") is None
    nodes = "a = Cast <to = 6> (cols) b = Cast <to = 6> (c) y = Mul(a, b)"
    assert gridded(nodes).parts("y") is None


def test_a_large_constant_is_not_read() -> None:
    big = np.zeros((1 << 17) + 1, np.int64)
    assert gridded("y = Identity(big)", big=big).parts("y") is None
    assert gridded("y = Identity(big)", big=big[:9]).parts("y") == ["0"]


def test_an_overridable_default_is_no_constant() -> None:
    found = gridded("y = Identity(k)", "float[N,C] x, int64[2] k", k=i64(7, 7))
    assert found.parts("y") is None


UNARY: dict[str, Callable[[Array], Array]] = {
    "Abs": np.abs,
    "Neg": np.negative,
    "Transpose": np.transpose,
    "Identity": np.array,
}
PAIRWISE: dict[str, Callable[[Array, Array], Array]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Max": np.maximum,
    "Min": np.minimum,
}
COMPARING = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")


@st.composite
def index_graphs(draw: st.DrawFn) -> str:
    """Index arithmetic over two sizes; numpy says which operands fit each other."""
    n, c = 2, 3
    pool: dict[str, Array] = {
        "rows": np.arange(n), "cols": np.arange(c), "down": np.arange(n)[:, None],
        "zero": np.array(0), "one": np.array(1), "n": np.array(n), "c": np.array(c),
    }  # fmt: skip
    lines = []
    for number in range(draw(st.integers(3, 9))):
        name = f"v{number}"
        kind = draw(st.sampled_from([*UNARY, *PAIRWISE, *PAIRWISE, "Compare", "Unsqueeze"]))
        first = draw(st.sampled_from(sorted(pool)))
        second = draw(st.sampled_from(sorted(pool)))
        a, b = pool[first], pool[second]
        if kind in UNARY:
            pool[name] = UNARY[kind](a)
            lines.append(f"{name} = {kind}({first})")
        elif kind == "Unsqueeze" and a.ndim < 4:
            axis = draw(st.sampled_from(["first", "last"] if a.ndim else ["first"]))
            pool[name] = np.expand_dims(a, 0 if axis == "first" else 1)
            lines.append(f"{name} = Unsqueeze({first}, {axis})")
        else:
            try:
                np.broadcast_shapes(a.shape, b.shape)
            except ValueError:
                continue
            if kind in PAIRWISE:
                pool[name] = np.asarray(PAIRWISE[kind](a, b))
                lines.append(f"{name} = {kind}({first}, {second})")
            else:
                operator = draw(st.sampled_from(COMPARING))
                pool[name] = np.zeros(np.broadcast_shapes(a.shape, b.shape), np.int64)
                lines += [f"b{name} = {operator}({first}, {second})"]
                lines += [f"{name} = Cast <to = 7> (b{name})"]
    return "\n".join([*lines, f"y = Identity({list(pool)[-1]})"])


@few
@given(index_graphs())
def test_forms_of_random_index_arithmetic_hold(nodes: str) -> None:
    assert gridded(nodes).holds(WORLDS) > 0
