"""Identities taken out by the editor change no answer, wherever they stand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import GraphProto, ModelProto, NodeProto, helper
from onnx.reference import ReferenceEvaluator

from graphopt.contract import Effect
from graphopt.graph import GraphEditor, Transaction, build_program, export_program, graph_view
from graphopt.graph.check import broken
from graphopt.model import Model
from tests.build import few

FLOAT = onnx.TensorProto.FLOAT
FEEDS = {"x": np.array([1.0, -2.0, 3.0], np.float32), "c": np.array(True)}

kinds = st.sampled_from(["Identity", "Identity", "Neg", "Add", "Sub", "If"])
steps = st.lists(st.tuples(kinds, st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=10)


@dataclass
class Drawn:
    """A random graph in the making: each node reads what is visible where it stands."""

    counter: int = 0
    names: list[str] = field(default_factory=list)

    def fresh(self) -> str:
        self.counter += 1
        return f"v{self.counter}"

    def nodes(self, drawn: list[Any], visible: list[str], depth: int) -> list[NodeProto]:
        found = []
        for kind, one, two in drawn:
            first, second = visible[one % len(visible)], visible[two % len(visible)]
            name = self.fresh()
            if kind == "If" and depth < 2:
                size = 1 + two % 4
                branches: dict[str, Any] = {
                    branch: self.body(drawn[:size][:: 1 if branch == "then_branch" else -1],
                                      visible, depth + 1)
                    for branch in ("then_branch", "else_branch")
                }  # fmt: skip
                found.append(helper.make_node("If", ["c"], [name], **branches))
            else:
                op_type = "Identity" if kind == "If" else kind
                inputs = [first, second] if op_type in ("Add", "Sub") else [first]
                found.append(helper.make_node(op_type, inputs, [name]))
            visible.append(name)
        return found

    def body(self, drawn: list[Any], outside: list[str], depth: int) -> GraphProto:
        visible = list(outside)
        nodes = self.nodes(drawn, visible, depth)
        output = helper.make_tensor_value_info(visible[-1], FLOAT, [3])
        return helper.make_graph(nodes, "body", [], [output])


def model_of(drawn: list[Any], picked: set[int]) -> ModelProto:
    visible = ["x"]
    nodes = Drawn().nodes(drawn, visible, 0)
    chosen = sorted({index % (len(visible) - 1) + 1 for index in picked})
    outputs = [helper.make_tensor_value_info(visible[i], FLOAT, [3]) for i in chosen]
    inputs = [
        helper.make_tensor_value_info("x", FLOAT, [3]),
        helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, []),
    ]
    graph = helper.make_graph(nodes, "drawn", inputs, outputs)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def without_identities(model: ModelProto) -> tuple[ModelProto, int]:
    """Take out each Identity that the editor lets go, one transaction each."""
    program = build_program(Model(model))
    count = 0
    for scope in program.scopes():
        for node in graph_view(scope, program).nodes:
            source, result = node.inputs[0], node.outputs[0]
            if node.op_type != "Identity" or source is None or result is None:
                continue
            if result.replaceable_by(source) is not None:
                continue
            transaction = Transaction("test", result.name, "", 0, Effect.IDENTICAL)
            edit = GraphEditor(program, transaction)
            edit.replace(result, source)
            edit.remove(node)
            assert broken(edit.touched) == ""
            program.journal.append(transaction)
            count += 1
    proto = export_program(program).proto
    program.journal.move_to(0)
    assert export_program(program, rebuild=True).proto == model
    return proto, count


def answers(model: ModelProto) -> list[list[Any]]:
    onnx.checker.check_model(model, full_check=True)
    evaluator = ReferenceEvaluator(model)
    both = (FEEDS, {**FEEDS, "c": np.array(False)})
    return [[np.asarray(array).tolist() for array in evaluator.run(None, f)] for f in both]


def size(model: ModelProto) -> int:
    total, graphs = 0, [model.graph]
    while graphs:
        for node in graphs.pop().node:
            total += 1
            graphs += [attribute.g for attribute in node.attribute]
    return total


@settings(few, max_examples=120)
@given(steps, st.sets(st.integers(0, 99), min_size=1, max_size=3))
def test_identities_can_go_without_a_change(drawn: list[Any], picked: set[int]) -> None:
    model = model_of(drawn, picked)
    after, count = without_identities(model)
    assert answers(after) == answers(model)
    assert size(after) == size(model) - count
    assert after.graph.input == model.graph.input
    assert after.graph.output == model.graph.output


def test_the_examples_hold_what_they_should() -> None:
    """The drawn models reach the cases that are hard: outputs, captures, bodies in bodies."""
    drawn = [("If", 0, 3), ("Identity", 1, 0), ("Identity", 0, 0), ("Add", 1, 2), ("If", 2, 2)]
    model = model_of(drawn, {0, 1, 4})
    _, count = without_identities(model)
    assert count >= 5
    assert size(model) > 20
