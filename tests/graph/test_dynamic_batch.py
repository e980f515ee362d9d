from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto

from graphopt.contract import Dim
from graphopt.errors import ModelError, UsageError
from graphopt.graph.declared import dims_of, value_types
from graphopt.graph.dynamic_batch import Batched, open_batch
from graphopt.model import Model
from tests.build import parse

W = np.ones((6, 5), np.float32)


def opened(model: ModelProto) -> Batched:
    return open_batch(Model(model))


def dims(model: Model) -> dict[str, tuple[Dim, ...] | None]:
    return {name: dims_of(kind) for name, kind in value_types(model.proto.graph).items()}


def test_inputs_outputs_and_value_info_are_opened() -> None:
    model = parse(
        """g (float[4,6] x, float[4,5] z, float s) => (float[4,5] y, float[6,5] c)
        <float[4,5] t, float[6,5] k> {
        t = MatMul(x, w)
        u = Add(t, z)
        y = Mul(u, s)
        k = Neg(w)
        c = Abs(k)
    }""",
        w=W,
    )
    found = opened(model)
    assert (found.size, found.symbol, found.inputs) == (4, "batch", ("x", "z"))
    assert dims(found.model) == {
        "t": ("batch", 5), "k": (6, 5), "y": ("batch", 5), "c": (6, 5), "x": ("batch", 6),
        "z": ("batch", 5), "s": (),
    }  # fmt: skip
    assert found.model.proto.graph.node == model.graph.node
    assert dims(Model(model))["x"] == (4, 6), "the given model is not changed"


def test_what_is_open_already_stays() -> None:
    model = Model(parse("g (float[N,6] x) => (float[N,6] y) { y = Relu(x) }"))
    found = open_batch(model)
    assert found.model is model
    assert (found.size, found.symbol, found.inputs) == (1, "N", ("x",))


def test_the_name_that_an_open_batch_has_is_taken_over() -> None:
    model = parse("g (float[N,2] x, float[1,2] z) => (float[A,2] y) { y = Add(x, z) }")
    found = opened(model)
    assert found.symbol == "N"
    assert dims(found.model)["z"] == ("N", 2)


def test_the_name_does_not_clash() -> None:
    model = parse("g (float[2,batch] x) => (float[2,batch] y) { y = Relu(x) }")
    found = opened(model)
    assert dims(found.model)["x"] == ("batch_1", "batch")


def test_unnamed_dimensions_get_the_name() -> None:
    model = parse("g (float[?,2] x) => (float[?,2] y) { y = Relu(x) }")
    assert dims(opened(model).model)["x"] == ("batch", 2)


def test_an_output_that_inference_is_silent_about_follows_where_it_had_the_batch() -> None:
    model = parse("""<ir_version: 8, opset_import: ["": 17, "my": 1]>
    g (float[4,6] x) => (float[4,2] y, float[8,2] z) <float[4,2] t> {
        t = my.Unknown(x)
        y = my.Unknown(t)
        z = my.Unknown(t)
    }""")
    found = dims(opened(model).model)
    assert found["y"] == ("batch", 2)
    assert found["z"] == (None, 2)
    assert found["t"] is None, "it may have another size now"


def test_types_in_bodies_are_opened() -> None:
    model = parse("""g (float[4,2] x, bool c) => (float[4,2] y) {
        y = If (c) <then_branch = a () => (float[4,2] p) <float[4,2] s> { s = Neg(x) p = Abs(s) },
                    else_branch = b () => (float[4,2] q) { q = Abs(x) }>
    }""")
    found = opened(model).model
    body = found.proto.graph.node[0].attribute[0].g
    stated = [dims_of(info.type) for info in [*body.value_info, *body.output]]
    assert (4, 2) not in stated


def test_overridable_weights_stay() -> None:
    model = parse("g (float[4,6] x, float[6,5] w) => (float[4,5] y) { y = MatMul(x, w) }", w=W)
    found = opened(model)
    assert found.inputs == ("x",)
    assert dims(found.model)["w"] == (6, 5)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("g (float[4,2] x, float[2,2] z) => (float[A,2] y) { y = MatMul(x, z) }", UsageError,
         "the inputs disagree about the batch in dimension 0: 'x' has 4, 'z' has 2"),
        ("g (float[N,2] x, float[2,2] z) => (float[A,2] y) { y = MatMul(x, z) }", UsageError,
         "'x' leaves it open, 'z' has 2"),
        ("g (float x) => (float y) { y = Relu(x) }", UsageError, "no input has a dimension"),
        ("g (seq(float[2]) x) => (float[A] y) { y = ConcatFromSequence<axis=0>(x) }", ModelError,
         "input 'x' has no dimension 0: it is no tensor"),
    ],
)  # fmt: skip
def test_refusals(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        opened(parse(text))


def test_an_unknown_rank_is_refused() -> None:
    model = parse("g (float[N] x) => (float[N] y) { y = Relu(x) }")
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ModelError, match="its rank is not known"):
        opened(model)
