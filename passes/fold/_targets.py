"""Constant targets of Reshape and Expand, where the sizes that they hold are not all numbers."""

from __future__ import annotations

from collections.abc import Sequence

from graphopt.contract import NodeView
from graphopt.passes.fold._copies import zeros_of
from graphopt.passes.fold._dims import resolved
from graphopt.passes.fold._facts import Dims, Facts
from graphopt.passes.fold._sizes import Size


def own_reshape_target(
    node: NodeView, target: list[Size], source: Dims, facts: Facts
) -> list[int] | None:
    """Numbers for a Reshape's own target: 0 where a dimension is copied, -1 for one that is not.

    A 0 among them copies, whatever the node's `allowzero` says: where the model's own target has
    a 0 in it and `allowzero`, nothing is copied.
    """
    allowzero = bool(node.attribute("allowzero", 0))
    dims = resolved(target, source, allowzero=allowzero, nonzero=facts.nonzero)
    if dims is None and any(e.integer is None and e not in source for e in target):
        return None
    literal = any(entry.integer == 0 for entry in [*target, *(dims or ())])
    found = _numbers(dims or target, () if literal and allowzero else source)
    opened = [index for index, entry in enumerate(found) if entry == -1]
    if len(opened) > 1:
        return None
    if opened and target[opened[0]].integer != -1 and not _goes_with_open(found, source, facts):
        return None
    return None if any(e.integer == 0 for e in dims or ()) and not allowzero else found


def reshape_target(wanted: Sequence[Size], source: Dims, facts: Facts) -> list[int] | None:
    """Numbers that make a Reshape of `source` to the wanted dimensions."""
    if any(dim.integer == 0 for dim in wanted):
        return None
    found = _numbers(wanted, source)
    if found.count(-1) > 1 or (-1 in found and not _goes_with_open(found, source, facts)):
        return None
    return found


def expand_target(
    node: NodeView, target: list[Size], source: Dims, facts: Facts
) -> list[int] | None:
    """Numbers for an Expand's target, with 1 for dimensions that stay."""
    found = []
    for index, entry in enumerate(target):
        axis = index - len(target) + len(source)
        if entry.integer is not None:
            found.append(entry.integer)
        elif axis >= 0 and entry == source[axis]:
            found.append(1)
        else:
            return None
    return found


def _numbers(wanted: Sequence[Size], source: Sequence[Size]) -> list[int]:
    found = []
    for index, entry in enumerate(wanted):
        copied = index < len(source) and entry == source[index]
        found.append(entry.integer if entry.integer is not None else 0 if copied else -1)
    return found


def _goes_with_open(found: Sequence[int], source: Dims, facts: Facts) -> bool:
    """True where no copied dimension can be 0: beside one, Reshape could not tell the -1."""
    copied = [source[index] for index, entry in enumerate(found) if entry == 0]
    zeros = [zeros_of(dim) for dim in copied]
    return all(z is not None and set(z) <= facts.nonzero for z in zeros)
