from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from graphopt.report import Check
from graphopt.verify.numeric import compare_outputs, difference

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4)).astype(np.float32)
OTHER = RNG.standard_normal((3, 4)).astype(np.float32)
NAN = np.array([1, np.nan, 2], np.float32)
INF = np.array([1, np.inf, 2], np.float32)


def check(
    references: list[Any],
    results: list[Any],
    noise: list[Any] | None = None,
    *,
    exact: bool = False,
) -> Check:
    (row,) = compare_outputs(
        [{"y": value} for value in references],
        [{"y": value} for value in results],
        [{"y": value} for value in noise or []],
        exact=exact,
    )
    return row


def scaled(relative: float) -> list[Any]:
    """X and OTHER, off by `relative` of the largest value."""
    return [(a + relative * np.abs(a).max()).astype(a.dtype) for a in (X, OTHER)]


def test_equal_outputs_are_ok() -> None:
    row = check([X, OTHER], [X.copy(), OTHER.copy()], exact=True)
    assert (row.status, row.max_abs, row.max_rel, row.detail) == ("ok", 0.0, 0.0, "")


@pytest.mark.parametrize(("relative", "status"), [(2e-5, "ok"), (3e-4, "failed"), (1.0, "failed")])
def test_tolerance(relative: float, status: str) -> None:
    row = check([X, OTHER], scaled(relative))
    assert row.status == status
    assert row.max_rel == pytest.approx(relative, rel=0.05)
    assert row.tolerance == 1e-4


def test_one_bad_input_set_among_good_ones_fails() -> None:
    assert check([X, OTHER], [X, scaled(0.1)[1]]).status == "failed"


def test_exact_asks_for_equal_values() -> None:
    assert check([X, OTHER], scaled(2e-5), exact=True).status == "failed"
    one_ulp = [np.nextafter(a, np.float32(9)) for a in (X, OTHER)]
    assert check([X, OTHER], one_ulp, exact=True).status == "failed"
    assert check([X, OTHER], one_ulp).status == "ok"


def test_exact_asks_for_the_sign_of_zero() -> None:
    zero, negative = np.array([0.0, 1.0], np.float32), np.array([-0.0, 1.0], np.float32)
    assert not difference(zero, negative).equal
    assert check([zero, X[0]], [negative, X[0]], exact=True).status == "failed"
    assert check([zero, X[0]], [negative, X[0]]).status == "ok"


def test_noise_excuses_only_as_not_verified() -> None:
    results, noisy = scaled(5e-3), scaled(1e-3)
    assert check([X, OTHER], results).status == "failed"
    row = check([X, OTHER], results, noisy)
    assert row.status == "not verified"
    assert "noise" in row.detail


def test_noise_does_not_excuse_what_is_far_above_it() -> None:
    assert check([X, OTHER], scaled(0.5), scaled(1e-3)).status == "failed"


def test_noise_never_excuses_where_equal_bits_were_promised() -> None:
    assert check([X, OTHER], scaled(5e-3), scaled(1e-3), exact=True).status == "failed"


@pytest.mark.parametrize(
    ("reference", "result"),
    [
        (NAN, np.array([1, 0, 2], np.float32)),
        (np.array([1, 0, 2], np.float32), NAN),
        (INF, -INF),
        (INF, NAN),
        (INF, np.array([1, 9, 2], np.float32)),
    ],
    ids=["nan lost", "nan new", "sign of inf", "inf to nan", "inf lost"],
)
def test_nan_and_inf_must_stay_where_they_are(reference: Any, result: Any) -> None:
    row = check([reference, X[0]], [result, X[0]])
    assert (row.status, row.detail) == ("failed", "NaN or infinity in one of them only")


def test_equal_nan_and_inf_are_ok() -> None:
    assert check([NAN, INF], [NAN.copy(), INF.copy()]).status == "ok"


@pytest.mark.parametrize(
    ("result", "detail"),
    [
        (X.astype(np.float64), "dtype float32 became float64"),
        (X.reshape(4, 3), "shape (3, 4) became (4, 3)"),
        ([X], "a sequence in one of them only"),
        (None, "an optional is empty in one of them"),
    ],
    ids=["dtype", "shape", "sequence", "optional"],
)
def test_values_that_cannot_be_compared(result: Any, detail: str) -> None:
    row = check([X, OTHER], [result, OTHER])
    assert (row.status, row.detail) == ("failed", detail)


