from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from graphopt.errors import ModelError
from graphopt.graph import Program, build_program, graph_view
from graphopt.graph.views import GraphHandle
from graphopt.model import Model
from tests.build import parse

BODIES = """
agraph (float[4] x, bool c, bool d) => (float[4] y) {
  s = Neg(x)
  y = If (c) <
    then_branch = t () => (float[4] a) {
      a = If (d) <
        then_branch = tt () => (float[4] aa) { aa = Add(s, x) },
        else_branch = te () => (float[4] ab) { ab = Relu(s) }
      >
    },
    else_branch = e () => (float[4] b) { local = Abs(s) b = Mul(local, w) }
  >
}
"""


def program(model: ModelProto) -> Program:
    return build_program(Model(model))


def main(model: ModelProto) -> GraphHandle:
    built = program(model)
    return graph_view(built.main, built)


def test_nodes_link_to_what_they_read() -> None:
    graph = main(
        parse("g (float[2] x) => (float[2] y) { s = Relu(x) y = Add(s, w) }", w=np.ones(2))
    )
    relu, add = graph.nodes
    assert add.inputs[0] is relu.outputs[0]
    assert add.inputs[1] is graph.initializers[0]
    assert relu.inputs[0] is graph.inputs[0]
    assert graph.outputs[0] is add.outputs[0]


def test_nodes_out_of_order_link_all_the_same() -> None:
    graph = main(parse("g (float[2] x) => (float[2] y) { y = Neg(s) s = Relu(r) r = Abs(x) }"))
    neg, relu, absolute = graph.nodes
    assert neg.inputs[0] is relu.outputs[0]
    assert relu.inputs[0] is absolute.outputs[0]


def test_bodies_capture_values_of_every_graph_around_them() -> None:
    graph = main(parse(BODIES, w=np.ones(4, np.float32)))
    assert [inner.kind for inner in graph.nested()] == ["main"] + ["body"] * 4
    s = graph.nodes[0].outputs[0]
    assert s is not None
    readers = {use.node.op_type for use in s.readers}
    assert readers == {"Add", "Relu", "Abs"}
    (weight,) = graph.initializers
    assert [use.node.op_type for use in weight.readers] == ["Mul"]


def test_a_body_may_capture_what_stands_behind_its_node() -> None:
    graph = main(
        parse("""
        g (float[2] x, bool c) => (float[2] y) {
          y = If (c) <
            then_branch = t () => (float[2] a) { a = Neg(s) },
            else_branch = e () => (float[2] b) { b = Abs(s) }
          >
          s = Relu(x)
        }""")
    )
    s = graph.nodes[1].outputs[0]
    assert s is not None and len(s.readers) == 2


def test_a_name_in_a_body_hides_the_one_outside() -> None:
    model = parse("""
        g (float[2] x, bool c) => (float[2] y) {
          s = Relu(x)
          y = If (c) <
            then_branch = t () => (float[2] a) { s = Neg(x) a = Abs(s) },
            else_branch = e () => (float[2] b) { b = Exp(s) }
          >
        }""")
    graph = main(model)
    outer = graph.nodes[0].outputs[0]
    then_branch = graph.nodes[1].bodies["then_branch"]
    inner = then_branch.nodes[0].outputs[0]
    assert outer is not None and inner is not None and outer is not inner
    assert [use.node.op_type for use in outer.readers] == ["Exp"]
    assert [use.node.op_type for use in inner.readers] == ["Abs"]


def test_sibling_bodies_may_use_one_name() -> None:
    model = parse(BODIES.replace("local", "aa"), w=np.ones(4, np.float32))
    names = [
        value.name
        for inner in main(model).nested()
        for n in inner.nodes
        for value in n.outputs
        if value
    ]
    assert names.count("aa") == 2


