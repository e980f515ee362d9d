from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from graphopt.graph.dynamic_batch import open_batch
from graphopt.model import Model
from tests.build import few, parse

Array = npt.NDArray[Any]


def run(model: ModelProto, x: Array) -> Array:
    (result,) = ReferenceEvaluator(model).run(None, {"x": x})
    return np.asarray(result)


def numbers(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def follows(model: ModelProto, rewritten: Sequence[str], *item: int, size: int = 1) -> bool:
    """The result gives at any batch what the model gives piece by piece."""
    found = open_batch(Model(model))
    assert found.size == size
    assert list(found.rewritten) == list(rewritten)
    x = numbers(6, *item)
    pieces = [run(model, x[start : start + size]) for start in range(0, 6, size)]
    whole = np.concatenate(pieces)
    for batch in (1, 2, 3, 6):
        rows = len(whole) // 6 * batch
        np.testing.assert_allclose(run(found.model.proto, x[:batch]), whole[:rows], rtol=1e-6)
    return True


@pytest.mark.parametrize(
    ("size", "item", "target", "written"),
    [
        (1, (4, 3), [1, 12], [-1, 12]),
        (2, (4, 3), [2, 12], [-1, 12]),
        (2, (4, 3), [2, -1], [0, -1]),
        (1, (4, 3), [1, -1, 2], [0, -1, 2]),
        (1, (4, 3), [4, 3], [-1, 3]),
        (2, (4, 3), [8, 3], [-1, 3]),
        (1, (4, 3), [1, 0, 3], [-1, 0, 3]),
        (1, (4, 3), [0, -1], None),
        (1, (4, 3), [-1, 6], None),
        (2, (4, 3), [3, 8], None),
    ],
)
def test_reshape(size: int, item: tuple[int, ...], target: list[int], written: Any) -> None:
    shape = ",".join(map(str, (size, *item)))
    rank = ",".join("ABCD"[: len(target)])
    text = f"g (float[{shape}] x) => (float[{rank}] y) {{ t = Relu(x) y = Reshape(t, s) }}"
    model = parse(text, s=np.array(target))
    if written is None:
        found = open_batch(Model(model)).model.proto
        assert found.graph.node == model.graph.node
        return
    assert follows(model, ["Reshape"], *item, size=size)
    constant = open_batch(Model(model)).model.proto.graph.node[1]
    assert numpy_helper.to_array(constant.attribute[0].t).tolist() == written


def test_reshape_of_a_batch_behind_a_sequence() -> None:
    # What recurrent layers and attention do: the batch is dimension 1 for a while.
    model = parse(
        """g (float[1,5,8] x) => (float[A,B,C] y) {
        t = Transpose <perm = [1, 0, 2]> (x)
        u = Reshape(t, split)
        v = Reshape(u, join)
        y = Transpose <perm = [1, 0, 2]> (v)
    }""",
        split=np.array([5, 1, 2, 4]), join=np.array([0, 1, 8]),
    )  # fmt: skip
    assert follows(model, ["Reshape", "Reshape"], 5, 8)


def test_reshape_where_new_ones_stand_before_the_batch() -> None:
    model = parse(
        """g (float[1,5,8] x) => (float[A,B] y) {
        t = Transpose <perm = [1, 0, 2]> (x)
        u = Reshape(t, s)
        v = Squeeze(u, axes)
        w = Transpose <perm = [1, 0, 2]> (v)
        y = Flatten(w)
    }""",
        s=np.array([1, 5, 1, 8]), axes=np.array([0]),
    )  # fmt: skip
    assert follows(model, ["Reshape"], 5, 8)


def test_reshape_to_a_shape_that_is_joined_from_parts() -> None:
    model = parse(
        """g (float[1,S,8] x) => (float[A,B,C,D] y) {
        shape = Shape(x)
        length = Slice(shape, one, two)
        s = Concat <axis = 0> (first, length, rest)
        y = Reshape(x, s)
    }""",
        one=np.array([1]), two=np.array([2]), first=np.array([1]), rest=np.array([-1, 4]),
    )  # fmt: skip
    assert follows(model, ["Reshape"], 5, 8)


def test_reshape_that_keeps_zeros() -> None:
    model = parse(
        """g (float[2,4] x) => (float[A,B] y) { y = Reshape <allowzero = 1> (x, s) }""",
        s=np.array([2, -1]),
    )
    assert follows(model, ["Reshape"], 4, size=2)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array([2, 0, 4]), "s"))
    assert open_batch(Model(model)).rewritten == ()


def test_reshape_of_what_does_not_depend_on_the_batch_stays() -> None:
    model = parse(
        "g (float[1,4] x) => (float[1,4] y) { t = Reshape(w, s) y = Add(x, t) }",
        w=numbers(4), s=np.array([1, 4]),
    )  # fmt: skip
    assert follows(model, [], 4)


