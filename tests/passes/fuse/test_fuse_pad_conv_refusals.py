"""fuse_pad_conv: what it leaves alone, and the reason that the report counts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from onnx import ModelProto

from graphopt.passes.fuse.fuse_pad_conv import FusePadConv
from tests.build import parse
from tests.passes.fuse.fused import normal, refused
from tests.passes.placed import placed
from tests.passes.support import Array, run

FUSE = FusePadConv()
X = "float[2,3,5,5]"
ANY = "float[?,?,?,?]"
HEAD = '<ir_version: 10, opset_import: ["" : 18, "com.example" : 1]>'
CONV = "n = Conv(h, w, b)\n"
BODY = "h = Pad(x, p)\n" + CONV + "y = Relu(n)"
COMPUTED = "the pad's amounts or value are not constants"
NEGATIVE = "the pad takes values away"
NOT_PLAIN = "the pad is not a plain one beside the conv"
OTHER = "the pad adds another value than 0"
READ = "the padded tensor is read elsewhere"
REPEATS = "the pad repeats or mirrors values"
WIDENS = "the pad widens batch or channels"


def number(value: float) -> Array:
    return np.array(value, np.float32)


def amounts(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


def values(**changed: Array) -> dict[str, Array]:
    made = {"w": normal(4, 3, 3, 3), "b": normal(4, seed=4), "p": amounts(0, 0, 1, 2, 0, 0, 3, 0)}
    return {**made, **changed}


def main(body: str, opset: int = 18, **changed: Array) -> ModelProto:
    return placed("main", body, values(**changed), x=X, y=ANY, opset=opset)


BODIES: dict[str, tuple[str, Mapping[str, Array], str | None]] = {
    "no pad": ("h = Abs(x)\ny = Conv(h, w)", {}, None),
    "something between": ("k = Pad(x, p)\nh = Abs(k)\ny = Conv(h, w)", {}, None),
    "pads the weight": ("h = Pad(x, p)\nk = Pad(w, p)\nm = Abs(h)\ny = Conv(m, k)", {}, None),
    "two readers": (BODY + "\nz = Abs(h)", {}, READ),
    "given to the conv twice": ("h = Pad(x, p)\ny = Conv(h, h)", {}, READ),
    "adds 1": ("h = Pad(x, p, v)\ny = Conv(h, w)", {"v": number(1)}, OTHER),
    "adds NaN": ("h = Pad(x, p, v)\ny = Conv(h, w)", {"v": number(np.nan)}, OTHER),
    "adds -0": ("h = Pad(x, p, v)\ny = Conv(h, w)", {"v": number(-0.0)}, OTHER),
    "adds almost 0": ("h = Pad(x, p, v)\ny = Conv(h, w)", {"v": number(1e-45)}, OTHER),
    "takes away": (BODY, {"p": amounts(0, 0, -1, 1, 0, 0, 1, 1)}, NEGATIVE),
    "takes away at the end": (BODY, {"p": amounts(0, 0, 1, 1, 0, 0, 1, -1)}, NEGATIVE),
    "takes channels away": (BODY, {"p": amounts(0, -1, 1, 1, 0, 1, 1, 1)}, NEGATIVE),
    "widens the batch": (BODY, {"p": amounts(1, 0, 1, 1, 0, 0, 1, 1)}, WIDENS),
    "widens the batch at the end": (BODY, {"p": amounts(0, 0, 1, 1, 1, 0, 1, 1)}, WIDENS),
    "widens channels": (BODY, {"p": amounts(0, 0, 1, 1, 0, 1, 1, 1), "w": normal(4, 4, 3, 3)},
                        WIDENS),
    "widens channels by axes": ("h = Pad(x, q, , a)\n" + CONV + "y = Abs(n)",
                                {"q": amounts(0, 1), "a": amounts(-3), "w": normal(4, 4, 3, 3)},
                                WIDENS),
    "repeats": ('h = Pad <mode = "edge"> (x, p)\n' + CONV + "y = Abs(n)", {}, REPEATS),
    "mirrors": ('h = Pad <mode = "reflect"> (x, p)\n' + CONV + "y = Abs(n)", {}, REPEATS),
    "amounts computed": ("s = Shape(x)\nq = Mul(s, zero)\nr = Concat <axis = 0> (q, q)\n"
                         "h = Pad(x, r)\n" + CONV + "y = Abs(n)", {"zero": amounts(0)}, COMPUTED),
    "value computed": ("s = ReduceMax <keepdims = 0> (x)\nh = Pad(x, p, s)\n" + CONV
                       + "y = Abs(n)", {}, COMPUTED),
    "same": ('h = Pad(x, p)\nn = Conv <auto_pad = "SAME_UPPER"> (h, w)\ny = Abs(n)', {},
             "the conv's padding depends on its input"),
}  # fmt: skip


@pytest.mark.parametrize("case", BODIES)
def test_refused(case: str) -> None:
    body, changed, reason = BODIES[case]
    refused(placed("main", body, values(**changed), x=X, y=ANY), FUSE, reason)


def test_wrap() -> None:
    body = 'h = Pad <mode = "wrap"> (x, p)\ny = Conv(h, w)'
    refused(main(body, opset=19), FUSE, REPEATS)


@pytest.mark.parametrize(
    ("attributes", "opset", "reason"),
    [("pads = [0,0,1,1,0,0,1,1], value = 1.0", 2, OTHER),
     ("pads = [0,0,1,1,0,0,1,-1]", 10, NEGATIVE),
     ('pads = [0,0,1,1,0,0,1,1], mode = "reflect"', 10, REPEATS)],
)  # fmt: skip
def test_refused_attributes(attributes: str, opset: int, reason: str) -> None:
    refused(main(f"h = Pad <{attributes}> (x)\ny = Conv(h, w)", opset), FUSE, reason)


def declared(nodes: str, opset: int = 18, **constants: Array) -> ModelProto:
    """A file may declare a shape for what inference gives up on."""
    text = f"""<ir_version: 10, opset_import: ["" : {opset}]> g ({X} x) => ({ANY} y)
        <float[2,3,7,7] h> {{ {nodes} y = Conv(h, w) }}"""
    return parse(text, w=normal(4, 3, 3, 3), **constants)


def test_axes_computed() -> None:
    nodes = "s = Shape <start = 0, end = 1> (x) h = Pad(x, q, , s)"
    refused(declared(nodes, q=amounts(2, 2)), FUSE, COMPUTED)


def test_paddings_of_opset_1() -> None:
    refused(declared("h = Pad <paddings = [0,0,1,1,0,0,1,1]> (x)", 1), FUSE, COMPUTED)


ODD: dict[str, tuple[str, int, dict[str, Array]]] = {
    "too few": ("Pad(x, p)", 18, {"p": amounts(0, 0, 1, 1)}),
    "too many for the axes": ("Pad(x, p, , a)", 18, {"p": amounts(0, 1, 0, 1), "a": amounts(2)}),
    "an axis twice": ("Pad(x, p, , a)", 18, {"p": amounts(1, 1, 1, 1), "a": amounts(2, 2)}),
    "no such axis": ("Pad(x, p, , a)", 18, {"p": amounts(1, 1, 1, 1), "a": amounts(2, 7)}),
    "too few in the attribute": ("Pad <pads = [0, 0, 1, 1]> (x)", 10, {}),
    "too many in the attribute": ("Pad <pads = [0,0,1,1,0,0,1,1,0,0]> (x)", 10, {}),
}


@pytest.mark.parametrize("case", ODD)
def test_amounts_that_do_not_fit_the_rank(case: str) -> None:
    pad, opset, constants = ODD[case]
    assert run(declared(f"h = {pad}", opset, **constants), FUSE).unchanged


def test_the_padded_tensor_is_a_graph_output() -> None:
    text = f"{HEAD} g ({X} x) => ({ANY} y, {ANY} h) {{ h = Pad(x, p) y = Conv(h, w, b) }}"
    refused(parse(text, **values()), FUSE, READ)


def test_the_conv_stands_in_a_body() -> None:
    text = f"""{HEAD} g ({X} x, bool t) => ({ANY} y) {{
        h = Pad(x, p)
        y = If(t) <then_branch = s () => ({ANY} a) {{ a = Conv(h, w) }},
                   else_branch = q () => ({ANY} e) {{ e = Conv(x, w) }}>
    }}"""
    refused(parse(text, **values()), FUSE, NOT_PLAIN)


def test_overridable_amounts() -> None:
    text = f"{HEAD} g ({X} x, int64[8] p) => ({ANY} y) {{ h = Pad(x, p) y = Conv(h, w, b) }}"
    model = parse(text, **values())
    model.graph.input[1].type.tensor_type.shape.dim[0].dim_value = 8
    assert run(model, FUSE).unchanged


def test_other_domains() -> None:
    for body, reason in (
        ("h = com.example.Pad(x, p) y = Conv(h, w)", NOT_PLAIN),
        ("h = Pad(x, p) y = com.example.Conv(h, w)", None),
    ):
        refused(parse(f"{HEAD} g ({X} x) => ({ANY} y) {{ {body} }}", **values()), FUSE, reason)


def test_an_unknown_rank() -> None:
    body = "h = Pad(x, p)\ny = Conv(h, w)"
    refused(placed("function", body, values(), x=X, y=ANY), FUSE, "the rank is not known")
