"""hoist_transposes: what it leaves alone, and the reason that the report counts."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, helper, numpy_helper

from graphopt.passes.restructure.hoist_transposes import HoistTransposes
from tests.build import parse
from tests.passes.fuse.fused import normal, refused
from tests.passes.placed import GRAPHS, Place, placed
from tests.passes.support import agree, run

HOIST = HoistTransposes()
HEAD = '<ir_version: 10, opset_import: ["" : 18, "com.example" : 1]>'
X = "float[2,3,4]"
FIRST = "t = Transpose <perm = [1, 2, 0]> (x)\n"
BACK = "Transpose <perm = [2, 0, 1]>"
END = "y = Transpose <perm = [1, 0]> (u)"
FEWER = "no fewer nodes would remain"
RANK = "an operand has another rank, or an unknown one"
LARGE = "a constant operand is too large to rearrange"


def matrix(nodes: str, more: str = "") -> ModelProto:
    head = f"{HEAD} g (float[2,3] x) => (float[2,3] y{more})"
    return parse(f"{head} {{ s = Transpose <perm = [1, 0]> (x) {nodes} }}")


REFUSED: dict[str, tuple[str, str | None]] = {
    "one for one": (f"a = Neg(x)\ny = {BACK} (a)", FEWER),
    "another permutation": (f"{FIRST}a = Neg(t)\ny = {FIRST[4:-5]} (a)", FEWER),
    "not elementwise": (f"{FIRST}a = Softmax(t)\ny = {BACK} (a)", None),
    "not elementwise above": (f"{FIRST}a = CumSum(t, i)\nb = Neg(a)\ny = {BACK} (b)", FEWER),
    "read elsewhere": (f"{FIRST}a = Neg(t)\nb = {BACK} (a)\nd = ReduceMax <keepdims = 0> (a)\n"
                       "y = Mul(b, d)", None),
    "a computed number": (f"{FIRST}k = ReduceMax <keepdims = 0> (x)\na = Add(t, k)\ny = {BACK} (a)",
                          RANK),
    "a computed row": (f"{FIRST}k = Abs(r)\na = Add(t, k)\ny = {BACK} (a)", RANK),
    "no permutation written": ("t = Transpose(x)\na = Neg(t)\ny = Transpose(a)", None),
}  # fmt: skip


@pytest.mark.parametrize("place", GRAPHS)
@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, place: Place) -> None:
    body, reason = REFUSED[case]
    y = {"one for one": "float[4,2,3]", "another permutation": "float[4,2,3]"}.get(case, X)
    model = placed(place, body, {"r": normal(2), "i": np.array(0)}, x=X, y=y)
    refused(model, HOIST, reason)


def test_before_opset_7_operands_are_aligned_otherwise() -> None:
    refused(placed("main", f"{FIRST}a = Neg(t)\ny = {BACK} (a)", x=X, opset=6, ir=8), HOIST, None)


def test_ranks_in_functions_are_not_known() -> None:
    refused(placed("function", f"{FIRST}a = Neg(t)\ny = {BACK} (a)", x=X), HOIST, RANK)


def test_large_constants() -> None:
    for count, reason in ((2**18, {}), (2**18 + 1, {LARGE: 1})):
        stored = {"k": np.ones((count, 1), np.float32)}
        body = "t = Transpose <perm = [1, 0]> (x)\na = Add(t, k)\ny = Transpose <perm = [1, 0]> (a)"
        outcome = run(placed("main", body, stored, x=f"float[1,{count}]"), HOIST)
        assert outcome.unchanged == bool(reason)
        assert outcome.skipped == reason


def test_graph_outputs_on_the_way() -> None:
    refused(matrix(f"u = Neg(s) {END}", ", float[3,2] u"), HOIST, None)
    refused(matrix(f"v = Neg(s) u = Abs(v) {END}", ", float[3,2] v"), HOIST, FEWER)
    outcome = run(matrix(f"u = Neg(s) {END}", ", float[3,2] s"), HOIST)
    assert outcome.lines == ["s = Transpose(x)", "y = Neg(x)"]
    agree(outcome.before, outcome.after, exact=True)


def test_other_domains() -> None:
    refused(matrix(f"u = com.example.Neg(s) {END}"), HOIST, None)
    refused(matrix(f"a = com.example.Neg(s) u = Neg(a) {END}"), HOIST, RANK)
    model = matrix(f"u = Neg(s) {END}")
    model.graph.node[0].domain = "com.example"
    refused(model, HOIST, RANK)


def test_a_source_that_the_body_cannot_see() -> None:
    """Its name is the body's own value there."""
    text = f"""{HEAD} g (float[2,2] x, float[2,2] z, bool c) => (float[2,2] y) {{
        s = Transpose <perm = [1, 0]> (x)
        y = If(c) <then_branch = p () => (float[2,2] r) <float[2,1] x = {{1.0, 2.0}}> {{
                       u = Add(s, x) r = Transpose <perm = [1, 0]> (u)
                   }},
                   else_branch = q () => (float[2,2] v) {{ v = Exp(z) }}>
    }}"""
    outcome = run(parse(text), HOIST)
    assert outcome.left_out == []
    assert outcome.unchanged


def test_constant_nodes_are_nodes_too() -> None:
    """Where others read them, their copies outnumber what goes."""
    stored = {f"k{n}": normal(3, 4, 2, seed=n) for n in range(4)}
    body = (
        FIRST + f"a = Mul(t, k0)\nb = Add(a, k1)\nd = Sub(b, k2)\nf = Mul(d, k3)\ng = {BACK} (f)\n"
    )
    body += "h = Sum(k0, k1, k2, k3)\nm = ReduceMax <keepdims = 0> (h)\ny = Mul(g, m)"
    model = placed("main", body, x=X, ir=3, opset=9)
    for name, array in stored.items():
        tensor = numpy_helper.from_array(array)
        model.graph.node.insert(0, helper.make_node("Constant", [], [name], value=tensor))
    outcome = run(model, HOIST)
    assert outcome.unchanged or len(outcome.lines) < len(outcome.before.graph.node)
    agree(outcome.before, outcome.after)


@pytest.mark.parametrize(("length", "fused"), [(100, True), (200, False)])
def test_a_long_chain(length: int, fused: bool) -> None:
    """However long it is, each Transpose behind it looks at no more than a part."""
    steps = [f"v{i + 1} = Neg(v{i})" for i in range(length)]
    nodes = " ".join(["v0 = Identity(s)", *steps, f"y = Transpose <perm = [1, 0]> (v{length})"])
    model = matrix(nodes.replace("v0 = Identity(s) ", "").replace("(v0)", "(s)"))
    outcome = run(model, HOIST)
    agree(outcome.before, outcome.after)
    assert outcome.unchanged is not fused
    assert outcome.skipped.get("too many nodes stand above it", 0) == (not fused)
