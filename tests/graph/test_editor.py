from __future__ import annotations

import re

import numpy as np
import onnx
import pytest

from graphopt.errors import EditRefused, ModelError
from graphopt.graph import export_program, graph_view
from tests.build import parse
from tests.graph.edited import Edited

CHAIN = "g (float[4] x) => (float[4] y) { a = Relu(x) b = Neg(a) y = Abs(b) }"
BODIES = """
agraph (float[4] x, bool c) => (float[4] y) {
  s = Neg(x)
  t = If (c) <
    then_branch = t () => (float[4] a) { i = Relu(s) a = Add(i, s) },
    else_branch = e () => (float[4] b) { b = Identity(s) }
  >
  y = Relu(s)
}
"""


def test_replace_lets_every_reader_read_the_other_value() -> None:
    edited = Edited(CHAIN)
    edited.edit.replace(edited.value("b"), edited.value("a"))
    edited.edit.remove(edited.node("Neg"))
    assert edited.text() == ["a = Relu(x)", "y = Abs(a)"]
    assert not edited.value("a").is_graph_output


def test_replace_moves_every_use_in_every_body() -> None:
    edited = Edited(BODIES)
    edited.edit.replace(edited.value("s"), edited.value("x"))
    assert [(u.node.op_type, u.index) for u in edited.value("x").readers] == [
        ("Neg", 0),
        ("Relu", 0),
        ("Add", 1),
        ("Identity", 0),
        ("Relu", 0),
    ]
    assert edited.value("s").readers == ()


def test_a_graph_output_keeps_its_name_when_replaced() -> None:
    edited = Edited(CHAIN)
    edited.edit.replace(edited.value("y"), edited.value("b"))
    edited.edit.remove(edited.node("Abs"))
    assert edited.text() == ["a = Relu(x)", "y = Neg(a)"]
    assert edited.graph.outputs[0].name == "y"
    producer = edited.graph.outputs[0].producer
    assert producer is not None and producer.op_type == "Neg"


def test_the_others_readers_follow_when_it_takes_over_an_output() -> None:
    edited = Edited(
        "g (float[4] x) => (float[4] y, float[4] z) "
        "{ a = Relu(x) y = Identity(a) z = Sum(a, a, y) }"
    )
    edited.edit.replace(edited.value("y"), edited.value("a"))
    edited.edit.remove(edited.node("Identity"))
    assert edited.text() == ["y = Relu(x)", "z = Sum(y, y, y)"]


def test_a_producer_with_another_output_reads_on() -> None:
    edited = Edited("g (float[4] x) => (float[4] y, bool[4] z) { s = Relu(x) y, z = Dropout(s) }")
    edited.edit.replace(edited.value("y"), edited.value("s"))
    first, second = edited.text()
    assert first == "y = Relu(x)"
    # Runtimes count on a required output: it gets another name, nobody reads it.
    assert re.fullmatch(r"\w+, z = Dropout\(y\)", second)


def test_a_bodys_output_keeps_its_name_too() -> None:
    edited = Edited(BODIES)
    edited.edit.replace(edited.value("a"), edited.value("i"))
    edited.edit.remove(edited.node("Add"))
    edited.text()
    proto = export_program(edited.program).proto
    body = next(a.g for a in proto.graph.node[1].attribute if a.name == "then_branch")
    assert [list(n.output) for n in body.node] == [["a"]]


