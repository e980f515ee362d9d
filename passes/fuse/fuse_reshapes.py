"""Make one node of two in a row that only rename dimensions.

Before: x -> Reshape([0, 8, 64]) -> Unsqueeze(1) -> y        After: x -> Reshape([0, 1, 8, 64]) -> y

Reshape, Squeeze, Unsqueeze and Flatten, in any order. What both make of x's dimensions is worked
out entry by entry: a number, a dimension of x, or the one that is left. Where that is x itself, no
node stays; else it becomes an Unsqueeze, a Squeeze or a Reshape, whichever can say it.

Conditions: targets and axes are constants; nothing else reads what lies between. A -1 is never put
beside a copied dimension, unless one of the two had them: were the copied one 0, ONNX could not
tell the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Skip, ValueView
from graphopt.passes.fuse._templates import (
    OPERATORS,
    Shape,
    Template,
    composed,
    has_both,
    is_source,
    reshape_target,
    squeeze_axes,
    template_of,
    unsqueeze_axes,
)


@dataclass(frozen=True, slots=True)
class Found:
    """Two nodes, and the one that does what both do.

    Attributes:
        op_type: Its operator; empty where the result is the source itself.
        numbers: Its target or axes.
    """

    first: NodeView
    second: NodeView
    source: ValueView
    op_type: str
    numbers: list[int]
    effect: Effect = Effect.IDENTICAL


@dataclass(frozen=True)
class FuseReshapes:
    """Replace two of Reshape, Squeeze, Unsqueeze and Flatten in a row by one, or by none.

    Fires on synthetic graphs only among the catalogue's models. Source: ONNX operators Reshape,
    opsets 5 to 25, Squeeze, Unsqueeze and Flatten.
    """

    name: ClassVar[str] = "fuse_reshapes"
    effect: ClassVar[Effect] = Effect.IDENTICAL
    roots: ClassVar[tuple[str, ...]] = OPERATORS

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | Skip | None:
        """Look at the second of two."""
        between, target = node.inputs[0], node.outputs[0]
        first = between.producer if between is not None else None
        if between is None or target is None or first is None or first.op_type not in OPERATORS:
            return None
        source = first.inputs[0]
        if first.is_opaque or first.graph is not node.graph or source is None:
            return Skip("the first is not a plain one beside the second")
        if not (target.readers or target.is_graph_output):
            return None  # dead; many such may read one value
        if between.is_graph_output or len(between.readers) != 1:
            return Skip("what lies between is read elsewhere")
        inner, outer = template_of(first), template_of(node)
        if inner is None or outer is None or source.shape is None:
            return Skip("targets or axes are not known")
        found = _expressed(composed(outer, inner), source.shape, (first, inner), (node, outer))
        if found is None:
            return Skip("no single operator says it")
        if not found[0]:
            refused = target.replaceable_by(source)
            if refused:
                return refused
        return Found(first, node, source, *found)

    def rewrite(self, match: Found, edit: Editor) -> None:
        """Put the one node in place of both."""
        target, graph = match.second.outputs[0], match.second.graph
        assert target is not None
        if not match.op_type:
            edit.replace(target, match.source)
        else:
            by_attribute = match.op_type != "Reshape" and graph.opset() < 13
            inputs = [match.source]
            if not by_attribute:
                numbers = np.array(match.numbers, dtype=np.int64)
                inputs.append(edit.constant(numbers, f"{target.name}_shape", graph))
            made = edit.insert(
                match.op_type, inputs, before=match.second, hint=target.name,
                attributes={"axes": match.numbers} if by_attribute else None,
            )  # fmt: skip
            edit.adopt(made, 0, target)
        edit.remove(match.second)
        edit.remove(match.first)


def _expressed(
    template: Template, shape: Shape, *pairs: tuple[NodeView, Template]
) -> tuple[str, list[int]] | None:
    """The one operator that a template needs, and its numbers."""
    if is_source(template, shape):
        return "", []
    axes = unsqueeze_axes(template, len(shape))
    if axes is not None:
        return "Unsqueeze", axes
    kinds = {node.op_type for node, _ in pairs}
    axes = squeeze_axes(template, shape, certain=kinds == {"Squeeze"})
    if axes is not None:
        return "Squeeze", axes
    had_both = any(
        node.op_type == "Reshape" and has_both(made, node.inputs[0].shape or ())
        for node, made in pairs
        if node.inputs[0] is not None
    )
    target = reshape_target(template, shape, copies_beside_open=had_both)
    return None if target is None or pairs[0][0].graph.opset() < 5 else ("Reshape", target)
