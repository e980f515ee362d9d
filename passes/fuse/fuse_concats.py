"""Make one Concat of two in a row along one axis.

Before: Concat(Concat(a, b), c) -> y        After: Concat(a, b, c) -> y

Conditions: both go along the same axis, nothing else reads the inner result, and no more than 256
inputs come together. Each element is then copied once and not twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Skip, ValueView

_MAX_INPUTS = 256
"""Longer chains become several: the work on one of them grows with its length."""


@dataclass(frozen=True, slots=True)
class Found:
    """A Concat that reads another one."""

    inner: NodeView
    outer: NodeView
    inputs: list[ValueView | None]
    effect: Effect = Effect.IDENTICAL


@dataclass(frozen=True)
class FuseConcats:
    """Let a Concat read what another Concat, which only it reads, was made of.

    Fires on: silero_vad. Source: ONNX operator Concat, opsets 1 to 25.
    """

    name: ClassVar[str] = "fuse_concats"
    effect: ClassVar[Effect] = Effect.IDENTICAL
    roots: ClassVar[tuple[str, ...]] = ("Concat",)

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | Skip | None:
        """Look at the outer one, and at all that it reads."""
        refused: Skip | None = None
        for index, between in enumerate(node.inputs):
            inner = None if between is None else between.producer
            if between is None or inner is None or inner.op_type != "Concat":
                continue
            if inner.is_opaque or inner.graph is not node.graph:
                refused = Skip("the inner concat is not a plain one beside the outer")
            elif between.is_graph_output or len(between.readers) != 1:
                refused = Skip("the inner result is read elsewhere, or twice")
            elif len(inner.inputs) + len(node.inputs) - 1 > _MAX_INPUTS:
                refused = Skip(f"more than {_MAX_INPUTS} inputs")
            elif not _one_axis(inner, node, between):
                refused = Skip("the axes differ, or are not known to be one")
            else:
                joined = [*node.inputs[:index], *inner.inputs, *node.inputs[index + 1 :]]
                return Found(inner, node, joined)
        return refused

    def rewrite(self, match: Found, edit: Editor) -> None:
        """Put one with the inputs of both in place of both."""
        target = match.outer.outputs[0]
        assert target is not None
        made = edit.insert(
            "Concat", match.inputs, before=match.outer, attributes=match.outer.attributes
        )
        edit.adopt(made, 0, target)
        edit.remove(match.outer)
        edit.remove(match.inner)


def _one_axis(inner: NodeView, outer: NodeView, between: ValueView) -> bool:
    axes = inner.attribute("axis", 1), outer.attribute("axis", 1)
    if axes[0] == axes[1]:
        return True
    rank = len(between.shape or ())
    return bool(rank) and axes[0] % rank == axes[1] % rank