REFUSED = {
    "itself": ("b", "b"),
    "output by input": ("y", "x"),
    "output by initializer": ("y", "w"),
    "output by output": ("y", "z"),
    "output by a value outside": ("body", "a"),
    "outer by inner": ("a", "inner"),
    "inner by a sibling's": ("inner", "other"),
    "input that is an output": ("p", "a"),
    "initializer that is an output": ("w", "a"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_replace_refuses_and_changes_nothing(case: str) -> None:
    text = """
    g (float[4] x, float[4] p, bool c) => (float[4] y, float[4] z, float[4] p, float[4] w) {
      a = Relu(x) b = Neg(a) y = Abs(b)
      z = If (c) <
        then_branch = t () => (float[4] body) { inner = Exp(x) body = Floor(inner) },
        else_branch = e () => (float[4] e) { other = Ceil(x) e = Round(other) }
      >
    }"""
    edited = Edited(text, w=np.ones(4, np.float32))
    old, new = (edited.value(name) for name in REFUSED[case])
    if case != "itself":
        assert old.replaceable_by(new) is not None
    with pytest.raises(EditRefused):
        edited.edit.replace(old, new)
    assert not edited.transaction.changes
    assert export_program(edited.program) is edited.program.model


def test_remove_refuses_while_something_reads_it() -> None:
    edited = Edited(BODIES)
    for op_type, name in (("Neg", "s"), ("Add", "a")):
        with pytest.raises(EditRefused, match=f"'{name}' is still read"):
            edited.edit.remove(edited.node(op_type))
    assert not edited.transaction.changes


def test_of_two_equal_nodes_the_one_meant_is_removed() -> None:
    model = parse("g (float[4] x) => (y) { y = Neg(x) }")
    for _ in range(3):
        model.graph.node.add(op_type="Print", domain="my", input=["x"])
    edited = Edited(model)
    first, second, third = edited.graph.nodes[1:]
    edited.edit.remove(second)
    assert list(edited.graph.nodes[1:]) == [first, third]
    assert [use.node for use in edited.value("x").readers] == [edited.graph.nodes[0], first, third]


def test_remove_frees_what_its_bodies_read() -> None:
    edited = Edited(BODIES)
    edited.edit.remove(edited.node("If"))
    assert [use.node.op_type for use in edited.value("s").readers] == ["Relu"]
    assert edited.text() == ["s = Neg(x)", "y = Relu(s)"]


def test_remove_checks_every_output() -> None:
    edited = Edited("g (float[4] x) => (y) { a, b = Split(x) y = Relu(b) }")
    with pytest.raises(EditRefused, match="'b'"):
        edited.edit.remove(edited.node("Split"))


def test_remove_initializer_refuses_while_read_and_what_is_none() -> None:
    edited = Edited(
        "g (float[4] x, float[4] d) => (float[4] y, float[4] o) { y = Sum(x, w, d) }",
        w=np.ones(4, np.float32),
        d=np.ones(4, np.float32),
        o=np.ones(4, np.float32),
        free=np.ones(4, np.float32),
    )
    for name in ("w", "d", "o", "y"):
        with pytest.raises(EditRefused):
            edited.edit.remove_initializer(edited.value(name))
    edited.edit.remove_initializer(edited.value("free"))
    assert [t.name for t in export_program(edited.program).proto.graph.initializer] == [
        "w", "d", "o",
    ]  # fmt: skip


def test_set_input_rewires_lengthens_and_trims() -> None:
    edited = Edited("g (float[4] x) => (float[4] y) { a = Neg(x) y = Clip(a) }")
    clip, limit = (
        edited.node("Clip"),
        edited.edit.constant(np.array(6, np.float32), "limit", edited.graph),
    )
    edited.edit.set_input(clip, 2, limit)
    assert edited.text()[1] == "y = Clip(a, , limit)"
    edited.edit.set_input(clip, 0, edited.value("x"))
    edited.edit.remove(edited.node("Neg"))
    edited.edit.set_input(clip, 2, None)
    assert edited.text() == ["y = Clip(x)"]
    assert limit.readers == ()


def test_set_attribute_sets_and_removes() -> None:
    edited = Edited("g (float[4, 4] x) => (y) { y = Gemm<transA = 1, alpha = 2.0>(x, x) }")
    gemm = edited.node("Gemm")
    edited.edit.set_attribute(gemm, "transA", 0)
    edited.edit.set_attribute(gemm, "alpha", None)
    edited.edit.set_attribute(gemm, "beta", 0.5)
    assert dict(gemm.attributes) == {"transA": 0, "beta": 0.5}
    (node,) = export_program(edited.program).proto.graph.node
    assert {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute} == {
        "transA": 0,
        "beta": 0.5,
    }


def test_set_attribute_refuses_bodies_and_what_does_not_fit() -> None:
    edited = Edited(BODIES)
    for name, value in (("then_branch", None), ("then_branch", 1), ("new", object())):
        with pytest.raises(EditRefused, match=name):
            edited.edit.set_attribute(edited.node("If"), name, value)
    assert not edited.transaction.changes


def test_constant_is_an_initializer_of_the_graph_asked_for() -> None:
    edited = Edited(BODIES)
    body = edited.graph.nested()[1]
    for graph in (edited.graph, body):
        value = edited.edit.constant(np.arange(4, dtype=np.float32), "s", graph)
        assert value.is_initializer and value.graph is graph
        assert value.name not in ("s", "")
        edited.edit.set_input(graph.nodes[0], 0, value)
    edited.text()
    proto = export_program(edited.program).proto
    assert [t.name for t in proto.graph.initializer] == ["s_1"]
    assert [t.name for t in proto.graph.node[1].attribute[0].g.initializer] == ["s_2"]


def test_constant_refuses_what_onnx_cannot_store() -> None:
    edited = Edited(CHAIN)
    with pytest.raises(ModelError):
        edited.edit.constant(np.zeros(2, np.longdouble), "w", edited.graph)
    assert not edited.transaction.changes


def test_old_files_get_constant_nodes() -> None:
    model = parse(CHAIN)
    model.ir_version = 3
    edited = Edited(model)
    value = edited.edit.constant(np.ones(4, np.float32), "w", edited.graph)
    assert value.is_constant and not value.is_initializer
    assert (value.dtype, value.shape) == (np.dtype(np.float32), (4,))
    edited.edit.set_input(edited.node("Neg"), 0, value)
    edited.edit.remove(edited.node("Relu"))
    assert edited.text() == ["w = Constant()", "b = Neg(w)", "y = Abs(b)"]


def test_functions_get_constant_nodes() -> None:
    edited = Edited("""<ir_version: 8, opset_import: ["": 17, "local": 1]>
        g (float[2] x) => (float[2] y) { y = local.f(x) }
        <domain: "local", opset_import: ["": 17]> f (v) => (r) { s = Neg(v) r = Abs(s) }""")
    function = graph_view(edited.program.functions[0], edited.program)
    value = edited.edit.constant(np.ones(2, np.float32), "v", function)
    assert value.name == "v_1" and not value.is_initializer
    edited.edit.set_input(function.nodes[-1], 0, value)
    edited.edit.remove(next(n for n in function.nodes if n.op_type == "Neg"))
    proto = export_program(edited.program).proto
    onnx.checker.check_model(proto)
    assert [n.op_type for n in proto.functions[0].node] == ["Constant", "Abs"]
    assert proto.graph == edited.program.model.proto.graph
