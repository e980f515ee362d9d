"""Sizes against plain integers: whatever is put in for the symbols, both must come out equal."""

from __future__ import annotations

from itertools import product as pairs_of
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.passes.fold._sizes import Size, Symbol, product, size, symbol
from tests.build import few, parse
from tests.passes.fold.learning import World
from tests.passes.support import answers

N, M, K = symbol("N"), symbol("M"), symbol("K")
SIGNED = symbol("signed", nonnegative=False)
NAMES = {"N": N, "M": M, "K": K, "signed": SIGNED}

Tree = Any
"""A name, an integer, or (operation, left, right)."""

LEAVES = st.sampled_from(sorted(NAMES)) | st.integers(-6, 6)
RING = st.recursive(
    LEAVES, lambda inner: st.tuples(st.sampled_from("+-*"), inner, inner), max_leaves=4
)
TREES = st.recursive(
    LEAVES, lambda inner: st.tuples(st.sampled_from("+-*/%"), inner, inner), max_leaves=8
)
WORLDS = st.fixed_dictionaries(
    {**{name: st.integers(0, 9) for name in "NMK"}, "signed": st.integers(-9, 9)}
)


many = settings(few, max_examples=150)


class UndefinedError(Exception):
    """A division by zero: what a size says of it is of no interest."""


