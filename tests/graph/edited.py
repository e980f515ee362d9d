from __future__ import annotations

from typing import Any

import onnx

from graphopt.contract import Effect, GraphView, NodeView, ValueView
from graphopt.graph import GraphEditor, Program, Transaction, export_program, graph_view
from graphopt.graph.check import broken
from tests.build import build


class Edited:
    """A program under edit, with short ways to its parts."""

    def __init__(self, text: str | onnx.ModelProto, **initializers: Any) -> None:
        self.program: Program = build(text, **initializers)
        self.transaction = Transaction("test", "", "", 0, Effect.IDENTICAL)
        self.edit = GraphEditor(self.program, self.transaction)
        self.graph: GraphView = graph_view(self.program.main, self.program)

    def node(self, op_type: str) -> NodeView:
        (found,) = (n for g in self.graph.nested() for n in g.nodes if n.op_type == op_type)
        return found

    def value(self, name: str) -> ValueView:
        graphs = [graph_view(scope, self.program) for scope in self.program.scopes()]
        values = [v for g in graphs for n in g.nodes for v in n.outputs if v is not None]
        values += [v for g in graphs for v in (*g.inputs, *g.initializers)]
        (found,) = (v for v in values if v.name == name)
        return found

    def text(self) -> list[str]:
        """The main graph's nodes as `outputs = Op(inputs)`, after every check."""
        assert broken(self.edit.touched, self.program.function_ids) == ""
        proto = export_program(self.program).proto
        onnx.checker.check_model(proto, full_check=True)
        return [
            f"{', '.join(n.output)} = {n.op_type}({', '.join(n.input)})" for n in proto.graph.node
        ]
