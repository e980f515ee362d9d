"""Chains of Reshape and Transpose as what they do to the smallest pieces of dimensions.

A dimension is an ordered list of atoms, whose lengths multiply to its own. A Transpose moves whole
dimensions; a Reshape draws the borders between dimensions anew, splitting atoms where it must.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from graphopt.passes.fold._sizes import Size, product, size

_ONE = size(1)


@dataclass(eq=False, slots=True)
class Atom:
    """A piece of a dimension.

    Attributes:
        length: How long it is.
        parts: Outer and inner piece, once it was split.
    """

    length: Size
    parts: tuple[Atom, Atom] | None = None


Axis = list[Atom]


def axes_of(dims: Iterable[Size]) -> list[Axis]:
    """One atom for each dimension; none where it is 1."""
    return [[] if dim == _ONE else [Atom(dim)] for dim in dims]


def whole(axes: Iterable[Axis]) -> list[Axis]:
    """The same axes in atoms that nothing has split."""
    return [_leaves(axis) for axis in axes]


def lengths(axes: Iterable[Axis]) -> tuple[Size, ...]:
    """The dimensions."""
    return tuple(product(atom.length for atom in axis) for axis in axes)


def flat(axes: Iterable[Axis]) -> list[Atom]:
    """All atoms in the order of the elements."""
    return [atom for axis in axes for atom in axis]


def regrouped(axes: Iterable[Axis], dims: Sequence[Size]) -> list[Axis] | None:
    """The axes that a Reshape to `dims` makes; None where borders cross within an atom."""
    pending = list(reversed(flat(whole(axes))))
    found: list[Axis] = []
    for dim in dims:
        axis: Axis = []
        rest = dim
        while rest != _ONE:
            if not pending:
                return None
            atom = pending.pop()
            if atom.length == rest:
                axis.append(atom)
                break
            quotient = rest.divided(atom.length)
            if quotient is not None:
                axis.append(atom)
                rest = quotient
                continue
            quotient = atom.length.divided(rest)
            if quotient is None:
                return None
            atom.parts = (Atom(rest), Atom(quotient))
            axis.append(atom.parts[0])
            pending.append(atom.parts[1])
            break
        found.append(axis)
    return None if pending else found


def transposition(before: Sequence[Axis], after: Sequence[Axis]) -> list[int] | None:
    """The permutation that makes one list of axes of the other; None where none does."""
    if len(before) != len(after):
        return None
    free = dict.fromkeys(range(len(before)))
    perm: list[int] = []
    for axis in after:
        found = next((i for i in free if before[i] == axis), None)
        if found is None:
            return None
        del free[found]
        perm.append(found)
    return perm


def shuffle(before: Sequence[Axis], after: Sequence[Axis]) -> tuple[int, list[int]] | None:
    """The one axis within which elements change places, and where each comes from.

    None where more than that happens, or where the axis is not of a known length.
    """
    if len(before) != len(after):
        return None
    changed = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    if len(changed) != 1:
        return None
    (axis,) = changed
    numbers = [n for atom in before[axis] if (n := atom.length.integer) is not None]
    if {id(a) for a in before[axis]} != {id(a) for a in after[axis]}:
        return None
    if len(numbers) != len(before[axis]):
        return None
    order = [before[axis].index(atom) for atom in after[axis]]
    places = np.arange(int(np.prod(numbers))).reshape(numbers)
    return axis, [int(place) for place in places.transpose(order).ravel()]


def ordered(axes: Sequence[Axis], order: Sequence[Atom]) -> list[Axis] | None:
    """The axes sorted so that their atoms come in that order; None where they cannot.

    Axes without atoms go to the end.
    """
    position = {id(atom): index for index, atom in enumerate(order)}
    found = sorted((axis for axis in axes if axis), key=lambda axis: position[id(axis[0])])
    if flat(found) != list(order):
        return None
    return found + [axis for axis in axes if not axis]


def blocks(before: Sequence[Atom], after: Sequence[Atom]) -> list[Axis]:
    """The longest runs of atoms that stay together, as they come before."""
    following = {id(a): b for a, b in pairwise(after)}
    found: list[Axis] = []
    for atom in before:
        if found and following.get(id(found[-1][-1])) is atom:
            found[-1].append(atom)
        else:
            found.append([atom])
    return found


def _leaves(axis: Iterable[Atom]) -> Axis:
    found: Axis = []
    for atom in axis:
        found += [atom] if atom.parts is None else _leaves(atom.parts)
    return found
