"""Where a scale can be taken in below the node that scales."""

from __future__ import annotations

from graphopt.contract import Array, NodeView, Skip, Use, ValueView
from graphopt.passes.fuse._absorbed import input_scaled
from graphopt.passes.fuse._scale_ways import (
    DESCRIBING,
    FAR,
    LONGEST,
    NO_WAY,
    SEEN,
    WIDENS,
    Step,
    Way,
    is_moderate,
)
from graphopt.passes.fuse._scales import PASSING, SUMMING, after, fits

_NOWHERE = Skip("no linear node follows")
_FALLING = frozenset({"Conv", "ConvTranspose", "Div", "Gemm", "MatMul", "Mul"})


def way_down(scaled: ValueView, scale: Array) -> Way | Skip | None:
    """Follow what a scale makes to all nodes whose constants can be scaled in its place."""
    if not scaled.readers:
        return None
    way = Way([], [], False)
    seen: set[NodeView] = set()
    refused = _down(scaled, scale, way, seen)
    if refused is not None:
        return None if refused is _NOWHERE else refused
    return way if way.ends else None


def _down(value: ValueView, scale: Array, way: Way, seen: set[NodeView]) -> Skip | None:
    """Add all that reads a value to the way; _NOWHERE where it leads to no weight at all."""
    if value.is_graph_output:
        return SEEN
    if not fits(scale, value):
        return WIDENS
    for use in value.readers:
        node = use.node
        if node.op_type in DESCRIBING and not node.is_opaque and node.graph is value.graph:
            continue
        if node.op_type not in PASSING and node.op_type not in _FALLING:
            return _NOWHERE
        if node.is_opaque or node.graph is not value.graph or node in seen or len(seen) > LONGEST:
            return NO_WAY
        seen.add(node)
        refused = _down_through(value, use, scale, way, seen)
        if refused is not None:
            return refused
    return None


def _down_through(
    value: ValueView, use: Use, scale: Array, way: Way, seen: set[NodeView]
) -> Skip | None:
    node, index = use.node, use.index
    ended = input_scaled(node, index, scale)
    if isinstance(ended, Skip):
        return ended
    if ended is not None:
        way.ends.append(Step(node, (index,), 0, ended))
        return None
    if node.op_type == "MatMul":
        below = [scale] if is_moderate(scale, value) else None
    else:
        below = after(node, scale) if index == 0 and node.op_type in PASSING else None
        if node.op_type in SUMMING and not is_moderate(scale, value):
            return FAR
    if below is None:
        return NO_WAY
    way.passed.append(Step(node, (index,), 0))
    for result, part in zip(node.outputs, below, strict=True):
        assert result is not None
        refused = _down(result, part, way, seen)
        if refused is not None:
            return refused
    return None
