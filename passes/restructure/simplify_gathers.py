"""Take the data itself where a gather asks for all of it, or for its first rows, in their order.

Before: GatherND(mask, tuples of (b, i) for each b < B and i < S, of shape [B, 1, 1, S, 2])
After:  Unsqueeze(mask, [1, 2])

Before: Gather(Flatten(mask), i + b * S) -> Reshape(-1) -> Reshape([B, 1, 1, S])
After:  Unsqueeze(mask, [1, 2])

Before: Gather(table, Unsqueeze(Range(0, n, 1), [0]))
After:  Slice(table, 0 to n) -> Unsqueeze([0])

Indices are followed as polynomials over their own coordinates and the sizes of the graph's inputs,
through Range, Unsqueeze, Expand, Concat, arithmetic and constants that count up. An axis whose
size is not provably that of the data is sliced; that the indices are in bounds is what the model
can only have run with.

Conditions: at least as many nodes go away as are put in; something holds the length of a Slice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Rewrite, Skip
from graphopt.passes.fold._facts import walk
from graphopt.passes.fold._grid_rules import RULES
from graphopt.passes.fold._grids import Grids, constant_parts, learn_grids
from graphopt.passes.restructure._grid_gathers import (
    GATHERS,
    RENAMINGS,
    Plain,
    plain_chain,
    plain_gather,
)
from graphopt.passes.restructure._slicing import insert_cut, insert_ones

_MALFORMED = (IndexError, ValueError, ZeroDivisionError, TypeError)
"""What a node raises that no runtime would accept either (axes out of range)."""


@dataclass(frozen=True)
class SimplifyGathers:
    """Replace gathers by their own grid with Unsqueeze, Squeeze, Slice, or the data itself.

    Fires on synthetic graphs only among the catalogue's models (and on exported transformers).
    Source: ONNX operators Gather,
    GatherElements, GatherND, opsets 11 to 13, Range, Slice, Unsqueeze.
    """

    name: ClassVar[str] = "simplify_gathers"
    effect: ClassVar[Effect] = Effect.IDENTICAL

    def plan(self, graph: GraphView, context: Context) -> Iterable[Rewrite | Skip]:
        """Learn all there is to know first, then rewrite; what was learnt stays true meanwhile."""
        nodes = walk(graph)
        if not any(node.op_type in GATHERS and _is_by_grid(node) for node in nodes):
            return
        grids = learn_grids(graph, nodes, RULES, context)
        # From the last one back: it takes with it what it alone has read.
        for node in reversed(nodes):
            if node.outputs and not node.is_opaque and node.op_type in GATHERS | RENAMINGS:
                yield from _simplified(node, grids)


def _is_by_grid(node: NodeView) -> bool:
    """False where constants say that other places are meant."""
    indices = node.inputs[1] if len(node.inputs) > 1 else None
    if indices is None or not indices.is_constant:
        return indices is not None
    parts = constant_parts(indices)
    return parts is not None and parts[0].integer is None


def _simplified(node: NodeView, grids: Grids) -> Iterator[Rewrite | Skip]:
    value = node.outputs[0]
    found = _found(node, grids)
    if found is None or value is None or not (value.readers or value.is_graph_output):
        return
    refused = None if found.nodes else value.replaceable_by(found.source)
    if refused is not None:
        yield refused
        return
    yield Rewrite(value.label(), Effect.IDENTICAL, _replacing(node, found))


def _found(node: NodeView, grids: Grids) -> Plain | None:
    try:
        if node.op_type in GATHERS:
            found = plain_gather(node, grids)
            if found is not None and found.pays(node, fewer=False):
                return found
        return plain_chain(node, grids) if node.op_type in RENAMINGS else None
    except _MALFORMED:
        return None


def _replacing(node: NodeView, found: Plain) -> Callable[[Editor], None]:
    def apply(edit: Editor) -> None:
        (target,) = node.outputs
        assert target is not None
        value = found.source
        for each in found.cuts:
            value = insert_cut(value, each, node, edit)
        if found.operator:
            value = insert_ones(value, found.axes, node, edit, found.operator)
        if value is found.source:
            edit.replace(target, value)
        elif value.producer is not None:
            edit.adopt(value.producer, 0, target)
        edit.remove(node)

    return apply
