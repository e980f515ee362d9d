"""fuse_data_movement: chains of Reshape and Transpose that fewer nodes can say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from graphopt.passes.fuse.fuse_data_movement import FuseDataMovement
from tests.build import few, parse
from tests.passes.placed import PLACES, Place, piece, placed
from tests.passes.support import Array, Outcome, agree, random_feeds, run

FUSE = FuseDataMovement()
HEAD = '<ir_version: 10, opset_import: ["" : 18]>'
WORLDS = [{"B": 2, "S": 3}, {"B": 1, "S": 5}, {"B": 3, "S": 1}]


def i64(*values: int) -> Array:
    return np.array(values, np.int64)


def fused(model: ModelProto, worlds: list[dict[str, int]] | None = None) -> Outcome:
    """Run the pass; the answers are equal bits."""
    outcome = run(model, FUSE)
    assert outcome.left_out == []
    feeds = [random_feeds(model, seed, sizes) for seed, sizes in enumerate(worlds or WORLDS)]
    agree(outcome.before, outcome.after, feeds, exact=True)
    return outcome


def moving(outcome: Outcome) -> list[str]:
    """The operators that are left, and their permutations and constant targets."""
    found = []
    for node in outcome.after.graph.node:
        if node.op_type == "Transpose":
            found.append(f"T{list(helper.get_node_attr_value(node, 'perm'))}")
        elif node.op_type == "Reshape":
            target = outcome.weights.get(node.input[1])
            found.append(f"R{node.input[1] if target is None else target.tolist()}")
    return found


KEYS = """s = Shape <start = 1, end = 2> (x) b = Shape <end = 1> (x)
    t0 = Concat <axis = 0> (m, s, k16) t1 = Concat <axis = 0> (b, k4, k16, s)"""
NUMBERS = {"m": i64(-1), "k4": i64(4), "k16": i64(16), "k64": i64(64)}


def test_keys_of_attention() -> None:
    """As the exporter writes the transpose of the last two dimensions."""
    outcome = fused(
        parse(
            HEAD + f"g (float[B,S,64] x) => (float[B,4,16,S] y) {{ {KEYS}"
            " a = Reshape(x, heads) h = Transpose <perm = [0, 2, 1, 3]> (a)"
            " c = Reshape(h, t0) d = Transpose <perm = [0, 2, 1]> (c) e = Reshape(d, t1)"
            " y = Neg(e) }",
            heads=i64(0, 0, 4, 16), **NUMBERS,
        )
    )  # fmt: skip
    assert moving(outcome) == ["R[0, 0, 4, 16]", "T[0, 2, 3, 1]"]
    assert outcome.rewrites == 1


def test_back_to_the_source() -> None:
    outcome = fused(
        parse(
            HEAD + "g (float[B,S,4,16] x) => (float[B,S,4,16] y) { t = Shape(x)"
            " a = Reshape(x, k) b = Reshape(a, t) y = Neg(b) }",
            k=i64(-1),
        )
    )
    assert outcome.lines[-1] == "y = Neg(x)"


def test_the_last_nodes_own_target() -> None:
    """Two open sizes in new places: no constant says it."""
    outcome = fused(
        parse(
            HEAD + "g (float[B,S,H,4] x) => (float[?,?,4] y) { b = Shape <end = 1> (x)"
            " s = Shape <start = 1, end = 2> (x) h = Shape <start = 2, end = 3> (x)"
            " m = Mul(b, h) t = Concat <axis = 0> (s, m, k4)"
            " a = Transpose <perm = [1, 2, 0, 3]> (x) c = Transpose <perm = [0, 2, 1, 3]> (a)"
            " e = Reshape(c, t) y = Neg(e) }",
            k4=i64(4),
        ),
        [{"B": 2, "S": 3, "H": 5}, {"B": 1, "S": 2, "H": 1}],
    )
    assert moving(outcome) == ["T[1, 0, 2, 3]", "Rt"]


CASES: dict[str, tuple[str, str, str, dict[str, Array], list[str]]] = {
    "Reshape, Transpose, Reshape that swaps two dimensions": (
        "a = Reshape(x, p) b = Transpose <perm = [1, 0]> (a) e = Reshape(b, q)",
        "float[6,2,5] x", "float[5,6,2] y", {"p": i64(12, 5), "q": i64(5, 6, 2)}, ["T[2, 0, 1]"],
    ),
    "a Transpose that moves ones alone": (
        "a = Transpose <perm = [0, 2, 1]> (x) e = Reshape(a, p)",
        "float[B,1,6] x", "float[B,2,3] y", {"p": i64(0, 2, 3)}, ["R[0, 2, 3]"],
    ),
    "Transpose, Reshape, Transpose": (
        "a = Transpose <perm = [1, 0]> (x) b = Reshape(a, p) e = Transpose <perm = [2, 0, 1]> (b)",
        "float[5,12] x", "float[5,3,4] y", {"p": i64(3, 4, 5)}, ["R[5, 3, 4]"],
    ),
    "four, said as three": (
        "a = Reshape(x, p) b = Transpose <perm = [0, 2, 1, 3]> (a) c = Reshape(b, q)"
        " e = Transpose <perm = [0, 1, 3, 2]> (c)",
        "float[4,6] x", "float[2,3,4,1] y",
        {"p": i64(2, 2, 3, 2), "q": i64(2, 3, 1, 4)},
        ["R[2, 2, 3, 2]", "T[0, 2, 1, 3]", "R[2, 3, 4, 1]"],
    ),
    "Squeeze and Unsqueeze among them": (
        "a = Unsqueeze(x, one) b = Transpose <perm = [1, 0, 2]> (a) e = Squeeze(b, z)",
        "float[B,7] x", "float[B,7] y", {"one": i64(0), "z": i64(1)}, [],
    ),
    "Flatten": (
        "a = Flatten <axis = 2> (x) b = Transpose <perm = [1, 0]> (a) e = Reshape(b, p)",
        "float[2,3,5] x", "float[5,2,3] y", {"p": i64(5, 2, 3)}, ["T[2, 0, 1]"],
    ),
    "an open size": (
        "a = Reshape(x, p) b = Transpose <perm = [0, 2, 1]> (a) e = Reshape(b, q)",
        "float[B,4,6] x", "float[B,6,4] y", {"p": i64(0, 4, 6), "q": i64(-1, 6, 4)}, ["T[0, 2, 1]"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_case(case: str) -> None:
    nodes, x, y, constants, expected = CASES[case]
    text = HEAD + f"g ({x}) => ({y}) {{ {nodes} y = Neg(e) }}"
    assert moving(fused(parse(text, **constants))) == expected


REFUSED: dict[str, tuple[str, str, dict[str, Array]]] = {
    "heads are moved": (
        "a = Reshape(x, p) e = Transpose <perm = [0, 2, 1, 3]> (a)", "float[B,S,64] x",
        {"p": i64(0, 0, 4, 16)},
    ),
    "a shuffle of single elements": (
        "a = Reshape(x, p) b = Transpose <perm = [0, 2, 1]> (a) e = Reshape(b, q)",
        "float[B,8] x", {"p": i64(0, 2, 4), "q": i64(0, 8)},
    ),
    "borders cross": (
        "a = Reshape(x, p) b = Transpose <perm = [1, 0]> (a) e = Reshape(b, q)",
        "float[4,6] x", {"p": i64(8, 3), "q": i64(6, 4)},
    ),
    "what lies between is read elsewhere": (
        "a = Reshape(x, p) c = Neg(a) b = Transpose <perm = [1, 0]> (a) e = Reshape(b, q)"
        " f = Add(c, c)", "float[6,2,5] x", {"p": i64(12, 5), "q": i64(5, 6, 2)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    nodes, x, constants = REFUSED[case]
    outputs = "y, f" if "f = " in nodes else "y"
    model = parse(HEAD + f"g ({x}) => ({outputs}) {{ {nodes} y = Neg(e) }}", **constants)
    assert run(model, FUSE).unchanged


@pytest.mark.parametrize("groups", [2, 3])
def test_a_channel_shuffle_is_a_gather(groups: int) -> None:
    each = 12 // groups
    outcome = fused(
        parse(
            HEAD + "g (float[B,12,4,5] x) => (float[B,12,4,5] y) { a = Reshape(x, p)"
            " b = Transpose <perm = [0, 2, 1, 3, 4]> (a) e = Reshape(b, q) y = Neg(e) }",
            p=i64(-1, groups, each, 4, 5), q=i64(-1, 12, 4, 5),
        )
    )  # fmt: skip
    (gather, _) = outcome.after.graph.node
    assert gather.op_type == "Gather"
    assert helper.get_node_attr_value(gather, "axis") == 1
    expected = np.arange(12).reshape(groups, each).T.ravel()
    assert outcome.weights[gather.input[1]].tolist() == expected.tolist()


def test_what_lies_between_is_an_output() -> None:
    model = parse(
        HEAD + "g (float[6,2,5] x) => (float[5,6,2] y, float[5,12] b) { a = Reshape(x, p)"
        " b = Transpose <perm = [1, 0]> (a) e = Reshape(b, q) y = Neg(e) }",
        p=i64(12, 5), q=i64(5, 6, 2),
    )  # fmt: skip
    assert run(model, FUSE).unchanged


def test_the_last_one_is_an_output() -> None:
    model = parse(
        HEAD + "g (float[6,2,5] x) => (float[5,6,2] y) { a = Reshape(x, p)"
        " b = Transpose <perm = [1, 0]> (a) y = Reshape(b, q) }",
        p=i64(12, 5), q=i64(5, 6, 2),
    )  # fmt: skip
    assert fused(model).lines == ["y = Transpose(x)"]


def test_an_input_would_become_an_output() -> None:
    model = parse(
        HEAD + "g (float[6,2] x) => (float[6,2] y) { a = Unsqueeze(x, z)"
        " b = Transpose <perm = [1, 0, 2]> (a) y = Squeeze(b, o) }",
        z=i64(0), o=i64(1),
    )  # fmt: skip
    assert fused(model).lines[-1].startswith("y = ")


@pytest.mark.parametrize("sizes", [{"B": 0, "S": 3}, {"B": 2, "S": 0}])
def test_empty(sizes: dict[str, int]) -> None:
    model = parse(
        HEAD + "g (float[B,S,64] x) => (float[B,4,S,16] y) { a = Reshape(x, p)"
        " b = Transpose <perm = [0, 2, 1, 3]> (a) c = Transpose <perm = [0, 2, 1, 3]> (b)"
        " e = Transpose <perm = [0, 2, 1, 3]> (c) y = Neg(e) }",
        p=i64(0, 0, 4, 16),
    )
    assert moving(fused(model, [sizes])) == ["R[0, 0, 4, 16]", "T[0, 2, 1, 3]"]


@pytest.mark.parametrize("place", PLACES)
def test_everywhere(place: Place) -> None:
    model = placed(
        place, "a = Reshape(x, p)\nb = Transpose <perm = [1, 0]> (a)\ny = Reshape(b, q)",
        {"p": i64(12, 5), "q": i64(5, 6, 2)}, x="float[6,2,5]", y="float[5,6,2]",
    )  # fmt: skip
    outcome = fused(model)
    if place != "function":  # nothing is known of what a function is given
        assert piece(outcome.after, place) == ["y = Transpose(x)"]


def chain(shape: list[int], steps: list[tuple[str, list[int]]], end: list[int]) -> ModelProto:
    """A model of Reshape and Transpose nodes in a row."""
    nodes, stored, value = [], [], "x"
    for index, (kind, numbers) in enumerate(steps):
        if kind == "Reshape":
            stored.append(numpy_helper.from_array(i64(*numbers), f"t{index}"))
            nodes.append(helper.make_node("Reshape", [value, f"t{index}"], [f"v{index}"]))
        else:
            nodes.append(helper.make_node("Transpose", [value], [f"v{index}"], perm=numbers))
        value = f"v{index}"
    nodes.append(helper.make_node("Neg", [value], ["y"]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, end)
    graph = helper.make_graph(nodes, "g", [x], [y], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


SHAPES = [[24], [2, 12], [12, 2], [2, 3, 4], [4, 3, 2], [1, 24], [2, 1, 12], [2, 2, 2, 3], [6, 4]]


@few
@given(st.data())
def test_any_chain(data: Any) -> None:
    shape = data.draw(st.sampled_from(SHAPES))
    current, steps = list(shape), []
    for _ in range(data.draw(st.integers(2, 6))):
        if data.draw(st.booleans()):
            current = list(data.draw(st.sampled_from(SHAPES)))
            steps.append(("Reshape", current))
        else:
            perm = list(data.draw(st.permutations(range(len(current)))))
            current = [current[axis] for axis in perm]
            steps.append(("Transpose", perm))
    model = chain(shape, steps, current)
    outcome = fused(model)
    assert len(outcome.after.graph.node) <= len(model.graph.node)
    counts = [_transposes(m) for m in (model, outcome.after)]
    assert counts[1] <= counts[0]


def _transposes(model: ModelProto) -> int:
    return sum(node.op_type == "Transpose" for node in model.graph.node)
