"""Where a scale can be taken in above the node that scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graphopt.contract import Array, NodeView, Skip, Use, ValueView
from graphopt.passes.fuse._absorbed import output_scaled, shifted
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
from graphopt.passes.fuse._scales import CHOOSING, PASSING, SUMMING, before, chosen, fits

_MOST_TRIES = 32
"""Choices between factors of products that are tried for one scale."""
_NOT_ALONE = Skip("a value on the way is read elsewhere")
_EITHER = frozenset({"Div", "MatMul", "Mul"})
"""Products: one factor can take one number in."""
_EACH = frozenset({"Add", "Concat", "Sub"})
"""Sums, and what only joins: each operand must."""
_RISING = frozenset(
    {"Add", "Concat", "Conv", "ConvTranspose", "Div", "Gemm", "LayerNormalization", "MatMul", "Mul",
     "Sub"}
)  # fmt: skip


def way_up(scaling: NodeView, source: ValueView, scale: Array) -> Way | Skip | None:
    """Follow what is scaled to the nodes whose constants can be scaled in its place."""
    node = source.producer
    if node is None or source.is_constant or node.op_type not in PASSING | _RISING:
        return None
    found = _Search(scaling, {source: scale}, set(), [], [_MOST_TRIES]).run()
    return found if isinstance(found, Skip) else Way(found[::-1], [], True)


@dataclass(slots=True)
class _Search:
    """The nodes between what is scaled and what takes the scale in, as they are found.

    Attributes:
        pending: Values that must carry a scale, and which.
        parts: Those of them of which one reader chooses a part, which alone is scaled.
        steps: Nodes in the order of finding: all that read a node's result come before it.
        tries: How many choices may still be tried, shared by all searches for one scale.
    """

    scaling: NodeView
    pending: dict[ValueView, Array]
    parts: set[ValueView]
    steps: list[Step]
    tries: list[int]

    def run(self) -> list[Step] | Skip:
        """Go on until nothing is pending; where a node leaves a choice, try each."""
        while self.pending:
            value = next((v for v in self.pending if not self._refused(v)), None)
            if value is None:
                return self._refused(next(iter(self.pending))) or NO_WAY
            scale = self.pending.pop(value)
            found = self._through(value, scale)
            if isinstance(found, Skip):
                return found
            if len(found) > 1:
                return self._tried(found)
            if len(self.steps) == LONGEST or not self._take(*found[0]):
                return NO_WAY
        return self.steps

    def _tried(self, choices: Sequence[tuple[Step, Array | None]]) -> list[Step] | Skip:
        last: list[Step] | Skip = NO_WAY
        for choice in choices:
            search = _Search(
                self.scaling, dict(self.pending), set(self.parts), list(self.steps), self.tries
            )
            if self.tries[0] > 0 and search._take(*choice):
                self.tries[0] -= 1
                last = search.run()
            if isinstance(last, list):
                break
        return last

    def _take(self, step: Step, scale: Array | None) -> bool:
        """Note a node, and what it reads that must carry a scale then; False where it cannot."""
        if any(other.node is step.node for other in self.steps):
            return False
        self.steps.append(step)
        carrying = {step.node.inputs[index] for index in step.inputs}
        for index, value in enumerate(step.node.inputs):
            if value is None or value not in carrying:
                continue
            assert scale is not None
            if index not in step.inputs or not np.array_equal(
                self.pending.get(value, scale), scale
            ):
                return False
            self.pending[value] = scale
            if step.node.op_type in CHOOSING and scale.ndim:
                self.parts.add(value)
        return True

    def _refused(self, value: ValueView) -> Skip | None:
        """Why a value cannot carry a scale to its readers, or not yet; None where it can."""
        if value.is_graph_output:
            return SEEN
        if not fits(self.pending[value], value):
            return WIDENS
        carried = {(step.node, index) for step in self.steps for index in step.inputs}
        readers, others = [], []
        for use in value.readers:
            if use.node.graph is not self.scaling.graph:
                return _NOT_ALONE
            if use.node is self.scaling or (use.node, use.index) in carried:
                readers.append(use.node)
            elif use.node.op_type not in DESCRIBING:
                others.append(use)
        apart = value in self.parts and len(readers) == 1 and _is_apart(readers[0], others)
        return None if apart or not others else _NOT_ALONE

    def _through(
        self, value: ValueView, scale: Array
    ) -> Sequence[tuple[Step, Array | None]] | Skip:
        """The node that makes a value, with what it must read scaled: one way, or a choice."""
        node = value.producer
        if node is None or value.is_constant or node.is_opaque:
            return NO_WAY
        if node.graph is not self.scaling.graph:
            return NO_WAY
        index = next(i for i, result in enumerate(node.outputs) if result is value)
        ended = output_scaled(node, scale) if index == 0 else None
        if ended is not None:
            return ended if isinstance(ended, Skip) else [(Step(node, (), index, ended), None)]
        if node.op_type in ("Add", "Sub"):
            moved = shifted(node, scale)
            if moved is not None:
                if isinstance(moved, Skip):
                    return moved
                return [(Step(node, (moved[0],), index, moved[1]), scale)]
        if node.op_type in _EITHER or node.op_type in _EACH:
            return _joined(node, scale)
        above = before(node, index, scale) if node.op_type in PASSING else None
        if above is None or node.inputs[0] is None:
            return NO_WAY
        if node.op_type in SUMMING and not is_moderate(scale, node.inputs[0]):
            return FAR
        step = Step(node, (0,), index)
        if node.op_type in CHOOSING and not scale.ndim and above.ndim:
            return [(step, scale), (step, above)]  # the rest is scaled as well, or it is not
        return [(step, above)]


def _joined(node: NodeView, scale: Array) -> Sequence[tuple[Step, Array | None]] | Skip:
    """Operands that are all computed: which of them take one number in."""
    values = [value for value in node.inputs if value is not None and not value.is_constant]
    if scale.ndim or len(values) != len(node.inputs):
        return NO_WAY
    if node.op_type != "Concat" and not is_moderate(scale, values[0]):
        return FAR
    if node.op_type in _EACH:
        return [(Step(node, tuple(range(len(values))), 0), scale)]
    indices = [0] if node.op_type == "Div" else [0, 1]
    result = node.outputs[0]
    # What has the result's shape is rather what a linear node made than a factor for all rows.
    indices.sort(key=lambda i: result is None or values[i].shape != result.shape)
    return [(Step(node, (index,), 0), scale) for index in indices]


def _is_apart(reader: NodeView, others: Sequence[Use]) -> bool:
    """Tell whether all readers of a value choose parts, and no other what `reader` chooses."""
    own = chosen(reader)
    if own is None:
        return False
    for use in others:
        part = chosen(use.node) if use.index == 0 else None
        if part is None or part[0] != own[0] or not set(own[1]).isdisjoint(part[1]):
            return False
    return True
