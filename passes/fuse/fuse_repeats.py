"""Make one Gather of the nodes that repeat each slice along an axis, or the whole axis.

Before: x -> Unsqueeze(2) -> Expand([1, 1, n, 1, 1]) -> Reshape([B, 2 * n, S, 16]) -> y
After:  x -> Gather([0] * n + [1] * n, axis=1) -> y

So are the keys and values of grouped-query attention repeated for each query head. Where the new
axis stands before the one that it is joined with, the whole axis is repeated: 0, 1, 0, 1, ...
Tile in place of Expand and Reshape in place of Unsqueeze do the same.

Conditions: all dimensions are known to be those of a repetition, from constants and from the names
of the graph's own inputs' sizes; the repeated axis and how often are numbers; nothing else reads
what Expand makes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.contract import (
    Array,
    Context,
    Editor,
    Effect,
    GraphView,
    NodeView,
    Rewrite,
    Skip,
    ValueView,
)
from graphopt.passes.fold._facts import Dims, Facts, walk
from graphopt.passes.fold._learnt import learnt

_REPEATING = frozenset({"Expand", "Tile"})
_ADDING = frozenset({"Reshape", "Unsqueeze"})
_MOST_INDICES = 4096


@dataclass(frozen=True, slots=True)
class Repeat:
    """A Reshape behind an Expand behind an Unsqueeze, and the Gather that does what they do."""

    last: NodeView
    source: ValueView
    axis: int
    indices: Array


@dataclass(frozen=True)
class FuseRepeats:
    """Fuse Unsqueeze, Expand and Reshape into a Gather with constant indices.

    Fires on synthetic graphs only among the catalogue's models (and on exported transformers).
    Source: ONNX operators Expand, Tile, Unsqueeze, Reshape, Gather; grouped-query attention
    (Ainslie et al. 2023).
    """

    name: ClassVar[str] = "fuse_repeats"
    effect: ClassVar[Effect] = Effect.IDENTICAL

    def plan(self, graph: GraphView, context: Context) -> Iterable[Rewrite | Skip]:
        """Look for the nodes first; what is known of sizes is worked out only where there are."""
        nodes = walk(graph)
        ends = [node for node in nodes if _repeated(node) is not None]
        if not ends:
            return
        facts = learnt(graph, nodes, context)
        for node in ends:
            yield from _fused(node, facts)


def _repeated(node: NodeView) -> tuple[ValueView, NodeView, NodeView] | None:
    """The value that a Reshape ends the repetition of, and the two nodes between."""
    if node.op_type != "Reshape" or node.is_opaque:
        return None
    repeated = _before(node)
    if repeated is None or repeated.op_type not in _REPEATING:
        return None
    result = repeated.outputs[0]
    adding = _before(repeated)
    if result is None or result.is_graph_output or len(result.readers) != 1 or adding is None:
        return None
    source = adding.inputs[0]
    return (source, adding, repeated) if adding.op_type in _ADDING and source is not None else None


def _before(node: NodeView) -> NodeView | None:
    source = node.inputs[0]
    maker = source.producer if source is not None else None
    return None if maker is None or maker.is_opaque or maker.graph is not node.graph else maker


def _fused(node: NodeView, facts: Facts) -> Iterator[Rewrite | Skip]:
    found = _repeated(node)
    target = node.outputs[0]
    if found is None or target is None:
        return
    source, adding, repeated = found
    values = (source, adding.outputs[0], repeated.outputs[0], target)
    before, added, many, after = (facts.dims(value) for value in values)
    if before is None or added is None or many is None or after is None:
        yield Skip("dimensions are not known")
        return
    matched = _indices(before, added, many, after)
    if matched is None:
        yield Skip("it is no repetition along one axis")
        return
    match = Repeat(node, source, *matched)
    yield Rewrite(target.label(), Effect.IDENTICAL, _replacing(match, [repeated, adding]))


def _indices(before: Dims, added: Dims, many: Dims, after: Dims) -> tuple[int, Array] | None:
    """The axis that is repeated and its indices, from the dimensions at each step.

    A Reshape moves no element, so dimensions alone tell which axes it joins.
    """
    if not len(before) + 1 == len(added) == len(many) == len(after) + 1:
        return None
    differing = [k for k, (a, b) in enumerate(zip(added, many, strict=True)) if a != b]
    if len(differing) != 1 or added[differing[0]].integer != 1:
        return None
    (new,) = differing
    times = many[new].integer
    if times is None or times < 1 or (*added[:new], *added[new + 1 :]) != before:
        return None
    for axis in (new - 1, new):
        length = before[axis].integer if 0 <= axis < len(before) else None
        if length is None or length * times > _MOST_INDICES:
            continue
        if (*before[:axis], before[axis] * times, *before[axis + 1 :]) == after:
            own = np.arange(length, dtype=np.int64)
            return axis, np.repeat(own, times) if axis < new else np.tile(own, times)
    return None


def _replacing(match: Repeat, between: list[NodeView]) -> Callable[[Editor], None]:
    def apply(edit: Editor) -> None:
        target = match.last.outputs[0]
        assert target is not None
        indices = edit.constant(match.indices, f"{target.name}_indices", match.last.graph)
        gather = edit.insert(
            "Gather", [match.source, indices], before=match.last,
            attributes={"axis": match.axis}, hint=target.name,
        )  # fmt: skip
        edit.adopt(gather, 0, target)
        edit.remove(match.last)
        for node in between:
            result = node.outputs[0]
            if result is None or result.readers or result.is_graph_output:
                return
            edit.remove(node)

    return apply
