"""Sizes as polynomials over symbols: what is known of a dimension before the model runs.

`batch * 64 + 2` is a Size; so is an integer. Two sizes that compare equal are equal at run time.
What has no polynomial (a rounded quotient) becomes a symbol of its own, named after what it is, so
that equal computations stay equal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

_MAX_TERMS = 24
"""A longer polynomial becomes a symbol: products of sums must not explode."""


_MAX_DEGREE = 8
_LONGEST_NAME = 200


class Symbol(NamedTuple):
    """One unknown integer.

    Attributes:
        name: What it is; equal names mean equal numbers.
        nonnegative: True for dimensions and what is computed from them without a minus.
        local: True for a size that belongs to one value alone; False for what is made of the sizes
            that the main graph's inputs name.
        is_given: True for a size that an input of the main graph names.
        most: Sizes that it is never above. It equals one of them, or a number above 0.
    """

    name: str
    nonnegative: bool = True
    local: bool = False
    is_given: bool = False
    most: tuple[Size, ...] = ()


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
    def degree(self) -> int:
        """Most symbols that one term multiplies."""
        return max((len(monomial) for monomial, _ in self.terms), default=0)

    @property
    def is_of_inputs(self) -> bool:
        """True where every symbol is a size that the main graph's inputs name."""
        return all(not symbol.local for monomial, _ in self.terms for symbol in monomial)

    def is_below(self, bound: int) -> bool:
        """True where no symbol has a factor above `bound`."""
        return all(abs(c) <= bound for m, c in self.terms if m)

    @property
    def is_nonnegative(self) -> bool:
        """True where no assignment of sizes makes it negative; False where that is not known."""
        return all(c > 0 and all(s.nonnegative for s in m) for m, c in self.terms)

    def __add__(self, other: Size | int) -> Size:
        total = dict(self.terms)
        for monomial, coefficient in _size(other).terms:
            total[monomial] = total.get(monomial, 0) + coefficient
        return _collected(total) or _derived("+", self, _size(other), nonnegative=_is_sum(total))

    def __neg__(self) -> Size:
        return Size(tuple((m, -c) for m, c in self.terms))

    def __sub__(self, other: Size | int) -> Size:
        return self + -_size(other)

    def __mul__(self, other: Size | int) -> Size:
        factor = _size(other)
        total: dict[Monomial, int] = {}
        if self.degree + factor.degree > _MAX_DEGREE:
            known = self.is_nonnegative and factor.is_nonnegative
            return _derived("*", self, factor, nonnegative=known)
        for first, a in self.terms:
            for second, b in factor.terms:
                monomial = tuple(sorted((*first, *second)))
                total[monomial] = total.get(monomial, 0) + a * b
        return _collected(total) or _derived("*", self, factor, nonnegative=_is_sum(total))

    def __str__(self) -> str:
        if not self.terms:
            return "0"
        return "+".join("*".join([str(c), *map(_name, m)]) for m, c in self.terms)

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
        """Integer division as ONNX Div does it, rounded towards zero; None by 0.

        By a symbol that may be 0 it is a symbol: where it were 0, the model would not run.

        Source: ONNX operator Div.
        """
        whole, by = self.integer, divisor.integer
        if by == 0:
            return None
        if whole is not None and by is not None:
            return size(_truncated(whole, by))
        exact = self.divided(divisor)
        if exact is not None:
            return exact
        known = self.is_nonnegative and divisor.is_nonnegative
        return self._rounded_down(by) or _derived("//", self, divisor, nonnegative=known)

    def broadcast(self, other: Size) -> Size:
        """The length that two lengths broadcast to, neither of them known to be 1.

        Source: ONNX broadcasting.
        """
        for first, second in ((self, other), (other, self)):
            # Where the second is the smaller, it is a number above 1, and the model does not run,
            # or it is 1.
            if first in second.most:
                return first
        first, second = sorted((self, other), key=str)
        return _derived("broadcast", first, second, nonnegative=True)

    @property
    def most(self) -> tuple[Size, ...]:
        """Sizes that it is the smaller of, beside a number above 0; see Symbol."""
        if len(self.terms) != 1 or self.degree != 1 or self.terms[0][1] != 1:
            return ()
        return self.terms[0][0][0].most

    def smaller(self, other: Size) -> Size:
        """The smaller of two."""
        if (other - self).is_nonnegative:
            return self
        if (self - other).is_nonnegative:
            return other
        first, second = sorted((self, other), key=str)
        found = _derived(
            "min", first, second, nonnegative=self.is_nonnegative and other.is_nonnegative
        )
        numbers = [s for s in (first, second) if s.integer is not None and s.integer > 0]
        if len(numbers) != 1:
            return found
        most = tuple(s for s in (first, second) if s.integer is None)
        ((((made,), _),)) = found.terms
        return Size((((made._replace(most=most),), 1),))

    def _rounded_down(self, by: int | None) -> Size | None:
        """The quotient of `by * n + rest` with rest below `by`, where nothing is negative."""
        if by is None or by <= 0 or not self.is_nonnegative:
            return None
        rest = dict(self.terms).get((), 0) % by
        return (self - rest).divided(size(by))

    def remainder(self, divisor: Size) -> Size | None:
        """Mod with the sign of the divisor, as ONNX Mod of integers; None by 0."""
        whole, by = self.integer, divisor.integer
        if by == 0:
            return None
        if whole is not None and by is not None:
            return size(whole % by)
        if self.divided(divisor) is not None:
            return size(0)
        return _derived("%", self, divisor, nonnegative=divisor.is_nonnegative)


