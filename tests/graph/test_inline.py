from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper
from onnx.reference import ReferenceEvaluator

import graphopt
from graphopt.errors import ModelError
from graphopt.graph.inline import inline_functions
from graphopt.model import load_model
from tests.build import parse

NESTED = """<ir_version: 8, opset_import: ["": 17, "local": 1]>
g (float[N] x, bool c) => (float[N] y) {
    s = If (c) <then_branch = t () => (float[N] a) { a = local.twice(x) },
                else_branch = e () => (float[N] b) { b = Neg(x) }>
    y = local.four(s)
}
<domain: "local", opset_import: ["": 17]> twice (v) => (r) { r = Add(v, v) }
<domain: "local", opset_import: ["": 17, "local": 1]>
four (v) => (r) { t = local.twice(v) r = local.twice(t) }"""


def inlined(model: ModelProto) -> ModelProto:
    found = inline_functions(load_model(model)).proto
    onnx.checker.check_model(found, full_check=True)
    assert not found.functions
    return found


def agree(first: ModelProto, second: ModelProto) -> bool:
    return graphopt.compare(first, second).status == "ok"


def test_nested_calls_and_calls_in_bodies_are_inlined() -> None:
    model = parse(NESTED)
    found = inlined(model)
    assert [node.op_type for node in found.graph.node] == ["If", "Add", "Add"]
    assert {entry.domain for entry in found.opset_import} == {""}
    assert agree(model, found)
    assert len(model.functions) == 2, "the given model is not changed"


def test_a_model_without_functions_is_given_back() -> None:
    model = load_model(parse("g (float[2] x) => (float[2] y) { y = Neg(x) }"))
    assert inline_functions(model) is model


def test_a_large_constant_is_kept_once() -> None:
    model = parse("""<ir_version: 8, opset_import: ["": 17, "local": 1]>
        g (float[2048] x) => (float[2048] y) { t = local.f(x) y = local.f(t) }
        <domain: "local", opset_import: ["": 17]>
        f (v) => (r) { w = Constant <value = float[1] {0}> () r = Add(v, w) }""")
    weight = np.arange(2048, dtype=np.float32)
    model.functions[0].node[0].attribute[0].t.CopyFrom(numpy_helper.from_array(weight))
    found = inlined(model)
    (kept,) = found.graph.initializer
    assert numpy_helper.to_array(kept).tolist() == weight.tolist()
    assert agree(model, found)


def test_a_function_of_another_opset_is_converted() -> None:
    model = parse("""<ir_version: 8, opset_import: ["": 17, "local": 1]>
        g (float[2, 3] x) => (float[2, 3] y) { t = local.f(x) y = local.f(t) }
        <domain: "local", opset_import: ["": 11]>
        f (v) => (r) { s = Softmax <axis = 0> (v) q = Unsqueeze <axes = [0]> (s)
                       r = Squeeze <axes = [0]> (q) }""")
    found = inlined(model)
    x = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    # In opset 11 Softmax flattens what is behind its axis.
    y = np.exp(x) / np.exp(x).sum()
    y = np.exp(y) / np.exp(y).sum()
    (result,) = ReferenceEvaluator(found).run(None, {"x": x})
    np.testing.assert_allclose(np.asarray(result), y, rtol=1e-5)


def test_domains_that_only_functions_import_are_imported() -> None:
    model = parse("""<ir_version: 8, opset_import: ["": 17, "local": 1]>
        g (float[3] x) => (float[3] y) { y = local.f(x) }
        <domain: "local", opset_import: ["": 17, "com.microsoft": 1]>
        f (v) => (r) { r = com.microsoft.Gelu(v) }""")
    found = inline_functions(load_model(model)).proto
    assert {e.domain: e.version for e in found.opset_import} == {"": 17, "com.microsoft": 1}
    assert agree(model, found)


def test_what_cannot_be_inlined_is_refused_with_the_reason() -> None:
    model = parse("""<ir_version: 8, opset_import: ["": 17, "local": 1]>
        g (float[3] x) => (float[3] y) { y = local.f(x) }
        <domain: "local", opset_import: ["": 17, "local": 1]> f (v) => (r) { r = local.f(v) }""")
    with pytest.raises(ModelError, match=r"cannot be inlined.*recursive"):
        inline_functions(load_model(model))


def test_functions_that_multiply_without_end_are_refused() -> None:
    levels = "\n".join(
        f'<domain: "local", opset_import: ["": 17, "local": 1]> '
        f"f{k} (v) => (r) {{ t = local.f{k - 1}(v) r = local.f{k - 1}(t) }}"
        for k in range(1, 40)
    )
    model = parse(f"""<ir_version: 8, opset_import: ["": 17, "local": 1]>
        g (float[3] x) => (float[3] y) {{ y = local.f39(x) }}
        <domain: "local", opset_import: ["": 17]> f0 (v) => (r) {{ r = Neg(v) }}
        {levels}""")
    with pytest.raises(ModelError, match=r"stand for 5\.5e\+11 nodes"):
        inline_functions(load_model(model))
