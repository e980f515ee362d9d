from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from graphopt.contract import Array, NodeView, Skip
from graphopt.errors import RuntimeFailure
from graphopt.graph import graph_view
from graphopt.runtime import IsolatedRuntime, NodeEvaluator
from tests.build import build

F32 = np.array([1, 2, 3], np.float32)
LOW = np.iinfo(np.int64).min


def node_of(text: str) -> NodeView:
    """The last node of a model."""
    program = build(text)
    return graph_view(program.main, program).nodes[-1]


def binary(op: str, kind: str = "int64", attributes: str = "") -> NodeView:
    return node_of(
        f"g ({kind}[N] a, {kind}[N] b) => ({kind}[N] y) {{ y = {op}{attributes}(a, b) }}"
    )


def arrays(found: Sequence[Array] | Skip) -> list[Any]:
    assert not isinstance(found, Skip), found.reason
    return [array.tolist() for array in found]


class NoRuntime(IsolatedRuntime):
    """Fails the test that lets anything run."""

    def ask(self, *args: Any, **options: Any) -> Any:
        raise AssertionError("nothing may be run")


def test_evaluates_with_onnxruntime(shared: IsolatedRuntime) -> None:
    evaluate = NodeEvaluator(shared)
    assert arrays(evaluate(binary("Pow", "float"), [F32, F32])) == [[1, 4, 27]]


def test_several_and_omitted_outputs(shared: IsolatedRuntime) -> None:
    node = node_of("g (float[N] a) => (float[N] y, int64[N] i) { y, , i = Unique(a) }")
    found = NodeEvaluator(shared)(node, [np.array([2, 1, 2], np.float32)])
    assert arrays(found) == [[1, 2], [1, 0, 1]]


def test_omitted_input(shared: IsolatedRuntime) -> None:
    node = node_of("g (float[N] a, float hi) => (float[N] y) { y = Clip(a, , hi) }")
    assert arrays(NodeEvaluator(shared)(node, [F32, None, np.array(2, np.float32)])) == [[1, 2, 2]]


def test_attributes_of_every_kind(shared: IsolatedRuntime) -> None:
    node = node_of(
        """g (int64[N] shape) => (int32[A,B] y) {
            y = ConstantOfShape<value = int32[1] {7}>(shape)
        }"""
    )
    assert arrays(NodeEvaluator(shared)(node, [np.array([2, 1])])) == [[[7], [7]]]
    node = node_of("g (float[A,B] a) => (float[B,A] y) { y = Transpose<perm = [1, 0]>(a) }")
    assert arrays(NodeEvaluator(shared)(node, [F32.reshape(1, 3)])) == [[[1], [2], [3]]]


@pytest.mark.parametrize("op", ["Div", "Mod"])
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.int8, np.uint8])
def test_integer_division_by_zero_is_refused(op: str, dtype: Any) -> None:
    evaluate = NodeEvaluator(NoRuntime())
    operands = [np.array([4, 6], dtype), np.array([2, 0], dtype)]
    found = evaluate(binary(op, np.dtype(dtype).name), operands)
    assert found == Skip("integer division that overflows or divides by zero")


@pytest.mark.parametrize("op", ["Div", "Mod"])
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.int8])
def test_lowest_integer_by_minus_one_is_refused(op: str, dtype: Any) -> None:
    evaluate = NodeEvaluator(NoRuntime())
    operands = [np.array([np.iinfo(dtype).min, 6], dtype), np.array([-1, 2], dtype)]
    assert isinstance(evaluate(binary(op, np.dtype(dtype).name), operands), Skip)


@pytest.mark.parametrize(
    ("a", "b", "quotient"),
    [([6, -6], [-1, -1], [-6, 6]), ([LOW, 4], [1, 2], [LOW, 2]), ([], [], [])],
    ids=["minus one", "lowest", "empty"],
)
def test_harmless_integer_division(
    shared: IsolatedRuntime, a: list[int], b: list[int], quotient: list[int]
) -> None:
    operands = [np.array(a, np.int64), np.array(b, np.int64)]
    assert arrays(NodeEvaluator(shared)(binary("Div"), operands)) == [quotient]


def test_float_division_by_zero_is_infinite(shared: IsolatedRuntime) -> None:
    found = NodeEvaluator(shared)(binary("Div", "float"), [F32, np.zeros(3, np.float32)])
    assert arrays(found) == [[np.inf] * 3]


def test_bitshift_beyond_the_width_harms_nobody(shared: IsolatedRuntime) -> None:
    node = binary("BitShift", "uint8", '<direction = "LEFT">')
    operands = [np.array([1], np.uint8), np.array([200], np.uint8)]
    found = NodeEvaluator(shared)(node, operands)
    assert isinstance(found, Skip) or len(found) == 1


