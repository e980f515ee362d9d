"""Dimensions by rule against those of real tensors: one shape in, one shape out; broadcasting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto

from graphopt.passes.fold import _dims
from graphopt.passes.fold._dims import broadcast, resolved
from graphopt.passes.fold._sizes import Size, size, symbol
from tests.build import few, parse
from tests.passes.fold.learning import Learnt, World, sizes_of
from tests.passes.support import Array

NAMES = ("N", "C", "H", "W")
WORLDS = [dict(zip(NAMES, sizes, strict=True)) for sizes in ((2, 3, 4, 5), (1, 1, 6, 3))]
EMPTY = {"N": 0, "C": 3, "H": 4, "W": 5}


def model(nodes: str, inputs: str, opset: int = 22, **constants: Any) -> ModelProto:
    head = f'<ir_version: 10, opset_import: ["" : {opset}]>'
    return parse(f"{head} g ({inputs}) => (y) {{ {nodes} }}", **constants)


def f32(*shape: int) -> Array:
    return np.ones(shape, np.float32)


def i64(*values: Any) -> Array:
    return np.array(values, np.int64)


FIRST: dict[str, tuple[str, str, dict[str, Any]]] = {
    "BatchNormalization": (
        "y = BatchNormalization(x, k, k, k, k)", "float[N,3,H] x", {"k": f32(3)},
    ),
    "BitwiseNot": ("y = BitwiseNot(x)", "int64[N,C] x", {}),
    "CastLike": ("y = CastLike(x, k)", "float[N,C] x", {"k": i64(1)}),
    "Cast": ("y = Cast <to = 7> (x)", "float[N,C] x", {}),
    "Clip": ("y = Clip(x, , k)", "float[N,C] x", {"k": np.float32(1)}),
    "CumSum": ("y = CumSum(x, k)", "float[N,C] x", {"k": np.int64(-1)}),
    "DequantizeLinear": (
        "y = DequantizeLinear <axis = 1> (x, k)", "uint8[N,3,H] x", {"k": f32(3)},
    ),
    "Dropout": ("y, mask = Dropout(x)", "float[N,C] x", {}),
    "GroupNormalization": (
        "y = GroupNormalization <num_groups = 2> (x, k, k)", "float[N,4,H] x", {"k": f32(4)},
    ),
    "InstanceNormalization": (
        "y = InstanceNormalization(x, k, k)", "float[N,3,H] x", {"k": f32(3)},
    ),
    "LRN": ("y = LRN <size = 1> (x)", "float[N,C,H,W] x", {}),
    "LayerNormalization": (
        "y, mean, inverse = LayerNormalization(x, k)", "float[N,C,4] x", {"k": f32(4)},
    ),
    "MeanVarianceNormalization": ("y = MeanVarianceNormalization(x)", "float[N,C,H,W] x", {}),
    "Not": ("y = Not(x)", "bool[N,C] x", {}),
    "PRelu": ("y = PRelu(x, k)", "float[N,3,H] x", {"k": f32(3, 1)}),
    "QuantizeLinear": ("y = QuantizeLinear(x, k)", "float[N,C] x", {"k": np.float32(2)}),
    "RMSNormalization": ("y = RMSNormalization(x, k)", "float[N,C,4] x", {"k": f32(4)}),
    "ScatterElements": (
        "y = ScatterElements(x, i, u)", "float[N,C] x", {"i": i64([0]), "u": f32(1, 1)},
    ),
    "ScatterND": ("y = ScatterND(x, i, u)", "float[N,3] x", {"i": i64([0]), "u": f32(1, 3)}),
    "Trilu": ("y = Trilu(x)", "float[N,C] x", {}),
}  # fmt: skip
"""Operators of one shape that want more than one float tensor."""

OPSETS = {"RMSNormalization": 23, "Swish": 24}
REFERENCE = {"Swish"}


@pytest.mark.parametrize("operator", sorted(_dims._SAME))
def test_the_first_inputs_shape(operator: str) -> None:
    plain: tuple[str, str, dict[str, Any]] = (f"y = {operator}(x)", "float[N,C,H] x", {})
    nodes, inputs, constants = FIRST.get(operator, plain)
    learnt = Learnt(model(nodes, inputs, OPSETS.get(operator, 22), **constants))
    assert learnt.dims("x") is not None
    assert learnt.dims("y") == learnt.dims("x")
    learnt.holds(WORLDS, reference=operator in REFERENCE)


KINDS = {
    **dict.fromkeys(("And", "Or", "Xor"), "bool"),
    **dict.fromkeys(("BitwiseAnd", "BitwiseOr", "BitwiseXor"), "int64"),
    "BitShift": "uint8",
    "Mod": "int64",
}
PAIRS: list[tuple[str, str, str]] = [
    ("N,C", "N,C", "N, C"),
    ("N,1", "1,C", "N, C"),
    ("N,C", "C", "N, C"),
    ("N,C", "", "N, C"),
    ("", "", ""),
    ("N,C", "3", "N, 3"),
    ("N,C", "1", "N, C"),
    ("1,C", "N,1,1", "N, 1, C"),
    ("C,N", "2,1,1", "2, C, N"),
]
NARROW = [{"N": 2, "C": 3}, {"N": 4, "C": 1}]
"""Sizes that go with a 3 as well."""


def binary(operator: str) -> str:
    """A node that reads a and b."""
    if operator == "Where":
        return "c = Greater(a, b) y = Where(c, a, b)"
    if operator == "BitShift":
        return 'y = BitShift <direction = "LEFT"> (a, b)'
    if operator == "Mod":  # the zeros of random inputs divide nothing
        return "one = Max(b, k) y = Mod(a, one)"
    return f"y = {operator}(a, b)"


@pytest.mark.parametrize(("left", "right", "expected"), PAIRS)
@pytest.mark.parametrize("operator", sorted(_dims._BROADCAST))
def test_broadcasting(operator: str, left: str, right: str, expected: str) -> None:
    kind = KINDS.get(operator, "float")
    inputs = ", ".join(
        f"{kind}[{dims}] {name}" if dims else f"{kind} {name}"
        for name, dims in (("a", left), ("b", right))
    )
    constants: dict[str, Any] = {"k": np.int64(1)} if operator == "Mod" else {}
    learnt = Learnt(model(binary(operator), inputs, **constants))
    assert learnt.dims("y") == sizes_of(expected, NAMES)
    learnt.holds(NARROW)


@pytest.mark.parametrize("operator", ["Max", "Mean", "Min", "Sum"])
def test_any_number_of_operands(operator: str) -> None:
    inputs = "float[N,1,1] a, float[C,1] b, float[5] c"
    learnt = Learnt(model(f"y = {operator}(a, b, c) z = {operator}(a)", inputs))
    assert learnt.dims("y") == sizes_of("N, C, 5", NAMES)
    assert learnt.dims("z") == sizes_of("N, 1, 1", NAMES)
    learnt.holds([*WORLDS, EMPTY])


def test_two_open_sizes_side_by_side_tell_nothing() -> None:
    learnt = Learnt(model("y = Add(a, b) s = Shape(y)", "float[N,C] a, float[H,C] b"))
    assert learnt.dims("y") not in (sizes_of("N, C", NAMES), sizes_of("H, C", NAMES))
    learnt.holds([{"N": 1, "H": 4, "C": 2}, {"N": 4, "H": 1, "C": 2}, {"N": 3, "H": 3, "C": 1}])


def test_two_open_sizes_leave_the_other_dimensions_known() -> None:
    inputs = "float[N,C] a, float[H,C] b"
    learnt = Learnt(model("y = Add(a, b) z = Mul(b, a) u = Add(y, z)", inputs))
    y, z, u = (learnt.dims(name) for name in "yzu")
    assert y == z == u
    assert y is not None
    assert y[1] == symbol("C")


def test_what_was_cut_to_a_limit_beside_what_it_was_cut_from() -> None:
    """min(N, 5) goes with N only where they are equal, or where it is 1 and N with it."""
    nodes = "s = Shape <end = 1> (a) c = Slice(k, zero, s) y = Add(a, c) z = Add(c, a)"
    constants: dict[str, Any] = {"k": f32(5), "zero": i64(0)}
    learnt = Learnt(model(nodes, "float[N] a", **constants))
    assert learnt.dims("y") == learnt.dims("z") == sizes_of("N", NAMES)
    assert learnt.dims("c") != learnt.dims("a")
    learnt.holds([{"N": 1}, {"N": 3}, {"N": 5}, {"N": 0}])


LENGTHS = st.sampled_from([size(1), size(3), symbol("N"), symbol("C"), symbol("N") * 2])


@few
@given(
    st.lists(st.lists(LENGTHS, max_size=3), min_size=1, max_size=3),
    st.sampled_from([(0, 3), (1, 1), (1, 3), (3, 1), (3, 3)]),
)
def test_broadcast_as_numpy_does(shapes: list[list[Size]], numbers: tuple[int, int]) -> None:
    known = dict(zip((symbol(name).terms[0][0][0] for name in "NC"), numbers, strict=True))
    world = World(known)
    found = broadcast([tuple(shape) for shape in shapes])
    real = [tuple(world.value(dim) for dim in shape) for shape in shapes]
    try:
        expected = np.broadcast_shapes(*real)
    except ValueError:
        return
    for dim, length in zip(found or (), expected, strict=found is not None):
        world.holds(dim, length)  # two open sizes side by side have a symbol of their own
    assert broadcast([*map(tuple, shapes), None]) is None


ENTRIES = st.sampled_from([size(-1), size(0), size(2), size(4), symbol("N"), symbol("C") * 2])


@few
@given(st.lists(ENTRIES, max_size=4), st.booleans(), st.sampled_from([(1, 1), (2, 3), (4, 2)]))
def test_resolved_as_reshape_does(
    target: list[Size], allowzero: bool, numbers: tuple[int, int]
) -> None:
    known = dict(zip((symbol(name).terms[0][0][0] for name in "NC"), numbers, strict=True))
    world = World(known)
    source = (symbol("N"), size(4), symbol("C"))
    found = resolved(target, source, allowzero=allowzero)
    shape = [world.value(entry) for entry in target]
    if not allowzero and all(entry or i < 3 for i, entry in enumerate(shape)):
        shape = [entry or world.value(source[i]) for i, entry in enumerate(shape)]
    data = np.zeros([world.value(dim) for dim in source])
    try:
        expected = data.reshape(shape).shape
    except ValueError:
        return
    assert found is None or tuple(world.value(dim) for dim in found) == expected