@pytest.mark.parametrize(
    "text",
    [
        "g (float[2] x) => (float[2] y) { y = Relu(x) y = Neg(x) }",
        "g (float[2] x) => (float[2] y) { x = Relu(z) y = Neg(x) }",
        "g (float[2] x, float[2] x) => (float[2] y) { y = Neg(x) }",
        "g (float[2] x) => (float[2] y) { w = Relu(x) y = Neg(w) }",
        "g (float[2] x) => (float[2] y) { y, y = Split(x) }",
    ],
)
def test_a_name_defined_twice_is_refused(text: str) -> None:
    model = parse(text, w=np.ones(2, np.float32))
    with pytest.raises(ModelError, match="defined twice"):
        program(model)


def test_an_initializer_given_twice_is_refused() -> None:
    model = parse("g (float[2] x) => (float[2] y) { y = Add(x, w) }", w=np.ones(2, np.float32))
    model.graph.initializer.append(model.graph.initializer[0])
    with pytest.raises(ModelError, match="'w' is defined twice"):
        program(model)


def test_a_name_nobody_defines_is_a_value_without_a_producer() -> None:
    graph = main(parse("g (float[2] x) => (float[2] y) { y = Add(x, ghost) }"))
    ghost = graph.nodes[0].inputs[1]
    assert ghost is not None and ghost.producer is None and not ghost.is_constant


def test_omitted_inputs_and_outputs_are_none_each_by_itself() -> None:
    graph = main(parse('g (float[2] x) => (float[2] y) { y, "" = Dropout(x, "", "") }'))
    node = graph.nodes[0]
    assert [value and value.name for value in node.inputs] == ["x", None, None]
    assert [value and value.name for value in node.outputs] == ["y", None]
    first, second = node.element.inputs[1:]
    assert first is not second and first != second


def test_an_initializer_that_is_an_input_is_no_constant() -> None:
    model = parse("g (float[2] x, float[2] w) => (float[2] y) { y = Add(x, w) }", w=np.ones(2))
    graph = main(model)
    assert [value.name for value in graph.inputs] == ["x", "w"]
    assert not graph.initializers
    assert not graph.inputs[1].is_constant and not graph.inputs[1].is_initializer


@pytest.mark.parametrize(("ir_version", "stores"), [(3, False), (4, True), (10, True)])
def test_old_files_store_no_initializers_of_their_own(ir_version: int, stores: bool) -> None:
    model = parse(BODIES, w=np.ones(4, np.float32))
    model.ir_version = ir_version
    assert {inner.stores_initializers for inner in main(model).nested()} == {stores}


def test_a_sparse_initializer_is_a_value_of_unknown_content() -> None:
    model = parse("g (float[3] x) => (float[3] y) { y = Add(x, w) }")
    sparse = model.graph.sparse_initializer.add(dims=[3])
    sparse.values.CopyFrom(helper.make_tensor("w", TensorProto.FLOAT, [1], [2.0]))
    sparse.indices.CopyFrom(helper.make_tensor("", TensorProto.INT64, [1], [0]))
    value = main(model).nodes[0].inputs[1]
    assert value is not None and value.name == "w"
    assert not value.is_constant and value.producer is None


def test_what_training_or_an_annotation_names_is_pinned() -> None:
    names = "abcde"
    model = parse(
        "g (float[2] x) => (float[2] y) { y = Relu(x) z = Neg(x) }",
        **{name: np.ones(2, np.float32) for name in names},
    )
    training = model.training_info.add()
    training.algorithm.node.add(op_type="Neg", input=["a"], output=["na"])
    training.initialization.node.add(op_type="Neg", input=["b"], output=["nb"])
    training.update_binding.add(key="c", value="na")
    note = model.graph.quantization_annotation.add(tensor_name="x")
    note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="d")
    pinned = {value.name: value.is_graph_output for value in main(model).initializers}
    assert pinned == {"a": True, "b": True, "c": True, "d": True, "e": False}


