"""What a value is a broadcast of: a smaller one, or a small constant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from graphopt.contract import Array, NodeView, ValueView
from graphopt.passes.fold._facts import Dims
from graphopt.passes.fold._grids import Grids
from graphopt.passes.fold._sizes import size

_SMALL_BYTES = 1024
"""A row of a table that stays may be stored beside it when it is no longer than this."""


@dataclass(frozen=True, slots=True)
class Core:
    """Either a value that is there already, or the array of a constant to be made."""

    dims: Dims
    value: ValueView | None = None
    array: Array | None = None


def core_of(node: NodeView, grids: Grids) -> Core | None:
    """What the node's first output is a broadcast of; None where nothing smaller is known."""
    result = node.outputs[0] if node.outputs else None
    if result is None or result.dtype is None or result.is_constant or node.is_opaque:
        return None
    rule = _RULES.get(node.op_type)
    found = rule(node, grids) if rule else None
    number = grids.uniform(result)
    if number is not None and grids.dims(result) not in ((), None):
        return Core((), array=np.array(number, dtype=result.dtype))
    return found


def _expand(node: NodeView, grids: Grids) -> Core | None:
    return _operand(node.inputs[0], grids)


def _leading(node: NodeView, grids: Grids) -> Core | None:
    """Unsqueeze or Reshape that only puts axes of size 1 in front."""
    source = node.inputs[0]
    before, after = grids.dims(source), grids.dims(node.outputs[0])
    if before is None or after is None or len(before) >= len(after):
        return None
    added = len(after) - len(before)
    fits = after[added:] == before and all(dim.integer == 1 for dim in after[:added])
    return Core(before, value=source) if fits else None


def _filled(node: NodeView, grids: Grids) -> Core | None:
    value = np.asarray(node.attribute("value", np.zeros(1, np.float32)))
    return Core((), array=value.reshape(())) if value.size == 1 else None


def _row(node: NodeView, grids: Grids) -> Core | None:
    """The same row of a constant table, again and again."""
    table = node.inputs[0]
    index = grids.uniform(node.inputs[1])
    if table is None or index is None or not table.is_constant or table.shape is None:
        return None
    length = table.shape[0] if table.shape else 0
    if node.attribute("axis", 0) or not isinstance(length, int) or not -length <= index < length:
        return None
    alone = len(table.readers) == 1 and not table.is_graph_output
    if not alone and (table.nbytes or 0) // length > _SMALL_BYTES:
        return None
    row = np.array(table.array()[index])
    return Core(tuple(map(size, row.shape)), array=row)


def _chosen(node: NodeView, grids: Grids) -> Core | None:
    """Where whose condition is known: one of the two, broadcast."""
    condition = grids.uniform(node.inputs[0])
    return None if condition is None else _operand(node.inputs[1 if condition else 2], grids)


def _both(node: NodeView, grids: Grids) -> Core | None:
    return _beside(node, grids, unit=1)


def _either(node: NodeView, grids: Grids) -> Core | None:
    return _beside(node, grids, unit=0)


def _beside(node: NodeView, grids: Grids, *, unit: int) -> Core | None:
    """And beside true, Or beside false: the other operand, broadcast."""
    if node.attribute("broadcast", 0):
        return None
    for index in (0, 1):
        if grids.uniform(node.inputs[1 - index]) == unit:
            return _operand(node.inputs[index], grids)
    return None


def _operand(value: ValueView | None, grids: Grids) -> Core | None:
    dims = grids.dims(value)
    return None if dims is None or value is None else Core(dims, value=value)


_RULES: dict[str, Callable[[NodeView, Grids], Core | None]] = {
    "And": _both,
    "ConstantOfShape": _filled,
    "Expand": _expand,
    "Gather": _row,
    "Or": _either,
    "Reshape": _leading,
    "Unsqueeze": _leading,
    "Where": _chosen,
}
