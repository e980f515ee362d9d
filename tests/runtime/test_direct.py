from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from graphopt.contract import Array
from graphopt.runtime import IsolatedRuntime, NodeEvaluator, evaluate
from graphopt.runtime.direct import evaluate_directly
from tests.build import few
from tests.runtime.test_evaluate import NoRuntime, arrays, node_of

LIMIT = 1 << 20
X = np.arange(6, dtype=np.float32).reshape(2, 3)
LOW = np.iinfo(np.int64).min
KINDS = {"float": np.float32, "int64": np.int64}


def ints(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


def directly(text: str, inputs: list[Array], limit: int = LIMIT) -> Array | None:
    """One node of two named operands at most; `text` is what computes y."""
    names = ("float x", "int64[N] n")[: len(inputs)]
    return evaluate_directly(
        node_of(f"g ({', '.join(names)}) => (float y) {{ y = {text} }}"), inputs, limit
    )


def by_runtime(runtime: IsolatedRuntime, text: str, inputs: list[Array]) -> Any:
    names = ", ".join(f"{_kind(array)} v{i}" for i, array in enumerate(inputs))
    node = node_of(f"g ({names}) => (float y) {{ y = {text} }}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "evaluate_directly", lambda *_: None)
        patch.setattr(NodeEvaluator, "_accept", lambda _self, results, _node: results)
        found = NodeEvaluator(runtime)(node, inputs)
    return found if not isinstance(found, list) else found[0]


def _kind(array: Array) -> str:
    name = next(name for name, kind in KINDS.items() if array.dtype == kind)
    return f"{name}[{','.join(map(str, array.shape))}]" if array.ndim else name


CASES: list[tuple[str, list[Array]]] = [
    ("Unsqueeze(v0, v1)", [X, ints(0, -1)]),
    ("Unsqueeze(v0, v1)", [X, ints(3, 1)]),
    ("Squeeze(v0, v1)", [X[:1], ints(-2)]),
    ("Transpose(v0)", [X]),
    ("Transpose(v0)", [X[0, 0]]),
    ("Expand(v0, v1)", [X[0, 0], ints()]),
    ("Transpose<perm = [1, 0]>(v0)", [X]),
    ("Reshape(v0, v1)", [X, ints(0, -1, 1)]),
    ("Reshape(v0, v1)", [X, ints(-1)]),
    ("Expand(v0, v1)", [X[:, :1], ints(4, 1, 5)]),
    ("Expand(v0, v1)", [X, ints(1)]),
    ("Expand(v0, v1)", [np.array(7, np.int64), ints(2, 3)]),
    ("Concat<axis = -1>(v0, v1)", [X, X[:, :1]]),
    ("Concat<axis = 0>(v0)", [X]),
    ("Gather<axis = 1>(v0, v1)", [X, ints(-1, 0, 0)]),
    ("Gather(v0, v1)", [X, np.array(1, np.int64)]),
    ("Gather(v0, v1)", [X, ints()]),
    ("Shape<start = -1>(v0)", [X]),
    ("Shape<start = 1, end = -5>(v0)", [X]),
    ("Shape<end = 9>(v0)", [X]),
    ("Identity(v0)", [X]),
    ("Add(v0, v1)", [ints(LOW, 1), ints(-1)]),
    ("Mul(v0, v1)", [ints(2**62, -3), ints(4)]),
    ("Sub(v0, v1)", [X, X[0]]),
    ("Mul(v0, v1)", [np.array([3e38, -0.0], np.float32), np.array([10, 3], np.float32)]),
]


@pytest.mark.parametrize(("text", "inputs"), CASES)
def test_same_as_the_runtime(shared: IsolatedRuntime, text: str, inputs: list[Array]) -> None:
    names = ", ".join(f"{_kind(array)} v{i}" for i, array in enumerate(inputs))
    node = node_of(f"g ({names}) => (float y) {{ y = {text} }}")
    found = evaluate_directly(node, inputs, LIMIT)
    assert found is not None
    np.testing.assert_array_equal(found, by_runtime(shared, text, inputs), strict=True)


@given(st.data())
@few
def test_movements_of_any_shape(shared: IsolatedRuntime, data: st.DataObject) -> None:
    shape = data.draw(nps.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3))
    x = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    axis = data.draw(st.integers(-4, 3))
    text, second = data.draw(
        st.sampled_from(
            [
                (f"Gather<axis = {axis}>(v0, v1)", ints(*data.draw(st.lists(st.integers(-3, 2))))),
                ("Unsqueeze(v0, v1)", ints(axis)),
                ("Squeeze(v0, v1)", ints(axis)),
                ("Expand(v0, v1)", ints(*data.draw(st.lists(st.integers(0, 3), max_size=4)))),
                ("Reshape(v0, v1)", ints(*data.draw(st.lists(st.integers(-1, 3), max_size=4)))),
            ]
        )
    )
    node = node_of(f"g ({_kind(x)} v0, {_kind(second)} v1) => (float y) {{ y = {text} }}")
    found = evaluate_directly(node, [x, second], LIMIT)
    if found is not None:
        np.testing.assert_array_equal(found, by_runtime(shared, text, [x, second]), strict=True)


@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        ("Gather(x, n)", [X, ints(2)]),
        ("Squeeze(x, n)", [X, ints(0)]),
        ("Reshape(x, n)", [X, ints(4, -1)]),
        ("Reshape<allowzero = 1>(x, n)", [X, ints(0, 6)]),
        ("Reshape(x, n)", [X, ints(-2, 3)]),
        ("Unsqueeze(x, n)", [X, ints(1, 1)]),
        ("Unsqueeze(x, n)", [X, ints(9)]),
        ("Expand(x, n)", [X, ints(5, 5)]),
        ("Expand(x, n)", [X, ints(0)]),
        ("Concat<axis = 0>(x, n)", [X, ints(1)]),
        ("Add(x, n)", [X, ints(1)]),
        ("Pow(x, n)", [X, ints(1)]),
        ("local.Identity(x)", [X]),
    ],
)
def test_left_to_the_runtime(text: str, inputs: list[Array]) -> None:
    assert directly(text, inputs) is None


@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        ("Expand(x, n)", [X[:1, :1], ints(1 << 40, 1 << 40)]),
        ("Expand(x, n)", [X, ints(1000, 2, 3)]),
        ("Gather(x, n)", [X, ints(*[0] * 200)]),
        ("Add(x, n)", [np.zeros((100, 1), np.int64), np.zeros(100, np.int64)]),
    ],
)
def test_nothing_large_is_made(text: str, inputs: list[Array]) -> None:
    assert directly(text, inputs, 1000) is None


def test_arithmetic_before_opset_7_aligns_otherwise() -> None:
    node = node_of('<opset_import: ["" : 6]> g (float[N] x) => (float[N] y) { y = Add(x, x) }')
    assert evaluate_directly(node, [X, X], LIMIT) is None


def test_no_process_is_asked() -> None:
    node = node_of("g (int64[N] x, int64[N] n) => (int64[N] y) { y = Add(x, n) }")
    assert arrays(NodeEvaluator(NoRuntime())(node, [ints(1), ints(2)])) == [[3]]
