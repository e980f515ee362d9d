"""Dimensions by rule against those of real tensors: operators that make another shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from graphopt.passes.fold import _dims
from graphopt.passes.fold._extents import EXTENTS
from tests.passes.fold.learning import Learnt, sizes_of
from tests.passes.fold.test_dims import EMPTY, NAMES, WORLDS, f32, i64, model

X = "float[N,C,H] x"
REDUCING = sorted(name for name in _dims._RULES if name.startswith("Reduce"))


@dataclass(frozen=True)
class Case:
    """Nodes that end in y, and the shape of y; `unknown` where no rule may tell it."""

    nodes: str
    expected: str
    inputs: str = X
    opset: int = 22
    constants: dict[str, Any] = field(default_factory=dict)
    worlds: Sequence[dict[str, int]] = (*WORLDS, EMPTY)


SHAPE = "s = Shape(x)\n"
SQUARE = [{"N": 2, "C": 3, "H": 4, "W": 5}, {"N": 3, "C": 2, "H": 1, "W": 1}]
CONV = "float[N,3,H,W] x"
RAW = "unknown"

CASES: dict[str, list[Case]] = {
    "Concat": [
        Case("y = Concat <axis = 1> (x, x, k)", "N, C * 2 + 2, 4", "float[N,C,4] x, float[N,2,H] k",
             worlds=[{"N": 2, "C": 3, "H": 4}, {"N": 0, "C": 1, "H": 4}]),
        Case("y = Concat <axis = -1> (x, x)", "N, C, H * 2"),
        Case("y = Concat <axis = 0> (x)", "N, C, H"),
        Case("y = Concat(x, x)", "N, C * 2, H", opset=3, worlds=[]),
    ],
    "ConstantOfShape": [
        Case(SHAPE + "y = ConstantOfShape(s)", "N, C, H"),
        Case("y = ConstantOfShape(k)", "", constants={"k": i64()}),
        Case(SHAPE + "t = Add(s, k) y = ConstantOfShape(t)", "N + 1, C + 1, H + 1",
             constants={"k": i64(1)}),
    ],
    "Conv": [
        Case("y = Conv <kernel_shape = [3, 2]> (x, k)", "N, 4, H - 2, W - 1", CONV,
             constants={"k": f32(4, 3, 3, 2)}, worlds=WORLDS[:1]),
        Case("y = Conv <kernel_shape = [3, 3], pads = [1, 0, 2, 2]> (x, k)", "N, 4, H + 1, W", CONV,
             constants={"k": f32(4, 3, 3, 3)}),
        Case("y = Conv <kernel_shape = [3, 3], dilations = [2, 1], pads = [2, 1, 2, 1]> (x, k)",
             "N, 4, H, W", CONV, constants={"k": f32(4, 3, 3, 3)}),
        Case("y = Conv <kernel_shape = [2], strides = [2], pads = [1, 1]> (x, k)", "N, 5, 4",
             "float[N,3,6] x", constants={"k": f32(5, 3, 2)}),
        Case("y = Conv <kernel_shape = [1, 1], group = 3> (x, k)", "N, 6, H, W", CONV,
             constants={"k": f32(6, 1, 1, 1)}),
        Case("y = Conv <kernel_shape = [2, 2], strides = [2, 2], pads = [0, 0, 1, 1]> (x, k)", RAW,
             CONV, constants={"k": f32(4, 3, 2, 2)}, worlds=WORLDS),
        Case('y = Conv <auto_pad = "SAME_UPPER", strides = [2, 1]> (x, k)', RAW, CONV,
             constants={"k": f32(4, 3, 3, 3)}, worlds=WORLDS),
        Case("y = Conv(x, k)", RAW, CONV, constants={"k": f32(4, 3, 1, 1)}, worlds=WORLDS),
    ],
    "Expand": [
        Case(SHAPE + "y = Expand(k, s)", "N, C, H", constants={"k": f32(1, 1)}),
        Case("y = Expand(x, k)", "2, N, C, H", constants={"k": i64(2, 1, 1, 1)}),
        Case("y = Expand(x, k)", "N, C, H", constants={"k": i64()}),
        Case("y = Expand(x, k)", "N, C, 5", constants={"k": i64(5)},
             worlds=[{"N": 2, "C": 3, "H": 1}, {"N": 2, "C": 0, "H": 5}]),
        Case(SHAPE + "y = Expand(z, s)", RAW, X + ", float[W] z",
             worlds=[{"N": 2, "C": 3, "H": 1, "W": 4}, {"N": 2, "C": 3, "H": 4, "W": 1}]),
    ],
    "Flatten": [
        Case("y = Flatten(x)", "N, C * H"),
        Case("y = Flatten <axis = 0> (x)", "1, N * C * H"),
        Case("y = Flatten <axis = -1> (x)", "N * C, H"),
        Case("y = Flatten <axis = 3> (x)", "N * C * H, 1"),
        Case("y = Flatten <axis = -3> (x)", "1, N * C * H"),
        Case("y = Flatten <axis = 2> (x)", "N * C, H", opset=8),
    ],
    "Gather": [
        Case("y = Gather(x, k)", "2, 2, C, H", constants={"k": i64([0, 0], [0, 0])},
             worlds=WORLDS),
        Case("y = Gather <axis = -1> (x, k)", "N, C", constants={"k": i64(0)[0]}, worlds=WORLDS),
        Case("y = Gather <axis = 1> (x, i)", "N, H, H", X + ", int64[H] i",
             worlds=[{"N": 2, "C": 4, "H": 3}, {"N": 2, "C": 4, "H": 0}]),
    ],
    "Gemm": [
        Case("y = Gemm(a, b, c)", "N, H", "float[N,C] a, float[C,H] b, float[H] c"),
        Case("y = Gemm <transA = 1> (a, b)", "C, H", "float[N,C] a, float[N,H] b"),
        Case("y = Gemm <transA = 1, transB = 1> (a, b)", "C, H", "float[N,C] a, float[H,N] b"),
        Case("y = Gemm <transB = 1> (a, k)", "N, 7", "float[N,5] a", constants={"k": f32(7, 5)}),
    ],
    "MatMul": [
        Case("y = MatMul(a, b)", "N, H", "float[N,C] a, float[C,H] b"),
        Case("y = MatMul(a, b)", "N, C, C", "float[N,C,H] a, float[H,C] b", worlds=WORLDS),
        Case("y = MatMul(a, b)", "N, 2, C, W", "float[N,1,C,H] a, float[2,H,W] b",
             worlds=WORLDS),
        Case("y = MatMul(a, b)", RAW, "float[C] a, float[N,C,H] b", worlds=WORLDS),
        Case("y = MatMul(a, b)", RAW, "float[N,C] a, float[C] b", worlds=WORLDS),
        Case("y = MatMul(a, b)", "", "float[C] a, float[C] b"),
    ],
    "Reshape": [
        Case("y = Reshape(x, k)", "N, C * H", constants={"k": i64(0, -1)}, worlds=WORLDS),
        Case("y = Reshape(x, k)", "N * C * H", constants={"k": i64(-1)}),
        Case("y = Reshape(x, k)", "N, C, H, 1", constants={"k": i64(0, 0, 0, 1)}),
        Case("y = Reshape(x, k)", "N * 2, C, H", "float[N,C,H,2] x",
             constants={"k": i64(-1, 0, 0)}, worlds=[{"N": 2, "C": 2, "H": 2}]),
        Case("y = Reshape(x, k)", "2, N", "float[N,2] x", constants={"k": i64(2, -1)}),
        Case("y = Reshape(x, k)", RAW, constants={"k": i64(3, -1)}, worlds=WORLDS[:1]),
        Case("y = Reshape <allowzero = 1> (x, k)", "0, 5", "float[N,0] x",
             constants={"k": i64(0, 5)}, worlds=[]),
        Case(SHAPE + "y = Reshape(z, s)", RAW, X + ", float[D] z", worlds=[]),
        Case("y = Reshape(x, k)", "N * C * H", constants={"k": i64(-1)}, opset=5, worlds=[]),
        Case("y = Reshape <shape = [-1, 2]> (x)", RAW, opset=4, worlds=[]),
    ],
    "Squeeze": [
        Case("y = Squeeze(x, k)", "N, H", "float[N,1,H,1] x", constants={"k": i64(1, -1)}),
        Case("y = Squeeze <axes = [0]> (x)", "C, H", "float[1,C,H] x", opset=11),
        Case("y = Squeeze <axes = [-2]> (x)", "C, H", "float[C,1,H] x", opset=12),
        Case("y = Squeeze(x)", "", "float[1,1] x"),
        Case("y = Squeeze(x)", "3", "float[1,3] x", opset=11),
        Case("y = Squeeze(x)", RAW, "float[N,1,C] x", worlds=SQUARE),
    ],
    "Transpose": [
        Case("y = Transpose <perm = [2, 0, 1]> (x)", "H, N, C"),
        Case("y = Transpose(x)", "H, C, N"),
        Case("y = Transpose(x)", "", "float x"),
    ],
    "Unsqueeze": [
        Case("y = Unsqueeze(x, k)", "1, N, C, H, 1", constants={"k": i64(0, -1)}),
        Case("y = Unsqueeze(x, k)", "N, 1, C, 1, H", constants={"k": i64(3, 1)}),
        Case("y = Unsqueeze(x, k)", "N, C, H", constants={"k": i64()}),
        Case("y = Unsqueeze <axes = [0, 2]> (x)", "1, N, 1, C, H", opset=11),
        Case("y = Unsqueeze <axes = [-1]> (x)", "N, C, H, 1", opset=12),
        Case("y = Unsqueeze(x, k)", "1", "float x", constants={"k": i64(0)}),
    ],
}  # fmt: skip

ROWS = [
    pytest.param(case, id=f"{operator}-{index}")
    for operator, cases in CASES.items()
    for index, case in enumerate(cases)
]


def test_every_rule_is_in_the_table() -> None:
    assert set(CASES) | set(REDUCING) | set(EXTENTS) == set(_dims._RULES)


@pytest.mark.parametrize("case", ROWS)
def test_rule(case: Case) -> None:
    """Opsets that ONNX Runtime has no kernels for have no worlds: what is learnt is compared."""
    learnt = Learnt(model(case.nodes, case.inputs, case.opset, **case.constants))
    learnt.holds(case.worlds)
    if case.expected != RAW:
        assert learnt.dims("y") == sizes_of(case.expected, NAMES)


@pytest.mark.parametrize("operator", REDUCING)
@pytest.mark.parametrize(
    ("nodes", "expected", "opset", "axes"),
    [
        ("y = {}(x, k)", "N, 1, H", 18, i64(1)),
        ("y = {}(x, k)", "1, C, 1", 18, i64(0, -1)),
        ("y = {} <keepdims = 0> (x, k)", "N, C", 18, i64(-1)),
        ("y = {} <axes = [1]> (x)", "N, 1, H", 11, None),
        ("y = {} <axes = [0, -1], keepdims = 0> (x)", "C", 11, None),
        ("y = {}(x)", "1, 1, 1", 18, None),
        ("y = {} <keepdims = 0> (x)", "", 11, None),
        ("y = {} <noop_with_empty_axes = 1> (x)", "N, C, H", 18, None),
        ("y = {} <noop_with_empty_axes = 1> (x, k)", "N, C, H", 18, i64()),
        ("y = {}(x, k)", RAW, 18, i64()),
    ],
)
def test_reducing(operator: str, nodes: str, expected: str, opset: int, axes: Any) -> None:
    if operator == "ReduceSum" and opset == 11:
        opset = 12
    constants = {} if axes is None else {"k": axes}
    learnt = Learnt(model(nodes.format(operator), X, opset, **constants))
    learnt.holds(WORLDS)
    if expected != RAW:
        assert learnt.dims("y") == sizes_of(expected, NAMES)


def test_axes_that_nobody_knows() -> None:
    inputs = X + ", int64[1] k"
    for nodes in ("y = ReduceSum(x, k)", "y = Squeeze(x, k)", "y = Unsqueeze(x, k)"):
        dims = Learnt(model(nodes, inputs)).dims("y")
        assert dims is None or not set(dims) & set(sizes_of("N, C, H", NAMES)), nodes


def test_a_rounded_convolution_is_named_after_what_it_is() -> None:
    """The same arithmetic in two places is one size."""
    conv = "= Conv <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (x, k)"
    learnt = Learnt(model(f"a {conv} b {conv} y = Add(a, b)", CONV, k=f32(3, 3, 3, 3)))
    assert learnt.dims("a") == learnt.dims("b") == learnt.dims("y")
    learnt.holds(WORLDS)


@pytest.mark.parametrize("operator", ["Add", "Mul", "Sub", "Div"])
def test_broadcasting_of_old_is_not_numpys(operator: str) -> None:
    """Up to opset 6 `axis` says where the second operand goes; the first one's shape stays."""
    node = f"y = {operator} <broadcast = 1, axis = 0> (a, b)"
    learnt = Learnt(model(node, "float[5,N] a, float[5] b", opset=6))
    dims = learnt.dims("y")
    assert dims is not None
    assert dims[0] == sizes_of("5", NAMES)[0]
    assert dims[1] != sizes_of("5", NAMES)[0]


