from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from graphopt.errors import EditRefused
from graphopt.graph import build_program, export_program, export_types, graph_view
from graphopt.model import Model
from tests.build import parse
from tests.graph.edited import Edited

BODIES = """
agraph (float[4] x, bool c) => (float[4] y) {
  s = Neg(x)
  t = Exp(s)
  y = If (c) <
    then_branch = t () => (float[4] a) { i = Relu(s) a = Add(i, t) },
    else_branch = e () => (float[4] b) { b = Identity(s) }
  >
}
"""


def rebuilt(model: ModelProto) -> ModelProto:
    return export_program(build_program(Model(model)), rebuild=True).proto


def adorned() -> ModelProto:
    """A model with something in every corner that a linked graph does not hold."""
    model = parse(
        """<ir_version: 10, opset_import: ["": 21, "local": 1], producer_name: "vendor",
            producer_version: "1.2", model_version: 7, doc_string: "words",
            domain: "com.vendor">
        agraph (float[N, 4] x, float[4] d) => (float[N, 4] y) <float[N, 4] s> {
          s = Add(x, w)
          r = local.f(s)
          q = Sum(r, d, p)
          c = Constant<value = float[4] {1.0, 2.0, 3.0, 4.0}>()
          y = Sub(q, c)
        }
        <domain: "local", opset_import: ["": 21], doc_string: "a function">
        f (v) => (o) { n = Neg(v) o = Abs(n) }""",
        w=np.ones(4, np.float32),
        d=np.zeros(4, np.float32),
        unused=np.zeros(2, np.int64),
    )
    model.metadata_props.add(key="author", value="ä")
    model.training_info.add().algorithm.node.add(op_type="Neg", input=["a"], output=["b"])
    graph = model.graph
    graph.doc_string = "graph words"
    graph.metadata_props.add(key="k", value="v")
    graph.quantization_annotation.add(tensor_name="s").quant_parameter_tensor_names.add(
        key="SCALE_TENSOR", value="w"
    )
    sparse = graph.sparse_initializer.add(dims=[4])
    sparse.values.CopyFrom(helper.make_tensor("p", TensorProto.FLOAT, [1], [2.0]))
    sparse.indices.CopyFrom(helper.make_tensor("", TensorProto.INT64, [1], [3]))
    for node in (*graph.node, *model.functions[0].node):
        node.doc_string = f"why {node.op_type}"
        node.metadata_props.add(key="namespace", value=node.op_type)
        node.name = f"the {node.op_type}"
    graph.node[1].overload = "special"
    model.functions[0].overload = "special"
    model.functions[0].metadata_props.add(key="f", value="g")
    model.functions[0].value_info.add(name="n").doc_string = "inside"
    graph.input[0].doc_string = "input words"
    graph.input[0].metadata_props.add(key="unit", value="m")
    graph.initializer[0].doc_string = "weight words"
    graph.initializer[2].metadata_props.add(key="kept", value="though unused")
    return model


def with_unknown_fields() -> ModelProto:
    """What a newer ONNX may have added to every message."""
    text = adorned()
    later = b"\xfa\x3e\x05later"  # field 1007, bytes
    for part in (
        text.graph.node[0], text.graph.node[0], text.graph, text.functions[0],
        text.graph.initializer[0], text.graph.input[0], text.graph.value_info[0], text,
    ):  # fmt: skip
        part.MergeFromString(later)
    return text


def test_nothing_is_lost_when_every_scope_is_written_anew() -> None:
    assert rebuilt(adorned()) == adorned()


def test_fields_of_a_newer_onnx_are_kept() -> None:
    model = with_unknown_fields()
    wanted = model.SerializeToString(deterministic=True)
    assert wanted.count(b"later") == 8
    assert rebuilt(model).SerializeToString(deterministic=True) == wanted


def test_text_that_is_not_utf8_survives() -> None:
    # Vendors write doc strings in GBK or Latin-1; protobuf hands such text out as bytes.
    text = adorned().SerializeToString()
    for word in (
        b"vendor",
        b"words",
        b"why Add",
        b"why Neg",
        b"a function",
        b"author",
    ):
        assert word in text
        text = text.replace(word, word[:-1] + b"\xe9")
    model = ModelProto.FromString(text)
    assert rebuilt(model).SerializeToString() == model.SerializeToString()
    edited = Edited(model)
    edited.edit.set_input(edited.node("Sum"), 0, edited.value("x"))
    after = export_program(edited.program).proto.SerializeToString()
    assert after.count(b"\xe9") == text.count(b"\xe9")


