from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

import graphopt
from graphopt.errors import ModelError, UsageError
from graphopt.graph import raise_opset
from graphopt.graph.opset import NEWEST
from graphopt.model import load_model
from graphopt.model.tensors import model_tensors
from graphopt.verify import signature_changes
from tests.build import holding, parse

W = np.arange(8192, dtype=np.float32).reshape(2, 4096)
TEXT = """<ir_version: 8, opset_import: ["": 11, "my": 1]>
g (float[N, 2] x) => (float[N, 4096] y) {
    a = MatMul(x, w)
    y = Softmax <axis = 1> (a)
}"""


def raised(model: ModelProto, version: int) -> ModelProto:
    return raise_opset(load_model(model), version).proto


def test_nodes_are_converted_and_the_rest_stays() -> None:
    model = parse(TEXT, w=W)
    model.metadata_props.add(key="author", value="vendor")
    found = raised(model, 17)
    assert {entry.domain: entry.version for entry in found.opset_import} == {"": 17, "my": 1}
    assert found.metadata_props == model.metadata_props
    assert signature_changes(model, found) == []
    assert numpy_helper.to_array(found.graph.initializer[0]).tolist() == W.tolist()
    # Softmax before opset 13 flattens: the converter adds nodes around it, or keeps the axis.
    assert "Softmax" in [node.op_type for node in found.graph.node]
    assert model.opset_import[0].version == 11, "the given model is not changed"


def test_a_large_constant_node_comes_back() -> None:
    model = parse(TEXT.replace("a =", "w = Constant <value = float[1] {0}> ()\na ="))
    constant = next(node for node in model.graph.node if node.op_type == "Constant")
    constant.attribute[0].t.CopyFrom(numpy_helper.from_array(W))
    found = raised(model, 13)
    kept = next(node for node in found.graph.node if node.output[0] == "w")
    assert numpy_helper.to_array(kept.attribute[0].t).tolist() == W.tolist()


def test_the_ir_version_follows_where_it_has_to() -> None:
    assert raised(parse(TEXT, w=W), 21).ir_version >= 10
    assert raised(parse(TEXT, w=W), 13).ir_version == 8


def test_the_same_version_is_the_same_model() -> None:
    model = load_model(parse(TEXT, w=W))
    assert raise_opset(model, 11) is model


@pytest.mark.parametrize("version", [10, NEWEST + 1])
def test_lower_and_unknown_versions_are_usage_errors(version: int) -> None:
    with pytest.raises(UsageError, match=str(version)):
        raised(parse(TEXT, w=W), version)


BODIES = """<ir_version: 7, opset_import: ["": 11]>
g (float[2,3] x, bool c) => (float[2,3] y) {
    _v_6 = Relu(x)
    k = Neg(_v_6)
    y = If (c) <
        then_branch = t () => (float[2,3] a) { s = Softmax <axis = 0> (k) a = Mul(s, w) },
        else_branch = e () => (float[2,3] b) { p = Unsqueeze <axes = [0]> (_v_6)
                                               b = Squeeze <axes = [0]> (p) }>
}"""


def test_bodies_are_converted_too() -> None:
    model = parse(BODIES)
    body = model.graph.node[2].attribute[0].g
    body.initializer.append(numpy_helper.from_array(W[:1, :3], "w"))
    found = raised(model, 17)
    assert graphopt.compare(model, found).status == "ok"
    bodies = {a.name: a.g for a in found.graph.node[2].attribute}
    assert numpy_helper.to_array(bodies["then_branch"].initializer[0]).tolist() == [[0, 1, 2]]
    # The converter numbers new values in each graph by itself; `_v_6` is taken around this one.
    new = [name for node in bodies["else_branch"].node for name in node.output]
    assert "_v_6" not in new


def test_large_weights_in_bodies_come_back() -> None:
    model = parse(
        BODIES.replace("a = Mul(s, w)", "w = Constant <value = float[1] {0}> () a = Mul(s, w)")
    )
    node = model.graph.node[2].attribute[0].g.node[1]
    node.attribute[0].t.CopyFrom(numpy_helper.from_array(W))
    found = raised(model, 13)
    kept = [t for t in model_tensors(found) if t.data_type == onnx.TensorProto.FLOAT]
    assert [numpy_helper.to_array(t).tolist() for t in kept] == [W.tolist()]


def test_a_scan_of_opset_8_is_refused() -> None:
    model = parse("""<ir_version: 3, opset_import: ["": 8]>
        g (float[1,3,2] x) => (float[1,3,2] y) {
            y = Scan <num_scan_inputs = 1, body = b (float[2] a) => (float[2] r) { r = Neg(a) }>
                ("", x)
        }""")
    with pytest.raises(ModelError, match="Scan"):
        raised(model, 9)


def test_sparse_initializers_stay() -> None:
    model = holding(numpy_helper.from_array(np.ones(3, np.float32), "s"), "sparse")
    del model.functions[:]
    model.graph.node[1].CopyFrom(helper.make_node("Add", ["s", "s"], ["y"]))
    model.graph.sparse_initializer[0].values.name = "w"
    found = raised(model, 18)
    assert found.graph.sparse_initializer == model.graph.sparse_initializer
    assert [info.name for info in found.graph.input] == ["x", "c"]


def test_sparse_tensors_in_bodies_are_refused() -> None:
    model = parse(BODIES)
    sparse = model.graph.node[2].attribute[0].g.sparse_initializer.add(dims=[3])
    sparse.values.CopyFrom(numpy_helper.from_array(W[0, :1], "w"))
    with pytest.raises(ModelError, match="sparse"):
        raised(model, 13)


def test_functions_are_refused() -> None:
    model = parse("""<ir_version: 8, opset_import: ["": 17, "local": 1]>
        g (float[2] x) => (float[2] y) { y = local.f(x) }
        <domain: "local", opset_import: ["": 17]> f (v) => (r) { r = Neg(v) }""")
    with pytest.raises(ModelError, match="local functions"):
        raised(model, 18)
