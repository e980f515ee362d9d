"""What a copied body is called, what moves along with it, and what cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, SparseTensorProto, TensorProto, helper, numpy_helper

from graphopt.errors import EditRefused
from graphopt.graph import export_program, graph_view
from tests.build import parse
from tests.graph.edited import Edited

BRANCH = """agraph (float[4] x, bool c) => (float[4] y) {{
  {before}
  o = If (c) <
    then_branch = t () => (float[4] p) {{ {then} }},
    else_branch = e () => (float[4] q) {{ {other} }}
  >
  y = Neg(o)
}}"""


def branch(then: str, *, before: str = "", other: str = "q = Abs(x)", **rows: Any) -> Edited:
    return Edited(BRANCH.format(before=before, then=then, other=other), **rows)


def test_names_that_no_other_graph_has_are_kept() -> None:
    edited = branch("s = Relu(x) p = Exp(s)")
    node = edited.node("If")
    (result,) = edited.edit.inline(node, node.bodies["then_branch"])
    output = node.outputs[0]
    assert output is not None
    edited.edit.replace(output, result)
    edited.edit.remove(node)
    assert edited.text() == ["s = Relu(x)", "p = Exp(s)", "y = Neg(p)"]


@pytest.mark.parametrize(
    ("before", "other", "name"),
    [
        ("s = Sqrt(x)", "q = Add(s, x)", "s_1"),  # of the main graph
        ("", "s = Sqrt(x) q = Add(s, x)", "s_1"),  # of the other branch
        ("s_1 = Sqrt(x)", "s = Add(s_1, x) q = Abs(s)", "s_2"),  # the first fresh one, too
    ],
)
def test_names_that_others_have_are_not_taken_from_them(before: str, other: str, name: str) -> None:
    edited = branch("s = Relu(x) p = Exp(s)", before=before, other=other)
    node = edited.node("If")
    (result,) = edited.edit.inline(node, node.bodies["then_branch"])
    names = [value.name for n in edited.graph.nodes for value in n.outputs if value is not None]
    assert len(names) == len(set(names))
    assert result.name == "p"
    renamed = next(n for n in edited.graph.nodes if n.op_type == "Relu").outputs[0]
    assert renamed is not None
    assert renamed.name == name


def test_what_a_deeper_body_reads_is_renamed_there() -> None:
    edited = branch(
        "s = Relu(x) p = If (c) < then_branch = i () => (float[4] k) { k = Exp(s) },"
        " else_branch = j () => (float[4] l) { l = Log(s) } >",
        before="s = Sqrt(x)",
        other="q = Add(s, x)",
    )
    node = next(n for n in edited.graph.nodes if n.bodies)
    (result,) = edited.edit.inline(node, node.bodies["then_branch"])
    output = node.outputs[0]
    assert output is not None
    edited.edit.replace(output, result)
    edited.edit.remove(node)
    inner = edited.node("Exp")
    read = inner.inputs[0]
    assert read is not None
    assert read.producer is not None
    assert (read.producer.op_type, read.graph) == ("Relu", edited.graph)
    proto = export_program(edited.program).proto
    body = next(n for n in proto.graph.node if n.op_type == "If").attribute[0].g
    assert body.node[0].input == [read.name]


def with_initializer(name: str, *, ir: int = 8) -> Edited:
    model = parse(BRANCH.format(before="", then=f"p = Add(x, {name})", other=f"q = Sub(x, {name})"))
    model.ir_version = ir
    for attribute in model.graph.node[0].attribute:
        row = np.arange(4, dtype=np.float32) + len(attribute.name)
        attribute.g.initializer.append(numpy_helper.from_array(row, name))
    return Edited(model)


def test_initializers_move_along() -> None:
    edited = with_initializer("w")
    node = edited.node("If")
    (result,) = edited.edit.inline(node, node.bodies["then_branch"])
    reader = result.producer
    assert reader is not None
    moved = reader.inputs[1]
    assert moved is not None
    assert moved.is_initializer
    assert (moved.name != "w", moved.graph) == (True, edited.graph)  # the other branch has a w
    assert moved.array().tolist() == [11, 12, 13, 14]
    assert (moved.dtype, moved.shape) == (np.dtype(np.float32), (4,))


def test_initializers_become_constant_nodes_where_none_are_stored() -> None:
    text = """<ir_version: 8, opset_import: ["": 17, "local": 1]>
    agraph (float[4] x, bool c) => (float[4] y) { y = local.f(x, c) }
    <domain: "local", opset_import: ["": 17]>
    f (x, c) => (o) {
      o = If (c) < then_branch = t () => (float[4] p) { p = Add(x, w) },
                   else_branch = e () => (float[4] q) { q = Abs(x) } >
    }"""
    model = parse(text)
    body = model.functions[0].node[0].attribute[0].g
    body.initializer.append(numpy_helper.from_array(np.ones(4, np.float32), "w"))
    edited = Edited(model)
    function = graph_view(edited.program.functions[0], edited.program)
    node = function.nodes[0]
    (result,) = edited.edit.inline(node, node.bodies["then_branch"])
    output = node.outputs[0]
    assert output is not None
    edited.edit.replace(output, result)
    edited.edit.remove(node)
    assert [n.op_type for n in function.nodes] == ["Constant", "Add"]
    edited.text()


def test_a_sparse_initializer_becomes_a_sparse_constant() -> None:
    model = parse(BRANCH.format(before="", then="p = Add(x, w)", other="q = Abs(x)"))
    sparse = SparseTensorProto(dims=[4])
    sparse.values.CopyFrom(numpy_helper.from_array(np.array([7.0], np.float32), "w"))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.array([2])))
    model.graph.node[0].attribute[0].g.sparse_initializer.append(sparse)
    edited = Edited(model)
    node = edited.node("If")
    (result,) = edited.edit.inline(node, node.bodies["then_branch"])
    output = node.outputs[0]
    assert output is not None
    edited.edit.replace(output, result)
    edited.edit.remove(node)
    proto = export_program(edited.program).proto
    constant = next(n for n in proto.graph.node if n.op_type == "Constant")
    assert constant.output == ["w"]
    assert constant.attribute[0].sparse_tensor == sparse


def test_types_are_kept_and_captured_values_come_out_as_they_are() -> None:
    edited = branch("p = Identity(x)")
    node = edited.node("If")
    (result,) = edited.edit.inline(node, node.bodies["then_branch"])
    assert (result.dtype, result.shape) == (np.dtype(np.float32), (4,))
    captured = parse(BRANCH.format(before="", then="p = Relu(x)", other="q = Abs(x)"))
    body = captured.graph.node[0].attribute[0].g
    body.output[0].name = "x"
    edited = Edited(captured)
    node = edited.node("If")
    (result,) = edited.edit.inline(node, node.bodies["then_branch"])
    assert result is edited.graph.inputs[0]


def annotate(body: onnx.GraphProto) -> None:
    note = body.quantization_annotation.add(tensor_name="p")
    note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="p")


def list_of_graphs(body: onnx.GraphProto) -> None:
    node = helper.make_node("Odd", ["x"], ["odd"], domain="other")
    graph = helper.make_graph([], "g", [], [])
    node.attribute.append(AttributeProto(name="gs", type=AttributeProto.GRAPHS, graphs=[graph]))
    body.node.append(node)


def undefined(body: onnx.GraphProto) -> None:
    body.node.append(helper.make_node("Relu", ["nowhere"], ["unread"]))


def outer_output(body: onnx.GraphProto) -> None:
    info = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])
    inner = helper.make_graph([], "inner", [], [info])
    body.node.append(
        helper.make_node("If", ["c"], ["unread"], then_branch=inner, else_branch=inner)
    )


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (annotate, "quantization annotations"),
        (list_of_graphs, "a list of graphs"),
        (undefined, "nobody defines 'nowhere'"),
        (outer_output, "a value of another graph"),
    ],
)
def test_what_is_known_by_name_alone_is_not_moved(
    spoil: Callable[[onnx.GraphProto], None], reason: str
) -> None:
    model = parse(BRANCH.format(before="", then="p = Relu(x)", other="q = Abs(x)"))
    spoil(model.graph.node[0].attribute[0].g)
    edited = Edited(model)
    node = next(n for n in edited.graph.nodes if n.op_type == "If")
    with pytest.raises(EditRefused, match=reason):
        edited.edit.inline(node, node.bodies["then_branch"])
    assert not edited.transaction.changes
