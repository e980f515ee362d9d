"""Bisection over the journal: which rewrite first makes the result fail."""

from __future__ import annotations

from collections.abc import Callable


def first_failure(base: int, end: int, passes: Callable[[int], bool]) -> int | None:
    """Find a length in (base, end] that fails while the one before it passes.

    Args:
        base: A length taken to pass; it is checked.
        end: A length known to fail.
        passes: Whether the graph with so many rewrites passes.

    Returns:
        The length, or None when `base` itself fails, so that no rewrite is to blame.
    """
    if not passes(base):
        return None
    good, bad = base, end
    while bad - good > 1:
        middle = (good + bad) // 2
        if passes(middle):
            good = middle
        else:
            bad = middle
    return bad