def test_what_a_list_of_graphs_reads_is_pinned() -> None:
    model = parse("g (float[2] x) => (float[2] y) { y = Relu(x) z = Neg(x) u = Abs(x) }")
    body = parse("b () => (q) { q = Exp(z) own = Exp(q) }").graph
    node = model.graph.node.add(op_type="Several", domain="my", output=["v"])
    node.attribute.append(helper.make_attribute("branches", [body]))
    built = program(model)
    graph = graph_view(built.main, built)
    pinned = {out.name: out.is_graph_output for n in graph.nodes for out in n.outputs if out}
    assert pinned == {"y": True, "z": True, "u": False, "v": False}
    assert built.fresh("own") == "own_1" and built.fresh("q") == "q_1"


FUNCTIONS = """<ir_version: 8, opset_import: ["": 17, "local": 1]>
agraph (float[2] x) => (float[2] y) { s = local.f(x) y = local.g(s) }
<domain: "local", opset_import: ["": 15]>
f (v) => (r) { s = Neg(v) r = Abs(s) }
<domain: "local", opset_import: ["ai.onnx": 16, "local": 1]>
g (v) => (r) { r = local.f(v) }
"""


def test_functions_are_graphs_of_their_own() -> None:
    built = program(parse(FUNCTIONS))
    f, g = (graph_view(scope, built) for scope in built.functions)
    assert f.kind == g.kind == "function"
    assert [value.name for value in f.inputs] == ["v"]
    assert [value.name for value in f.outputs] == ["r"]
    assert (f.opset(), g.opset(), f.opset("local"), g.opset("local")) == (15, 16, 0, 1)
    assert not f.stores_initializers
    assert not f.initializers
    assert built.function_ids == {("local", "f"), ("local", "g")}
    assert len(built.scopes()) == 3 and sum(len(scope.nodes) for scope in built.scopes()) == 5


def test_a_function_captures_nothing() -> None:
    model = parse(FUNCTIONS)
    model.functions[0].node[0].input[0] = "x"
    built = program(model)
    x = graph_view(built.main, built).inputs[0]
    assert [use.node.op_type for use in x.readers] == ["f"]


def test_a_call_of_a_function_is_opaque_in_any_domain() -> None:
    model = parse(FUNCTIONS.replace("local", "ai.onnx.other"))
    built = program(model)
    for scope in built.scopes():
        for node in graph_view(scope, built).nodes:
            assert node.is_opaque == (node.op_type in ("f", "g"))


def test_domain_ai_onnx_is_the_standard_one() -> None:
    model = parse("g (float[2] x) => (float[2] y) { y = ai.onnx.Relu(x) }")
    (node,) = main(model).nodes
    assert node.domain == "" and not node.is_opaque


def nested(levels: int, name: str) -> ModelProto:
    model = parse("g (bool c, float[1] x) => (float[1] y) { y = Relu(x) }")
    for level in range(levels):
        outer = parse("g (bool c, float[1] x) => (float[1] y) { y = Relu(x) }")
        body = parse("b () => (float[1] y) { y = Relu(x) }").graph
        body.node.extend(model.graph.node[1:])
        node = helper.make_node("If", ["c"], [f"{name}{level}"], then_branch=body)
        outer.graph.node.append(node)
        model = outer
    return model


def test_bodies_in_bodies_with_long_names_are_no_problem() -> None:
    # PyTorch names a value after every module around it: "/model/encoder/layers.0/attn/...".
    built = program(nested(10, "/model" * 15 + "/if"))
    assert len(built.scopes()) == 11


def test_fresh_names_are_nobodys() -> None:
    model = parse(BODIES, w=np.ones(4, np.float32))
    model.graph.node[0].name = "aa_1"
    built = program(model)
    assert built.fresh("aa") == "aa_2"
    assert built.fresh("aa") == "aa_3"
    assert built.fresh("new") == "new"
    assert built.fresh("new") == "new_1"
    assert built.fresh("") == "value"
    assert built.fresh("") == "value_1"
