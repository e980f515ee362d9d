"""Forms: the element of an integer tensor as a polynomial over its own coordinates and sizes.

`Unsqueeze(Range(0, n, 1), [0])` of shape [1, n] has the form `axis 0`: the coordinate on its last
axis. Coordinates are counted from the last axis, so that broadcasting renames none. One on an axis
of size 1 is 0 and is left out; all others lie in [0, size - 1].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from graphopt.passes.fold._facts import Dims
from graphopt.passes.fold._sizes import Monomial, Size, Symbol, size

_COORDINATE = "axis "
"""No other symbol starts so: they are quoted names, bracketed expressions, or hexadecimal."""


def coordinate(place: int) -> Size:
    """The coordinate on one axis, the last axis being place 0."""
    return Size((((_symbol(place),), 1),))


def places(form: Size) -> set[int]:
    """The places of all coordinates that a form depends on."""
    found = (_place(symbol) for monomial, _ in form.terms for symbol in monomial)
    return {place for place in found if place is not None}


def symbols(forms: Iterable[Size]) -> set[Symbol]:
    """Everything unknown in some forms."""
    return {s for form in forms for monomial, _ in form.terms for s in monomial}


def renamed(form: Size, to: Mapping[int, int]) -> Size:
    """The form with its coordinates at other places; one whose place is not in `to` is 0."""
    total: dict[Monomial, int] = {}
    for monomial, factor in form.terms:
        found = [_place(symbol) for symbol in monomial]
        if any(place is not None and place not in to for place in found):
            continue
        moved = tuple(
            sorted(
                symbol if place is None else _symbol(to[place])
                for symbol, place in zip(monomial, found, strict=True)
            )
        )
        total[moved] = total.get(moved, 0) + factor
    return Size(tuple(sorted((m, c) for m, c in total.items() if c)))


def settled(form: Size, dims: Dims | None) -> Size | None:
    """A form without coordinates on axes of size 1; None where it needs a shape that has none."""
    used = places(form)
    if not used:
        return form
    if dims is None or max(used) >= len(dims):
        return None
    return renamed(form, {place: place for place in used if dims[-1 - place].integer != 1})


def fits(form: Size, dims: Dims | None, result: Dims | None) -> bool:
    """Tell whether broadcasting from `dims` to `result` keeps every coordinate of a form.

    Where a size is not provably the result's, it may be 1, and the coordinate would be 0.
    """
    used = places(form)
    if not used:
        return True
    if dims is None or result is None or len(result) < len(dims):
        return False
    return all(dims[-1 - place] == result[-1 - place] for place in used)


def is_never_negative(form: Size, dims: Dims | None) -> bool:
    """Tell whether no element is negative, each coordinate being below its size."""
    total = size(0)
    for monomial, factor in form.terms:
        if not all(symbol.nonnegative for symbol in monomial):
            return False
        found = [_place(symbol) for symbol in monomial]
        if factor > 0 and any(place is not None for place in found):
            continue  # 0 at the least
        term = size(factor)
        for symbol, place in zip(monomial, found, strict=True):
            if place is None:
                term = term * Size((((symbol,), 1),))
            elif dims is None or place >= len(dims):
                return False
            else:
                term = term * (dims[-1 - place] - 1)
        total = total + term
    return total.is_nonnegative


def row_major(dims: Dims) -> Size:
    """The form of a tensor that numbers its own elements in their order."""
    total, stride = size(0), size(1)
    for place, length in enumerate(reversed(dims)):
        if length.integer != 1:
            total = total + coordinate(place) * stride
            stride = stride * length
    return total


def without_ones(dims: Dims) -> Dims:
    """The dimensions that are not known to be 1."""
    return tuple(length for length in dims if length.integer != 1)


def renaming(before: Dims, after: Dims) -> dict[int, int] | None:
    """Where each coordinate goes when a reshape only adds and takes axes of size 1."""
    if without_ones(before) != without_ones(after):
        return None
    return dict(zip(_long(before), _long(after), strict=True))


def _long(dims: Dims) -> list[int]:
    return [len(dims) - 1 - axis for axis, dim in enumerate(dims) if dim.integer != 1]


def _symbol(place: int) -> Symbol:
    return Symbol(f"{_COORDINATE}{place}", True, True)


def _place(symbol: Symbol) -> int | None:
    if not symbol.name.startswith(_COORDINATE):
        return None
    return int(symbol.name.removeprefix(_COORDINATE))
