from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from onnx import AttributeProto, ModelProto, TensorProto, helper, numpy_helper

from graphopt.contract import GraphView, NodeView, ValueView
from graphopt.errors import GraphoptError
from graphopt.graph import graph_view
from tests.build import build, parse

BODIES = """
agraph (float[4] x, bool c) => (float[4] y) {
  s = Neg(x)
  y = If (c) <
    then_branch = t () => (float[4] a) { a = Add(s, s) },
    else_branch = e () => (float[4] b) { b = Mul(s, w) }
  >
}
"""


def main(model: ModelProto | str, **initializers: Any) -> GraphView:
    program = build(model, **initializers)
    return graph_view(program.main, program)


def out(node: NodeView, index: int = 0) -> ValueView:
    value = node.outputs[index]
    assert value is not None
    return value


def test_a_view_is_the_same_object_each_time() -> None:
    graph = main(BODIES, w=np.ones(4, np.float32))
    assert graph.nodes[0] is graph.nodes[0]
    assert out(graph.nodes[0]).producer is graph.nodes[0]
    assert out(graph.nodes[0]).graph is graph
    assert graph.nodes[1].bodies["then_branch"] is graph.nested()[1]


def test_readers_in_bodies_are_readers() -> None:
    graph = main(BODIES, w=np.ones(4, np.float32))
    uses = [(use.node.op_type, use.index) for use in out(graph.nodes[0]).readers]
    assert uses == [("Add", 0), ("Add", 1), ("Mul", 0)]
    assert [(u.node.op_type, u.index) for u in graph.initializers[0].readers] == [("Mul", 1)]
    assert graph.inputs[1].readers[0].node.op_type == "If"


def test_a_value_read_twice_counts_twice() -> None:
    graph = main("g (float[2] x) => (float[2] y) { y = Sum(x, w, x, x) }", w=np.ones(2, np.float32))
    assert [use.index for use in graph.inputs[0].readers] == [0, 2, 3]


def test_outputs_of_bodies_are_graph_outputs() -> None:
    graph = main(BODIES, w=np.ones(4, np.float32))
    body = graph.nested()[1]
    assert [value.name for value in body.outputs] == ["a"]
    assert body.outputs[0].is_graph_output and body.outputs[0].graph is body
    assert not out(graph.nodes[0]).is_graph_output
    assert out(graph.nodes[1]).is_graph_output


def test_omitted_optionals_are_none() -> None:
    (node,) = main('g (float[2] x) => (float[2] y) { y, "" = Dropout(x, "", "") }').nodes
    assert [value and value.name for value in node.inputs] == ["x", None, None]
    assert [value and value.name for value in node.outputs] == ["y", None]


def test_types_of_values() -> None:
    graph = main("g (float[N, 4] x, bfloat16[2] h) => (y) { y = MatMul(x, w) }", w=np.ones((4, 5)))
    x, h = graph.inputs
    assert (x.dtype, x.shape) == (np.dtype(np.float32), ("N", 4))
    assert h.dtype is not None and h.dtype.name == "bfloat16"
    assert graph.initializers[0].shape == (4, 5)


CONSTANTS = [
    ("value_int", 7, np.array(7)),
    ("value_ints", [1, 2, 3], np.array([1, 2, 3])),
    ("value_float", 0.5, np.array(0.5, np.float32)),
    ("value_floats", [0.5, -1.0], np.array([0.5, -1.0], np.float32)),
    ("value_string", "text", np.array("text", object)),
    ("value_string", b"\xff", np.array(b"\xff", object)),
    ("value_strings", ["a", "bc"], np.array(["a", "bc"], object)),
    ("value", np.arange(6, dtype=np.int8).reshape(2, 3), np.arange(6, dtype=np.int8).reshape(2, 3)),
    ("value", np.array(1.5, np.float16), np.array(1.5, np.float16)),
    ("value", np.zeros((0, 2)), np.zeros((0, 2))),
]


