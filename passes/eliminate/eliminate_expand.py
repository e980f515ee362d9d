"""Let nodes that broadcast anyway read what was expanded for them.

Before: Expand(mask, [B, 1, S, S]) -> Where(., 0, -inf) -> Add(scores, .)
After:  Where(mask, 0, -inf) -> Add(scores, .)

Expanded are the results of Expand and ConstantOfShape; of an Unsqueeze or Reshape that only puts
ones in front; of a Gather that takes one row of a constant table again and again; and integer or
boolean tensors whose elements all are the same number, as `Range(S) >= 0` is. The nodes between
are made anew, smaller than they were, up to those whose result keeps its shape.

Conditions: no smaller result is seen: each is read by nodes that work element by element, and
every way ends at one whose shape stays, proven from constants, from the names of the graph's own
inputs' sizes, and from what the model can only have run with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Rewrite, Skip, ValueView
from graphopt.passes.eliminate._absorbing import ABSORBING, Absorbing, absorbing, redirect
from graphopt.passes.eliminate._cores import Core, core_of
from graphopt.passes.fold._facts import walk
from graphopt.passes.fold._grid_rules import RULES
from graphopt.passes.fold._grids import Grids, learn_grids

_STARTS = frozenset(
    {"And", "ConstantOfShape", "Equal", "Expand", "Gather", "GatherElements", "Greater",
     "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or", "Reshape", "Unsqueeze", "Where"}
)  # fmt: skip
"""Operators that may have expanded something."""
_FEW = 8


@dataclass(frozen=True)
class EliminateExpand:
    """Remove what makes a tensor large before nodes that broadcast it anyway.

    Fires on synthetic graphs only among the catalogue's models (and on exported transformers).
    Source: ONNX's multidirectional broadcasting;
    operators Expand, opsets 8 and 13, ConstantOfShape, Gather, Unsqueeze, Reshape.
    """

    name: ClassVar[str] = "eliminate_expand"
    effect: ClassVar[Effect] = Effect.IDENTICAL

    def plan(self, graph: GraphView, context: Context) -> Iterable[Rewrite | Skip]:
        """Learn all there is to know first, then rewrite; what was learnt stays true meanwhile."""
        nodes = walk(graph)
        starts = [node for node in nodes if node.op_type in _STARTS and _may_go(node)]
        if not starts:
            return
        grids = learn_grids(graph, nodes, RULES, context)
        # From the last one back: what it was computed from is then read no more.
        for node in reversed(starts):
            if node.outputs:  # else an earlier rewrite has removed it
                yield from _expanded(node, grids)


def _may_go(node: NodeView) -> bool:
    """Tell whether all that read a node's result may read something smaller."""
    value = node.outputs[0] if node.outputs else None
    if value is None or value.is_constant or _is_short(value):
        return False
    readers = [use.node.op_type for use in value.readers]
    return bool(readers) and (node.op_type == "Expand" or ABSORBING.issuperset(readers))


def _is_short(value: ValueView) -> bool:
    """True for a number or a few of them: most often they are sizes, and no burden."""
    shape = value.shape
    if shape is None or len(shape) > 1:
        return False
    return not shape or (isinstance(shape[0], int) and shape[0] <= _FEW)


def _expanded(node: NodeView, grids: Grids) -> Iterator[Rewrite]:
    core, value = core_of(node, grids), node.outputs[0]
    if core is None or value is None or not value.readers:
        return
    same = core.value is not None and core.dims == grids.dims(value)
    if same and core.value is not None and value.replaceable_by(core.value) is None:
        yield Rewrite(value.label(), Effect.IDENTICAL, _bypassing(node, value, core.value))
        return
    found = absorbing(value, core.dims, grids)
    if found is not None:
        yield Rewrite(value.label(), Effect.IDENTICAL, _redirecting(node, core, found))


def _bypassing(node: NodeView, value: ValueView, source: ValueView) -> Callable[[Editor], None]:
    def apply(edit: Editor) -> None:
        edit.replace(value, source)
        edit.remove(node)

    return apply


def _redirecting(node: NodeView, core: Core, found: Absorbing) -> Callable[[Editor], None]:
    def apply(edit: Editor) -> None:
        value = next(iter(found.smaller))
        read = core.value
        if core.array is not None:
            read = edit.constant(core.array, value.name, value.graph)
        assert read is not None
        redirect(found, read, edit)
        if len(node.outputs) == 1:
            edit.remove(node)

    return apply
