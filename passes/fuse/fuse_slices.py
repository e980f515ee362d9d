"""Make one Slice of two in a row.

Before: x -> Slice(axis 1, 2:9) -> Slice(axis 2, 0:4) -> y        After: x -> Slice(axes 1, 2) -> y

Conditions: all starts, ends, axes and steps are constants; nothing else reads what lies between.
On one axis, the two become one window: always where its length is known, else where steps are 1
and the ends do not depend on it. Each element is then copied once and not twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Skip, ValueView
from graphopt.passes.fuse._slices import Window, composed, inputs_for, windows_of

_NAMES = ("starts", "ends", "axes", "steps")


@dataclass(frozen=True, slots=True)
class Found:
    """Two Slices in a row, and what both take of the source."""

    first: NodeView
    second: NodeView
    source: ValueView
    windows: dict[int, Window]
    effect: Effect = Effect.IDENTICAL


@dataclass(frozen=True)
class FuseSlices:
    """Replace a Slice of a Slice by one.

    Fires on: silero_vad. Source: ONNX operator Slice, opsets 1 to 25.
    """

    name: ClassVar[str] = "fuse_slices"
    effect: ClassVar[Effect] = Effect.IDENTICAL
    roots: ClassVar[tuple[str, ...]] = ("Slice",)

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | Skip | None:
        """Look at the second of two."""
        between = node.inputs[0]
        first = None if between is None else between.producer
        if between is None or node.outputs[0] is None or first is None or first.op_type != "Slice":
            return None
        source = first.inputs[0]
        if first.is_opaque or first.graph is not node.graph or source is None:
            return Skip("the first slice is not a plain one beside the second")
        if between.is_graph_output or len(between.readers) != 1:
            return Skip("what lies between is read elsewhere")
        inner, outer = windows_of(first), windows_of(node)
        if inner is None or outer is None:
            return Skip("starts, ends, axes or steps are not constants, or axes are not known")
        windows = composed(inner, outer, source.shape)
        if windows is None:
            return Skip("where the second ends depends on an unknown length")
        return Found(first, node, source, windows)

    def rewrite(self, match: Found, edit: Editor) -> None:
        """Put the one Slice in place of both."""
        target, graph = match.second.outputs[0], match.second.graph
        assert target is not None
        inputs: list[ValueView | None] = [match.source]
        arrays = dict(zip(_NAMES, inputs_for(match.windows), strict=False))
        by_attribute = graph.opset() < 10
        if not by_attribute:
            inputs += [
                edit.constant(array, f"{target.name}_{name}", graph)
                for name, array in arrays.items()
            ]
        made = edit.insert(
            "Slice", inputs, before=match.second, hint=target.name,
            attributes={n: array.tolist() for n, array in arrays.items()} if by_attribute else None,
        )  # fmt: skip
        edit.adopt(made, 0, target)
        edit.remove(match.second)
        edit.remove(match.first)
