from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from graphopt.contract import Dim
from graphopt.graph import Program, annotate, bind_inputs, build_program, export_types
from graphopt.graph.elements import ValueType
from graphopt.graph.shapes import contradicts, infer_bound
from graphopt.model import Model
from graphopt.runtime import inference, shared_runtime
from tests.build import build, parse
from tests.graph.edited import Edited

Shape = tuple[Dim, ...] | None


def shapes(program: Program) -> dict[str, Shape]:
    """Shape by name over every scope; names here are unique."""
    return {
        name: value.type_known.shape
        for scope in program.scopes()
        for name, value in scope.names.items()
    }


def dtypes(program: Program) -> dict[str, Any]:
    return {
        name: value.type_known.dtype
        for scope in program.scopes()
        for name, value in scope.names.items()
    }


def test_static_shapes_and_types_go_through() -> None:
    program = build(
        """g (float16[2, 3, 8, 8] x) => (y) {
          a = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(x, w)
          b = Cast<to = 7>(a)
          y = Flatten(b)
        }""",
        w=np.ones((5, 3, 3, 3), np.float16),
    )
    assert shapes(program)["a"] == (2, 5, 4, 4)
    assert shapes(program)["y"] == (2, 80)
    assert (dtypes(program)["a"], dtypes(program)["y"]) == (np.float16, np.int64)


def test_data_goes_through_shape_arithmetic() -> None:
    program = build(
        """g (float[2, 3, 4] x) => (y) {
          s = Shape(x)
          n = Gather(s, zero)
          m = Unsqueeze(n, axes)
          r = Concat<axis = 0>(m, rest)
          y = Reshape(x, r)
        }""",
        zero=np.array(0), axes=np.array([0]), rest=np.array([12]),
    )  # fmt: skip
    assert shapes(program)["y"] == (2, 12)


def test_symbolic_dimensions_keep_their_names() -> None:
    program = build(
        """g (float[batch, time, 4] x) => (y) {
          a = Relu(x)
          s = Shape<start = 0, end = 2>(x)
          r = Concat<axis = 0>(s, rest)
          b = Reshape(a, r)
          y = MatMul(a, w)
        }""",
        rest=np.array([2, 2]), w=np.ones((4, 6), np.float32),
    )  # fmt: skip
    found = shapes(program)
    assert found["a"] == ("batch", "time", 4)
    assert found["y"] == ("batch", "time", 6)
    assert found["b"] == ("batch", "time", 2, 2)


def test_what_is_not_known_is_none() -> None:
    program = build("g (x, float[?, 4] u) => (y) { y = Relu(x) v = Relu(u) n = NonZero(u) }")
    found = shapes(program)
    assert found["x"] is None and found["y"] is None
    assert found["v"] is not None and found["v"][1] == 4 and not isinstance(found["v"][0], int)
    assert found["n"] is not None and found["n"][0] == 2 and not isinstance(found["n"][1], int)


def test_bodies_are_annotated_from_what_they_capture() -> None:
    program = build(
        """g (float[N, 4] x, bool c) => (y) {
          y = If (c) <
            then_branch = t () => (a) { k = Relu(x) a = MatMul(k, w) },
            else_branch = e () => (b) { b = MatMul(x, w) }
          >
        }""",
        w=np.ones((4, 6), np.float32),
    )
    found = shapes(program)
    assert found["k"] == ("N", 4)
    assert found["a"] == found["b"] == found["y"] == ("N", 6)


@pytest.mark.parametrize("stored", ["initializer", "constant"])
def test_large_weights_of_one_name_in_sibling_bodies_are_told_apart(stored: str) -> None:
    model = parse("""g (float[N, 64] x, bool c) => (y) {
          y = If (c) <
            then_branch = t () => (a) { a = MatMul(x, w) },
            else_branch = e () => (b) { b = MatMul(x, w) }
          >
        }""")
    for attribute, width in zip(model.graph.node[0].attribute, (64, 32), strict=True):
        tensor = numpy_helper.from_array(np.ones((64, width), np.float32), "w")
        if stored == "initializer":
            attribute.g.initializer.append(tensor)
        else:
            node = helper.make_node("Constant", [], ["w"], value=tensor)
            attribute.g.node.insert(0, node)
    found = shapes(build(model))
    assert (found["a"], found["b"]) == (("N", 64), ("N", 32))


