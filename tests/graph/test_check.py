from __future__ import annotations

import pytest

from graphopt.graph.check import broken
from graphopt.graph.views import NodeHandle
from tests.graph.edited import Edited

TEXT = """
agraph (float[4] x, bool c) => (float[4] y, float[4] z) {
  a = Relu(x)
  y = If (c) <
    then_branch = t () => (float[4] p) { i = Neg(a) p = Abs(i) },
    else_branch = e () => (float[4] q) { j = Exp(a) q = Floor(j) }
  >
  z = Clip(a)
}
"""


def whole(edited: Edited) -> str:
    """What is wrong anywhere, touched or not."""
    nodes = [n for graph in edited.graph.nested() for n in graph.nodes if isinstance(n, NodeHandle)]
    return broken([node.element for node in nodes])


def test_a_whole_graph_is_not_broken() -> None:
    edited = Edited(TEXT)
    assert whole(edited) == ""
    assert broken([]) == ""


def test_an_input_that_was_removed_is_named() -> None:
    edited = Edited(TEXT)
    other = Edited(TEXT)
    edited.edit.set_input(edited.node("Clip"), 0, other.value("a"))
    problem = broken(edited.edit.touched)
    assert "Clip" in problem and "'a'" in problem


@pytest.mark.parametrize(("op_type", "value"), [("Clip", "i"), ("Floor", "i"), ("Relu", "j")])
def test_an_input_out_of_a_body_is_not_visible_outside_it(op_type: str, value: str) -> None:
    edited = Edited(TEXT)
    edited.edit.set_input(edited.node(op_type), 0, edited.value(value))
    problem = broken(edited.edit.touched)
    assert op_type in problem and f"'{value}' is not defined there" in problem


def test_an_input_of_the_main_graph_is_visible_in_a_body() -> None:
    edited = Edited(TEXT)
    edited.edit.set_input(edited.node("Neg"), 0, edited.value("x"))
    assert broken(edited.edit.touched) == ""


def test_a_value_that_a_bodys_own_name_hides_is_not_visible_there() -> None:
    edited = Edited(TEXT.replace("i = Neg(a) p = Abs(i)", "x = Neg(a) p = Abs(x)"))
    outer = next(value for value in edited.graph.inputs if value.name == "x")
    edited.edit.set_input(edited.node("Abs"), 0, outer)
    assert broken(edited.edit.touched), "exported, Abs would read the inner x"


@pytest.mark.parametrize(("index", "wanted"), [(1, ""), (2, ""), (3, "4 inputs")])
def test_the_number_of_inputs_is_the_schemas(index: int, wanted: str) -> None:
    edited = Edited(TEXT)
    edited.edit.set_input(edited.node("Clip"), index, edited.value("a"))
    problem = broken(edited.edit.touched)
    assert wanted in problem and bool(problem) == bool(wanted)


def test_an_input_that_is_needed_may_not_go() -> None:
    edited = Edited(TEXT)
    edited.edit.set_input(edited.node("Clip"), 0, None)
    assert broken(edited.edit.touched)


def test_a_needed_input_may_not_be_left_out_in_the_middle() -> None:
    edited = Edited("g (float[4] x) => (y) { a = Relu(x) y = Add(a, x) }")
    edited.edit.set_input(edited.node("Add"), 0, None)
    assert broken(edited.edit.touched)


def test_a_new_node_must_be_one_of_this_opset() -> None:
    old = '<ir_version: 8, opset_import: ["": 9]> g (float[4] x) => (y) { y = Relu(x) }'
    for text, op_type, good in ((TEXT, "HardSwish", True), (old, "HardSwish", False)):
        edited = Edited(text)
        edited.edit.insert(op_type, [edited.value("x")], before=edited.node("Relu"))
        assert (broken(edited.edit.touched) == "") == good


def test_a_new_nodes_attributes_must_be_the_schemas() -> None:
    for name, good in (("alpha", True), ("alhpa", False)):
        edited = Edited(TEXT)
        edited.edit.insert(
            "LeakyRelu", [edited.value("x")], before=edited.node("Relu"), attributes={name: 0.5}
        )
        assert (broken(edited.edit.touched) == "") == good


def test_a_new_node_needs_its_required_attributes() -> None:
    edited = Edited(TEXT)
    edited.edit.insert("Concat", [edited.value("x")], before=edited.node("Relu"))
    assert broken(edited.edit.touched), "Concat without axis"


def test_a_vendors_operator_may_be_edited() -> None:
    edited = Edited("g (float[4] x) => (y) { a = Relu(x) y = com.vendor.Secret(a) }")
    edited.edit.set_input(edited.node("Secret"), 0, edited.value("x"))
    assert broken(edited.edit.touched) == ""


def test_a_removed_node_is_not_looked_at() -> None:
    edited = Edited(TEXT)
    edited.edit.set_input(edited.node("Floor"), 0, edited.value("a"))
    edited.edit.remove(edited.node("Exp"))
    assert broken(edited.edit.touched) == ""


def test_what_goes_away_with_its_body_is_not_looked_at() -> None:
    edited = Edited(TEXT.replace(", float[4] z", "").replace("(float[4] y)", "(float[4] z)"))
    edited.edit.set_attribute(edited.node("Neg"), "new", 1)
    edited.edit.remove(edited.node("If"))
    assert broken(edited.edit.touched) == ""


@pytest.mark.parametrize(
    ("op_type", "value"), [("Relu", "a"), ("Relu", "z"), ("Neg", "y"), ("Neg", "p"), ("Exp", "j")]
)
def test_a_cycle_is_broken(op_type: str, value: str) -> None:
    edited = Edited(TEXT)
    edited.edit.set_input(edited.node(op_type), 0, edited.value(value))
    assert broken(edited.edit.touched)


def test_reading_what_stands_behind_is_no_cycle() -> None:
    edited = Edited("g (float[4] x) => (y) { a = Relu(x) y = Neg(a) b = Exp(x) }")
    edited.edit.set_input(edited.node("Relu"), 0, edited.value("b"))
    assert broken(edited.edit.touched) == ""
