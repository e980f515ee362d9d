from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from graphopt.verify.numeric import CONSTANT, compare_outputs

X = np.array([0.5, 0.25], np.float32)


def status(*values: Any, varying: bool = True) -> str:
    outputs = [{"y": value} for value in values]
    constant = frozenset() if varying else frozenset({"y"})
    (row,) = compare_outputs(outputs, outputs, [], exact=False, constant=constant)
    assert row.status == "ok" or row.detail == CONSTANT
    return row.status


@pytest.mark.parametrize(
    "values",
    [
        (X, X),
        (np.ones(2, np.float32), np.ones(3, np.float32)),
        (np.full(2, np.nan, np.float32), np.full(3, np.nan, np.float32)),
        (np.array([np.nan, 1], np.float32), np.array([np.nan, 1], np.float32)),
        (np.array([np.inf], np.float32), np.array([-np.inf], np.float32)),
        (np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32)),
        (np.array([True]), np.array([True])),
        (np.array([3]), np.array([3])),
        (np.array([1, 2], ml_dtypes.int4), np.array([1, 2], ml_dtypes.int4)),
        (np.array(["a"], object), np.array(["a"], object)),
    ],
    ids=["same", "saturated", "nan", "some nan", "inf", "empty", "bool", "int", "int4", "string"],
)
def test_output_that_does_not_vary_is_not_verified(values: tuple[Any, ...]) -> None:
    assert status(*values) == "not verified"


@pytest.mark.parametrize(
    "values",
    [
        (X, X * 2),
        (X, X, X * 2),
        (np.array([1, 2], ml_dtypes.int4), np.array([1, 3], ml_dtypes.int4)),
        (np.array(["a"], object), np.array(["b"], object)),
        (np.zeros(0, np.float32), X),
        (X, np.zeros(0, np.float32)),
        (np.zeros(0, np.int64), np.arange(3)),
        (np.zeros((0, 4), np.int64), np.arange(8).reshape(2, 4)),
    ],
    ids=["two", "three", "int4", "string", "empty first", "empty last", "ints", "rows"],
)
def test_output_that_varies_is_verified(values: tuple[Any, ...]) -> None:
    assert status(*values) == "ok"


def test_one_input_set_says_nothing_about_variation() -> None:
    assert status(X) == "ok"


def test_model_without_inputs_need_not_vary() -> None:
    assert status(X, X, varying=False) == "ok"


def test_failure_is_not_hidden_by_a_constant_output() -> None:
    ones = [{"y": np.ones(2, np.float32)}] * 2
    (row,) = compare_outputs(ones, [{"y": np.zeros(2, np.float32)}] * 2, [], exact=False)
    assert row.status == "failed"