def test_missing_output_fails() -> None:
    (row,) = compare_outputs([{"y": X}], [{}], [], exact=False)
    assert row.status == "failed"


@pytest.mark.parametrize(
    ("value", "other"),
    [
        (np.array([1, 2, 3]), np.array([1, 2, 4])),
        (np.array([True, False]), np.array([True, True])),
        (np.array(["a", "b"], object), np.array(["a", "c"], object)),
        (np.array([1, 2], ml_dtypes.int4), np.array([1, 3], ml_dtypes.int4)),
        (np.array([2**62 + 1, 0]), np.array([2**62, 0])),
    ],
    ids=["int", "bool", "string", "int4", "beyond float64"],
)
def test_discrete_values_have_no_tolerance(value: Any, other: Any) -> None:
    assert check([value, other], [value.copy(), other.copy()]).status == "ok"
    row = check([value, other], [other, other])
    assert (row.status, row.detail) == ("failed", "values differ")


def test_sequences_are_compared_item_by_item() -> None:
    assert check([[X, OTHER], [X]], [[X, OTHER], [X]]).status == "ok"
    assert check([[X, OTHER]], [[X]]).detail == "length 2 became 1"
    assert check([[X, OTHER]], [[X, X]]).status == "failed"
    assert check([[], [X]], [[], [X]]).status == "ok"


def test_empty_optionals_agree() -> None:
    assert check([None, X], [None, X]).status == "ok"


@pytest.mark.parametrize(
    ("dtype", "fine", "wrong"),
    [
        (np.float64, 1e-10, 1e-7),
        (np.float32, 1e-5, 1e-2),
        (np.float16, 1e-3, 5e-2),
        (ml_dtypes.bfloat16, 1e-3, 0.1),
        (np.complex64, 1e-5, 1e-2),
        (ml_dtypes.float8_e4m3fn, 0.0, 1.0),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_tolerance_per_dtype(dtype: Any, fine: float, wrong: float) -> None:
    values = [np.array([1.0, 0.5, 0.25]), np.array([0.5, 1.0, 0.125])]
    references = [value.astype(dtype) for value in values]
    for factor, status in ((1 + fine, "ok"), (1 + wrong, "failed")):
        results = [(value * factor).astype(dtype) for value in values]
        assert check(references, results).status == status


@pytest.mark.parametrize(
    "dtype",
    [np.float64, np.float32, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn,
     ml_dtypes.float8_e5m2],
)  # fmt: skip
def test_last_bit_is_within_the_tolerance_of_every_type(dtype: Any) -> None:
    eps = float(ml_dtypes.finfo(dtype).eps)  # type: ignore[no-untyped-call]
    references = [np.array([1.0, 0.5]).astype(dtype), np.array([0.5, 1.0]).astype(dtype)]
    results = [(value.astype(np.float64) * (1 + eps)).astype(dtype) for value in references]
    assert not (results[0] == references[0]).any()
    assert check(references, results).status == "ok"
    assert check(references, results, exact=True).status == "failed"


def test_differences_are_relative_to_the_largest_value() -> None:
    large = np.array([1e6, 1.0], np.float32)
    assert check([large, X[0, :2]], [large + np.array([0, 1], np.float32), X[0, :2]]).status == "ok"


def test_any_difference_from_zero_is_infinite() -> None:
    found = difference(np.zeros(3, np.float32), np.full(3, 1e-30, np.float32))
    assert found.max_rel == float("inf")
    assert difference(np.zeros(3), np.zeros(3)).max_rel == 0


def test_random_outputs_are_not_verified() -> None:
    rows = compare_outputs(
        [{"y": X, "z": X}], [{"y": OTHER, "z": X}], [], exact=False, random=frozenset({"y"})
    )
    assert [(row.what, row.status) for row in rows] == [("y", "not verified"), ("z", "ok")]


@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)))
def test_every_array_equals_itself(array: Any) -> None:
    found = difference(array, array.copy())
    assert (found.mismatch, found.max_abs, found.equal) == ("", 0.0, True)


@given(
    hnp.arrays(np.float32, 5, elements=st.floats(-1e3, 1e3, width=32)),
    hnp.arrays(np.float32, 5, elements=st.floats(-1e3, 1e3, width=32)),
)
def test_equal_means_equal_bits(a: Any, b: Any) -> None:
    assert difference(a, b).equal == (a.tobytes() == b.tobytes())