@pytest.mark.parametrize(("name", "given", "wanted"), CONSTANTS)
def test_every_form_of_constant_node_is_a_constant(name: str, given: Any, wanted: Any) -> None:
    model = parse("g (float[1] x) => (c) { c = Constant() y = Relu(x) }")
    stored = numpy_helper.from_array(given) if isinstance(given, np.ndarray) else given
    model.graph.node[0].attribute.append(helper.make_attribute(name, stored))
    graph = main(model)
    value = out(graph.nodes[0])
    assert value.is_constant and not value.is_initializer
    assert value.array().dtype == wanted.dtype
    assert value.array().shape == wanted.shape
    assert value.array().tolist() == wanted.tolist()
    if wanted.dtype != object:
        assert value.nbytes == wanted.nbytes
        same = main("g (float[1] x) => (float[1] y) { y = Relu(x) }", c=wanted).initializers[0]
        assert value.digest() == same.digest()


def test_an_empty_list_of_ints_is_a_constant() -> None:
    model = parse("g (float[1] x) => (c) { c = Constant() y = Relu(x) }")
    model.graph.node[0].attribute.add(name="value_ints", type=AttributeProto.INTS)
    array = out(main(model).nodes[0]).array()
    assert array.shape == (0,) and array.dtype == np.int64


def test_a_sparse_constant_is_not_one() -> None:
    model = parse("g (float[1] x) => (c) { c = Constant() y = Relu(x) }")
    attribute = model.graph.node[0].attribute.add(
        name="sparse_value", type=AttributeProto.SPARSE_TENSOR
    )
    attribute.sparse_tensor.dims.append(3)
    attribute.sparse_tensor.values.CopyFrom(helper.make_tensor("", TensorProto.FLOAT, [1], [2.0]))
    node = main(model).nodes[0]
    assert node.is_opaque and not out(node).is_constant
    with pytest.raises(ValueError, match="not a constant"):
        out(node).array()


def test_a_constant_of_another_domain_is_not_one() -> None:
    model = parse(
        '<ir_version: 8, opset_import: ["": 17, "my": 1]> '
        "g (float[1] x) => (c) { c = my.Constant<value_int = 3>() y = Relu(x) }"
    )
    assert not out(main(model).nodes[0]).is_constant


def test_an_initializer_is_a_constant_and_an_input_is_not() -> None:
    graph = main(
        "g (float[2] x, float[2] d) => (float[2] y) { y = Sum(x, d, w) }",
        w=np.array([1.0, 2.0], np.float32),
        d=np.zeros(2, np.float32),
    )
    (w,) = graph.initializers
    assert w.is_constant and w.is_initializer and w.producer is None and w.nbytes == 8
    assert w.array().tolist() == [1.0, 2.0]
    for value in graph.inputs:
        assert not value.is_constant and value.nbytes is None
        with pytest.raises(ValueError, match="not a constant"):
            value.digest()


def test_attributes_are_plain_values() -> None:
    model = parse(
        "g (float[1] x) => (y) "
        '{ y = my.Op<i = 3, f = 1.5, s = "text", is = [1, 2], fs = [1.0, 2.0], ss = ["a"]>(x) }'
    )
    array = np.arange(3, dtype=np.int16)
    attributes = model.graph.node[0].attribute
    attributes.append(helper.make_attribute("t", numpy_helper.from_array(array, "t")))
    attributes.append(helper.make_attribute("raw", b"\xff\xfe"))
    (node,) = main(model).nodes
    found = dict(node.attributes)
    assert found.pop("t").tolist() == [0, 1, 2]
    assert found == {
        "i": 3, "f": 1.5, "s": "text", "is": [1, 2], "fs": [1.0, 2.0], "ss": ["a"],
        "raw": b"\xff\xfe",
    }  # fmt: skip
    assert node.attribute("i") == 3
    assert node.attribute("none") is None
    assert node.attribute("none", 5) == 5


def test_a_body_is_no_plain_attribute() -> None:
    node = main(BODIES, w=np.ones(4, np.float32)).nodes[1]
    assert not node.is_opaque
    assert node.attributes == {}
    assert node.attribute("then_branch", "default") == "default"
    assert set(node.bodies) == {"then_branch", "else_branch"}


FUNCTION = """<ir_version: 8, opset_import: ["": 17, "local": 1]>
agraph (float[2, 2] x) => (y) { y = local.f<ax = 1>(x) }
<domain: "local", opset_import: ["": 17]>
f <ax> (v) => (r) { r = Softmax<axis: int = @ax>(v) }
"""


