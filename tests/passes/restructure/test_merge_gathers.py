"""merge_gathers: text in, text out; which axis the taken one is joined with; what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto

from graphopt.passes.restructure.merge_gathers import MergeGathers
from tests.build import few, parse
from tests.passes.fuse.fused import refused
from tests.passes.placed import Place, piece, placed
from tests.passes.support import Array, agree, random_feeds, run

MERGE = MergeGathers()
HEAD = '<ir_version: 10, opset_import: ["" : 18, "com.example" : 1]>'
X = "float[2,5,12]"
Y = "float[2,2,5,2]"
SWIN = """
    h = Reshape(x, t)
    u = Transpose <perm = [2, 0, 3, 1, 4]> (h)
    q = Gather(u, i0)
    k = Gather(u, i1)
    v = Gather(u, i2)
    s = Sub(q, k)
    y = Mul(s, v)
"""
TAIL = "s = Sub(q, k)\ny = Mul(s, v)"
TWICE = "not each index is taken once"
LAST = "no axis follows that the taken one can be joined with"
READ = "something else reads it as well"


def values(target: list[int], **changed: Array) -> dict[str, Array]:
    made = {f"i{index}": np.array(index) for index in range(3)}
    return {"t": np.array(target), **made, **changed}


def main(body: str, target: list[int], x: str = X, y: str = Y, **changed: Array) -> ModelProto:
    opset = int(changed.pop("opset", np.array(18)))
    used = {name: v for name, v in values(target, **changed).items() if f"{name})" in body}
    return placed("main", body, used, x=x, y=y, opset=opset)


def kinds(lines: list[str]) -> list[str]:
    return [entry.split(" = ")[1].split("(")[0] for entry in lines]


@pytest.mark.parametrize("place", ["main", "if"])
def test_heads_of_an_attention(place: Place) -> None:
    outcome = run(placed(place, SWIN, values([0, 0, 3, 2, 2]), x=X, y=Y), MERGE)
    lines = piece(outcome.after, place)
    assert kinds(lines) == ["Reshape", "Transpose", "Split", "Sub", "Mul"]
    assert lines[2].startswith("q, k, v = Split(")
    assert (outcome.rewrites, outcome.skipped, outcome.left_out) == (1, {}, [])
    agree(outcome.before, outcome.after, exact=True)


def test_in_a_loop() -> None:
    body = (
        SWIN.replace("y = Mul", "m = Mul") + "n = Reshape(m, back)\ny = Concat <axis = 2> (n, n, n)"
    )
    constants = values([0, 0, 3, 2, 2], back=np.array([2, 5, 4]))
    outcome = run(placed("loop", body, constants, x=X), MERGE)
    assert kinds(piece(outcome.after, "loop"))[:3] == ["Reshape", "Transpose", "Split"]
    agree(outcome.before, outcome.after, exact=True)


def test_target_and_perm() -> None:
    outcome = run(main(SWIN, [0, 0, 3, 2, 2]), MERGE)
    made = [array.tolist() for name, array in outcome.weights.items() if name.startswith("x_")]
    assert made == [[2, 5, 6, 2]]
    assert "perm: 0" not in outcome.lines
    (turn,) = (node for node in outcome.after.graph.node if node.op_type == "Transpose")
    assert list(turn.attribute[0].ints) == [0, 2, 1, 3]


@pytest.mark.parametrize("opset", [7, 11, 13, 17, 18, 21])
def test_opsets(opset: int) -> None:
    outcome = run(main(SWIN, [0, 0, 3, 2, 2], opset=np.array(opset)), MERGE)
    assert kinds(outcome.lines) == ["Reshape", "Transpose", "Split", "Sub", "Mul"]
    agree(outcome.before, outcome.after, exact=True)


@pytest.mark.parametrize("target", [[-1, 5, 3, 2, 2], [0, 5, 3, 2, 2], [0, 5, 3, -1, 2]])
def test_an_open_batch(target: list[int]) -> None:
    outcome = run(main(SWIN, target, 'float["N",5,12]', "float[?,2,5,2]"), MERGE)
    assert kinds(outcome.lines) == ["Reshape", "Transpose", "Split", "Sub", "Mul"]
    feeds = [random_feeds(outcome.before, 1, {"N": n}) for n in (0, 1, 3) if n or -1 not in target]
    agree(outcome.before, outcome.after, feeds, exact=True)


def test_a_squeeze_between_and_nothing_left_to_do() -> None:
    """As torch.nn.MultiheadAttention writes it: what remains is the Split."""
    body = """
        h = Reshape(x, t)
        u = Transpose <perm = [3, 1, 2, 0, 4]> (h)
        w = Squeeze(u, a)
        q = Gather(w, i0)
        k = Gather(w, i1)
        v = Gather(w, i2)
    """
    constants = values([1, 2, 5, 3, 4], a=np.array([-2]))
    outcome = run(placed("main", body + TAIL, constants, x=X, y="float[2,5,4]"), MERGE)
    assert outcome.lines[0] == "q, k, v = Split(x)"
    assert kinds(outcome.lines) == ["Split", "Sub", "Mul"]
    agree(outcome.before, outcome.after, exact=True)


def test_no_transpose() -> None:
    body = "h = Reshape(x, t)\nq = Gather <axis = -2> (h, i0)\nk = Gather <axis = 2> (h, i1)\n"
    body += "v = Gather <axis = 2> (h, i2)\n" + TAIL
    outcome = run(main(body, [0, 0, 3, 4], y="float[2,5,4]"), MERGE)
    assert outcome.lines[0] == "q, k, v = Split(x)"
    agree(outcome.before, outcome.after, exact=True)


def test_indices_in_another_order_and_negative() -> None:
    body = SWIN.replace("Gather(u, i0)", "Gather(u, last)")
    body = body.replace("Gather(u, i2)", "Gather(u, i0)")
    outcome = run(main(body, [0, 0, 3, 2, 2], last=np.array(-1)), MERGE)
    assert outcome.lines[2].startswith("v, k, q = Split(")
    agree(outcome.before, outcome.after, exact=True)


def test_graph_outputs_keep_their_names() -> None:
    nodes = SWIN.split("s =")[0]
    outputs = ", ".join(f"{Y} {name}" for name in "qkv")
    text = f"{HEAD} g ({X} x) => ({outputs}) {{ {nodes} }}"
    outcome = run(parse(text, **values([0, 0, 3, 2, 2])), MERGE)
    assert outcome.lines[2].startswith("q, k, v = Split(")
    agree(outcome.before, outcome.after, exact=True)


CUTS = """
    q1 = Slice(u, z0, z1, z0) q = Squeeze(q1, z0)
    k1 = Slice(u, z1, z2, z0) k = Squeeze(k1, z0)
    v1 = Slice(u, z2, far, z0) v = Squeeze(v1, z0)
