"""Let a Conv pad by itself.

Before: x -> Pad(zeros) -> Conv(pads p) -> y        After: x -> Conv(pads p + q) -> y

Conditions: the Pad adds constant zeros, none of them to batch or channels, and takes nothing away;
nothing but the Conv reads it; the Conv states its padding as numbers (auto_pad NOTSET or VALID).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Skip, ValueView


@dataclass(frozen=True, slots=True)
class Found:
    """A Pad, the Conv behind it, and the padding of both together."""

    pad: NodeView
    conv: NodeView
    source: ValueView
    pads: list[int]
    effect: Effect = Effect.ROUNDING


@dataclass(frozen=True)
class FusePadConv:
    """Move the zeros of a Pad into the padding of the Conv behind it.

    Fires on synthetic graphs only among the catalogue's models. Source: ONNX operators Pad, opsets
    2 to 25, and Conv, opsets 1 to 22.
    """

    name: ClassVar[str] = "fuse_pad_conv"
    effect: ClassVar[Effect] = Effect.ROUNDING
    roots: ClassVar[tuple[str, ...]] = ("Conv",)

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | Skip | None:
        """Look at one Conv."""
        padded = node.inputs[0]
        pad = padded.producer if padded is not None else None
        if padded is None or pad is None or pad.op_type != "Pad":
            return None
        if pad.is_opaque or pad.graph is not node.graph:
            return Skip("the pad is not a plain one beside the conv")
        if padded.is_graph_output or len(padded.readers) != 1:
            return Skip("the padded tensor is read elsewhere")
        source, rank = pad.inputs[0], len(padded.shape or ())
        added = _zeros_added(pad, graph, rank)
        if isinstance(added, Skip):
            return added
        own = _own_pads(node, rank - 2)
        if own is None:
            return Skip("the conv's padding depends on its input")
        if source is None:
            return None
        total = [a + b for a, b in zip(own, added, strict=True)]
        return Found(pad, node, source, total)

    def rewrite(self, match: Found, edit: Editor) -> None:
        """Give the Conv the whole padding and what the Pad read."""
        edit.set_attribute(match.conv, "auto_pad", None)
        edit.set_attribute(match.conv, "pads", match.pads)
        edit.set_input(match.conv, 0, match.source)
        edit.remove(match.pad)


def _zeros_added(pad: NodeView, graph: GraphView, rank: int) -> list[int] | Skip:
    """Zeros at the begin of each spatial axis, then at the end, as Conv counts them."""
    if rank < 3:
        return Skip("the rank is not known")
    if pad.attribute("mode", "constant") != "constant":
        return Skip("the pad repeats or mirrors values")
    numbers = _numbers(pad, graph, rank)
    if numbers is None:
        return Skip("the pad's amounts or value are not constants")
    begin, end, value = numbers
    if value != 0 or np.signbit(value):
        return Skip("the pad adds another value than 0")
    if any(amount < 0 for amount in (*begin, *end)):
        return Skip("the pad takes values away")
    if any((*begin[:2], *end[:2])):
        return Skip("the pad widens batch or channels")
    return [*begin[2:], *end[2:]]


Amounts = tuple[list[int], list[int], float]


def _numbers(pad: NodeView, graph: GraphView, rank: int) -> Amounts | None:
    """Amounts at the begin and end of every axis, and the value; None where they are not known."""
    if graph.opset() < 11:
        amounts, fill = pad.attribute("pads") or [], [pad.attribute("value", 0.0)]
        axes = list(range(rank))
    else:
        given = [*pad.inputs[1:4], None, None, None][:3]
        if given[0] is None or not all(v is None or v.is_constant for v in given):
            return None
        amounts, fill, axes = ([] if v is None else v.array().ravel().tolist() for v in given)
        axes = list(range(rank)) if given[2] is None else axes
    count = len(amounts) // 2
    named = {axis % rank for axis in axes if -rank <= axis < rank}
    if len(amounts) % 2 or len(axes) != count or len(named) != count:
        return None  # no runtime takes it either
    begin, end = [0] * rank, [0] * rank
    for position, axis in enumerate(axes):
        begin[axis], end[axis] = amounts[position], amounts[position + count]
    return begin, end, float(fill[0]) if fill else 0.0


def _own_pads(conv: NodeView, spatial: int) -> list[int] | None:
    mode = conv.attribute("auto_pad", "NOTSET")
    if mode == "VALID":
        return [0] * 2 * spatial
    if mode != "NOTSET":
        return None
    pads: list[int] = list(conv.attribute("pads") or [0] * 2 * spatial)
    return pads if len(pads) == 2 * spatial else None
