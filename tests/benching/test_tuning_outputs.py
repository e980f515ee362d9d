from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphopt.benching.tuning_outputs import differing, varying


def y(*values: Any, dtype: Any = np.float32) -> dict[str, Any]:
    return {"y": np.array(values, dtype)}


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        (y(1, 2), y(1, 2)),
        (y(1, 2), y(1, 2.0001)),
        (y(1, 2, dtype=np.float16), y(1, 2.004, dtype=np.float16)),
        (y(1, dtype=np.int64), y(1, dtype=np.int64)),
        (y(np.nan), y(np.nan)),
        ({"y": [np.ones(2, np.float32)]}, {"y": [np.ones(2, np.float32)]}),
        ({"y": None}, {"y": None}),
        ({}, {}),
    ],
)
def test_same(expected: dict[str, Any], found: dict[str, Any]) -> None:
    assert differing(expected, found) == ""


@pytest.mark.parametrize(
    ("expected", "found", "words"),
    [
        (y(1, 2), y(1, 2.0005), "differs by 0.00025 of"),
        (y(1, 2, dtype=np.float16), y(1, 2.05, dtype=np.float16), "differs by 0.02"),
        (y(1, dtype=np.int64), y(2, dtype=np.int64), "values differ"),
        (y(1), y(1, 1), "shape"),
        (y(1), y(1, dtype=np.float64), "dtype"),
        (y(1), y(np.nan), "NaN"),
        (y(1), {}, "empty in one"),
    ],
)
def test_different(expected: dict[str, Any], found: dict[str, Any], words: str) -> None:
    assert "output 'y'" in differing(expected, found)
    assert words in differing(expected, found)


def test_random_outputs_are_not_looked_at() -> None:
    names = varying(y(1) | {"z": np.ones(1)}, y(2) | {"z": np.ones(1)})
    assert names == {"y"}
    assert differing(y(1), y(5), names) == ""
