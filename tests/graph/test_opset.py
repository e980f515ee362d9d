from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper

from graphopt.errors import ModelError, UsageError
from graphopt.graph import raise_opset
from graphopt.graph.opset import NEWEST
from graphopt.model import load_model
from graphopt.verify import signature_changes
from tests.build import parse

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


def test_bodies_are_refused_by_name() -> None:
    model = parse("""g (bool c, float[2] x) => (float[2] y) {
        y = If (c) <then_branch = t () => (a) { a = Neg(x) },
                    else_branch = e () => (b) { b = Abs(x) }>
    }""")
    with pytest.raises(ModelError, match="If node 'y' has bodies"):
        raised(model, 18)


def test_functions_are_refused() -> None:
    model = parse("""<ir_version: 8, opset_import: ["": 17, "local": 1]>
        g (float[2] x) => (float[2] y) { y = local.f(x) }
        <domain: "local", opset_import: ["": 17]> f (v) => (r) { r = Neg(v) }""")
    with pytest.raises(ModelError, match="local functions"):
        raised(model, 18)
