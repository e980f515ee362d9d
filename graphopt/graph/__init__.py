"""The graph underneath, on onnx-graphsurgeon, which appears nowhere else.

Reading goes through the views, writing through the editor, undoing through the journal.
"""

from graphopt.graph.build import build_program
from graphopt.graph.editor import GraphEditor
from graphopt.graph.export import export_program, export_types
from graphopt.graph.journal import Journal, Transaction
from graphopt.graph.opset import raise_opset
from graphopt.graph.program import Program
from graphopt.graph.shapes import annotate, bind_inputs
from graphopt.graph.stats import measure
from graphopt.graph.views import graph_view

__all__ = [
    "GraphEditor",
    "Journal",
    "Program",
    "Transaction",
    "annotate",
    "bind_inputs",
    "build_program",
    "export_program",
    "export_types",
    "graph_view",
    "measure",
    "raise_opset",
]
