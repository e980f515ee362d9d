"""Sizes as polynomials over symbols: what is known of a dimension before the model runs.

`batch * 64 + 2` is a Size; so is an integer. Two sizes that compare equal are equal at run time.
What has no polynomial (a rounded quotient) becomes a symbol of its own, named after what it is, so
that equal computations stay equal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

_MAX_TERMS = 24
"""A longer polynomial becomes a symbol: products of sums must not explode."""


_LONGEST_NAME = 200


class Symbol(NamedTuple):
    """One unknown integer.

    Attributes:
        name: What it is; equal names mean equal numbers.
        nonnegative: True for dimensions and what is computed from them without a minus.
    """

    name: str
    nonnegative: bool = True


Monomial = tuple[Symbol, ...]


@dataclass(frozen=True, slots=True)
class Size:
    """An integer polynomial.

    Attributes:
        terms: Monomials with their coefficients, sorted; no coefficient is 0.
    """

    terms: tuple[tuple[Monomial, int], ...]

    @property
    def integer(self) -> int | None:
        """Its value where it holds no symbol, else None."""
        if not self.terms:
            return 0
        (monomial, coefficient), *rest = self.terms
        return coefficient if not monomial and not rest else None

    @property
    def is_nonnegative(self) -> bool:
        """True where no assignment of sizes makes it negative; False where that is not known."""
        return all(c > 0 and all(s.nonnegative for s in m) for m, c in self.terms)

    def __add__(self, other: Size | int) -> Size:
        total = dict(self.terms)
        for monomial, coefficient in _size(other).terms:
            total[monomial] = total.get(monomial, 0) + coefficient
        return _collected(total, lambda: f"({self})+({other})")

    def __neg__(self) -> Size:
        return Size(tuple((m, -c) for m, c in self.terms))

    def __sub__(self, other: Size | int) -> Size:
        return self + -_size(other)

    def __mul__(self, other: Size | int) -> Size:
        total: dict[Monomial, int] = {}
        for first, a in self.terms:
            for second, b in _size(other).terms:
                monomial = tuple(sorted((*first, *second)))
                total[monomial] = total.get(monomial, 0) + a * b
        return _collected(total, lambda: f"({self})*({other})")

    def __str__(self) -> str:
        if not self.terms:
            return "0"
        return "+".join("*".join([str(c), *(s.name for s in m)]) for m, c in self.terms)

    def divided(self, divisor: Size) -> Size | None:
        """The exact quotient by a divisor of one term; None where it is not exact for certain."""
        if len(divisor.terms) != 1:
            return size(1) if divisor == self and self.terms else None
        ((symbols, factor),) = divisor.terms
        quotient: dict[Monomial, int] = {}
        for monomial, coefficient in self.terms:
            rest = list(monomial)
            for symbol in symbols:
                if symbol not in rest:
                    return None
                rest.remove(symbol)
            if coefficient % factor:
                return None
            quotient[tuple(rest)] = coefficient // factor
        return Size(tuple(sorted(quotient.items())))

    def quotient(self, divisor: Size) -> Size | None:
        """Integer division as ONNX Div does it, rounded towards zero; None where it is undefined.

        Source: ONNX operator Div.
        """
        whole, by = self.integer, divisor.integer
        if whole is not None and by is not None:
            return size(_truncated(whole, by)) if by else None
        exact = self.divided(divisor)
        if exact is not None:
            return exact
        known = self.is_nonnegative and divisor.is_nonnegative
        return self._rounded_down(by) or _symbol(f"({self})//({divisor})", nonnegative=known)

    def _rounded_down(self, by: int | None) -> Size | None:
        """The quotient of `by * n + rest` with rest below `by`, where nothing is negative."""
        if by is None or by <= 0 or not self.is_nonnegative:
            return None
        rest = dict(self.terms).get((), 0) % by
        return (self - rest).divided(size(by))

    def remainder(self, divisor: Size) -> Size | None:
        """Mod with the sign of the divisor, as ONNX Mod of integers; None where it is undefined."""
        whole, by = self.integer, divisor.integer
        if whole is not None and by is not None:
            return size(whole % by) if by else None
        if self.divided(divisor) is not None:
            return size(0)
        return _symbol(f"({self})%({divisor})", nonnegative=divisor.is_nonnegative)


def size(value: int) -> Size:
    """An integer as a Size."""
    return Size((((), value),) if value else ())


def symbol(name: str, *, nonnegative: bool = True) -> Size:
    """One unknown integer as a Size; equal names mean equal numbers."""
    return _symbol(f"'{name}'", nonnegative=nonnegative)


def product(sizes: Iterable[Size]) -> Size:
    """The product of sizes."""
    total = size(1)
    for item in sizes:
        total = total * item
    return total


def _symbol(name: str, *, nonnegative: bool) -> Size:
    if len(name) > _LONGEST_NAME:
        name = hashlib.sha256(name.encode()).hexdigest()
    return Size((((Symbol(name, nonnegative),), 1),))


def _size(value: Size | int) -> Size:
    return value if isinstance(value, Size) else size(int(value))


def _truncated(whole: int, by: int) -> int:
    quotient = abs(whole) // abs(by)
    return quotient if (whole < 0) == (by < 0) else -quotient


def _collected(total: Mapping[Monomial, int], name: Callable[[], str]) -> Size:
    terms = tuple(sorted((m, c) for m, c in total.items() if c))
    if len(terms) <= _MAX_TERMS:
        return Size(terms)
    known = all(c > 0 and all(s.nonnegative for s in m) for m, c in terms)
    return _symbol(name(), nonnegative=known)
