from __future__ import annotations

from graphopt.runtime.inference import checker_finding, infer, inference_finding, inline
from tests.build import parse

GOOD = """g (float[N,4] x) => (float[N,2,2] y) {
    t = Relu(x)
    shape = Constant<value = int64[3] {-1, 2, 2}>()
    y = Reshape(t, shape)
}"""


def test_types_are_inferred() -> None:
    found = infer(parse(GOOD))
    types = {info.name: info.type.tensor_type for info in found.graph.value_info}
    assert [dim.dim_param or dim.dim_value for dim in types["t"].shape.dim] == ["N", 4]


def test_given_model_is_not_changed() -> None:
    model = parse(GOOD)
    before = model.SerializeToString()
    infer(model)
    assert model.SerializeToString() == before


def test_values_of_shapes_are_propagated() -> None:
    text = """g (float[3,4] x) => (float[A,B] y) {
        s = Shape(x)
        y = ConstantOfShape(s)
    }"""
    model = parse(text)
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    shape = infer(model).graph.output[0].type.tensor_type.shape
    assert [dim.dim_value for dim in shape.dim] == [3, 4]


def test_whole_model_has_no_findings() -> None:
    assert checker_finding(parse(GOOD)) == inference_finding(parse(GOOD)) == ""


def test_checker_finding() -> None:
    model = parse(GOOD)
    model.graph.node[0].input[0] = "nowhere"
    finding = checker_finding(model)
    assert "nowhere" in finding
    assert "\n" not in finding
    assert len(finding) <= 300


def test_inference_finding() -> None:
    model = parse(GOOD)
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 3
    assert checker_finding(model) == ""
    assert inference_finding(model)
    assert len(infer(model).graph.node) == 3


def test_small_file_that_asks_for_all_memory() -> None:
    # Data propagation would keep a symbol for each of 2^35 elements.
    text = """g (float[N] x) => (int64[A] y) {
        n = Constant<value = int64[1] {34359738368}>()
        v = ConstantOfShape<value = int64[1] {1}>(n)
        w = Concat<axis = 0>(v, v)
        y = Add(w, w)
    }"""
    assert len(infer(parse(text)).graph.node) == 4
    assert infer(parse(GOOD)).graph.value_info


CALL = """<ir_version: 8, opset_import: ["": 17, "local": 1]>
g (float[2] x) => (float[2] y) { y = local.f(x) }
<domain: "local", opset_import: ["": 17]> f (v) => (r) { r = Neg(v) }"""


def test_functions_are_inlined() -> None:
    model = parse(CALL)
    found = inline(model)
    assert [node.op_type for node in found.graph.node] == ["Neg"]
    assert not found.functions
    assert len(model.functions) == 1, "the given model is not changed"


def test_functions_of_another_opset_are_converted() -> None:
    found = inline(parse(CALL.replace('["": 17]> f', '["": 12]> f')))
    assert [node.op_type for node in found.graph.node] == ["Neg"]