def test_inputs_too_large_are_refused() -> None:
    evaluate = NodeEvaluator(NoRuntime(), max_bytes=16)
    assert evaluate(binary("Add", "float"), [F32, F32]) == Skip("inputs too large to evaluate")


def test_result_too_large_is_refused(shared: IsolatedRuntime) -> None:
    node = node_of("g (float[A] a, int64[B] s) => (float[C,D] y) { y = Expand(a, s) }")
    operands = [F32, np.array([100, 3])]
    found = NodeEvaluator(shared, max_bytes=1000)(node, operands)
    assert isinstance(found, Skip)
    assert "result" in found.reason
    assert not isinstance(NodeEvaluator(shared, max_bytes=2000)(node, operands), Skip)


def test_huge_result_is_refused_and_the_process_goes_on(shared: IsolatedRuntime) -> None:
    node = node_of("g (float[A] a, int64[B] s) => (float[C,D] y) { y = Expand(a, s) }")
    evaluate = NodeEvaluator(shared)
    assert isinstance(evaluate(node, [F32, np.array([1 << 45, 3])]), Skip)
    assert arrays(evaluate(binary("Pow", "float"), [F32, F32])) == [[1, 4, 27]]


def test_what_onnxruntime_lacks_is_evaluated_by_reference(shared: IsolatedRuntime) -> None:
    # ONNX Runtime has no Add for int16.
    operands = [np.array([1, 2], np.int16), np.array([3, 4], np.int16)]
    assert arrays(NodeEvaluator(shared)(binary("Add", "int16"), operands)) == [[4, 6]]


def test_types_that_numpy_lacks(shared: IsolatedRuntime) -> None:
    node = node_of("g (bfloat16[N] a) => (float[N] y) { y = Cast<to = 1>(a) }")
    assert arrays(NodeEvaluator(shared)(node, [F32.astype(ml_dtypes.bfloat16)])) == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("name", "number", "dtype"),
    [
        ("bfloat16", 16, ml_dtypes.bfloat16),
        ("float8e4m3fn", 17, ml_dtypes.float8_e4m3fn),
        ("float8e5m2", 19, ml_dtypes.float8_e5m2),
        ("int4", 22, ml_dtypes.int4),
    ],
)
def test_result_has_the_type_that_the_graph_states_or_is_refused(
    shared: IsolatedRuntime, name: str, number: int, dtype: Any
) -> None:
    node = node_of(
        f"""<ir_version: 10, opset_import: ["": 21]>
        g (float[N] a) => ({name}[N] y) {{ y = Cast<to = {number}>(a) }}"""
    )
    found = NodeEvaluator(shared)(node, [F32])
    if isinstance(found, Skip):
        return
    assert found[0].dtype == np.dtype(dtype)
    assert found[0].astype(np.float32).tolist() == F32.tolist()


def test_operator_that_nobody_knows_is_a_skip(shared: IsolatedRuntime) -> None:
    node = node_of("g (float[N] a) => (float[N] y) { y = Frobnicate(a) }")
    found = NodeEvaluator(shared)(node, [F32])
    assert isinstance(found, Skip)
    assert found.reason.startswith("evaluation: ")
    assert "\n" not in found.reason


def test_operands_that_do_not_fit_are_a_skip(shared: IsolatedRuntime) -> None:
    node = node_of("g (float[A,B] a, float[C,D] b) => (float[E,F] y) { y = MatMul(a, b) }")
    operands = [np.ones((2, 3), np.float32), np.ones((2, 3), np.float32)]
    assert isinstance(NodeEvaluator(shared)(node, operands), Skip)


def test_result_that_is_no_tensor_is_a_skip(shared: IsolatedRuntime) -> None:
    node = node_of("g (float[N] a) => (seq(float[N]) y) { y = SequenceConstruct(a, a) }")
    assert isinstance(NodeEvaluator(shared)(node, [F32]), Skip)


@pytest.mark.parametrize("kind", ["crash", "timeout"])
def test_death_of_the_runtime_is_a_skip(kind: str) -> None:
    class Dying(IsolatedRuntime):
        asked = 0

        def run_once(self, *args: Any, **options: Any) -> Any:
            self.asked += 1
            raise RuntimeFailure("died of it", kind=kind)

    runtime = Dying()
    found = NodeEvaluator(runtime)(binary("Pow", "float"), [F32, F32])
    assert found == Skip("evaluation: died of it")
    assert runtime.asked == 1  # what kills one process is not given to another