"""
PARTS = """
    q1, k1, v1 = Split <axis = -5, num_outputs = 3> (u)
    q = Squeeze(q1, z0) k = Squeeze(k1, z0) v = Squeeze(v1, z0)
"""
HEADS = "h = Reshape(x, t) u = Transpose <perm = [2, 0, 3, 1, 4]> (h)"
NUMBERS = {f"z{index}": np.array([index]) for index in range(3)} | {"far": np.array([2**62])}


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize("form", [CUTS, PARTS])
def test_slices_and_parts_of_a_split_with_a_squeeze_each(form: str, opset: int) -> None:
    if opset < 13:
        form = form.replace("Squeeze(", "Squeeze <axes = [0]> (").replace(", z0)", ")")
        form = form.replace("z1)", "z1, z0)").replace("z2)", "z2, z0)").replace("far)", "far, z0)")
    form = form if opset >= 18 else form.replace(", num_outputs = 3", "")
    constants = {"t": np.array([0, 0, 3, 2, 2]), **NUMBERS}
    model = placed("main", HEADS + form + TAIL, constants, x=X, y=Y, opset=opset)
    outcome = run(model, MERGE)
    assert kinds(outcome.lines) == ["Reshape", "Transpose", "Split", "Sub", "Mul"]
    assert outcome.lines[2].startswith("q, k, v = Split(")
    agree(outcome.before, outcome.after, exact=True)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Slice(u, z1, z2, z0)", "Slice(u, z1, z2, z0, z2)"),
        ("k = Squeeze(k1, z0)", "k2 = Neg(k1) k = Squeeze(k2, z0)"),
        ("k = Squeeze(k1, z0)", "k = ReduceSum <keepdims = 0> (k1, z0)"),
    ],
)
def test_what_follows_a_slice_is_no_squeeze(old: str, new: str) -> None:
    constants = {"t": np.array([0, 0, 3, 2, 2]), **NUMBERS}
    body = HEADS + CUTS.replace(old, new) + TAIL
    model = placed("main", body, constants, x=X, y=Y)
    refused(model, MERGE, READ)


def test_parts_that_are_read_otherwise() -> None:
    constants = {"t": np.array([0, 0, 3, 2, 2]), **NUMBERS}
    body = HEADS + PARTS.replace("k = Squeeze(k1, z0)", "k2 = Neg(k1) k = Squeeze(k2, z0)") + TAIL
    refused(placed("main", body, constants, x=X, y=Y), MERGE, READ)
    text = f"{HEAD} g ({X} x) => ({Y} y, float[1,2,2,5,2] k1) {{ {HEADS} {PARTS} {TAIL} }}"
    refused(parse(text, **constants), MERGE, READ)


REFUSED: dict[str, tuple[str, str, str | None]] = {
    "two of three": ("v = Gather(u, i2)", "v = Neg(k)", TWICE),
    "one twice": ("v = Gather(u, i2)", "v = Gather(u, i1)", TWICE),
    "indices in a row": ("v = Gather(u, i2)", "v0 = Gather(u, row)\nv = Squeeze(v0, zero)", READ),
    "a computed index": ("v = Gather(u, i2)", "j = Abs(i2)\nv = Gather(u, j)", READ),
    "another reader": ("s = Sub(q, k)", "n = ReduceSum <keepdims = 0> (u)\ns0 = Sub(q, k)\n"
                       "s = Add(s0, n)", READ),
    "axes differ": ("v = Gather(u, i2)", "v1 = Gather <axis = 1> (u, zero0)\n"
                    "v = ReduceSum <keepdims = 0> (v1)", READ),
    "read in between": ("s = Sub(q, k)", "n = ReduceSum <keepdims = 0> (h)\ns0 = Sub(q, k)\n"
                        "s = Add(s0, n)", None),
    "a computed target": ("h = Reshape(x, t)", "t0 = Abs(t)\nh = Reshape(x, t0)",
                          "the target is not known"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    old, new, reason = REFUSED[case]
    body = SWIN.replace(old, new)
    extra = {"row": np.array([2]), "zero": np.array([0]), "zero0": np.array(0)}
    refused(placed("main", body, values([0, 0, 3, 2, 2], **extra), x=X, y=Y), MERGE, reason)


def test_the_last_axis_is_taken_apart() -> None:
    """Its parts lie between one another's elements."""
    body = SWIN.replace("[2, 0, 3, 1, 4]", "[4, 0, 3, 1, 2]")
    refused(main(body, [0, 0, 2, 2, 3], y="float[2,2,5,2]"), MERGE, LAST)


