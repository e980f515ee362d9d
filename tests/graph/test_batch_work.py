from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, helper
from onnx.reference import ReferenceEvaluator

from graphopt.graph.batch_work import BatchWork
from graphopt.graph.declared import inferred_graph, value_types
from graphopt.model import Model
from tests.build import parse

TEXT = """g (float[2,4] x, int64[1] n, int64[M] m, int64[1] d) => (float[A,B] y) {
    ints = Constant <value_ints = [2, 4]> ()
    tensor = Constant <value = int64[2] {2, 4}> ()
    joined = Concat <axis = 0> (c, n, tensor)
    open = Concat <axis = 0> (c, m)
    zeros = ConstantOfShape(ints)
    ones = ConstantOfShape <value = float[1] {1}> (ints)
    y = Reshape(x, c)
}"""


def work(text: str = TEXT) -> tuple[BatchWork, ModelProto]:
    model = parse(text, c=np.array([2, -1]), d=np.array([3]))
    types = value_types(inferred_graph(model))
    found = BatchWork(Model(model), model.graph, "x", 2, types, {"x"})
    return found, model


def reading(name: str) -> NodeProto:
    return helper.make_node("Reshape", ["x", name], ["r"])


@pytest.mark.parametrize(
    ("name", "values"),
    [("c", (2, -1)), ("ints", (2, 4)), ("tensor", (2, 4)), ("joined", (2, -1, None, 2, 4))],
)
def test_sizes_are_read_wherever_they_are_stored(name: str, values: tuple[int | None, ...]) -> None:
    found = work()[0].sizes(reading(name), 1)
    assert found is not None
    assert found.values == values


@pytest.mark.parametrize("name", ["n", "m", "d", "open", "x", "", "none"])
def test_what_is_not_known_is_none(name: str) -> None:
    # `d` has a default that a caller may override; `open` is of unknown length.
    assert work()[0].sizes(reading(name), 1) is None
    assert work()[0].sizes(reading(name), 2) is None


def evaluated(name: str, found: BatchWork, rows: int) -> list[int]:
    """Run the nodes that the work has made."""
    text = "g (float[K,4] x, int64[1] n) => (int64[R] out) { t = Identity(n) }"
    model = parse(text, c=np.array([2, -1]))
    model.graph.node.extend([*found.first, *found.before])
    for old in parse(TEXT).graph.node[:2]:
        model.graph.node.insert(0, old)
    model.graph.output[0].name = name
    feeds = {"x": np.zeros((rows, 4), np.float32), "n": np.array([7])}
    (result,) = ReferenceEvaluator(model).run(None, feeds)
    return [int(value) for value in np.asarray(result)]


def test_elements_are_replaced() -> None:
    found, _ = work()
    vector = found.sizes(reading("joined"), 1)
    assert vector is not None
    assert evaluated(found.replaced(vector, {0: 0, 4: 9}), found, 5) == [0, -1, 7, 2, 9]


@pytest.mark.parametrize(
    ("name", "values"), [("c", [5, -1]), ("ints", [5, 4]), ("joined", [5, -1, 7, 2, 4])]
)
def test_the_first_element_becomes_the_batch(name: str, values: list[int]) -> None:
    found, _ = work()
    vector = found.sizes(reading(name), 1)
    assert vector is not None
    assert evaluated(found.with_batch(vector), found, 5) == values


def test_the_batch_is_read_once() -> None:
    found, _ = work()
    vector = found.sizes(reading("c"), 1)
    assert vector is not None
    first, second = found.with_batch(vector), found.with_batch(vector)
    assert first != second
    assert [node.op_type for node in found.first] == ["Shape", "Constant", "Gather"]


def test_zeros_are_told() -> None:
    found, _ = work()
    assert found.is_zero("zeros")
    assert not found.is_zero("ones")
    assert not found.is_zero("c")
    assert not found.is_zero("x")
