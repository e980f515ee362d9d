from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from graphopt.report import Loss
from graphopt.verify.loss import LossUndefined, measure_loss

RNG = np.random.default_rng(0)
X = RNG.standard_normal((50, 10)).astype(np.float32)


def loss(reference: Any, result: Any) -> Loss:
    return measure_loss("off", [{"y": reference}], [{"y": result}])


def test_no_loss() -> None:
    found = loss(X, X.copy())
    assert (found.level, found.snr_db, found.max_rel) == ("off", math.inf, 0.0)
    assert found.top1_agreement == 1.0


@pytest.mark.parametrize("decibels", [10.0, 20.0, 40.0, 60.0])
def test_known_signal_to_noise_ratio(decibels: float) -> None:
    signal = np.ones((4, 4))
    noise = 10 ** (-decibels / 20) * np.where(np.arange(16).reshape(4, 4) % 2, 1, -1)
    assert loss(signal, signal + noise).snr_db == pytest.approx(decibels)


def test_ratio_is_over_all_outputs_and_inputs_together() -> None:
    ones = np.ones(100)
    references = [{"a": ones, "b": ones}, {"a": ones, "b": ones}]
    results = [{"a": ones, "b": ones}, {"a": ones, "b": ones + 0.2}]
    found = measure_loss("all", references, results)
    assert found.snr_db == pytest.approx(10 * math.log10(400 / (100 * 0.04)))
    assert found.max_rel == pytest.approx(0.2)


def test_top1_agreement() -> None:
    result = X.copy()
    for row in range(5):
        result[row] = np.roll(result[row], 1)
    assert loss(X, result).top1_agreement == pytest.approx(45 / 50)


def test_top1_makes_no_sense_for_single_columns_and_vectors() -> None:
    assert loss(X[:, :1], X[:, :1]).top1_agreement is None
    assert loss(X[0], X[0]).top1_agreement is None


def test_silent_signal_with_noise_is_infinitely_bad() -> None:
    assert loss(np.zeros(4), np.full(4, 0.1)).snr_db == -math.inf


@pytest.mark.parametrize(
    "result",
    [
        X[:, :5],
        X.astype(np.float64),
        np.where(X.max() == X, np.nan, X).astype(np.float32),
        np.where(X.max() == X, np.inf, X).astype(np.float32),
    ],
    ids=["shape", "dtype", "nan", "inf"],
)
def test_what_is_no_loss_but_a_failure(result: Any) -> None:
    with pytest.raises(LossUndefined, match="output 'y'"):
        loss(X, result)


def test_infinities_of_the_original_are_left_out_of_the_ratio() -> None:
    reference = np.array([1.0, -np.inf, 2.0])
    found = loss(reference, np.array([1.1, -np.inf, 2.0]))
    assert found.snr_db == pytest.approx(10 * math.log10(5 / 0.01))


def test_labels_may_change_and_count_as_agreement() -> None:
    # Labels behind an ArgMax do change; what that costs is the loss, not a broken model.
    labels, others = np.array([1, 2, 3, 4]), np.array([1, 2, 3, 5])
    found = measure_loss("off", [{"y": X[0], "label": labels}], [{"y": X[0], "label": others}])
    assert found.snr_db == math.inf
    assert found.top1_agreement == pytest.approx(3 / 4)


def test_items_of_a_sequence_count() -> None:
    found = measure_loss("off", [{"y": [X, X]}], [{"y": [X, X * np.float32(1.1)]}])
    assert found.snr_db == pytest.approx(10 * math.log10(2 / 0.01), abs=0.1)
    assert found.max_rel == pytest.approx(0.1, rel=0.01)
