from __future__ import annotations

from onnx import ModelProto

from graphopt.model.names import model_names
from tests.build import parse


def test_every_place_that_names_something() -> None:
    model: ModelProto = parse("""<ir_version: 9, opset_import: ["": 17, "local": 1]>
        g (float[batch, 2] x, bool c) => (float[batch, 2] y) {
            a = local.f <rate = 0.5> (x)
            y = If (c) <
                then_branch = inside () => (p) { p = Exp(a) },
                else_branch = outside () => (r) { r = Sqrt(a) }
            >
        }
        <domain: "local", opset_import: ["": 17]> f <rate> (v) => (w) { w = Neg(v) }""")
    tensor = model.graph.initializer.add(name="weight")
    tensor.external_data.add(key="location", value="weights.bin")
    model.graph.sparse_initializer.add().values.name = "sparse"
    note = model.graph.quantization_annotation.add(tensor_name="noted")
    note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="scale")
    training = model.training_info.add()
    training.update_binding.add(key="bound", value="by")
    training.algorithm.name = "descent"
    found = set(model_names(model))
    assert {
        "local", "g", "batch", "x", "c", "a", "y", "rate", "then_branch", "inside", "p", "r", "If",
        "Exp", "f", "v", "w", "weight", "location", "weights.bin", "sparse", "noted", "scale",
        "bound", "by", "descent",
    } <= found  # fmt: skip