@pytest.mark.parametrize("size", [1, 2])
def test_expand_of_a_constant(size: int) -> None:
    # The class token of a vision transformer.
    model = parse(
        f"""g (float[{size},4,3] x) => (float[A,B,C] y) {{
        t = Expand(token, s)
        y = Concat <axis = 1> (t, x)
    }}""",
        token=numbers(1, 1, 3), s=np.array([size, 1, 3]),
    )  # fmt: skip
    assert follows(model, ["Expand"], 4, 3, size=size)


def test_expand_of_what_has_the_batch() -> None:
    text = "g (float[2,1,3] x) => (float[A,B,C] y) { y = Expand(x, s) }"
    assert follows(parse(text, s=np.array([2, 4, 3])), ["Expand"], 1, 3, size=2)


@pytest.mark.parametrize("size", [1, 2])
def test_concat_with_a_constant_that_was_expanded_before(size: int) -> None:
    model = parse(
        f"g (float[{size},4,3] x) => (float[A,B,C] y) {{ y = Concat <axis = 1> (t, x) }}",
        t=np.repeat(numbers(1, 1, 3), size, axis=0),
    )
    assert follows(model, ["Concat"], 4, 3, size=size)


def test_concat_with_a_constant_of_different_rows_stays() -> None:
    model = parse(
        "g (float[2,4,3] x) => (float[A,B,C] y) { y = Concat <axis = 1> (t, x) }",
        t=numbers(2, 1, 3),
    )
    assert open_batch(Model(model)).rewritten == ()


def test_constant_of_shape() -> None:
    model = parse(
        """g (float[2,3] x) => (float[A,B] y) {
        t = ConstantOfShape <value = float[1] {2}> (s)
        y = Concat <axis = 1> (x, t)
    }""",
        s=np.array([2, 4]),
    )
    assert follows(model, ["ConstantOfShape"], 3, size=2)


def test_a_vector_of_the_batchs_length_may_be_a_shape_and_stays() -> None:
    model = parse(
        "g (float[1,3] x) => (float[A,B] y) { t = ConstantOfShape(s) y = Add(x, t) }",
        s=np.array([1]),
    )
    assert follows(model, [], 3)


def test_resize_to_sizes() -> None:
    model = parse(
        """g (float[2,1,2,2] x) => (float[A,B,C,D] y) {
        y = Resize <mode = "nearest"> (x, , , s)
    }""",
        s=np.array([2, 1, 4, 4]),
    )
    assert follows(model, ["Resize"], 1, 2, 2, size=2)


def test_zero_states_of_recurrent_layers_are_left_out() -> None:
    model = parse(
        """g (float[1,5,3] x) => (float[A,B] y) {
        t = Transpose <perm = [1, 0, 2]> (x)
        out, h = GRU <hidden_size = 2, linear_before_reset = 1> (t, w, r, , , zero)
        y = Squeeze(h, axes)
    }""",
        w=numbers(1, 6, 3), r=numbers(1, 6, 2), zero=np.zeros((1, 1, 2), np.float32),
        axes=np.array([0]),
    )  # fmt: skip
    assert follows(model, ["GRU"], 5, 3)
    model.graph.initializer[2].CopyFrom(numpy_helper.from_array(numbers(1, 1, 2), "zero"))
    assert open_batch(Model(model)).rewritten == ()


def test_names_of_new_values_do_not_clash() -> None:
    model = parse(
        """g (float[2,3] x) => (float[A,B] y) {
        batch_size = Expand(w, s)
        sizes = Concat <axis = 1> (x, batch_size)
        y = Reshape(sizes, u)
    }""",
        w=numbers(1, 1), s=np.array([2, 1]), u=np.array([2, 4]),
    )  # fmt: skip
    assert follows(model, ["Expand", "Reshape"], 3, size=2)


@given(
    st.integers(1, 3), st.lists(st.integers(1, 4), min_size=1, max_size=3), st.randoms()
)  # fmt: skip
@few
def test_any_reshape_that_splits_and_joins_behind_the_batch(
    size: int, item: list[int], random: Any
) -> None:
    """Factors of the item, regrouped: the result follows whatever the batch was."""
    target = [*item]
    random.shuffle(target)
    if len(target) > 1 and random.random() < 0.5:
        target = [target[0] * target[1], *target[2:]]
    shape = ",".join(map(str, (size, *item)))
    rank = ",".join("ABCD"[: len(target) + 1])
    text = f"g (float[{shape}] x) => (float[{rank}] y) {{ y = Reshape(x, s) }}"
    model = parse(text, s=np.array([size, *target]))
    found = open_batch(Model(model)).model.proto
    x = numbers(6, *item)
    for batch in (1, 2, 5):
        assert run(found, x[:batch]).tolist() == x[:batch].reshape(batch, *target).tolist()
