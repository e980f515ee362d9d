"""Whether a candidate of a tuning answers what the default answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from graphopt.model.tensor import is_floating
from graphopt.verify.numeric import difference

TOLERANCE = 1e-4
"""Largest difference relative to an output's largest value: rounding of FP32, and no more."""

_ROUNDINGS = 4


def varying(first: Mapping[str, Any], second: Mapping[str, Any]) -> frozenset[str]:
    """Outputs that two runs with the same settings and inputs give differently."""
    return frozenset(name for name in first if differing({name: first[name]}, second))


def differing(
    expected: Mapping[str, Any], found: Mapping[str, Any], random: frozenset[str] = frozenset()
) -> str:
    """How outputs differ by more than rounding, in words; empty where they don't.

    Args:
        expected: The default's.
        found: The candidate's.
        random: Outputs that are not looked at.
    """
    for name, value in expected.items():
        if name in random:
            continue
        result = difference(value, found.get(name))
        if result.mismatch:
            return f"output {name!r}: {result.mismatch}"
        if result.max_rel > _tolerance(value):
            return f"output {name!r} differs by {result.max_rel:.2g} of its largest value"
    return ""


def _tolerance(value: Any) -> float:
    """A few roundings of types that are coarser than TOLERANCE."""
    if isinstance(value, list):
        return max(map(_tolerance, value), default=TOLERANCE)
    if value is None or not is_floating(np.asarray(value).dtype):
        return TOLERANCE
    return max(TOLERANCE, _ROUNDINGS * _eps(np.asarray(value).dtype))


def _eps(dtype: Any) -> float:
    finfo: Any = ml_dtypes.finfo
    return float(finfo(dtype).eps)
