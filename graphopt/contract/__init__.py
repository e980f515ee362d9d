"""What a pass is, and what it may see and touch.

This package imports nothing of graphopt and no graph library: a third party writes a pass against
it alone. Reading goes through the views, writing through the editor, and nothing else reaches the
graph.
"""

from graphopt.contract.editor import Editor
from graphopt.contract.effect import RANDOM_OPERATORS, Effect, Skip
from graphopt.contract.passes import (
    AnyPass,
    Context,
    Evaluator,
    GraphPass,
    Match,
    Pass,
    Rewrite,
    Target,
)
from graphopt.contract.views import Array, Dim, GraphView, NodeView, Use, ValueView

__all__ = [
    "RANDOM_OPERATORS",
    "AnyPass",
    "Array",
    "Context",
    "Dim",
    "Editor",
    "Effect",
    "Evaluator",
    "GraphPass",
    "GraphView",
    "Match",
    "NodeView",
    "Pass",
    "Rewrite",
    "Skip",
    "Target",
    "Use",
    "ValueView",
]
