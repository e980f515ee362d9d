"""Move a Split down behind what is done to each of its parts.

Before: a, b, c = Split(x), each -> Reshape([0, 0, 4, 16]) -> Transpose([0, 2, 1, 3])
After:  a, b, c = Split(Transpose(Reshape(x, [0, 0, 12, 16]), [0, 2, 1, 3]))

The parts' readers are all Reshapes, or all Transposes, one a part. Reshapes cut the last axis,
which is the one that was split, in the same way but for its leading number. Transposes agree, but
where one only exchanges the last two axes on top of it, that exchange stays behind the Split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Skip, ValueView
from graphopt.passes.restructure._splits import FIRST_OPSET, sizes_of, split


@dataclass(frozen=True, slots=True)
class Found:
    """A Split, and the readers behind which it goes.

    Attributes:
        readers: One a part, in the order of the parts.
        numbers: The perm, or the Reshape's target, for the whole.
        axis: Where the Split goes on then.
        sizes: Into what.
        late: Perms that some parts need after it, by position.
    """

    node: NodeView
    readers: list[NodeView]
    numbers: list[int]
    axis: int
    sizes: list[int]
    late: dict[int, list[int]]
    effect: Effect = Effect.IDENTICAL


@dataclass(frozen=True)
class SinkSplits:
    """Let one Reshape or Transpose work on the whole before it is split.

    Fires on synthetic graphs only among the catalogue's models. Source: ONNX operators Split,
    opsets 2 to 18, Reshape, opsets 5 to 25, and Transpose.
    """

    name: ClassVar[str] = "sink_splits"
    effect: ClassVar[Effect] = Effect.IDENTICAL
    roots: ClassVar[tuple[str, ...]] = ("Split",)

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | Skip | None:
        """Look at one Split and at what reads it."""
        source = node.inputs[0]
        if graph.opset() < FIRST_OPSET or source is None or source.shape is None:
            return None
        readers = _readers(node)
        kinds = {reader.op_type for reader in readers}
        if len(readers) < 2 or kinds not in ({"Reshape"}, {"Transpose"}):
            return None
        sizes = sizes_of(node)
        if sizes is None or 0 in sizes:
            return Skip("the parts' lengths are not known")
        axis, rank = node.attribute("axis", 0), len(source.shape)
        axis = axis + rank if axis < 0 else axis
        if kinds == {"Transpose"}:
            return _transposed(node, readers, axis, sizes)
        return _reshaped(node, readers, axis, sizes)

    def rewrite(self, match: Found, edit: Editor) -> None:
        """Insert the one node and a Split behind it; each part keeps its name."""
        node, graph = match.node, match.node.graph
        source, op_type = node.inputs[0], match.readers[0].op_type
        inputs, attributes = [source], {"perm": match.numbers}
        if op_type == "Reshape":
            target = np.array(match.numbers, dtype=np.int64)
            inputs.append(edit.constant(target, f"{match.readers[0].name}_shape", graph))
            attributes = {}
        whole = edit.insert(op_type, inputs, before=node, attributes=attributes).outputs[0]
        assert whole is not None
        parts = split(edit, whole, match.axis, match.sizes, before=node)
        for index, reader in enumerate(match.readers):
            made, position = parts, index
            if index in match.late:
                late = {"perm": match.late[index]}
                made = edit.insert(
                    "Transpose", [parts.outputs[index]], before=node, attributes=late
                )
                position = 0
            result = reader.outputs[0]
            assert result is not None
            edit.adopt(made, position, result)
            edit.remove(reader)
        edit.remove(node)


def _readers(node: NodeView) -> list[NodeView]:
    """What reads each part, one plain node beside the Split; empty where it is not so."""
    found: list[NodeView] = []
    for value in node.outputs:
        if value is None or value.is_graph_output:
            return []
        uses = value.readers
        if len(uses) != 1 or uses[0].index or uses[0].node.is_opaque:
            return []
        if uses[0].node.graph is not node.graph or uses[0].node.outputs[0] is None:
            return []
        found.append(uses[0].node)
    return found


def _transposed(
    node: NodeView, readers: Sequence[NodeView], axis: int, sizes: list[int]
) -> Found | Skip:
    source = node.inputs[0]
    assert source is not None
    assert source.shape is not None
    rank = len(source.shape)
    backwards = list(range(rank))[::-1]
    perms = [[int(entry) for entry in reader.attribute("perm", backwards)] for reader in readers]
    if any(sorted(perm) != list(range(rank)) for perm in perms):
        return Skip("perms do not fit")
    common = max(perms, key=perms.count)
    exchanged = [*common[:-2], common[-1], common[-2]]
    if perms.count(common) < 2 or any(perm not in (common, exchanged) for perm in perms):
        return Skip("perms differ")
    swap = [*range(rank - 2), rank - 1, rank - 2]
    late = {index: swap for index, perm in enumerate(perms) if perm != common}
    return Found(node, list(readers), common, common.index(axis), sizes, late)


def _reshaped(
    node: NodeView, readers: Sequence[NodeView], axis: int, sizes: list[int]
) -> Found | Skip:
    source = node.inputs[0]
    assert source is not None
    assert source.shape is not None
    if node.graph.opset() < 5 or axis != len(source.shape) - 1:
        return Skip("not the last axis is split")
    cuts = [_cut(reader, axis, size) for reader, size in zip(readers, sizes, strict=True)]
    found = [cut for cut in cuts if cut is not None]
    if len(found) < len(cuts):
        return Skip("a target does not only cut the last axis, or is not known")
    before, _, behind = found[0]
    if any((cut[0], cut[2]) != (before, behind) for cut in found):
        return Skip("targets differ")
    heads = [head for _, head, _ in found]
    return Found(node, list(readers), [*before, sum(heads), *behind], len(before), heads, {})


def _cut(reader: NodeView, axis: int, size: int) -> tuple[list[int], int, list[int]] | None:
    """A target as what stands before the last axis, its leading number, and what follows.

    What stands before is free to regroup the other axes: with the cut's numbers known to make up
    the last axis, it covers the rest.
    """
    target = _target(reader)
    if target is None:
        return None
    if target[:axis] == [0] * axis and target.count(-1) == 1 and 0 not in target[axis:]:
        # All before is copied: the open number is what is left of the last axis.
        place = target.index(-1)
        rest = -prod(target[axis:])
        if rest <= 0 or size % rest:
            return None
        target = [*target[:place], size // rest, *target[place + 1 :]]
        return target[:axis], target[axis], target[axis + 1 :]
    place = len(target)
    while place > 0 and prod(target[place:]) != size:
        place -= 1
        if target[place] <= 0:
            return None
    before = target[:place]
    if place == len(target) or prod(target[place:]) != size or 0 in before[axis:]:
        return None
    return before, target[place], target[place + 1 :]


def _target(reader: NodeView) -> list[int] | None:
    value: ValueView | None = reader.inputs[1] if len(reader.inputs) > 1 else None
    if value is None or not value.is_constant or value.shape is None or len(value.shape) != 1:
        return None
    target = [int(entry) for entry in value.array()]
    if reader.attribute("allowzero", 0) and 0 in target:
        return None
    result = reader.outputs[0]
    known = result.shape if result is not None else None
    if known is None or len(known) != len(target):
        return target
    pairs = zip(target, known, strict=True)
    return [dim if entry == -1 and isinstance(dim, int) else entry for entry, dim in pairs]
