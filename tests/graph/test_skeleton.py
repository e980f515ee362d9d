from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, numpy_helper

from graphopt.graph.skeleton import KEPT_BYTES, is_small, skeleton
from tests.build import PLACES, Array, external_tensor, holding, parse

BIG = np.ones(KEPT_BYTES // 4 + 1, np.float32)
SMALL = np.ones(KEPT_BYTES // 4, np.float32)


@pytest.mark.parametrize("place", [p for p in PLACES if p not in ("training", "sparse")])
@pytest.mark.parametrize("declared", [True, False])
def test_large_tensors_go_and_small_ones_stay(place: str, declared: bool) -> None:
    for array, stays in ((SMALL, True), (BIG, False)):
        model = holding(numpy_helper.from_array(array, "w"), place)
        before = model.SerializeToString()
        bare = skeleton(model, declared=declared)
        assert (bare.ByteSize() > array.nbytes) == stays
        assert model.SerializeToString() == before, "the model given was changed"


@pytest.mark.parametrize("place", PLACES)
def test_external_tensors_go_unread(place: str) -> None:
    model = holding(external_tensor("w", "nowhere", SMALL[:4]), place)
    bare = skeleton(model, declared=False)
    assert b"nowhere" not in bare.SerializeToString() or place == "function"


def test_a_large_weight_becomes_a_typed_input() -> None:
    model = parse("g (float[N] x) => (float[N] y) { y = Add(x, w) }", w=BIG.astype(np.float16))
    big: Array = np.ones((3, KEPT_BYTES), np.float16)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(big, "w"))
    bare = skeleton(model, declared=True)
    assert [info.name for info in bare.graph.input] == ["x", "w"]
    tensor = bare.graph.input[1].type.tensor_type
    assert tensor.elem_type == TensorProto.FLOAT16
    assert [d.dim_value for d in tensor.shape.dim] == [3, KEPT_BYTES]


def test_an_overridable_initializer_is_an_input_alone() -> None:
    model = parse(
        "g (float[2] x, float[2] d) => (float[2] y) { y = Add(x, d) }", d=np.ones(2, np.float32)
    )
    bare = skeleton(model, declared=True)
    assert [info.name for info in bare.graph.input] == ["x", "d"]
    assert not bare.graph.initializer


def test_an_overridable_sparse_initializer_is_an_input_alone() -> None:
    model = parse("g (float[2] x, float[2] d) => (float[2] y) { y = Add(x, d) }")
    sparse = model.graph.sparse_initializer.add(dims=[2])
    sparse.values.CopyFrom(numpy_helper.from_array(SMALL[:1], "d"))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.array([0]), ""))
    bare = skeleton(model, declared=True)
    assert [info.name for info in bare.graph.input] == ["x", "d"]


def test_large_tensors_in_a_functions_bodies_go_too() -> None:
    model = parse("""<ir_version: 8, opset_import: ["": 17, "local": 1]>
        agraph (float[64, 64] x, bool c) => (float[64, 64] y) { y = local.f(x, c) }
        <domain: "local", opset_import: ["": 17]>
        f (v, c) => (r) {
          r = If (c) <
            then_branch = t () => (float[64, 64] a) { a = Add(v, w) },
            else_branch = e () => (float[64, 64] b) { b = Neg(v) }
          >
        }""")
    big = numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    model.functions[0].node[0].attribute[0].g.initializer.append(big)
    onnx.checker.check_model(skeleton(model, declared=True))
    assert skeleton(model, declared=False).ByteSize() < 4000


def test_declared_types_are_kept_or_dropped() -> None:
    text = "g (float[2] x) => (float[2] y) <float[2] s> { s = Relu(x) y = Neg(s) }"
    kept, dropped = (skeleton(parse(text), declared=declared) for declared in (True, False))
    assert [info.name for info in kept.graph.value_info] == ["s"]
    assert kept.graph.output == parse(text).graph.output
    assert not dropped.graph.value_info
    assert [(info.name, info.HasField("type")) for info in dropped.graph.output] == [("y", False)]


