"""Inlining a body: what it holds moves out, under names that clash with nothing."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator

from graphopt.contract import Effect, NodeView
from graphopt.errors import EditRefused
from graphopt.graph import GraphEditor, Program, Transaction, export_program, graph_view
from graphopt.graph.check import broken
from tests.build import build, few
from tests.graph.edited import Edited

NESTED = """<ir_version: 8, opset_import: ["": 17]>
agraph (float[3] x, bool c, bool d) => (float[3] y, float[3] z) {
  a = Relu(x)
  y, u = If (c) <
    then_branch = t () => (float[3] p, float[3] q) {
      s = Add(a, w)
      p = If (d) <
        then_branch = tt () => (float[3] tp) { r = Mul(s, v) tp = Neg(r) },
        else_branch = te () => (float[3] ep) { r = Sub(s, x) ep = Abs(r) }
      >
      q = Identity(p)
    },
    else_branch = e () => (float[3] p, float[3] q) {
      s = Exp(x)
      p = Sub(s, w)
      q = If (d) <
        then_branch = et () => (float[3] tp) { r = Mul(s, p) tp = Sqrt(r) },
        else_branch = ee () => (float[3] ep) { ep = Identity(s) }
      >
    }
  >
  z = Sub(u, a)
}
"""
ROWS = {"w": np.array([1, -2, 3], np.float32), "v": np.array([5, 6, 7], np.float32)}


def program() -> Program:
    return build(NESTED, **ROWS)


def owners(edited: Program) -> list[NodeView]:
    graphs = [graph_view(scope, edited) for scope in edited.scopes()]
    return [node for graph in graphs for node in graph.nodes if node.bodies]


def inline(edited: Program, node: NodeView, branch: str) -> None:
    """One transaction: the branch in the place of its If."""
    transaction = Transaction("test", node.label(), "", 0, Effect.IDENTICAL)
    edit = GraphEditor(edited, transaction)
    results = edit.inline(node, node.bodies[branch])
    for output, result in zip(node.outputs, results, strict=True):
        assert output is not None
        if output.replaceable_by(result) is not None:
            between = edit.insert("Identity", [result], before=node).outputs[0]
            assert between is not None
            result = between
        edit.replace(output, result)
    edit.remove(node)
    assert broken(edit.touched) == ""
    edited.journal.append(transaction)


def answers(model: ModelProto, c: bool, d: bool) -> list[Any]:
    onnx.checker.check_model(model, full_check=True)
    feeds = {"x": np.array([1.5, -2.5, 3.5], np.float32), "c": np.array(c), "d": np.array(d)}
    return [np.asarray(array).tolist() for array in ReferenceEvaluator(model).run(None, feeds)]


def snapshot(edited: Program) -> Any:
    scopes = edited.scopes()
    return (
        export_program(edited, rebuild=True).proto.SerializeToString(deterministic=True),
        export_program(edited).proto.SerializeToString(deterministic=True),
        [sorted(scope.names) for scope in scopes],
        [scope.edits for scope in scopes],
        [
            (value.name, value.type_known, [node.name for node in value.outputs], value.output_of)
            for scope in scopes
            for value in sorted(scope.names.values(), key=lambda value: value.name)
        ],
    )


@pytest.mark.parametrize(("c", "d"), [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("outermost", [True, False])
def test_nested_branches_move_out_one_after_the_other(c: bool, d: bool, outermost: bool) -> None:
    edited = program()
    expected = answers(edited.model.proto, c, d)
    while found := owners(edited):
        node = found[0 if outermost else -1]
        condition = node.inputs[0]
        assert condition is not None
        taken = {"c": c, "d": d}[condition.name]
        inline(edited, node, "then_branch" if taken else "else_branch")
        assert answers(export_program(edited).proto, c, d) == expected
    after = export_program(edited).proto
    assert {node.op_type for node in after.graph.node} & {"If"} == set()
    assert after.graph.output == edited.model.proto.graph.output
    edited.journal.move_to(0)
    assert export_program(edited) is edited.model


moves = st.lists(st.tuples(st.integers(0, 99), st.booleans()), min_size=1, max_size=6)


@settings(few, max_examples=60)
@given(moves, st.lists(st.integers(0, 6), max_size=8))
def test_every_point_can_be_gone_back_to(drawn: list[tuple[int, bool]], stops: list[int]) -> None:
    edited = program()
    points = [snapshot(edited)]
    for which, taken in drawn:
        found = owners(edited)
        if not found:
            break
        inline(edited, found[which % len(found)], "then_branch" if taken else "else_branch")
        points.append(snapshot(edited))
    for stop in [*stops, len(points) - 1, 0]:
        length = min(stop, len(points) - 1)
        edited.journal.move_to(length)
        assert snapshot(edited) == points[length]
    assert export_program(edited, rebuild=True).proto == edited.model.proto


def loop() -> Edited:
    return Edited("""agraph (int64 n, float[4] x) => (float[4] y, float[K, 4] all) {
      y, all = Loop(n, , x) <
        body = b (int64 i, bool go, float[4] v) => (bool go2, float[4] v2, float[4] s) {
          go2 = Identity(go) k = Cast<to = 1>(i) v2 = Add(v, k) s = Neg(v2)
        }
      >
    }""")


def test_a_body_with_inputs_is_copied_as_often_as_wanted() -> None:
    edited = loop()
    node = edited.node("Loop")
    body, graph = node.bodies["body"], edited.graph
    value = graph.inputs[1]
    going = edited.edit.constant(np.array(True), "going", graph)
    for turn in range(3):
        number = edited.edit.constant(np.array(turn), "turn", graph)
        _, value, _ = edited.edit.inline(node, body, [number, going, value])
    adds = [n for n in graph.nodes if n.op_type == "Add"]
    assert [n.outputs[0] and n.outputs[0].name for n in adds] == ["v2", "v2_1", "v2_2"]
    for earlier, later in itertools.pairwise(adds):
        assert later.inputs[0] is earlier.outputs[0]
    assert len({n.name for n in graph.nodes if n.name}) == sum(bool(n.name) for n in graph.nodes)
    assert broken(edited.edit.touched) == ""
    edited.transaction.undo()
    assert export_program(edited.program) is edited.program.model


def test_nothing_but_a_body_of_the_node_and_all_of_its_inputs() -> None:
    edited = loop()
    node = edited.node("Loop")
    with pytest.raises(EditRefused, match="has 3 inputs"):
        edited.edit.inline(node, node.bodies["body"])
    with pytest.raises(EditRefused, match="no body of it"):
        edited.edit.inline(node, edited.graph)
    with pytest.raises(EditRefused, match="no body of it"):
        edited.edit.inline(edited.node("Add"), node.bodies["body"])