def declared_wrongly() -> ModelProto:
    return parse(
        """g (float[2, 3] x) => (float[9, 9] y) <float[7, 7] s, int64[2, 3] t, float[N, 3] u> {
          s = Relu(x)
          t = Relu(s)
          u = Relu(t)
          y = Neg(u)
        }"""
    )


def test_a_declaration_that_inference_contradicts_is_listed_and_not_used() -> None:
    program = build(declared_wrongly())
    assert program.shape_conflicts == ["s", "t", "y"]
    found = shapes(program)
    assert found["s"] == found["t"] == found["u"] == found["y"] == (2, 3)
    assert dtypes(program)["t"] == np.float32


def test_a_wrong_declaration_in_a_body_is_listed_with_its_place() -> None:
    program = build("""g (float[2] x, bool c) => (float[2] y) {
          y = If (c) <
            then_branch = t () => (float[3] a) { a = Relu(x) },
            else_branch = e () => (float[2] b) { b = Neg(x) }
          >
        }""")
    assert program.shape_conflicts == ["y.then_branch/a"]
    assert shapes(program)["a"] == (2,)


def test_a_right_declaration_is_no_conflict() -> None:
    text = "g (float[N, 3] x) => (float[N, 3] y) <float[?, 3] s> { s = Relu(x) y = Relu(s) }"
    program = build(text)
    assert program.shape_conflicts == []
    assert shapes(program)["s"] == ("N", 3)


def test_a_declaration_counts_where_inference_has_nothing_to_say() -> None:
    program = build("""
        <ir_version: 8, opset_import: ["": 17, "vendor": 1]>
        g (float[2, 3] x) => (float[2, 12] y) <float[2, 4, 3] s> {
          s = vendor.Expand(x)
          a = Relu(s)
          y = Flatten(a)
        }""")
    assert shapes(program)["s"] == shapes(program)["a"] == (2, 4, 3)
    assert shapes(program)["y"] == (2, 12)
    assert program.shape_conflicts == []


OVERRIDABLE = """g (float[2, 6] x, int64[2] shape) => (y) {
  y = Reshape(x, shape)
}"""


def test_the_value_of_an_overridable_initializer_is_never_concluded_from() -> None:
    program = build(OVERRIDABLE, shape=np.array([3, 4]))
    assert shapes(program)["y"] != (3, 4)
    assert not any(isinstance(dim, int) for dim in shapes(program)["y"] or ())


def test_that_of_a_fixed_one_is() -> None:
    program = build(OVERRIDABLE.replace(", int64[2] shape", ""), shape=np.array([3, 4]))
    assert shapes(program)["y"] == (3, 4)


def test_an_overridable_value_is_not_concluded_from_in_an_old_file_either() -> None:
    model = parse(OVERRIDABLE, shape=np.array([3, 4]))
    model.ir_version = 3
    assert shapes(build(model))["y"] != (3, 4)


def test_an_edited_graph_is_annotated_as_it_stands() -> None:
    edited = Edited("g (float[2, 3] x) => (y) { s = Transpose(x) y = Relu(s) }")
    edited.edit.replace(edited.value("s"), edited.value("x"))
    edited.edit.remove(edited.node("Transpose"))
    annotate(edited.program, export_types(edited.program))
    assert edited.value("y").shape == (2, 3)


def test_a_model_that_inference_cannot_take_stays_unknown() -> None:
    program = build("g (float[2, 3] x, float[4, 5] z) => (y) { s = MatMul(x, z) y = Relu(x) }")
    assert shapes(program)["s"] is None
    assert shapes(program)["y"] == (2, 3)