def rich() -> ModelProto:
    model = parse(
        """<ir_version: 8, opset_import: ["": 17, "local": 1]>
        agraph (float[64, 64] x, bool c) => (float[64, 64] y) {
          k = Constant<value = float[1] {0.0}>()
          s = Add(x, k)
          m = MatMul(s, w)
          t = If (c) <
            then_branch = t () => (float[64, 64] a) {
              i = Constant<value = float[1] {0.0}>()
              a = Add(m, i)
            },
            else_branch = e () => (float[64, 64] b) { b = MatMul(m, v) }
          >
          y = local.f(t)
        }
        <domain: "local", opset_import: ["": 17]>
        f (i) => (o) { j = Constant<value = float[1] {0.0}>() o = Add(i, j) }""",
        w=np.ones((64, 64), np.float32),
    )
    big = numpy_helper.from_array(np.ones((64, 64), np.float32), "v")
    branches = model.graph.node[3].attribute
    model.graph.node[0].attribute[0].t.CopyFrom(big)
    branches[0].g.node[0].attribute[0].t.CopyFrom(big)
    branches[1].g.initializer.append(big)
    model.functions[0].node[0].attribute[0].t.CopyFrom(big)
    return model


def test_the_checker_finds_nothing_where_it_finds_nothing_in_the_whole() -> None:
    onnx.checker.check_model(rich(), full_check=True)
    bare = skeleton(rich(), declared=True)
    onnx.checker.check_model(bare, full_check=True)
    assert bare.ByteSize() < 4000


@pytest.mark.parametrize(
    "damage",
    [
        lambda model: model.graph.node[1].input.__setitem__(0, "ghost"),
        lambda model: model.graph.node[1].ClearField("input"),
        lambda model: model.graph.node.pop(1),
        lambda model: setattr(model.graph.node[2], "op_type", "NoSuchOp"),
        lambda model: model.graph.node[3].attribute[1].g.node[0].input.__setitem__(1, "ghost"),
        lambda model: model.graph.node[3].attribute.pop(),
        lambda model: model.functions[0].node[1].input.__setitem__(1, "ghost"),
    ],
)
def test_the_checker_finds_what_it_finds_in_the_whole(damage: object) -> None:
    model = rich()
    assert callable(damage)
    damage(model)
    for checked in (model, skeleton(model, declared=True)):
        with pytest.raises(onnx.checker.ValidationError):
            onnx.checker.check_model(checked)


def test_nodes_keep_their_names_and_overloads() -> None:
    model = rich()
    for node in model.graph.node:
        node.name, node.overload = f"the {node.op_type}", "special"
    bare = skeleton(model, declared=False)
    kept = {node.name: node.overload for node in bare.graph.node}
    assert kept == {f"the {op}": "special" for op in ("Add", "MatMul", "If", "f")}


def test_smallness_counts_packed_bytes() -> None:
    def tensor(elem_type: int, count: int) -> TensorProto:
        return TensorProto(data_type=elem_type, dims=[count])

    assert is_small(tensor(TensorProto.INT4, 2 * KEPT_BYTES))
    assert not is_small(tensor(TensorProto.INT4, 2 * KEPT_BYTES + 1))
    assert is_small(tensor(TensorProto.DOUBLE, KEPT_BYTES // 8))
    assert not is_small(tensor(TensorProto.DOUBLE, KEPT_BYTES // 8 + 1))
    assert not is_small(external_tensor("w", "w.bin", SMALL[:1]))


def test_inference_over_the_skeleton_is_inference_over_the_whole() -> None:
    def types(model: ModelProto) -> dict[str, bytes]:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        infos = [*inferred.graph.value_info, *inferred.graph.output]
        return {info.name: info.type.SerializeToString() for info in infos}

    whole, bare = types(rich()), types(skeleton(rich(), declared=False))
    assert {name: whole[name] for name in ("s", "m", "t", "y")} == {
        name: bare[name] for name in ("s", "m", "t", "y")
    }


def test_a_small_tensor_of_strings_stays() -> None:
    text = TensorProto(name="w", data_type=TensorProto.STRING, dims=[1], string_data=[b"a"])
    model = parse("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    model.graph.initializer.append(text)
    assert skeleton(model, declared=False).graph.initializer[0].string_data[0] == b"a"
