"""Remove Identity nodes.

Before: x -> Identity -> y -> reader        After: x -> reader

Where y is a graph output, the node that makes x writes y instead, so that the name stays. Refused
where y would become a graph input or an initializer, or come from an enclosing graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Skip, ValueView


@dataclass(frozen=True, slots=True)
class Found:
    """An Identity node between two values."""

    node: NodeView
    before: ValueView
    after: ValueView
    effect: Effect = Effect.IDENTICAL


@dataclass(frozen=True)
class EliminateIdentity:
    """Let the readers of an Identity node's output read its input.

    Fires on: silero_vad, resnet_20. Source: ONNX operator Identity, opsets 1 to 25.
    """

    name: ClassVar[str] = "eliminate_identity"
    effect: ClassVar[Effect] = Effect.IDENTICAL
    roots: ClassVar[tuple[str, ...]] = ("Identity",)

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | Skip | None:
        """Look at one Identity."""
        before, after = node.inputs[0], node.outputs[0]
        if before is None or after is None:
            return None
        return after.replaceable_by(before) or Found(node, before, after)

    def rewrite(self, match: Found, edit: Editor) -> None:
        """Bypass and remove it."""
        edit.replace(match.after, match.before)
        edit.remove(match.node)
