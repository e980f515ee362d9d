"""Put the branch that is always taken in the place of an If.

Before: y = If(true) {then: a = Relu(x), y = Neg(a)} {else: y = Abs(x)}
After:  a = Relu(x), y = Neg(a)

The condition is a constant: an initializer that nobody can override, a Constant node, either of
them in a graph around. What the branch gives on without computing it (a captured value, a constant)
gets an Identity where it becomes an output of the graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Skip
from graphopt.passes.restructure._bodies import cannot_stand_in, stand_in


@dataclass(frozen=True, slots=True)
class Found:
    """An If and the branch that is taken."""

    node: NodeView
    branch: GraphView
    effect: Effect = Effect.IDENTICAL


@dataclass(frozen=True)
class InlineIf:
    """Inline the branch of an If whose condition is a constant; the other one goes.

    Fires on: silero_vad. Source: ONNX operator If, opsets 1 to 25.
    """

    name: ClassVar[str] = "inline_if"
    effect: ClassVar[Effect] = Effect.IDENTICAL
    roots: ClassVar[tuple[str, ...]] = ("If",)

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | Skip | None:
        """Look at one If."""
        condition = node.inputs[0]
        if condition is None or not condition.is_constant:
            return None
        value = condition.array()
        if value.size != 1:
            return None
        branch = node.bodies.get("then_branch" if value.item() else "else_branch")
        if branch is None or branch.inputs or len(branch.outputs) != len(node.outputs):
            return None
        return cannot_stand_in(node, branch) or Found(node, branch)

    def rewrite(self, match: Found, edit: Editor) -> None:
        """Copy the branch before the If, and remove the If with both of them."""
        stand_in(match.node, edit.inline(match.node, match.branch), edit)
