"""One model for each situation that every pass must cope with.

Each is rich enough that all of the first passes have something to do in it: a Conv with its
BatchNormalization, Identity nodes, constant arithmetic, equal constants, dead nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from onnx import ModelProto, helper, numpy_helper

from tests.build import parse
from tests.passes.placed import Place, placed
from tests.passes.support import Array

HEAD = '<ir_version: 10, opset_import: ["" : 18]>'
X, Y = "float[2,3,6,6]", "float[2,4,6,6]"
CONV = "h = Conv <pads = [1, 1, 1, 1]> (s, w, b)\n"
NORM = "n = BatchNormalization(h, scale, shift, mean, var)\n"
PIECE = f"""
    t = Identity(x)
    k = Add(k1, k2)
    s = Mul(t, k)
    {CONV} {NORM}
    r = Relu(n)
    p = Mul(r, d1)
    q = Sub(p, d2)
    dead = Neg(q)
    gone = Exp(dead)
    y = Identity(q)
"""


def values() -> dict[str, Array]:
    """The constants of PIECE; d1 and d2 are equal, and so are scale and var."""
    rng = np.random.default_rng(11)
    made = {
        "k1": rng.standard_normal((3, 1, 1)),
        "k2": rng.standard_normal((3, 1, 1)),
        "w": rng.standard_normal((4, 3, 3, 3)),
        "b": rng.standard_normal(4),
        "scale": rng.random(4) + 0.5,
        "shift": rng.standard_normal(4),
        "mean": rng.standard_normal(4),
        "d1": rng.random((4, 1, 1)) + 0.5,
    }
    arrays = {name: array.astype(np.float32) for name, array in made.items()}
    return {**arrays, "var": arrays["scale"].copy(), "d2": arrays["d1"].copy()}


def _main(nodes: str, outputs: Mapping[str, str] | None = None, inputs: str = "") -> ModelProto:
    listed = ", ".join(f"{kind} {name}" for name, kind in {"y": Y, **(outputs or {})}.items())
    return parse(f"{HEAD} g ({X} x{inputs}) => ({listed}) {{ {nodes} }}", **values())


def _placed(place: Place, *, captured: bool = False) -> ModelProto:
    return placed(place, PIECE, values(), x=X, y=Y, captured=captured)


def graph_outputs() -> ModelProto:
    """What the passes match is given back by the graph as well."""
    column, small = "float[4,1,1]", "float[3,1,1]"
    return _main(PIECE, {"t": X, "k": small, "h": Y, "q": Y, "dead": Y, "d1": column})


def two_readers() -> ModelProto:
    """Every matched value has another reader."""
    more = """
        s2 = Sub(t, k)
        h2 = Abs(h)
        n2 = Abs(n)
        m = ReduceMean <keepdims = 1, axes = [1]> (s2)
    """.replace(", axes = [1]> (s2)", "> (s2, one)")
    rest = "a1 = Add(q, h2)\na2 = Add(a1, n2)\na3 = Add(a2, m)\ny = Identity(a3)"
    model = _main(PIECE.replace("y = Identity(q)", more + rest))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "one"))
    return model


def left_out_inputs() -> ModelProto:
    """Optional inputs are left out: in the middle, and at the end."""
    nodes = PIECE.replace("k = Add(k1, k2)", "c = Clip(k1, , top)\nk = Add(c, k2)")
    nodes = nodes.replace("(s, w, b)", '(s, w, "")')
    nodes = nodes.replace("y = Identity(q)", "i = Identity(q)\ny = Clip(i, , top)")
    model = _main(nodes)
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "top"))
    return model


def used_twice() -> ModelProto:
    """One tensor is used twice by one node."""
    nodes = PIECE.replace("Add(k1, k2)", "Mul(k1, k1)").replace("Mul(t, k)", "Mul(t, t)")
    nodes = nodes.replace("(h, scale, shift, mean, var)", "(h, var, shift, shift, var)")
    nodes = nodes.replace("r = Relu(n)", "a = Mul(n, n)\nr = Add(a, k)")
    nodes = nodes.replace("p = Mul(r, d1)", "e = Div(d1, d2)\np = Mul(r, e)")
    return _main(nodes.replace("r = Add(a, k)", "f = ReduceMax <keepdims = 0> (k)\nr = Add(a, f)"))


def names_taken() -> ModelProto:
    """The names that a pass would give to new values and nodes belong to others already."""
    nodes = """
        k_1 = Abs(x)
        w_bias = Neg(k_1)
        w_fused_1 = Mul(w_bias, w_fused)
        x_a = Sub(x, w_fused_1)
    """
    model = _main(nodes + PIECE.replace("Identity(x)", "Identity(x_a)"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "w_fused"))
    for number, node in enumerate(model.graph.node):
        node.name = f"k_{number + 2}"
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
    more = "h2 = Conv <pads = [1, 1, 1, 1]> (s, w, b)\nj = Mul(h2, d1)\n"
    more += "l = Add(j, scale4)\nu = Add(q, l)"
    nodes = PIECE.replace(
        "y = Identity(q)", f"{more}\nz = Mul(t, k1)\nv = ReduceMax(z)\ny = Add(u, v)"
    )
    reshaped = "four = Constant <value = int64[3] {4, 1, 1}> ()\nscale4 = Reshape(scale, four)"
    return _main(reshaped + nodes)


def overridable() -> ModelProto:
    """Every initializer is a graph input as well: a default that callers may override."""
    inputs = "".join(
        f", float[{','.join(map(str, array.shape))}] {name}" for name, array in values().items()
    )
    return _main(PIECE, inputs=inputs)


def ir_version_3() -> ModelProto:
    """Initializers would have to be inputs: constants are Constant nodes, old and new ones."""
    model = constant_nodes()
    model.ir_version = 3
    model.opset_import[0].version = 9
    return model


def scan_body() -> ModelProto:
    """The piece stands in the body of a Scan, which goes over the first axis."""
    body = PIECE.replace("Identity(x)", "Add(x, state)")
    text = f"""{HEAD} g (float[3,2,3,6,6] xs, float start) => (float last, float[3,2,4,6,6] ys) {{
        last, ys = Scan <num_scan_inputs = 1, body = step (float state, {X} x) =>
            (float state_next, {Y} y) {{
                {body}
                e = Identity(state)
                state_next = Neg(e)
            }}> (start, xs)
    }}"""
    return parse(text, **values())


def domain_spelled_out() -> ModelProto:
    """The standard domain is imported as `ai.onnx`."""
    model = _main(PIECE)
    model.opset_import[0].domain = "ai.onnx"
    return model


def nothing_to_do() -> ModelProto:
    """No pass finds anything here."""
    text = HEAD + "g (float[2,3] x) => (float[2,3] y) { a = MatMul(x, m) y = Tanh(a) }"
    return parse(text, m=np.random.default_rng(5).standard_normal((3, 3)).astype(np.float32))


SITUATIONS: dict[str, Callable[[], ModelProto]] = {
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