def test_a_reference_to_a_functions_attribute_has_no_value() -> None:
    program = build(FUNCTION)
    (node,) = graph_view(program.functions[0], program).nodes
    assert node.is_opaque
    assert "axis" not in node.attributes
    try:
        found = node.attribute("axis", "default")
    except (GraphoptError, ValueError):
        return
    assert found == "default", "whatever the caller passes for @ax, this is not it"


@pytest.mark.parametrize("kind", [AttributeProto.TENSORS, AttributeProto.TYPE_PROTO])
def test_attributes_without_plain_values_make_a_node_opaque(kind: Any) -> None:
    model = parse("g (float[1] x) => (float[1] y) { y = Relu(x) }")
    model.graph.node[0].attribute.add(name="odd", type=kind)
    (node,) = main(model).nodes
    assert node.is_opaque and "odd" not in node.attributes


def test_another_domain_is_opaque() -> None:
    first, second = main("g (float[1] x) => (y) { s = com.my.Relu(x) y = Relu(s) }").nodes
    assert first.is_opaque and first.domain == "com.my"
    assert not second.is_opaque and second.domain == ""


def test_labels_name_the_node() -> None:
    model = parse("g (float[1] x) => (y) { s = Relu(x) y = Neg(s) }")
    model.graph.node[0].name = "first"
    relu, neg = main(model).nodes
    assert relu.label() == "Relu first"
    assert neg.label() == "Neg -> y"


def test_a_node_gives_its_message() -> None:
    model = parse("g (float[2] x) => (float[2] y) { y = ai.onnx.LeakyRelu<alpha = 0.5>(x) }")
    model.graph.node[0].name = "the node"
    (node,) = main(model).nodes
    proto = node.to_proto()
    assert (proto.op_type, proto.name, list(proto.input), list(proto.output)) == (
        "LeakyRelu", "the node", ["x"], ["y"],
    )  # fmt: skip
    assert proto.attribute == model.graph.node[0].attribute
    proto.attribute.pop()
    assert node.attribute("alpha") == 0.5, "it is a copy"


def test_a_snapshot_of_nodes_does_not_follow_edits() -> None:
    graph = main("g (float[1] x) => (y) { s = Relu(x) y = Neg(s) }")
    before = graph.nodes
    del graph.nodes[0].element.scope.nodes[graph.nodes[0].element]  # type: ignore[attr-defined]
    assert len(before) == 2 and len(graph.nodes) == 1


def test_opsets_by_domain() -> None:
    graph = main(
        '<ir_version: 8, opset_import: ["": 17, "my": 3]> g (float[1] x) => (y) { y = Relu(x) }'
    )
    assert (graph.opset(), graph.opset("my"), graph.opset("other")) == (17, 3, 0)


def test_replaceable_by_says_what_the_editor_would_say() -> None:
    graph = main(
        "g (float[2] x) => (float[2] y, float[2] z) { s = Relu(x) y = Neg(s) z = Abs(s) }",
        w=np.ones(2, np.float32),
    )
    s, y, z = (out(node) for node in graph.nodes)
    assert s.replaceable_by(graph.initializers[0]) is None
    assert y.replaceable_by(s) is None
    for old, new in ((y, z), (y, graph.inputs[0]), (y, graph.initializers[0])):
        refusal = old.replaceable_by(new)
        assert refusal is not None and refusal.reason


def test_a_value_of_a_body_is_not_visible_outside() -> None:
    graph = main(BODIES, w=np.ones(4, np.float32))
    inner = graph.nested()[1].outputs[0]
    outer = out(graph.nodes[0])
    assert outer.replaceable_by(inner) is not None
    refusal = inner.replaceable_by(outer)
    assert refusal is not None and "enclosing" in refusal.reason


def test_contract_imports_nothing_of_graphopt_or_the_graph_library() -> None:
    script = (
        "import sys, graphopt.contract\n"
        "names = [n for n in sys.modules if n.startswith(('onnx', 'graphopt.'))]\n"
        "print({'.'.join(n.split('.')[:2]) for n in names})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "{'graphopt.contract'}"


@pytest.mark.parametrize("node", ["y = MatMul(x)", "y = Conv(x)", "y = Relu()"])
def test_a_node_that_lacks_inputs_is_opaque(node: str) -> None:
    """No runtime takes it; passes need not count the inputs of every node they look at."""
    program = build(f"g (float[2] x) => (float[2] y) {{ {node} }}")
    (found,) = graph_view(program.main, program).nodes
    assert found.is_opaque
