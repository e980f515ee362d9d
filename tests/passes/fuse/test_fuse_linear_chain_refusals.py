"""fuse_linear_chain: what it leaves alone, and the reason that the report counts."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.passes.fuse.fuse_linear_chain import FuseLinearChain
from tests.build import parse
from tests.passes.fuse.fused import normal, refused
from tests.passes.fuse.test_fuse_linear_chain import CHAIN, POINT, X, Y, convs, main, values
from tests.passes.support import Array, run

FUSE = FuseLinearChain()
HEAD = '<ir_version: 10, opset_import: ["" : 18, "com.example" : 1]>'
MORE = "more would be computed, or stored"
READ = "what lies between is read elsewhere"
FINITE = "a fused parameter is not finite"
TINY = "a fused parameter is too small for its type"
BARE = "h = MatMul(x, w)\nk = MatMul(h, v)\ny = Neg(k)"

REFUSED: dict[str, tuple[str, dict[str, Array], str | None]] = {
    "one layer": ("h = MatMul(x, w)\nk = Neg(h)\nm = MatMul(k, v)\ny = Add(m, c)", {}, None),
    "a bottleneck": (CHAIN, {"w": normal(4, 1), "b": normal(1), "v": normal(1, 3)}, MORE),
    "read between": ("h = MatMul(x, w)\nk = MatMul(h, v)\ne = ReduceSum <keepdims = 0> (h)\n"
                     "y = Mul(k, e)", {}, READ),
    "a sum read between": (CHAIN.replace("y = Relu(m)", "e = ReduceSum <keepdims = 0> (n)\n"
                                         "y = Mul(m, e)"), {}, READ),
    "a product read between": (CHAIN.replace("y = Relu(m)", "e = ReduceSum <keepdims = 0> (h)\n"
                                             "y = Mul(m, e)"), {}, None),
    "a shared weight": (BARE.replace("y = Neg(k)", "d = ReduceSum <keepdims = 0> (w)\n"
                                     "e = ReduceSum <keepdims = 0> (v)\nf = Mul(d, e)\n"
                                     "y = Mul(k, f)"), {}, MORE),
    "one weight for both": ("h = MatMul(x, w)\nk = MatMul(h, w)\ny = Neg(k)", {"w": normal(4, 4)},
                            MORE),
    "a computed weight": (BARE.replace("MatMul(h, v)", "MatMul(h, v0)").replace(
        "k =", "v0 = Abs(v)\nk ="), {}, None),
    "a batch of matrices": (BARE, {"w": normal(2, 4, 5)}, None),
    "infinite": (BARE, {"w": np.full((4, 5), np.inf, np.float32)}, FINITE),
    "not a number": (BARE, {"v": np.full((5, 3), np.nan, np.float32)}, FINITE),
    "too large": (BARE, {"w": normal(4, 5) * np.float32(1e30),
                         "v": normal(5, 3) * np.float32(1e30)}, FINITE),
    "too small": (BARE, {"w": normal(4, 5) * np.float32(1e-30),
                         "v": normal(5, 3) * np.float32(1e-30)}, TINY),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    body, changed, reason = REFUSED[case]
    y = "float[?,?,?]"
    outcome = run(main(body, X, y, 18, **changed), FUSE)
    assert set(outcome.skipped) == (set() if reason is None else {reason})
    assert outcome.unchanged


def test_what_is_added_by_place_lies_between() -> None:
    refused(main(CHAIN, b=normal(5, 5)), FUSE, None)


def test_gemms_that_scale() -> None:
    body = "h = Gemm <alpha = 0.5> (x, w, b)\ny = Gemm(h, v, c)"
    refused(main(body, "float[6,4]", "float[6,3]"), FUSE, "Gemm scales, or transposes its input")
    body = "h = Gemm(x, w, b)\ny = Gemm <alpha = 0.5> (h, v, c)"
    refused(main(body, "float[6,4]", "float[6,3]"), FUSE, "Gemm scales, or transposes its input")


def test_graph_outputs_overridable_and_other_graphs() -> None:
    text = f"{HEAD} g ({X} x) => ({Y} y, float[2,5,5] h) {{ {BARE} }}"
    given = {name: array for name, array in values().items() if name in "wv"}
    refused(parse(text, **given), FUSE, READ)
    text = f"{HEAD} g ({X} x, float[4,5] w) => ({Y} y) {{ {BARE} }}"
    refused(parse(text, **given), FUSE, None)
    text = f"{HEAD} g ({X} x) => ({Y} y) {{ {BARE.replace('h = ', 'h = com.example.')} }}"
    refused(parse(text, **given), FUSE, None)
    text = f"""{HEAD} g ({X} x, bool t) => ({Y} y) {{
        h = MatMul(x, w)
        y = If(t) <then_branch = p () => ({Y} k) {{ k = MatMul(h, v) }},
                   else_branch = o () => ({Y} e) {{ e = MatMul(h, v) }}>
    }}"""
    refused(parse(text, **given), FUSE, "the first is not a plain one beside the second", 2)


KERNELS = "neither conv is a plain one of kernel 1"
CONVS: dict[str, tuple[str, str, Array, Array, str]] = {
    "two large kernels": ("(x, w, b)", "(h, v)", normal(5, 4, 3, 3), normal(3, 5, 2, 2), KERNELS),
    "a strided point": ("<strides = [2, 2]> (x, w, b)", "(h, v)", POINT, normal(3, 5, 3, 3),
                        KERNELS),
    "a padded point": ("<pads = [1, 1, 1, 1]> (x, w, b)", "(h, v)", POINT, normal(3, 5, 3, 3),
                       KERNELS),
    "groups": ("(x, w, b)", "<group = 5> (h, v)", POINT, normal(5, 1, 1, 1), KERNELS),
    "padding behind a bias": ("(x, w, b)", "<pads = [1, 1, 1, 1]> (h, v)", POINT,
                              normal(3, 5, 3, 3),
                              "the second conv pads what the first one adds to"),
    "a bottleneck": ("(x, w)", "(h, v)", normal(1, 4, 1, 1), normal(3, 1, 1, 1),
                     "more would be computed"),
    "a bottleneck behind padding": ("(x, w)", "<pads = [1, 1, 1, 1]> (h, v)", normal(3, 4, 1, 1),
                                    normal(1, 3, 3, 3), "more would be computed"),
    "not finite": ("(x, w)", "(h, v)", POINT * np.float32("inf"), normal(3, 5, 1, 1), FINITE),
}  # fmt: skip


@pytest.mark.parametrize("case", CONVS)
def test_refused_convs(case: str) -> None:
    first, second, w, v, reason = CONVS[case]
    refused(convs(first, second, w, v, b=normal(5, seed=8)), FUSE, reason)


def test_a_shared_conv_weight() -> None:
    body = "h = Conv(x, w)\nk = Conv(h, v)\ne = ReduceSum <keepdims = 0> (w)\n"
    body += "e2 = ReduceSum <keepdims = 0> (v)\ne3 = Add(e, e2)\ny = Mul(k, e3)"
    text = f"{HEAD} g (float[2,4,7,7] x) => (float[2,3,7,7] y) {{ {body} }}"
    refused(
        parse(text, w=POINT, v=normal(3, 5, 1, 1)), FUSE, "the weight would be larger than both"
    )


def test_a_conv_read_elsewhere() -> None:
    text = f"""{HEAD} g (float[2,4,7,7] x) => (float[2,3,7,7] y, float[2,5,7,7] h) {{
        h = Conv(x, w) y = Conv(h, v)
    }}"""
    refused(parse(text, w=POINT, v=normal(3, 5, 1, 1)), FUSE, READ)


def test_conv_weights_that_are_computed() -> None:
    text = f"""{HEAD} g (float[2,4,7,7] x) => (float[2,3,7,7] y) {{
        w0 = Abs(w) h = Conv(x, w0) y = Conv(h, v)
    }}"""
    refused(
        parse(text, w=POINT, v=normal(3, 5, 1, 1)),
        FUSE,
        "a parameter is not a constant",
    )