BROKEN = [
    ("y = Transpose <perm = [1, 7, 0]> (x)", {}),
    ("y = Unsqueeze(x, k)", {"k": i64(0, 0)}),
    ("y = Unsqueeze(x, k)", {"k": i64(9)}),
    ("y = Squeeze(x, k)", {"k": i64(9)}),
    ("y = Concat <axis = 9> (x, x)", {}),
    ("y = Concat <axis = 0> (k, k)", {"k": f32()}),
    ("y = Gather <axis = 9> (x, k)", {"k": i64(0)}),
    ("y = Flatten <axis = 9> (x)", {}),
    ("y = Conv <kernel_shape = [3], pads = [1, 1]> (x, k)", {"k": f32(2, 2, 2, 2)}),
    ("y = Conv <kernel_shape = [3], pads = [1]> (x, k)", {"k": f32(3, 3, 3)}),
    ("y = Conv <kernel_shape = [3, 3], strides = [0, 0]> (x, k)", {"k": f32(3, 3, 3)}),
    ("y = Reshape(x, k)", {"k": i64(0, 0, 0, 0)}),
    ("y = Reshape(x, k)", {"k": i64(-1, -1)}),
    ("y = Reshape(x)", {}),
    ("y = MatMul(x)", {}),
    ("y = Relu()", {}),
]


@pytest.mark.parametrize(("nodes", "constants"), BROKEN)
def test_a_node_that_breaks_its_definition_teaches_nothing(
    nodes: str, constants: dict[str, Any]
) -> None:
    """Such files arrive; a pass that raises would stop all the others."""
    learnt = Learnt(model(nodes, X, **constants))
    assert learnt.dims("x") == sizes_of("N, C, H", NAMES)
