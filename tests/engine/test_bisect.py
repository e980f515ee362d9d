from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from graphopt.engine.bisect import first_failure


@st.composite
def cases(draw: st.DrawFn) -> tuple[int, int, int]:
    base = draw(st.integers(0, 50))
    end = base + draw(st.integers(1, 5000))
    return base, end, draw(st.integers(base + 1, end))


@given(cases())
def test_finds_the_first_failing_length_in_logarithmic_time(case: tuple[int, int, int]) -> None:
    base, end, first = case
    asked: list[int] = []

    def passes(length: int) -> bool:
        asked.append(length)
        return length < first

    assert first_failure(base, end, passes) == first
    assert len(asked) <= 1 + math.ceil(math.log2(end - base))
    assert len(asked) == len(set(asked))


@given(st.sets(st.integers(1, 60), max_size=20))
def test_what_it_finds_fails_while_the_one_before_passes(failing: set[int]) -> None:
    found = first_failure(0, 61, lambda length: length not in failing)
    assert found is not None
    assert found == 61 or found in failing
    assert found - 1 not in failing


def test_no_rewrite_is_to_blame_where_the_base_fails() -> None:
    assert first_failure(3, 9, lambda length: False) is None