def test_bodies_are_rebuilt_with_all_they_hold() -> None:
    model = parse(BODIES)
    body = model.graph.node[2].attribute[0].g
    body.doc_string, body.name = "words", "a name"
    body.value_info.append(helper.make_tensor_value_info("i", TensorProto.FLOAT, [4]))
    model.graph.node[2].attribute[0].doc_string = "attribute words"
    assert rebuilt(model) == model


def test_the_very_model_comes_back_when_nothing_was_edited() -> None:
    edited = Edited(adorned())
    assert export_program(edited.program) is edited.program.model
    edited.edit.constant(np.ones(1), "w", edited.graph)
    assert export_program(edited.program) is not edited.program.model
    edited.transaction.undo()
    assert export_program(edited.program) is edited.program.model


def test_untouched_nodes_are_written_verbatim_beside_edited_ones() -> None:
    edited = Edited(with_unknown_fields())
    edited.edit.replace(edited.value("q"), edited.value("r"))
    edited.edit.remove(edited.node("Sum"))
    before, after = edited.program.model.proto, export_program(edited.program).proto
    kept = {node.op_type: node for node in before.graph.node}
    assert [node.op_type for node in after.graph.node] == ["Add", "f", "Constant", "Sub"]
    for node in after.graph.node[:3]:
        assert node == kept[node.op_type]
    edge = after.graph.node[3]
    assert list(edge.input) == ["r", "c"]
    assert (edge.doc_string, edge.name) == ("why Sub", "the Sub")
    assert edge.metadata_props == kept["Sub"].metadata_props
    assert after.functions == before.functions
    stripped = [type(m)() for m in (before, after)]
    for copy, message in zip(stripped, (before, after), strict=True):
        copy.CopyFrom(message)
        del copy.graph.node[:]
    assert stripped[0].SerializeToString() == stripped[1].SerializeToString()


def test_an_edited_calls_overload_is_kept() -> None:
    edited = Edited(adorned())
    edited.edit.set_input(edited.node("f"), 0, edited.value("x"))
    assert export_program(edited.program).proto.graph.node[1].overload == "special"


def test_an_edit_in_a_function_writes_it_anew_and_keeps_the_rest() -> None:
    edited = Edited(adorned())
    function = graph_view(edited.program.functions[0], edited.program)
    edited.edit.replace(function.outputs[0], function.nodes[0].outputs[0])  # type: ignore[arg-type]
    edited.edit.remove(function.nodes[1])
    before, after = edited.program.model.proto, export_program(edited.program).proto
    assert after.graph == before.graph
    written = after.functions[0]
    assert [(n.op_type, list(n.output)) for n in written.node] == [("Neg", ["o"])]
    assert (written.doc_string, written.overload) == ("a function", "special")
    assert written.metadata_props == before.functions[0].metadata_props


def test_declared_types_and_annotations_of_removed_values_go() -> None:
    edited = Edited(adorned())
    edited.edit.replace(edited.value("s"), edited.value("x"))
    edited.edit.remove(edited.node("Add"))
    graph = export_program(edited.program).proto.graph
    assert not graph.value_info
    assert not graph.quantization_annotation


def test_the_declared_type_of_a_value_that_took_anothers_name_goes() -> None:
    edited = Edited("g (float[4] x) => (float[4] y) <float[4] s> { s = Relu(x) y = Identity(s) }")
    edited.edit.replace(edited.value("y"), edited.value("s"))
    edited.edit.remove(edited.node("Identity"))
    assert not export_program(edited.program).proto.graph.value_info
    assert edited.graph.element.look_up("s") is None  # type: ignore[attr-defined]


def test_a_removed_initializer_goes_and_the_others_keep_their_order() -> None:
    edited = Edited(
        "g (float[1] x, float[1] d) => (y) { y = Sum(x, a, c, d) }",
        **{name: np.ones(1, np.float32) for name in "abcd"},
    )
    edited.edit.remove_initializer(edited.value("b"))
    edited.edit.constant(np.zeros(1), "e", edited.graph)
    names = [t.name for t in export_program(edited.program).proto.graph.initializer]
    assert names == ["a", "c", "d", "e"]


