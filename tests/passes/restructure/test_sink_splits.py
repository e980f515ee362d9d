"""sink_splits: text in, text out; which targets are one cut of the last axis; what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, helper, numpy_helper

from graphopt.passes.restructure.sink_splits import SinkSplits
from tests.build import few, parse
from tests.passes.fuse.fused import refused
from tests.passes.placed import GRAPHS, Place, piece, placed
from tests.passes.support import Array, agree, random_feeds, run

SINK = SinkSplits()
HEAD = '<ir_version: 10, opset_import: ["" : 18, "com.example" : 1]>'
X = "float[2,5,12]"
HEADS = """
    a, b, c = Split <axis = 2, num_outputs = 3> (x)
    p = Reshape(a, t)
    q = Reshape(b, t)
    r = Reshape(c, t)
"""
TURNED = (
    HEADS
    + """
    k = Transpose <perm = [0, 2, 1, 3]> (p)
    l = Transpose <perm = [0, 2, 1, 3]> (q)
    m = Transpose <perm = [0, 2, 1, 3]> (r)
    s = Sub(k, l)
    y = Mul(s, m)
"""
)
Y = "float[2,2,5,2]"
TARGET = np.array([0, 0, 2, 2])
UNKNOWN = "a target does not only cut the last axis, or is not known"


def values(model: ModelProto, op_type: str) -> Any:
    (node,) = (node for node in model.graph.node if node.op_type == op_type)
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


@pytest.mark.parametrize("place", GRAPHS)
def test_reshapes_then_transposes(place: Place) -> None:
    model = looped() if place == "loop" else placed(place, TURNED, {"t": TARGET}, x=X, y=Y)
    outcome = run(model, SINK)
    assert [entry.split(" = ")[1].split("(")[0] for entry in piece(outcome.after, place)][:5] == [
        "Reshape", "Transpose", "Split", "Sub", "Mul",
    ]  # fmt: skip
    assert (outcome.rewrites, outcome.left_out) == (2, [])
    agree(outcome.before, outcome.after, exact=True)


def looped() -> ModelProto:
    """The body gives back what it was given in shape."""
    body = TURNED.replace("y = Mul", "v = Mul") + "w = Transpose <perm = [0, 2, 1, 3]> (v)\n"
    body += "u = Reshape(w, n)\ny = Concat <axis = 2> (u, u, u)"
    return placed("loop", body, {"t": TARGET, "n": np.array([0, 0, 4])}, x=X)


def test_parts_keep_their_names() -> None:
    outputs = ", ".join(f"float[2,5,2,2] {name}" for name in "pqr")
    outcome = run(parse(f"{HEAD} g ({X} x) => ({outputs}) {{ {HEADS} }}", t=TARGET), SINK)
    assert outcome.lines[1].startswith("p, q, r = Split(")
    assert outcome.lines[0].split(" = ")[1].startswith("Reshape(x, ")
    agree(outcome.before, outcome.after, exact=True)


def test_parts_of_different_width() -> None:
    """Four query heads, two of keys and values."""
    body = """
        a, b, c = Split <axis = -1> (x, n)
        p = Reshape(a, four) q = Reshape(b, two) r = Reshape(c, two)
        k = Transpose <perm = [0, 2, 1, 3]> (p)
        l = Transpose <perm = [0, 2, 3, 1]> (q)
        m = Transpose <perm = [0, 2, 1, 3]> (r)
        ll = Concat <axis = 1> (l, l) mm = Concat <axis = 1> (m, m)
        s = MatMul(k, ll) y = MatMul(s, mm)
    """
    constants = {"n": np.array([8, 4, 4]), "four": np.array([0, 0, 4, 2])}
    constants |= {"two": np.array([0, 0, 2, 2])}
    outcome = run(placed("main", body, constants, x="float[2,5,16]", y="float[2,4,5,2]"), SINK)
    kinds = [entry.split(" = ")[1].split("(")[0] for entry in outcome.lines]
    assert kinds[:4] == ["Reshape", "Transpose", "Split", "Transpose"]
    assert [8, 2] in [list(array)[2:] for array in outcome.weights.values()]
    assert [4, 2, 2] in [list(array) for array in outcome.weights.values()]
    agree(outcome.before, outcome.after, exact=True)


def test_one_part_exchanges_the_last_axes() -> None:
    body = TURNED.replace(
        "l = Transpose <perm = [0, 2, 1, 3]>", "l0 = Transpose <perm = [0, 2, 3, 1]>"
    )
    body = body.replace("s = Sub(k, l)", "l = Transpose <perm = [0, 1, 3, 2]> (l0) s = Sub(k, l)")
    outcome = run(placed("main", body, {"t": TARGET}, x=X, y=Y), SINK)
    assert [entry.split(" = ")[1].split("(")[0] for entry in outcome.lines] == [
        "Reshape", "Transpose", "Split", "Transpose", "Transpose", "Sub", "Mul",
    ]  # fmt: skip
    agree(outcome.before, outcome.after, exact=True)


@pytest.mark.parametrize("opset", [7, 12, 13, 17, 18, 21])
def test_opsets(opset: int) -> None:
    body = TURNED.replace(", num_outputs = 3" if opset < 18 else "\0", "")
    outcome = run(placed("main", body, {"t": TARGET}, x=X, y=Y, opset=opset, ir=8), SINK)
    assert outcome.rewrites == 2
    wanted = {"axis": 1} if opset < 18 else {"axis": 1, "num_outputs": 3}
    assert values(outcome.after, "Split") == wanted
    agree(outcome.before, outcome.after, exact=True)


@pytest.mark.parametrize("opset", [11, 13])
def test_sizes_written_out(opset: int) -> None:
    form = "Split <axis = 2, split = [4, 4, 4]> (x)" if opset < 13 else "Split <axis = 2> (x, n)"
    body = TURNED.replace("Split <axis = 2, num_outputs = 3> (x)", form)
    constants = {"t": TARGET, "n": np.array([4, 4, 4])}
    outcome = run(placed("main", body, constants, x=X, y=Y, opset=opset), SINK)
    assert outcome.rewrites == 2
    agree(outcome.before, outcome.after, exact=True)


@pytest.mark.parametrize("x", ['float["B","N",12]', 'float["B",5,12]'])
def test_open_dimensions(x: str) -> None:
    outcome = run(placed("main", TURNED, {"t": TARGET}, x=x, y="float[?,2,?,2]"), SINK)
    assert outcome.rewrites == 2
    feeds = [random_feeds(outcome.before, 1, {"B": b, "N": 5}) for b in (0, 1, 3)]
    agree(outcome.before, outcome.after, feeds, exact=True)


TARGETS: dict[str, tuple[list[int], list[int] | None]] = {
    "copies": ([0, 0, 2, 2], [0, 0, 6, 2]),
    "an open head": ([0, 0, -1, 2], [0, 0, 6, 2]),
    "an open end": ([0, 0, 2, -1], [0, 0, 6, 2]),
    "numbers": ([2, 5, 2, 2], [2, 5, 6, 2]),
    "an open batch": ([-1, 5, 2, 2], [2, 5, 6, 2]),
    "other axes regrouped": ([10, 2, 2], [10, 6, 2]),
    "all in one": ([-1, 4], [10, 12]),
    "the axis as it is": ([0, 0, 4], [0, 0, 12]),
    "a leading 1": ([0, 0, 1, 4], [0, 0, 1, 12]),
    "three": ([0, 0, 2, 1, 2], [0, 0, 6, 1, 2]),
    "across": ([0, 10, 2], None),
    "a row": ([0, -1], None),
    "flat": ([-1], None),
    "the last axis in front": ([4, 10], None),
}  # fmt: skip


@pytest.mark.parametrize("case", TARGETS)
def test_targets(case: str) -> None:
    target, wanted = TARGETS[case]
    y = np.zeros((2, 5, 4)).reshape([(2, 5)[i] if e == 0 else e for i, e in enumerate(target)])
    shape = f"float[{','.join(map(str, y.shape))}]"
    body = HEADS + "s = Sub(p, q)\ny = Mul(s, r)"
    model = placed("main", body, {"t": np.array(target)}, x=X, y=shape)
    if wanted is None:
        refused(model, SINK, UNKNOWN)
        return
    outcome = run(model, SINK)
    made = [array.tolist() for name, array in outcome.weights.items() if name != "t"]
    assert made == [wanted]
    agree(outcome.before, outcome.after, exact=True)


def swapped(old: str, new: str, **constants: Array) -> ModelProto:
    changed = (HEADS + "s = Sub(p, q)\ny = Mul(s, r)").replace(old, new)
    given = {"t": TARGET, **constants}
    return placed("main", changed, given, x=X, y="float[?,?,?,?]")


REFUSED: dict[str, tuple[str, str, str | None]] = {
    "one read elsewhere": (
        "s = Sub(p, q)",
        "e = ReduceSum <keepdims = 0> (a) s0 = Sub(p, q) s = Add(s0, e)",
        None,
    ),
    "another operator": ("q = Reshape(b, t)", "b0 = Neg(b) q = Reshape(b0, t)", None),
    "targets differ": ("q = Reshape(b, t)", "q = Reshape(b, u)", "targets differ"),
    "computed": ("q = Reshape(b, t)", "u0 = Abs(t) q = Reshape(b, u0)", UNKNOWN),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    old, new, reason = REFUSED[case]
    refused(swapped(old, new, u=np.array([0, 0, 1, 4])), SINK, reason)


@pytest.mark.parametrize("target", [[-1, 5, 2, 2], [-1, 2, 2]])
def test_an_open_batch_stays_open(target: list[int]) -> None:
    body = HEADS + "s = Sub(p, q)\ny = Mul(s, r)"
    shape = f"float[{','.join(['?', *map(str, target[1:])])}]"
    outcome = run(placed("main", body, {"t": np.array(target)}, x='float["B",5,12]', y=shape), SINK)
    made = [array.tolist() for name, array in outcome.weights.items() if name != "t"]
    assert made == [[*target[:-2], 6, 2]]
    feeds = [random_feeds(outcome.before, 1, {"B": b}) for b in (0, 1, 3)]
    agree(outcome.before, outcome.after, feeds, exact=True)


def test_a_split_whose_sizes_are_computed() -> None:
    body = HEADS.replace("Split <axis = 2, num_outputs = 3> (x)", "Split <axis = 2> (x, m)")
    body = "m = Abs(n)\n" + body + "s = Sub(p, q)\ny = Mul(s, r)"
    model = placed("main", body, {"t": TARGET, "n": np.array([4, 4, 4])}, x=X, y="float[?,?,?,?]")
    refused(model, SINK, "the parts' lengths are not known")


def test_not_the_last_axis() -> None:
    body = HEADS.replace("axis = 2, num_outputs = 3", "axis = 1, num_outputs = 3")
    body += "s = Sub(p, q)\ny = Mul(s, r)"
    model = placed(
        "main", body, {"t": np.array([2, 2, 1, 4])}, x="float[2,6,4]", y="float[2,2,1,4]"
    )
    refused(model, SINK, "not the last axis is split")


def test_allowzero_with_a_zero() -> None:
    """It means a length of 0 then, not a copy."""
    body = HEADS.replace("Reshape(", "Reshape <allowzero = 1> (") + "s = Sub(p, q)\ny = Mul(s, r)"
    model = placed(
        "main", body, {"t": np.array([0, 5, 2, 2])}, x="float[0,5,12]", y="float[0,5,2,2]"
    )
    refused(model, SINK, UNKNOWN)


def test_a_part_is_a_graph_output() -> None:
    outputs = "float[2,5,2,2] p, float[2,5,2,2] q, float[2,5,2,2] r, float[2,5,4] b"
    refused(parse(f"{HEAD} g ({X} x) => ({outputs}) {{ {HEADS} }}", t=TARGET), SINK, None)


def test_perms_that_differ() -> None:
    body = """
        a, b = Split <axis = 2, num_outputs = 2> (x)
        k = Transpose <perm = [1, 0, 2]> (a) l = Transpose <perm = [1, 2, 0]> (b)
        y = MatMul(k, l)
    """
    refused(placed("main", body, x=X, y="float[5,2,2]"), SINK, "perms differ")


def test_three_with_another_perm() -> None:
    body = """
        a, b, c = Split <axis = 2, num_outputs = 3> (x)
        k = Transpose <perm = [1, 0, 2]> (a)
        l = Transpose <perm = [1, 0, 2]> (b)
        m = Transpose <perm = [2, 0, 1]> (c)
        s = Add(k, l)
        d = ReduceSum <keepdims = 0> (m)
        y = Add(s, d)
    """
    refused(placed("main", body, x=X, y="float[5,2,4]"), SINK, "perms differ")


def test_perms_left_out() -> None:
    body = "a, b = Split <axis = 2, num_outputs = 2> (x)\n"
    body += "k = Transpose(a)\nl = Transpose(b)\ny = Sub(k, l)"
    outcome = run(placed("main", body, x=X, y="float[6,5,2]"), SINK)
    assert values(outcome.after, "Transpose") == {"perm": [2, 1, 0]}
    assert values(outcome.after, "Split")["axis"] == 0
    agree(outcome.before, outcome.after, exact=True)


def test_a_constant_node_for_the_target() -> None:
    node = helper.make_node("Constant", [], ["t"], value=numpy_helper.from_array(TARGET))
    model = placed("main", TURNED.replace(", num_outputs = 3", ""), x=X, y=Y, ir=3, opset=11)
    model.graph.node.insert(0, node)
    outcome = run(model, SINK)
    assert outcome.rewrites == 2
    agree(outcome.before, outcome.after, exact=True)


def test_a_reader_in_a_body() -> None:
    text = f"""{HEAD} g ({X} x, bool u) => (float[2,5,2,2] y) {{
        a, b = Split <axis = 2, num_outputs = 2> (x)
        p = Reshape(a, t)
        y = If(u) <then_branch = one () => (float[2,5,2,3] q) {{ q = Reshape(b, t) }},
                   else_branch = two () => (float[2,5,2,3] e) {{ e = Neg(p) }}>
    }}"""
    refused(
        parse(text.replace("float[2,5,2,2] y", "float[2,5,2,3] y"), t=np.array([0, 0, 2, 3])),
        SINK,
        None,
    )


def test_other_domains_and_unknown_ranks() -> None:
    body = HEADS.replace("p = Reshape", "p = com.example.Reshape")
    outputs = "float[2,5,2,2] p, float[2,5,2,2] q, float[2,5,2,2] r"
    refused(parse(f"{HEAD} g ({X} x) => ({outputs}) {{ {body} }}", t=TARGET), SINK, None)
    refused(placed("function", TURNED, {"t": TARGET}, x=X, y=Y), SINK, None)


@few
@given(
    st.permutations([0, 1, 2]),
    st.integers(0, 2),
    st.lists(st.integers(1, 3), min_size=2, max_size=3),
)
def test_any_perm_and_axis(perm: list[int], axis: int, sizes: list[int]) -> None:
    shape = [2, 3, 4]
    shape[axis] = sum(sizes)
    names = [f"p{index}" for index in range(len(sizes))]
    body = f"{', '.join(names)} = Split <axis = {axis}> (x, n)\n"
    body += "".join(f"t{name} = Transpose <perm = {perm}> ({name})\n" for name in names)
    body += (
        f"y = Concat <axis = {perm.index(axis)}> ({', '.join('t' + n for n in reversed(names))})"
    )
    out = [shape[entry] for entry in perm]
    x, y = (f"float[{','.join(map(str, dims))}]" for dims in (shape, out))
    outcome = run(placed("main", body, {"n": np.array(sizes)}, x=x, y=y), SINK)
    assert outcome.rewrites == 1
    agree(outcome.before, outcome.after, exact=True)
