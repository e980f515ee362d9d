from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.benching.options import BenchOptions
from graphopt.benching.runner import CaseInput, Samples, time_case
from graphopt.errors import RuntimeFailure
from graphopt.runtime.settings import SessionSettings
from tests.benching.placing import MODELS, place, rounds_of
from tests.build import few

RELU = "agraph (float[N] x) => (float[N] y) { y = Relu(x) }"
NEG = "agraph (float[N] x) => (float[N] y) { y = Neg(x) }"
X = np.array([-1, 2], np.float32)


def test_log_ratios_are_those_of_the_blocks_medians() -> None:
    # Two rounds of two models and the reference again, four calls a block, the first dropped.
    wall = [
        [[99, 1, 2, 30], [1, 4, 4, 4], [0.1, 2, 2, 1]],
        [[99, 3, 3, 3], [77, 3, 1, 9], [0.1, 6, 6, 6]],
    ]
    samples = Samples(dropped=1, rounds=[rounds_of(wall)])
    assert np.allclose(samples.log_ratios(0)[0], [0, 0])
    assert np.allclose(np.exp(samples.log_ratios(1)[0]), [4 / 2, 3 / 3])
    assert np.allclose(np.exp(samples.log_ratios(2)[0]), [2 / 2, 6 / 3])


def test_each_process_stands_for_itself_and_each_clock_too() -> None:
    first = rounds_of([[[1, 1], [2, 2]]], [[[1, 1], [8, 8]]])
    second = rounds_of([[[1, 1], [1, 1]], [[2, 2], [1, 1]]])
    samples = Samples(rounds=[first, second])
    assert [len(part) for part in samples.log_ratios(1)] == [1, 2]
    assert np.allclose(np.exp(np.concatenate(samples.log_ratios(1))), [2, 1, 0.5])
    assert np.allclose(np.exp(np.concatenate(samples.log_ratios(1, "cpu"))), [8, 1, 0.5])
    assert samples.pairs == 3


@few
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(0, 99))
def test_no_call_is_left_out_of_the_times(
    processes: int, count: int, block: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    walls = [rng.random((count, 2, block)) for _ in range(processes)]
    samples = Samples(dropped=block - 1, rounds=[rounds_of(wall) for wall in walls])
    for arm in range(2):
        found = samples.calls(arm)
        assert [len(part) for part in found] == [count * block] * processes
        for part, wall in zip(found, walls, strict=True):
            assert np.array_equal(part, wall[:, arm].reshape(-1))


@few
@given(st.integers(0, 99), st.floats(0.01, 100))
def test_ratio_turns_round_with_the_models_and_ignores_the_unit(seed: int, unit: float) -> None:
    wall = 0.001 + np.random.default_rng(seed).random((4, 2, 3))
    there = Samples(rounds=[rounds_of(wall)]).log_ratios(1)[0]
    back = Samples(rounds=[rounds_of(wall[:, ::-1])]).log_ratios(1)[0]
    other = Samples(rounds=[rounds_of(wall * unit)]).log_ratios(1)[0]
    assert np.allclose(there, -back)
    assert np.allclose(there, other)


@pytest.mark.parametrize(
    "given", [{}, {"concurrency": 2}, {"rate": 2000.0, "concurrency": 2}], ids=str
)
def test_real_models_in_real_processes(tmp_path: Path, given: dict[str, Any]) -> None:
    paths = [place(tmp_path, RELU, "relu"), place(tmp_path, NEG, "neg")]
    case = CaseInput(paths, [{"x": X}], SessionSettings(threads=1), False)
    samples = time_case(case, BenchOptions(processes=2, **given), 0.1)
    assert 1 <= len(samples.rounds) <= 2
    assert samples.stopped == "time"
    assert [found["y"].tolist() for found in samples.answers] == [[0, 2], [1, -2]]
    assert len(samples.loaded) == 3
    for arm in range(3):
        assert all(np.isfinite(part).all() for part in samples.log_ratios(arm))
        assert all((part > 0).all() for part in samples.calls(arm))


def test_trained_model_alone(tmp_path: Path) -> None:
    feeds = {"image": np.zeros((1, 1, 28, 28), np.float32)}
    case = CaseInput([MODELS / "lenet_5.onnx"], [feeds], SessionSettings(threads=1), True)
    samples = time_case(case, BenchOptions(processes=1, warmup=1), 0.0)
    assert samples.rounds[0].wall.shape[:2] == (1, 2)  # it, and once more
    assert len(samples.answers) == 1


def test_model_that_fails_names_its_file(tmp_path: Path) -> None:
    text = "agraph (float[N] x) => (float[1,3] y) { y = Reshape(x, s) }"
    paths = [place(tmp_path, RELU, "relu"), place(tmp_path, text, "other", s=np.array([1, 3]))]
    case = CaseInput(paths, [{"x": X}], SessionSettings(threads=1), False)
    with pytest.raises(RuntimeFailure) as caught:
        time_case(case, BenchOptions(), 1.0)
    assert caught.value.file == str(paths[1])
