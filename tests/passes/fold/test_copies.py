"""An entry of a Reshape's target that turns out 0: what numpy and Reshape's own text make of it."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.passes.fold._copies import copies_are_harmless, zeros_of
from graphopt.passes.fold._dims import resolved
from graphopt.passes.fold._sizes import Size, product, size, symbol
from tests.passes.fold.learning import World

B, S = symbol("B"), symbol("S")
GIVEN = {"B": B.terms[0][0][0], "S": S.terms[0][0][0]}


def test_a_zero_that_no_number_of_elements_allows() -> None:
    """x[B*S, 192] to [B, S, 192]: with S = 0 it would be [B, 192, 192]."""
    assert copies_are_harmless([B, S, size(192)], [B * S, size(192)])


def test_a_zero_that_copies_what_fits() -> None:
    """x[B, 4] to [S, 4] with S = 0 is x itself, whatever B."""
    assert not copies_are_harmless([S, size(4)], [B, size(4)])


def test_an_open_entry_takes_what_is_left() -> None:
    """x[B, 4, S, 16] to [-1, S, 16] with S = 0 is [0, 4, 16]: no 0 in its middle."""
    target, source = [size(-1), S, size(16)], [B, size(4), S, size(16)]
    assert not copies_are_harmless(target, source)
    assert copies_are_harmless(target, source, {GIVEN["S"]})


def test_what_may_be_zero() -> None:
    assert zeros_of(B * S) == [GIVEN["B"], GIVEN["S"]]
    assert zeros_of(B + 1) == []
    assert zeros_of(B * S + B) == [GIVEN["B"]]
    assert zeros_of(B + symbol("k", local=True)) is None


ENTRIES = st.sampled_from([size(-1), size(0), size(2), size(4), B, S, B * S, B * 2, S * 4, S + 1])
DIMS = st.sampled_from([size(1), size(2), size(4), B, S, B * S, B * 2])


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    st.lists(ENTRIES, max_size=4), st.lists(DIMS, max_size=4),
    st.sampled_from([(0, 1), (0, 3), (1, 0), (2, 0), (3, 5), (2, 4)]),
)  # fmt: skip
def test_resolved_where_one_size_is_0(
    target: list[Size], source: list[Size], numbers: tuple[int, int]
) -> None:
    world = World(dict(zip((GIVEN["B"], GIVEN["S"]), numbers, strict=True)))
    found = resolved(target, tuple(source), allowzero=False)
    shape = [world.value(entry) for entry in target]
    real = [world.value(dim) for dim in source]
    if found is None or any(entry == 0 and i >= len(real) for i, entry in enumerate(shape)):
        return
    shape = [entry or real[i] if entry == 0 else entry for i, entry in enumerate(shape)]
    if shape.count(-1) > 1 or (-1 in shape and 0 in shape):
        return  # ONNX Runtime refuses both
    try:
        expected = np.zeros(real).reshape(shape).shape
    except ValueError:
        return
    assert tuple(world.value(dim) for dim in found) == expected
    assert world.value(product(found)) == int(np.prod(expected))
