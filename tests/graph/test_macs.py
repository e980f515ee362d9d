"""Each rule against a count by hand: multiply-accumulates = output elements x products in each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphopt.graph import measure
from graphopt.graph.macs import RULES, UNCOUNTED
from graphopt.model import Model
from tests.build import parse


def macs(text: str, **initializers: Any) -> int | None:
    return measure(Model(parse(text, **initializers))).macs


def weights(*shape: int, dtype: Any = np.float32) -> Any:
    return np.ones(shape, dtype)


QLINEAR = dict.fromkeys(("s", "t", "u"), np.array(1.0, np.float32)) | dict.fromkeys(
    ("zx", "zw", "zy"), np.array(0, np.uint8)
)

CASES: dict[str, tuple[str, dict[str, Any], int]] = {
    # 2 images x 5 channels x 6 x 6 places, each 3 channels x 3 x 3
    "Conv": ("g (float[2, 3, 8, 8] x) => (y) { y = Conv(x, w, b) }",
             {"w": weights(5, 3, 3, 3), "b": weights(5)}, 2 * 5 * 36 * 27),
    "Conv in groups": ("g (float[1, 4, 8, 8] x) => (y) { y = Conv<group = 2>(x, w) }",
                       {"w": weights(6, 2, 1, 1)}, 6 * 64 * 2),
    "Conv depthwise, stride 2": (
        "g (float[1, 8, 9, 9] x) => (y) { y = Conv<group = 8, strides = [2, 2]>(x, w) }",
        {"w": weights(8, 1, 3, 3)}, 8 * 16 * 9),
    "Conv in one dimension": ("g (float[2, 3, 16] x) => (y) { y = Conv(x, w) }",
                              {"w": weights(4, 3, 5)}, 2 * 4 * 12 * 15),
    "ConvInteger": ("g (uint8[1, 3, 8, 8] x) => (y) { y = ConvInteger(x, w, zx, zw) }",
                    {"w": weights(5, 3, 3, 3, dtype=np.uint8), "zx": QLINEAR["zx"],
                     "zw": QLINEAR["zw"]}, 5 * 36 * 27),
    "QLinearConv": (
        "g (uint8[1, 3, 8, 8] x) => (y) { y = QLinearConv(x, s, zx, w, t, zw, u, zy) }",
        {"w": weights(5, 3, 3, 3, dtype=np.uint8), **QLINEAR}, 5 * 36 * 27),
    # every input element meets 5 channels x 3 x 3
    "ConvTranspose": (
        "g (float[2, 3, 8, 8] x) => (y) { y = ConvTranspose<strides = [2, 2]>(x, w) }",
        {"w": weights(3, 5, 3, 3)}, 2 * 3 * 64 * 45),
    "DeformConv": (
        '<ir_version: 9, opset_import: ["": 19]> '
        "g (float[1, 3, 8, 8] x, float[1, 18, 6, 6] o) => (y) { y = DeformConv(x, w, o) }",
        {"w": weights(5, 3, 3, 3)}, 5 * 36 * 27),
    "MatMul": ("g (float[4, 7] x) => (y) { y = MatMul(x, w) }", {"w": weights(7, 5)}, 4 * 5 * 7),
    "MatMul in batches": ("g (float[2, 3, 4, 7] x, float[3, 7, 5] z) => (y) { y = MatMul(x, z) }",
                          {}, 2 * 3 * 4 * 5 * 7),
    "MatMul by a vector": ("g (float[4, 7] x) => (y) { y = MatMul(x, w) }", {"w": weights(7)}, 28),
    "MatMul of vectors": ("g (float[7] x) => (y) { y = MatMul(x, w) }", {"w": weights(7)}, 7),
    "MatMulInteger": ("g (uint8[4, 7] x) => (y) { y = MatMulInteger(x, w) }",
                      {"w": weights(7, 5, dtype=np.uint8)}, 4 * 5 * 7),
    "QLinearMatMul": (
        "g (uint8[4, 7] x) => (y) { y = QLinearMatMul(x, s, zx, w, t, zw, u, zy) }",
        {"w": weights(7, 5, dtype=np.uint8), **QLINEAR}, 4 * 5 * 7),
    "Gemm": ("g (float[4, 7] x) => (y) { y = Gemm<transB = 1>(x, w, b) }",
             {"w": weights(5, 7), "b": weights(5)}, 4 * 5 * 7),
    "Gemm, first input turned": ("g (float[7, 4] x) => (y) { y = Gemm<transA = 1>(x, w) }",
                                 {"w": weights(7, 5)}, 4 * 5 * 7),
    # 6 steps x 2 rows, 4 gates x 3 units, each 5 inputs + 3 units
    "LSTM": ("g (float[6, 2, 5] x) => (y) { y = LSTM<hidden_size = 3>(x, w, r) }",
             {"w": weights(1, 12, 5), "r": weights(1, 12, 3)}, 6 * 2 * 12 * 8),
    "LSTM both ways": (
        'g (float[6, 2, 5] x) => (y) '
        '{ y = LSTM<hidden_size = 3, direction = "bidirectional">(x, w, r) }',
        {"w": weights(2, 12, 5), "r": weights(2, 12, 3)}, 2 * 6 * 2 * 12 * 8),
    "GRU, rows first": ("g (float[2, 6, 5] x) => (y) "
                        "{ y = GRU<hidden_size = 3, layout = 1>(x, w, r) }",
                        {"w": weights(1, 9, 5), "r": weights(1, 9, 3)}, 6 * 2 * 9 * 8),
    "RNN": ("g (float[6, 2, 5] x) => (y) { y = RNN<hidden_size = 3>(x, w, r) }",
            {"w": weights(1, 3, 5), "r": weights(1, 3, 3)}, 6 * 2 * 3 * 8),
    "Einsum": ('g (float[2, 3, 4] x, float[2, 4, 5] z) => (y) '
               '{ y = Einsum<equation = "bij, bjk -> bik">(x, z) }', {}, 2 * 3 * 4 * 5),
    "Einsum that only turns": ('g (float[2, 3] x) => (y) { y = Einsum<equation = "ij->ji">(x) }',
                               {}, 0),
    "none": ("g (float[2, 3] x) => (y) { a = Relu(x) b = Add(a, x) y = Softmax(b) }", {}, 0),
    "several": ("g (float[4, 7] x) => (y) { a = MatMul(x, w) b = Relu(a) y = MatMul(b, v) }",
                {"w": weights(7, 5), "v": weights(5, 2)}, 4 * 5 * 7 + 4 * 2 * 5),
    "a scale is no vendor's operator": (
        '<ir_version: 8, opset_import: ["": 17, "ai.onnx.ml": 3]> '
        "g (float[2, 3] x) => (y) { y = ai.onnx.ml.Scaler(x) }", {}, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_counted_by_hand(name: str) -> None:
    text, initializers, wanted = CASES[name]
    assert macs(text, **initializers) == wanted


def test_every_rule_has_a_case() -> None:
    assert set(RULES) <= {name.split(" ")[0].rstrip(",") for name in CASES}


UNKNOWN = {
    "a vendor's operator": (
        '<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]> '
        "g (float[4, 4] x) => (float[4, 4] y) { y = com.microsoft.FusedMatMul(x, x) }"
    ),
    "an open size": "g (float[4, K] x, float[K, 5] z) => (y) { y = MatMul(x, z) }",
    "no shape at all": "g (x, z) => (y) { y = MatMul(x, z) }",
    "an ellipsis": (
        'g (float[2, 3] x, float[3, 2] z) => (y) { y = Einsum<equation = "...i,ij">(x, z) }'
    ),
    "an equation that is no text": (
        "g (float[2, 3] x) => (float[2, 3] y) { y = Einsum<equation = 7>(x) }"
    ),
    "an operator without a rule": (
        '<ir_version: 12, opset_import: ["": 23]> g (float[1, 2, 4, 8] q) => (y) '
        "{ y = Attention(q, q, q) }"
    ),
    "a local function": (
        '<ir_version: 8, opset_import: ["": 17, "local": 1]> '
        "g (float[4, 4] x) => (y) { y = local.f(x) } "
        '<domain: "local", opset_import: ["": 17]> f (v) => (r) { r = MatMul(v, v) }'
    ),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_cannot_be_known_is_none(name: str) -> None:
    assert macs(UNKNOWN[name]) is None


def test_operators_without_a_rule_are_not_in_the_table() -> None:
    assert not UNCOUNTED & set(RULES)


BRANCHES = """
g (float[4, 8] x, bool c) => (y) {
  y = If (c) <
    then_branch = t () => (a) { a = MatMul(x, w) },
    else_branch = e () => (b) { s = MatMul(x, w) b = MatMul(s, v) }
  >
}
"""


def test_the_costlier_branch_counts() -> None:
    assert macs(BRANCHES, w=weights(8, 8), v=weights(8, 8)) == 2 * 4 * 8 * 8


def test_a_large_weight_inside_a_branch_counts_as_well() -> None:
    model = parse(BRANCHES, w=weights(8, 8))
    inner = parse("g () => (y) { y = Relu(x) }", v=weights(8, 500)).graph.initializer[0]
    model.graph.node[0].attribute[1].g.initializer.append(inner)
    assert measure(Model(model)).macs == 4 * 8 * 8 + 4 * 500 * 8


def loop(body: str) -> str:
    return f"""g (float[4, 4] x, int64 n, bool c) => (y) {{
      y = Loop (n, c, x) <body = b (int64 i, bool p, float[4, 4] v) => (bool q, float[4, 4] o)
        {{ q = Identity(p) {body} }}>
    }}"""


def test_how_often_a_loop_turns_is_not_known() -> None:
    assert macs(loop("o = MatMul(v, v)")) is None
    assert macs(loop("o = Relu(v)")) == 0


def test_input_shapes_open_what_was_unknown() -> None:
    model = Model(parse("g (float[N, K] x, float[K, 5] z) => (y) { y = MatMul(x, z) }"))
    assert measure(model).macs is None
    bound = measure(model, {"x": (2, 3), "z": (3, 5)})
    assert (bound.macs, bound.macs_at) == (2 * 5 * 3, {"x": [2, 3], "z": [3, 5]})


def test_an_open_batch_counts_as_one() -> None:
    stats = measure(Model(parse("g (float[N, 7] x) => (y) { y = MatMul(x, w) }", w=weights(7, 5))))
    assert (stats.macs, stats.macs_at) == (35, {"x": [1, 7]})