def truncated(a: int, b: int) -> int:
    """Integer division of ONNX, which is C's."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def both(tree: Tree, world: World) -> tuple[Size, int]:
    """A tree as a size and as a number; every step on the way is compared."""
    if isinstance(tree, int):
        return size(tree), tree
    if isinstance(tree, str):
        return NAMES[tree], world.value(NAMES[tree])
    operation, left, right = tree
    (first, a), (second, b) = both(left, world), both(right, world)
    if operation in "/%" and b == 0:
        raise UndefinedError
    found: Size | None
    if operation == "/":
        found, number = first.quotient(second), truncated(a, b)
    elif operation == "%":
        found, number = first.remainder(second), a % b
    elif operation == "+":
        found, number = first + second, a + b
    else:
        found, number = (first - second, a - b) if operation == "-" else (first * second, a * b)
    assert found is not None
    world.holds(found, number)
    return found, number


def numbers(assignment: dict[str, int]) -> World:
    return World({NAMES[name].terms[0][0][0]: value for name, value in assignment.items()})


@many
@given(TREES, st.lists(WORLDS, min_size=4, max_size=4))
def test_sizes_are_what_integers_are(tree: Tree, assignments: list[dict[str, int]]) -> None:
    for assignment in assignments:
        try:
            found, number = both(tree, numbers(assignment))
        except UndefinedError:
            continue
        assert found.integer in (None, number)
        assert number >= 0 or not found.is_nonnegative


@many
@given(TREES, TREES, st.lists(WORLDS, min_size=4, max_size=4))
def test_equal_sizes_are_equal_numbers(a: Tree, b: Tree, assignments: list[dict[str, int]]) -> None:
    """Trees that share a world share what its quotients and remainders are."""
    for assignment in assignments:
        world = numbers(assignment)
        try:
            (first, x), (second, y) = both(a, world), both(b, world)
            both(("-", ("/", a, 2), ("/", b, 2)), world)
            both(("-", ("%", a, -3), ("%", b, -3)), world)
        except UndefinedError:
            continue
        assert first != second or x == y
        assert first != second or hash(first) == hash(second)


@few
@given(RING, RING, RING)
def test_ring_laws(a: Tree, b: Tree, c: Tree) -> None:
    """Sums and products that are equal by algebra compare equal, however they were written."""
    world = numbers(dict.fromkeys(NAMES, 1))
    x, y, z = (both(tree, world)[0] for tree in (a, b, c))
    assert x + y == y + x
    assert (x + y) + z == x + (y + z)
    assert x - x == size(0)
    assert x + 0 == x == x * 1
    if all(len(item.terms) <= 2 for item in (x, y, z)):
        assert x * y == y * x
        assert (x * y) * z == x * (y * z)
        assert (x + y) * z == x * z + y * z
        assert -(x - y) == y - x


def test_division_is_the_one_that_the_runtime_does() -> None:
    grid = np.array([pair for pair in pairs_of(range(-7, 8), range(-4, 5)) if pair[1]], np.int64)
    model = parse("g (int64[K] a, int64[K] b) => (int64[K] q, int64[K] r) {"
                  "q = Div(a, b) r = Mod(a, b) }")  # fmt: skip
    quotients, remainders = answers(model, {"a": grid[:, 0], "b": grid[:, 1]}, reference=False)
    for (a, b), q, r in zip(grid.tolist(), quotients, remainders, strict=True):
        assert size(a).quotient(size(b)) == size(int(q)), (a, b)
        assert size(a).remainder(size(b)) == size(int(r)), (a, b)


QUOTIENTS: dict[str, tuple[Size, Size | int, Size | None]] = {
    "a factor": (N * 64, 8, N * 8),
    "a factor below zero": (N * 64, -8, N * -8),
    "below zero": (-(N * 6), 3, N * -2),
    "a symbol": (N * M * 6, N * 2, M * 3),
    "a symbol twice": (N * N * M, N * N, M),
    "a sum by itself": (N + 1, N + 1, size(1)),
    "a rest is dropped": (N * 2 + 3, 2, N + 1),
    "a rest of one": (N * 4 + M * 8 + 7, 4, N + M * 2 + 1),
    "nothing": (size(0), N + 1, None),
    "a rest where the sum may be negative": (N * 2 - 3, 2, None),
    "a symbol that is not there": (N * 2, M, None),
    "only one of two terms": (N * 2 + M, 2, None),
    "a symbol too often": (N, N * N, None),
    "by below zero with a rest": (N * 2 + 1, -2, None),
}


@pytest.mark.parametrize("case", QUOTIENTS)
def test_quotients(case: str) -> None:
    whole, by, expected = QUOTIENTS[case]
    divisor = by if isinstance(by, Size) else size(by)
    found = whole.quotient(divisor)
    assert found is not None
    if expected is not None:
        assert found == expected
        return
    assert found.integer in (None, 0)
    assert found == whole.quotient(divisor)
    for world in (numbers({"N": n, "M": m, "K": 1, "signed": 0}) for n in range(4) for m in (1, 5)):
        by_number = world.value(divisor)
        if by_number:
            world.holds(found, truncated(world.value(whole), by_number))


@pytest.mark.parametrize("whole", [size(0), size(7), N, N - 1], ids=["0", "7", "N", "N-1"])
def test_division_by_zero_is_undefined(whole: Size) -> None:
    assert whole.quotient(size(0)) is None
    assert whole.remainder(size(0)) is None


def test_remainders() -> None:
    assert (N * 6).remainder(size(3)) == size(0)
    assert (N * M).remainder(M) == size(0)
    found = (N + 1).remainder(size(3))
    assert found is not None
    assert found.integer is None
    assert found.is_nonnegative
    below = N.remainder(size(-3))
    assert below is not None
    assert not below.is_nonnegative


def test_what_is_never_negative() -> None:
    assert (N * M + 2).is_nonnegative
    assert size(0).is_nonnegative
    assert not size(-1).is_nonnegative
    assert not (N - 1).is_nonnegative
    assert not SIGNED.is_nonnegative
    assert not (SIGNED * SIGNED).is_nonnegative
    rounded, unsure = N.quotient(size(2)), (N - 1).quotient(size(2))
    assert rounded is not None
    assert unsure is not None
    assert rounded.is_nonnegative
    assert not unsure.is_nonnegative


def test_integer() -> None:
    assert size(0).integer == 0
    assert (N - N + 5).integer == 5
    assert (N * 0).integer == 0
    assert (N + 5).integer is None
    assert (N * 5).integer is None


@given(st.lists(st.integers(-5, 5), max_size=6))
@few
def test_product(factors: list[int]) -> None:
    expected = 1
    for factor in factors:
        expected *= factor
    assert product([N, *map(size, factors)]) == N * expected
    assert product(map(size, factors)) == size(expected)


def test_a_sum_of_many_terms_becomes_a_symbol() -> None:
    terms = [symbol(f"d{i}") for i in range(40)]
    total = product([]) * 0
    for item in terms:
        total = total + item
    assert len(total.terms) < 25
    assert total.is_nonnegative
    worlds = [World({item.terms[0][0][0]: i * k for i, item in enumerate(terms)}) for k in (0, 3)]
    for world in worlds:
        running, number = size(0), 0
        for item in terms:
            running, number = running + item, number + world.value(item)
            world.holds(running, number)


def test_a_product_of_sums_becomes_a_symbol() -> None:
    left, right = N + M + K + 1, N + M * 2 + K * 3 + 2
    found = left
    world = numbers({"N": 2, "M": 3, "K": 4, "signed": 0})
    number = world.value(left)
    for _ in range(4):
        found, number = found * right, number * world.value(right)
        world.holds(found, number)
    assert len(found.terms) < 25
    below = left
    for _ in range(4):
        below = below * (N - M - K * 3 - 2)
    assert not below.is_nonnegative


@pytest.mark.parametrize("base", [N, N * 3], ids=["N", "3 N"])
def test_squaring_again_and_again_stays_small(base: Size) -> None:
    """A file of forty nodes must not ask for all memory: the degree doubles with each one."""
    found = base
    for _ in range(14):
        found = found * found
    assert max(len(monomial) for monomial, _ in found.terms) < 1000
    assert max(abs(factor) for _, factor in found.terms).bit_length() < 1000


def test_names_do_not_run_into_each_other() -> None:
    """A name that reads like what a sum is called is still another name."""
    two = size(2)
    for odd in ("M'+1*'N", "(1*'M'+1*'N')//(2)"):
        assert symbol(odd) != (N + M).quotient(two)
        assert symbol(odd).quotient(two) != (N + M).quotient(two)
        assert symbol(odd).remainder(two) != (N + M).remainder(two)
    assert symbol("M'*'N").quotient(two) != (N * M).quotient(two)


def test_whose_a_symbol_is_shows_in_what_is_made_of_it() -> None:
    """A size of one value alone may be called as an input's is."""
    (a, b), (c, d) = ([symbol(name, local=own) for name in "NM"] for own in (False, True))
    assert (a + d).quotient(size(2)) != (c + b).quotient(size(2))
    assert (a + d).remainder(size(2)) != (c + b).remainder(size(2))


def test_long_names_stay_apart() -> None:
    first, second = (symbol("d" * 500 + end) for end in "ab")
    assert first != second
    assert first == symbol("d" * 500 + "a")
    assert first.quotient(size(3)) != second.quotient(size(3))
    assert first.quotient(size(3)) == symbol("d" * 500 + "a").quotient(size(3))


def test_a_symbol_knows_its_sign() -> None:
    assert symbol("d") != symbol("d", nonnegative=False)
    ((monomial, factor),) = symbol("d").terms
    assert factor == 1
    assert isinstance(monomial[0], Symbol)
    assert monomial[0].nonnegative