def test_inputs_can_be_bound() -> None:
    text = "g (float[N, C] x, float[N, ?] z) => (y) { a = Relu(x) y = Concat<axis = 1>(a, z) }"
    found = bind_inputs(parse(text), {"x": (2, 3), "z": (2, 5)})
    assert found["a"] == ValueType(np.dtype(np.float32), (2, 3))
    assert found["y"].shape == (2, 8)
    partly = bind_inputs(parse(text), {"x": (2, 3)})
    assert partly["a"].shape == (2, 3)


def test_no_weight_is_copied_for_inference() -> None:
    big = np.ones((512, 512), np.float32)
    model = parse(
        """<ir_version: 8, opset_import: ["": 17, "local": 1]>
        g (float[N, 512] x, bool c) => (y) {
          a = MatMul(x, w)
          k = Constant<value = float[1] {0.0}>()
          b = If (c) <
            then_branch = t () => (p) { p = MatMul(a, v) },
            else_branch = e () => (q) { q = Add(a, k) }
          >
          y = local.f(b)
        }
        <domain: "local", opset_import: ["": 17]>
        f (i) => (o) { m = Constant<value = float[1] {0.0}>() o = MatMul(i, m) }""",
        w=big,
    )
    tensor = numpy_helper.from_array(big, "v")
    model.graph.node[1].attribute[0].t.CopyFrom(tensor)
    model.graph.node[2].attribute[0].g.initializer.append(tensor)
    model.functions[0].node[0].attribute[0].t.CopyFrom(tensor)
    inferred = infer_bound(model, {})
    assert inferred.ByteSize() < 10_000
    found = shapes(build(model))
    assert found["a"] == found["p"] == ("N", 512)
    assert found["q"] == (512, 512)


def test_inference_that_never_ends_is_given_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "_SECONDS", 1.0)
    model = parse('g (float[3, 5, 5] x) => (y) { y = Einsum<equation = "i">(x) z = Relu(x) }')
    model.graph.node[0].attribute[0].s = b"...\0i ->...i"  # onnx's own code loops on this
    asked = []
    runtime = shared_runtime()
    ask = runtime.ask_about

    def counted(action: str, content: bytes, options: Mapping[str, Any], timeout: float) -> bytes:
        asked.append(content)
        return ask(action, content, options, timeout)

    monkeypatch.setattr(runtime, "ask_about", counted)
    program = build(model)
    annotate(program, model)
    assert shapes(program)["y"] is None
    assert len(asked) == len(set(asked)) == 1, "it was waited for again and again"


@pytest.mark.parametrize(
    ("stated", "known", "wanted"),
    [
        ((2, 3), (2, 3), False),
        ((2, 3), (2, 4), True),
        ((2, 3), (2,), True),
        (("N", 3), (2, 3), False),
        ((None, 3), (2, 4), True),
        (("N", 3), ("M", 3), False),
        (None, (2, 3), False),
        ((2, 3), None, False),
        ((), (1,), True),
    ],
)
def test_contradiction(stated: Shape, known: Shape, wanted: bool) -> None:
    dtype = np.dtype(np.float32)
    assert contradicts(ValueType(dtype, stated), ValueType(dtype, known)) == wanted
    assert contradicts(ValueType(np.dtype(np.int8), stated), ValueType(dtype, known))
    assert contradicts(ValueType(None, stated), ValueType(dtype, known)) == wanted


def test_a_sparse_initializer_has_the_shape_it_states() -> None:
    model = parse("g (float[3] x) => (y) { y = Add(w, x) }")
    sparse = model.graph.sparse_initializer.add(dims=[5, 3])
    sparse.values.CopyFrom(helper.make_tensor("w", TensorProto.FLOAT, [1], [2.0]))
    sparse.indices.CopyFrom(helper.make_tensor("", TensorProto.INT64, [1], [0]))
    program = build_program(Model(model))
    annotate(program, model)
    assert shapes(program)["y"] == (5, 3)
