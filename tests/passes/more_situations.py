"""The situations of situations.py again, around a piece of graph for the later passes.

Each of them has something to do in it: sizes computed from Shape, nodes that change nothing, equal
nodes, Transposes and Reshapes in pairs, a Pad before a Conv, arithmetic on both sides of a Conv, a
Gemm with its BatchNormalization, a MatMul with its Add. Integers are Constant nodes: a caller who
overrides one of them would break the model. All of it means the same in opsets 11 to 18.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from onnx import ModelProto, helper, numpy_helper

from tests.build import parse
from tests.passes.fuse.fused import dims
from tests.passes.placed import Place, placed
from tests.passes.situations import nothing_to_do
from tests.passes.support import Array

HEAD = '<ir_version: 10, opset_import: ["" : 18]>'
X, Y = "float[2,3,6,6]", "float[2,4,6,6]"
SIZES = """
    first = Constant <value = int64[1] {0}> ()
    three = Constant <value = int64[1] {3}> ()
    six = Constant <value = int64[1] {6}> ()
    flat = Constant <value = int64[2] {0, -1}> ()
    back = Constant <value = int64[4] {0, 3, 6, 6}> ()
    column = Constant <value = int64[4] {0, 4, 1, 1}> ()
    ring = Constant <value = int64[8] {0, 0, 1, 0, 0, 0, 0, 2}> ()
"""
SHAPES = """
    r1 = Reshape(x, flat)
    r2 = Reshape(r1, back)
    r3 = Neg(r2)
    s = Shape(x)
    n = Gather(s, first)
    rest = Concat <axis = 0> (three, six, six)
    target = Concat <axis = 0> (n, rest)
    a = Reshape(r3, target)
    a1 = Abs(a)
    a2 = Reshape(a1, back)
"""
EQUAL = """
    p0 = Concat <axis = 1> (a2)
    p1 = Mul(p0, one)
    e1 = Tanh(p1)
    e2 = Tanh(p1)
    d = Add(e1, e2)
"""
TURNED = """
    t1 = Transpose <perm = [0, 1, 3, 2]> (d)
    t2 = Transpose <perm = [0, 2, 3, 1]> (t1)
    m = Mul(t2, hc)
    t3 = Transpose <perm = [0, 3, 1, 2]> (m)
    t4 = Transpose <perm = [0, 1, 3, 2]> (t3)
"""
CONVS = """
    q = Mul(t4, before)
    c1 = Conv(q, w1, b1)
    c2 = Mul(c1, behind)
    c3 = Pad(c2, ring)
    c4 = Conv <pads = [0, 0, 1, 0]> (c3, w2, b2)
"""
MATRICES = """
    f1 = GlobalAveragePool(c4)
    f2 = Flatten(f1)
    g1 = Gemm(f2, gw, gb)
    g2 = BatchNormalization(g1, scale, shift, mean, var)
    h1 = MatMul(g2, hw)
    h2 = Add(h1, hb)
    h3 = Reshape(h2, column)