def order(edited: Edited) -> list[str]:
    return [node.op_type for node in export_program(edited.program).proto.graph.node]


def test_edited_graphs_are_in_topological_order() -> None:
    edited = Edited("g (float[4] x) => (float[4] y) { a = Relu(x) y = Neg(a) b = Exp(x) }")
    edited.edit.set_input(edited.node("Relu"), 0, edited.value("b"))
    assert order(edited) == ["Exp", "Relu", "Neg"]
    edited.text()


def test_a_bodys_reads_count_for_the_order() -> None:
    edited = Edited(BODIES.replace("t = Exp(s)", "t = Exp(s) z = Floor(x)"))
    floor, relu = edited.node("Floor"), edited.node("Relu")
    edited.edit.set_input(edited.node("Exp"), 0, floor.outputs[0])
    edited.edit.set_input(relu, 0, edited.value("t"))
    assert order(edited) == ["Neg", "Floor", "Exp", "If"]
    edited.text()


def test_so_does_what_a_body_gives_back_as_it_is() -> None:
    edited = Edited("""g (float[4] x, bool c) => (float[4] y) {
      y = If (c) <then_branch = t () => (s) {}, else_branch = e () => (b) { b = Exp(x) }>
      s = Neg(x)
    }""")
    edited.edit.constant(np.ones(1), "w", edited.graph)
    assert order(edited) == ["Neg", "If"]


def test_a_file_that_was_out_of_order_is_sorted_once_edited() -> None:
    edited = Edited("g (float[4] x) => (float[4] y) { y = Neg(s) s = Exp(r) r = Abs(x) }")
    assert order(edited) == ["Neg", "Exp", "Abs"]
    edited.edit.constant(np.ones(1), "w", edited.graph)
    assert order(edited) == ["Abs", "Exp", "Neg"]


@pytest.mark.parametrize(
    ("reader", "value"), [("Relu", "y"), ("Relu", "a"), ("Neg", "y"), ("Relu", "b")]
)
def test_a_cycle_is_refused(reader: str, value: str) -> None:
    edited = Edited("g (float[4] x) => (float[4] y) { a = Relu(x) b = Neg(a) y = Abs(b) }")
    edited.edit.set_input(edited.node(reader), 0, edited.value(value))
    with pytest.raises(EditRefused, match="cycle"):
        export_program(edited.program)
    edited.transaction.undo()
    assert export_program(edited.program) is edited.program.model


def test_a_cycle_through_a_body_is_refused() -> None:
    edited = Edited(BODIES)
    edited.edit.set_input(edited.node("Relu"), 0, edited.value("y"))
    with pytest.raises(EditRefused, match="cycle"):
        export_program(edited.program)


def test_a_cycle_in_a_body_or_function_is_refused() -> None:
    inside = Edited(BODIES)
    inside.edit.set_input(inside.node("Relu"), 0, inside.value("a"))
    function = Edited(adorned())
    nodes = graph_view(function.program.functions[0], function.program).nodes
    function.edit.set_input(nodes[0], 0, nodes[1].outputs[0])
    for edited in (inside, function):
        with pytest.raises(EditRefused, match="cycle"):
            export_program(edited.program)


def test_trailing_omitted_inputs_stay_where_nothing_was_edited() -> None:
    text = 'g (float[4] x) => (float[4] y) { a = Clip(x, "", "") y = Relu(a) }'
    edited = Edited(text)
    assert rebuilt(parse(text)) == parse(text)
    edited.edit.set_input(edited.node("Relu"), 0, edited.value("x"))
    assert list(export_program(edited.program).proto.graph.node[0].input) == ["x", "", ""]


def test_types_alone_leave_the_weights_out() -> None:
    big: Any = np.ones((64, 1024), np.float32)
    edited = Edited(
        "g (float[N, 64] x) => (y) { s = MatMul(x, w) y = Reshape(s, t) }",
        w=big, t=np.array([2, -1]),
    )  # fmt: skip
    types = export_types(edited.program)
    assert types.ByteSize() < 1000
    w, t = types.graph.initializer
    assert (w.name, list(w.dims), w.data_type) == ("w", [64, 1024], TensorProto.FLOAT)
    assert not w.raw_data
    assert onnx.numpy_helper.to_array(t).tolist() == [2, -1]
    assert edited.program.model.proto.graph.initializer[0].raw_data == big.tobytes()
