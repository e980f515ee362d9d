"""Remove two nodes in a row that undo each other.

Before: x -> Neg -> Neg -> y; x -> Split -> Concat -> y; a, b -> Concat -> Split -> c, d
After:  y is x; y is x; c is a, d is b

Neg, Not and BitwiseNot of themselves; DepthToSpace (mode DCR) of SpaceToDepth with the same block;
a Concat of all outputs of one Split, in their order, along its axis; a Split exactly at the borders
of a Concat. The first node stays where others read it. Reciprocal, Exp and Log only nearly undo
each other: they stay.

Conditions: lengths along the axis are known where borders are compared; neither value is a graph
output that would lose its name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Skip, ValueView
from graphopt.passes.eliminate._operands import listed, size_along

Pair = tuple[ValueView, ValueView]


@dataclass(frozen=True, slots=True)
class Found:
    """Two nodes that undo each other.

    Attributes:
        node: The second; the first is removed where nobody reads it any more.
        pairs: What the second gives, each with what it really is.
    """

    first: NodeView
    node: NodeView
    pairs: Sequence[Pair]
    effect: Effect = Effect.IDENTICAL


@dataclass(frozen=True)
class EliminateInverse:
    """Let the readers of what is done and undone read what it was.

    Fires on synthetic graphs only among the catalogue's models. Source: ONNX operators Neg, Not,
    BitwiseNot, DepthToSpace, Split and Concat, opsets 1 to 25.
    """

    name: ClassVar[str] = "eliminate_inverse"
    effect: ClassVar[Effect] = Effect.IDENTICAL
    roots: ClassVar[tuple[str, ...]] = (
        "BitwiseNot", "Concat", "DepthToSpace", "Neg", "Not", "Split",
    )  # fmt: skip

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | Skip | None:
        """Look at the second of two."""
        before = node.inputs[0]
        first = None if before is None else before.producer
        if first is None or first.op_type != _UNDONE[node.op_type]:
            return None
        if first.is_opaque:
            return Skip("the first is left alone")
        pairs = _RULES[node.op_type](first, node)
        if pairs is None:
            return None
        refusals = [old.replaceable_by(new) for old, new in pairs]
        if len({new for _, new in pairs}) < sum(old.is_graph_output for old, _ in pairs):
            refusals.append(Skip("one value would become two graph outputs"))
        return next((found for found in refusals if found), None) or Found(first, node, pairs)

    def rewrite(self, match: Found, edit: Editor) -> None:
        """Bypass both."""
        # What stands for a graph output takes its name: it does so last.
        for old, new in sorted(match.pairs, key=lambda pair: pair[0].is_graph_output):
            edit.replace(old, new)
        edit.remove(match.node)
        if not any(v and (v.readers or v.is_graph_output) for v in match.first.outputs):
            edit.remove(match.first)


def _twice(first: NodeView, node: NodeView) -> Sequence[Pair] | None:
    return _pair(node.outputs[0], first.inputs[0])


def _blocks(first: NodeView, node: NodeView) -> Sequence[Pair] | None:
    same = first.attribute("blocksize") == node.attribute("blocksize")
    same = same and node.attribute("mode", "DCR") == "DCR"
    return _pair(node.outputs[0], first.inputs[0]) if same else None


def _split_concat(first: NodeView, node: NodeView) -> Sequence[Pair] | None:
    if len(first.outputs) != len(node.inputs) or not _one_axis(first, 0, node, 1):
        return None
    ordered = zip(node.inputs, first.outputs, strict=True)
    if any(value is None or value is not output for value, output in ordered):
        return None
    return _pair(node.outputs[0], first.inputs[0])


def _concat_split(first: NodeView, node: NodeView) -> Sequence[Pair] | None:
    if len(first.inputs) != len(node.outputs) or not _one_axis(first, 1, node, 0):
        return None
    axis = node.attribute("axis", 0)
    joined = [size_along(value, axis) for value in first.inputs]
    sizes = listed(node, "split", 1, input_since=13)
    if sizes is None or None in joined or (sizes and sizes != joined):
        return None
    if not sizes and len(set(joined)) != 1:
        return None
    pairs = zip(node.outputs, first.inputs, strict=True)
    return [(old, new) for old, new in pairs if old is not None and new is not None]


def _pair(old: ValueView | None, new: ValueView | None) -> Sequence[Pair] | None:
    return None if old is None or new is None else [(old, new)]


def _one_axis(first: NodeView, default: int, node: NodeView, other: int) -> bool:
    """Tell whether a Split and a Concat go along one axis, counted from either side."""
    axes = first.attribute("axis", default), node.attribute("axis", other)
    if axes[0] == axes[1]:
        return True
    known = [v.shape for v in (*first.inputs[:1], *first.outputs[:1]) if v is not None and v.shape]
    return bool(known) and axes[0] % len(known[0]) == axes[1] % len(known[0])


_UNDONE = {
    "BitwiseNot": "BitwiseNot",
    "Concat": "Split",
    "DepthToSpace": "SpaceToDepth",
    "Neg": "Neg",
    "Not": "Not",
    "Split": "Concat",
}
"""What the first of the two is, by the second."""
_RULES: dict[str, Callable[[NodeView, NodeView], Sequence[Pair] | None]] = {
    "BitwiseNot": _twice,
    "Concat": _split_concat,
    "DepthToSpace": _blocks,
    "Neg": _twice,
    "Not": _twice,
    "Split": _concat_split,
}