"""
LAST = "y = Add(c4, h3)"
PIECE = SIZES + SHAPES + EQUAL + TURNED + CONVS + MATRICES + LAST


def values() -> dict[str, Array]:
    """The floating-point constants of PIECE."""
    rng = np.random.default_rng(13)
    made = {
        "hc": rng.random((1, 6, 1, 3)) + 0.5,
        "before": rng.random((1, 3, 1, 1)) + 0.5,
        "w1": rng.standard_normal((4, 3, 1, 1)),
        "b1": rng.standard_normal(4),
        "behind": rng.random((4, 1, 1)) + 0.5,
        "w2": rng.standard_normal((4, 4, 3, 3)),
        "b2": rng.standard_normal(4),
        "gw": rng.standard_normal((4, 5)),
        "gb": rng.standard_normal(5),
        "scale": rng.random(5) + 0.5,
        "shift": rng.standard_normal(5),
        "mean": rng.standard_normal(5),
        "var": rng.random(5) + 0.5,
        "hw": rng.standard_normal((5, 4)),
        "hb": rng.standard_normal(4),
        "one": np.ones(()),
    }
    return {name: array.astype(np.float32) for name, array in made.items()}


def _main(nodes: str, outputs: Mapping[str, str] | None = None, inputs: str = "") -> ModelProto:
    listed = ", ".join(f"{kind} {name}" for name, kind in {"y": Y, **(outputs or {})}.items())
    return parse(f"{HEAD} g ({X} x{inputs}) => ({listed}) {{ {nodes} }}", **values())


def _placed(place: Place, *, captured: bool = False) -> ModelProto:
    return placed(place, PIECE, values(), x=X, y=Y, captured=captured)


def graph_outputs() -> ModelProto:
    """What the passes match is given back by the graph as well."""
    moved = {"t1": X, "m": "float[2,6,6,3]"}
    matrices = {"g1": "float[2,5]", "h1": "float[2,4]"}
    same = dict.fromkeys(["a", "p0", "p1", "e1", "e2", "q"], X)
    convs = {"c1": Y, "c3": "float[2,4,7,8]"}
    sizes = {"target": "int64[4]", "n": "int64[1]", "r1": "float[2,108]"}
    return _main(PIECE, {**same, **moved, **convs, **matrices, **sizes})


def two_readers() -> ModelProto:
    """Every matched value has another reader."""
    read = ["r1", "a", "p0", "p1", "e1", "e2", "t1", "t2", "m", "t3", "q", "c1", "c3", "g1", "h1"]
    more = [f"o_{name} = ReduceMax <keepdims = 0> ({name})" for name in read]
    more += ["i = Mul(n, n)", "j = Cast <to = 1> (i)", "k = ReduceMax <keepdims = 0> (j)"]
    more.append(f"all = Sum(k, {', '.join(f'o_{name}' for name in read)})")
    return _main(PIECE.replace(LAST, "\n".join([*more, "l = Add(c4, h3)", "y = Add(l, all)"])))


def left_out_inputs() -> ModelProto:
    """Optional inputs are left out: in the middle, and at the end."""
    nodes = PIECE.replace("Mul(p0, one)", "Dropout(p0, , no)").replace(
        "Tanh(p1)", "Clip(p1, , top)"
    )
    nodes = nodes.replace("Mul(t2, hc)", "Clip(t2, , top)").replace("(c2, ring)", '(c2, ring, "")')
    nodes = nodes.replace("(q, w1, b1)", '(q, w1, "")').replace("(c3, w2, b2)", "(c3, w2)")
    nodes = nodes.replace("(f2, gw, gb)", '(f2, gw, "")')
    model = _main(nodes)
    for name, array in (("no", np.array(False)), ("top", np.array(0.5, np.float32))):
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    return model


def used_twice() -> ModelProto:
    """One tensor is used twice by one node."""
    nodes = PIECE.replace("Tanh(p1)", "Mul(p1, p1)").replace("Add(e1, e2)", "Sum(e1, e1, e2)")
    nodes = nodes.replace("Mul(t2, hc)", "Mul(t2, t2)")
    nodes = nodes.replace("q = Mul(t4, before)", "q0 = Mul(t4, before)\nq = Add(q0, before)")
    nodes = nodes.replace("c2 = Mul(c1, behind)", "c = Add(c1, behind)\nc2 = Mul(c, behind)")
    nodes = nodes.replace("(g1, scale, shift, mean, var)", "(g1, var, shift, shift, var)")
    return _main(nodes.replace(LAST, "l = Add(c4, h3)\ny = Mul(l, l)"))


def names_taken() -> ModelProto:
    """The names that a pass would give to new values and nodes belong to others already."""
    nodes = """
        target_1 = Abs(x)
        r2_shape = Neg(target_1)
        w1_fused = Neg(r2_shape)
        gw_fused = Mul(w1_fused, gw_bias)
        hc_transposed = Abs(gw_fused)
        t3_Mul = Neg(hc_transposed)
        h2_Gemm = Abs(t3_Mul)
        x_a = Sub(x, h2_Gemm)
    """
    model = _main(nodes + PIECE.replace("(x, flat)", "(x_a, flat)"))
    for name in ("gw_bias", "w1_bias", "n_1"):
        model.graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), name))
    for number, node in enumerate(model.graph.node):
        node.name = ("Gemm_h2_Gemm", "Mul_t3_Mul", "Reshape_r2_Reshape")[number % 3] + f"_{number}"
    return model


def constant_nodes() -> ModelProto:
    """Every weight sits in a Constant node."""
    model = _main(PIECE)
    del model.graph.initializer[:]
    for name, array in values().items():
        tensor = numpy_helper.from_array(array)
        model.graph.node.insert(0, helper.make_node("Constant", [], [name], value=tensor))
    return model


def shared_weights() -> ModelProto:
    """Other nodes read the weights, too."""
    more = """
        u1 = Conv(a4, w1, b1)
        u2 = Conv(u1, w2, b2)
        u3 = Sub(u2, behind)
        u4 = Gemm(f3, gw, gb)
        u5 = Div(u4, var)
        u6 = MatMul(u5, hw)
        u7 = Sub(u6, hb)
        u8 = Div(hc, one)
        l1 = ReduceMax <keepdims = 0> (u3)
        l2 = ReduceMax <keepdims = 0> (u7)
        l3 = ReduceMax <keepdims = 0> (u8)
        l4 = ReduceMax <keepdims = 0> (before)
        l = Sum(l1, l2, l3, l4)
        h = Add(c4, h3)
        y = Add(h, l)
    """
    nodes = PIECE.replace("q = Mul(t4", "q0 = Neg(t4)\na4 = Abs(q0)\nq = Mul(q0")
    return _main(nodes.replace("g1 =", "f3 = Neg(f2)\ng1 =").replace(LAST, more))


def overridable() -> ModelProto:
    """Every initializer is a graph input as well: a default that callers may override."""
    inputs = "".join(f", float{dims(array)} {name}" for name, array in values().items())
    return _main(PIECE, inputs=inputs)


def ir_version_3() -> ModelProto:
    """Initializers would have to be inputs: constants are Constant nodes, old and new ones."""
    model = constant_nodes()
    model.ir_version = 3
    model.opset_import[0].version = 11
    return model


def scan_body() -> ModelProto:
    """The piece stands in the body of a Scan, which goes over the first axis."""
    body = PIECE.replace("(x, flat)", "(x_s, flat)")
    text = f"""{HEAD} g (float[3,2,3,6,6] xs, float start) => (float last, float[3,2,4,6,6] ys) {{
        last, ys = Scan <num_scan_inputs = 1, body = step (float state, {X} x) =>
            (float state_next, {Y} y) {{
                x_s = Add(x, state)
                {body}
                state_next = Neg(state)
            }}> (start, xs)
    }}"""
    return parse(text, **values())


def domain_spelled_out() -> ModelProto:
    """The standard domain is imported as `ai.onnx`."""
    model = _main(PIECE)
    model.opset_import[0].domain = "ai.onnx"
    return model


MORE_SITUATIONS: dict[str, Callable[[], ModelProto]] = {
    "plain": lambda: _main(PIECE),
    "if branch": lambda: _placed("if"),
    "if branch, captured": lambda: _placed("if", captured=True),
    "loop body": lambda: _placed("loop"),
    "function": lambda: _placed("function"),
    "scan body": scan_body,
    "domain spelled out": domain_spelled_out,
    "graph outputs": graph_outputs,
    "two readers": two_readers,
    "left out inputs": left_out_inputs,
    "used twice": used_twice,
    "names taken": names_taken,
    "constant nodes": constant_nodes,
    "shared weights": shared_weights,
    "overridable": overridable,
    "ir version 3": ir_version_3,
    "nothing to do": nothing_to_do,
}
