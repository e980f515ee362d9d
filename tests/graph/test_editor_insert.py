from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from graphopt.graph import export_program
from graphopt.graph.check import broken
from graphopt.model.tensors import graph_tensors
from tests.build import parse
from tests.graph.edited import Edited

TEXT = """
agraph (float[N, 4] x, bool c) => (float[N, 4] y) {
  s = Neg(x)
  y = If (c) <
    then_branch = t () => (float[N, 4] a) { a = Relu(s) },
    else_branch = e () => (float[N, 4] b) { b = Abs(s) }
  >
}
"""


def every_name(model: ModelProto) -> list[str]:
    """Names of nodes and of the values they, inputs and initializers define, everywhere."""
    found: list[str] = [info.name for info in model.graph.input]
    graphs = [model.graph]
    while graphs:
        graph = graphs.pop()
        found += [t.name for t in graph.initializer]
        for node in graph.node:
            found += [node.name, *node.output]
            graphs += [a.g for a in node.attribute if a.HasField("g")]
    return [name for name in found if name]


def test_a_node_is_inserted_with_fresh_names_and_inferred_types() -> None:
    edited = Edited(TEXT)
    shape = edited.edit.constant(np.array([2, -1]), "shape", edited.graph)
    node = edited.edit.insert("Reshape", [edited.value("s"), shape], before=edited.node("If"))
    (output,) = node.outputs
    assert output is not None and output.name not in ("", "s", "y")
    assert node.name and node.op_type == "Reshape" and node.graph is edited.graph
    assert output.producer is node and output.dtype == np.float32
    assert output.shape is not None and output.shape[0] == 2
    assert [use.node.op_type for use in edited.value("s").readers] == ["Relu", "Abs", "Reshape"]


def test_it_stands_before_the_node_asked_for() -> None:
    edited = Edited("g (float[4] x) => (float[4] y) { a = Relu(x) b = Neg(x) y = Add(a, b) }")
    for op_type in ("Exp", "Floor"):
        edited.edit.insert(op_type, [edited.value("x")], before=edited.node("Neg"))
    ops = [node.op_type for node in edited.graph.nodes]
    assert ops == ["Relu", "Exp", "Floor", "Neg", "Add"]
    assert [line.split(" = ")[1][:4] for line in edited.text()] == [
        "Relu",
        "Exp(",
        "Floo",
        "Neg(",
        "Add(",
    ]


def test_it_stands_before_a_node_that_was_inserted_too() -> None:
    edited = Edited("g (float[4] x) => (float[4] y) { a = Neg(x) y = Relu(a) }")
    x, relu = edited.value("x"), edited.node("Relu")
    exp = edited.edit.insert("Exp", [x], before=relu)
    floor = edited.edit.insert("Floor", [x], before=exp)
    edited.edit.insert("Ceil", [x], before=exp)
    edited.edit.insert("Round", [x], before=floor)
    edited.edit.insert("Sign", [x], before=relu)
    ops = [node.op_type for node in edited.graph.nodes]
    assert ops == ["Neg", "Round", "Floor", "Ceil", "Exp", "Sign", "Relu"]


def test_several_outputs_attributes_and_omitted_inputs() -> None:
    edited = Edited("g (float[4] x) => (float[4] y) { y = Relu(x) }")
    split = edited.edit.insert(
        "Split", [edited.value("x"), None], before=edited.node("Relu"), outputs=2,
        attributes={"axis": 0}, hint="half",
    )  # fmt: skip
    names = [value.name for value in split.outputs if value is not None]
    assert len(set(names)) == 2 and all(name.startswith("half") for name in names)
    assert split.attributes == {"axis": 0}
    assert [value.shape for value in split.outputs if value is not None] == [(2,), (2,)]


def test_it_may_be_inserted_into_a_body_and_read_what_is_outside() -> None:
    edited = Edited(TEXT)
    relu = edited.node("Relu")
    node = edited.edit.insert("Exp", [edited.value("x")], before=relu)
    edited.edit.set_input(relu, 0, node.outputs[0])
    assert node.graph is edited.graph.nested()[1]
    edited.text()
    body = export_program(edited.program).proto.graph.node[1].attribute[0].g
    assert [n.op_type for n in body.node] == ["Exp", "Relu"]


