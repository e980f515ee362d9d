"""fuse_rolls: slices of one tensor that a Concat puts together again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from graphopt.passes.fuse.fuse_rolls import FuseRolls
from tests.build import few, parse
from tests.passes.placed import GRAPHS, PLACES, Place, piece, placed
from tests.passes.support import Array, Outcome, agree, random_feeds, run

FUSE = FuseRolls()
HEAD = '<ir_version: 10, opset_import: ["" : {opset}]>'
TO_THE_END = 2**63 - 1


def i64(*values: int) -> Array:
    return np.array(values, np.int64)


ROLL: dict[str, Any] = {"s": i64(3), "e": i64(TO_THE_END), "z": i64(0), "one": i64(1)}
NODES = "a = Slice(x, s, e, one) b = Slice(x, z, s, one) y = Concat <axis = 1> (a, b)"


def rolled(
    nodes: str = NODES, x: str = "float[N,8,16]", y: str = "float[N,?,16] y", *,
    opset: int = 18, **constants: Array,
) -> Outcome:  # fmt: skip
    """Run the pass; the answers are equal bits."""
    text = HEAD.format(opset=opset) + f"g ({x} x) => ({y}) {{ {nodes} }}"
    model = parse(text, **(constants or ROLL))
    outcome = run(model, FUSE)
    assert outcome.left_out == []
    feeds = [random_feeds(model, seed, {"N": n}) for seed, n in enumerate((1, 3))]
    agree(outcome.before, outcome.after, feeds, exact=True)
    return outcome


def places(outcome: Outcome) -> list[int]:
    """What the only node gathers along the second axis."""
    (node,) = outcome.after.graph.node
    assert node.op_type == "Gather"
    assert node.input[0] == "x"
    assert helper.get_node_attr_value(node, "axis") == 1
    return [int(index) for index in outcome.weights[node.input[1]]]


def test_a_roll() -> None:
    assert places(rolled()) == [3, 4, 5, 6, 7, 0, 1, 2]


def test_negative_axes_and_bounds() -> None:
    outcome = rolled(
        NODES.replace("axis = 1", "axis = -2"), **{**ROLL, "one": i64(-2), "s": i64(-3)}
    )
    assert places(outcome) == [5, 6, 7, 0, 1, 2, 3, 4]


def test_slices_of_early_opsets() -> None:
    nodes = (
        "a = Slice <axes = [1], starts = [3], ends = [9]> (x)"
        " b = Slice <axes = [1], starts = [0], ends = [3]> (x) y = Concat <axis = 1> (a, b)"
    )
    assert places(rolled(nodes, opset=9)) == [3, 4, 5, 6, 7, 0, 1, 2]


def test_steps_and_one_part_twice() -> None:
    nodes = "a = Slice(x, z, e, one, t) b = Slice(x, s, e, one) y = Concat <axis = 1> (a, b, a)"
    outcome = rolled(nodes, **ROLL, t=i64(2))
    assert places(outcome) == [0, 2, 4, 6, 3, 4, 5, 6, 7, 0, 2, 4, 6]


def test_a_split_in_another_order() -> None:
    nodes = "a, b = Split <axis = 1> (x, k) y = Concat <axis = 1> (b, a)"
    assert places(rolled(nodes, k=i64(2, 6))) == [2, 3, 4, 5, 6, 7, 0, 1]


@pytest.mark.parametrize(
    ("nodes", "x"),
    [
        (NODES.replace("axis = 1", "axis = 2"), "float[N,8,16]"),
        (NODES, "float[N,M,16]"),
        (NODES, "float[N,8,4]"),
        (NODES.replace("(a, b)", "(a, x)"), "float[N,8,16]"),
        ("a, b = Split <axis = 1, num_outputs = 2> (x) y = Concat <axis = 1> (a, b)",
         "float[N,8,16]"),
        ("n = Neg(x) a = Slice(x, s, e, one) b = Slice(n, z, s, one)"
         " y = Concat <axis = 1> (a, b)", "float[N,8,16]"),
    ],
)  # fmt: skip
def test_refused(nodes: str, x: str) -> None:
    if "axis = 2" in nodes:
        nodes = nodes.replace("s, e", "z, q").replace("z, s", "z, q")
    text = HEAD.format(opset=18) + f"g ({x} x) => (y) {{ {nodes} }}"
    assert run(parse(text, **ROLL, q=i64(4)), FUSE).unchanged


def test_bounds_that_are_computed() -> None:
    nodes = NODES.replace("a = Slice(x, s", "w = Shape <end = 1> (x) a = Slice(x, w")
    assert rolled(nodes).unchanged


@pytest.mark.parametrize("reader", ["w = Neg(a)", "w = Identity(b)"])
def test_a_part_that_is_read_elsewhere(reader: str) -> None:
    outcome = rolled(f"{NODES} {reader}", y="float[N,?,16] y, float[N,?,16] w")
    assert outcome.unchanged
    assert outcome.skipped == {"a part is read elsewhere": 1}


def test_a_part_that_is_an_output() -> None:
    assert rolled(y="float[N,?,16] y, float[N,?,16] a").unchanged


@pytest.mark.parametrize("place", PLACES)
def test_everywhere(place: Place) -> None:
    body = NODES.replace(") ", ")\n")
    model = placed(place, body, ROLL, x="float[2,8,16]")
    outcome = run(model, FUSE)
    agree(outcome.before, outcome.after, exact=True)
    if place in GRAPHS:
        assert [line.split("(")[0] for line in piece(outcome.after, place)] == ["y = Gather"]
    else:
        assert outcome.unchanged


BOUND = st.sampled_from([-9, -8, -3, -1, 0, 1, 5, 8, 9, TO_THE_END])


@few
@given(
    st.lists(st.tuples(BOUND, BOUND, st.integers(1, 3)), min_size=2, max_size=3),
)
def test_any_slices(parts: list[tuple[int, int, int]]) -> None:
    constants: dict[str, Any] = {"one": i64(1)}
    nodes = []
    for i, numbers in enumerate(parts):
        constants |= {f"{name}{i}": i64(n) for name, n in zip("set", numbers, strict=True)}
        nodes.append(f"p{i} = Slice(x, s{i}, e{i}, one, t{i})")
    inputs = ", ".join(f"p{i}" for i in range(len(parts)))
    nodes.append(f"y = Concat <axis = 1> ({inputs})")
    outcome = rolled(" ".join(nodes), **constants)
    assert len(outcome.after.graph.node) in (1, len(nodes))