def test_the_next_axis_is_not_known() -> None:
    body = "h = Reshape(x, t)\nq = Gather <axis = 0> (h, i0)\nk = Gather <axis = 0> (h, i1)\n"
    body += "y = Sub(q, k)"
    refused(main(body, [2, 0, -1], 'float["M","N",12]', "float[?,?]"), MERGE, LAST)


def test_a_copied_axis_that_would_move() -> None:
    body = "h = Reshape(x, t)\nq = Gather <axis = 0> (h, i0)\nk = Gather <axis = 0> (h, i1)\n"
    body += "y = Sub(q, k)"
    model = main(body, [2, 3, 0, 2], 'float[2,6,"N"]', "float[?,?,?]")
    refused(model, MERGE, "no target says it")


def test_a_graph_output_in_between() -> None:
    text = f"{HEAD} g ({X} x) => ({Y} y, float[3,2,2,5,2] u) {{ {SWIN} }}"
    refused(parse(text, **values([0, 0, 3, 2, 2])), MERGE, None)


def test_other_domains_bodies_and_unknown_ranks() -> None:
    nodes = SWIN.replace("k = Gather", "k = com.example.Gather")
    text = f"{HEAD} g ({X} x) => ({Y} y) {{ {nodes} }}"
    refused(
        parse(text, **values([0, 0, 3, 2, 2])),
        MERGE,
        READ,
    )
    text = f"""{HEAD} g ({X} x, bool c) => ({Y} y) {{
        {SWIN.split("v =")[0]}
        y = If(c) <then_branch = a () => ({Y} v) {{ v = Gather(u, i2) }},
                   else_branch = b () => ({Y} e) {{ e = Sub(q, k) }}>
    }}"""
    refused(
        parse(text, **values([0, 0, 3, 2, 2])),
        MERGE,
        READ,
    )
    refused(placed("function", SWIN, values([0, 0, 3, 2, 2]), x=X, y=Y), MERGE, None)


@few
@given(
    st.permutations([0, 1, 2, 3]),
    st.integers(0, 3),
    st.lists(st.integers(1, 3), min_size=4, max_size=4),
)
def test_any_perm_and_axis(perm: list[int], axis: int, shape: list[int]) -> None:
    """Merged where another axis follows the taken one; the same bits in any case."""
    count = shape[perm[axis]]
    constants = {"t": np.array(shape)}
    body = f"h = Reshape(x, t)\nu = Transpose <perm = {perm}> (h)\n"
    for index in range(count):
        constants[f"i{index}"] = np.array(index)
        body += f"p{index} = Gather <axis = {axis}> (u, i{index})\n"
    body += f"y = Concat <axis = 0> ({', '.join(f'p{i}' for i in reversed(range(count)))})"
    kept = [shape[entry] for place, entry in enumerate(perm) if place != axis]
    y = f"float[{kept[0] * count},{kept[1]},{kept[2]}]"
    size = int(np.prod(shape))
    outcome = run(placed("main", body, constants, x=f"float[{size}]", y=y), MERGE)
    assert outcome.rewrites == int(count > 1 and perm[axis] < 3)
    agree(outcome.before, outcome.after, exact=True)