def test_another_domain_is_kept() -> None:
    edited = Edited(
        '<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]> '
        "g (float[4] x) => (float[4] y) { y = Relu(x) }"
    )
    node = edited.edit.insert(
        "Gelu", [edited.value("x")], before=edited.node("Relu"), domain="com.microsoft"
    )
    assert node.domain == "com.microsoft" and node.is_opaque
    assert node.outputs[0] is not None and node.outputs[0].dtype is None
    assert export_program(edited.program).proto.graph.node[0].domain == "com.microsoft"


@pytest.mark.parametrize("op_type", ["NoSuchOp", "Reshape", "Split", "Loop"])
def test_a_node_that_makes_no_sense_is_inserted_with_unknown_types(op_type: str) -> None:
    edited = Edited("g (float[4] x) => (float[4] y) { y = Relu(x) }")
    node = edited.edit.insert(op_type, [], before=edited.node("Relu"))
    assert node.outputs[0] is not None and node.outputs[0].shape is None
    assert broken(edited.edit.touched)


def test_a_call_of_a_local_function_may_be_inserted() -> None:
    edited = Edited("""<ir_version: 8, opset_import: ["": 17, "local": 1]>
        g (float[2] x) => (float[2] y) { y = Relu(x) }
        <domain: "local", opset_import: ["": 17]> f (v) => (r) { r = Neg(v) }""")
    relu = edited.graph.nodes[0]
    node = edited.edit.insert("f", [edited.value("x")], before=relu, domain="local")
    edited.edit.set_input(relu, 0, node.outputs[0])
    assert broken(edited.edit.touched, edited.program.function_ids) == ""
    onnx.checker.check_model(export_program(edited.program).proto)


def test_fresh_names_clash_with_no_name_anywhere() -> None:
    # Every name that the editor would take first is in use: of a node, a body, a function.
    model = parse("""<ir_version: 8, opset_import: ["": 17, "local": 1]>
        agraph (float[4] x, bool c, float[4] y_Exp_1) => (float[4] y) {
          [y_Exp] s = local.f(x)
          y = If (c) <
            then_branch = t () => (float[4] a) { w = Neg(s) a = Relu(w) },
            else_branch = e () => (float[4] b) { [Exp_y_Exp_3] b = Add(s, w_2) }
          >
        }
        <domain: "local", opset_import: ["": 17]> f (v) => (r) { y_Exp_2 = Neg(v) r = Abs(y_Exp_2) }
    """)
    model.graph.node[1].attribute[1].g.initializer.append(
        onnx.numpy_helper.from_array(np.ones(4, np.float32), "w_2")
    )
    edited = Edited(model)
    before = every_name(model)
    assert len(before) == len(set(before))
    values = [edited.edit.constant(np.ones(4, np.float32), "w", edited.graph) for _ in range(3)]
    assert [value.name for value in values] == ["w_1", "w_3", "w_4"]
    for _ in range(3):
        edited.edit.insert("Exp", [edited.value("x")], before=edited.node("If"))
    after = every_name(export_program(edited.program).proto)
    # Three constants, three results, and three nodes that are named after them.
    assert len(after) == len(before) + 3 + 2 * 3
    assert len(set(after)) == len(before) + 3 + 3
    taken = {n for f in model.functions for node in f.node for n in node.output}
    assert not taken & (set(after) - set(before))


def test_a_fresh_name_is_not_given_again_after_an_undo() -> None:
    edited = Edited("g (float[4] x) => (float[4] y) { y = Relu(x) }")
    first = edited.edit.constant(np.zeros(1), "w", edited.graph).name
    edited.transaction.undo()
    edited.transaction.changes.clear()
    second = edited.edit.constant(np.ones(1), "w", edited.graph).name
    assert first != second
    edited.edit.remove_initializer(edited.value(second))
    assert not list(graph_tensors(export_program(edited.program).proto.graph))