def _name(symbol: Symbol) -> str:
    return f"local {symbol.name}" if symbol.local else symbol.name


def size(value: int) -> Size:
    """An integer as a Size."""
    return Size((((), value),) if value else ())


def symbol(name: str, *, nonnegative: bool = True, local: bool = False) -> Size:
    """One unknown integer as a Size; equal names mean equal numbers.

    Args:
        name: Any text; it is quoted, so that no name can be taken for an expression.
        nonnegative: It is a dimension, or computed from such.
        local: It is no size that an input of the main graph names.
    """
    return _symbol(repr(name), nonnegative=nonnegative, local=local, given=not local)


def derived(name: str, parts: Iterable[Size]) -> Size:
    """A dimension that has no polynomial, as a symbol named after what it is computed from.

    It is a local one: should ONNX's inference know its number, that is to be preferred.
    """
    text = f"{name}({', '.join(map(str, parts))})"
    return _symbol(text, nonnegative=True, local=True)


def product(sizes: Iterable[Size]) -> Size:
    """The product of sizes."""
    total = size(1)
    for item in sizes:
        total = total * item
    return total


def _symbol(name: str, *, nonnegative: bool, local: bool, given: bool = False) -> Size:
    if len(name) > _LONGEST_NAME:
        name = hashlib.sha256(name.encode()).hexdigest()
    return Size((((Symbol(name, nonnegative, local, given),), 1),))


def _size(value: Size | int) -> Size:
    return value if isinstance(value, Size) else size(int(value))


def _truncated(whole: int, by: int) -> int:
    quotient = abs(whole) // abs(by)
    return quotient if (whole < 0) == (by < 0) else -quotient


def _collected(total: Mapping[Monomial, int]) -> Size | None:
    """A polynomial of its terms, None where there are too many."""
    terms = tuple(sorted((m, c) for m, c in total.items() if c))
    return Size(terms) if len(terms) <= _MAX_TERMS else None


def _is_sum(total: Mapping[Monomial, int]) -> bool:
    """True where no term can be negative."""
    return all(c >= 0 and all(symbol.nonnegative for symbol in m) for m, c in total.items())


def _derived(operator: str, first: Size, second: Size, *, nonnegative: bool) -> Size:
    """What has no polynomial, as a symbol named after how it is computed."""
    local = not (first.is_of_inputs and second.is_of_inputs)
    name = f"({first}){operator}({second})"
    return _symbol(name, nonnegative=nonnegative, local=local)
