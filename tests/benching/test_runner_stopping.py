"""When a comparison ends, and how its time is shared: with processes and a clock made up."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graphopt.benching import runner
from graphopt.benching.options import BenchOptions
from graphopt.benching.runner import time_case
from graphopt.errors import RuntimeFailure
from graphopt.report.bench import Interval
from tests.benching.staged import AB, case_of, stage
from tests.build import Array


def test_models_come_back_in_their_order_whatever_order_they_were_loaded_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = {"a": 0.02, "b": 0.01, "c": 0.04}
    orders = set()
    for seed in range(8):
        processes = stage(monkeypatch, seconds)
        samples = time_case(case_of("a", "b", "c"), BenchOptions(seed=seed, processes=3), 2.0)
        for part in samples.rounds:
            assert np.allclose(part.wall, np.array([0.02, 0.01, 0.04, 0.02])[:, None])
        assert [one.session_seconds for one in samples.loaded] == [0.02, 0.01, 0.04, 0.02]
        assert [one["name"] for one in samples.answers] == ["a", "b", "c"]
        orders |= {tuple(opened) for opened in processes.opened}
        assert all(sorted(opened) == ["a", "a", "b", "c"] for opened in processes.opened)
    assert len(orders) > 4


@pytest.mark.parametrize("count", [1, 2, 5])
def test_time_is_shared_by_as_many_processes_as_asked_for(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    processes = stage(monkeypatch, AB, cost=0.5)
    samples = time_case(case_of("a", "b"), BenchOptions(processes=count), 20.0)
    assert len(samples.rounds) == len(processes.opened) == count
    assert samples.stopped == "time"
    assert processes.alive == 0
    shares = [len(part.wall) for part in samples.rounds]
    assert max(shares) - min(shares) <= max(shares) * 0.1 + 2
    # Not one chunk of rounds over the time, and not far from it.
    assert 19 <= processes.now <= 20.5


def test_no_time_still_gives_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    processes = stage(monkeypatch, AB, cost=5.0)
    samples = time_case(case_of("a", "b"), BenchOptions(processes=4), 0.0)
    assert [len(part.wall) for part in samples.rounds] == [1]
    assert samples.stopped == "time"
    assert processes.alive == 0


@pytest.mark.parametrize(
    ("count", "started", "pairs"),
    [
        (5, 5, 30),  # six rounds each
        (7, 6, 30),  # five each: the seventh is not needed, and its time is over
        (100, 6, 6),  # one each, and the seventh would not fit into twice the time
    ],
)
def test_too_little_time_is_stretched_for_pairs_that_decide(
    monkeypatch: pytest.MonkeyPatch, count: int, started: int, pairs: int
) -> None:
    # A process costs 6 s and a round 0.05 s; there are 20 s.
    processes = stage(monkeypatch, AB, cost=6.0)
    samples = time_case(case_of("a", "b"), BenchOptions(processes=count), 20.0)
    assert len(samples.rounds) == started
    assert samples.pairs == pairs
    assert processes.now <= 40


def test_one_slow_round_does_not_take_more_than_twice_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    processes = stage(monkeypatch, {"a": 1.0, "b": 1.0})  # a round takes 3 s
    samples = time_case(case_of("a", "b"), BenchOptions(processes=1), 10.0)
    assert processes.now < 20 + 3
    assert samples.pairs == 7


def test_enough_pairs_end_at_the_time_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    processes = stage(monkeypatch, AB)
    samples = time_case(case_of("a", "b"), BenchOptions(processes=1), 10.0)
    assert samples.pairs >= 30
    assert 9.9 < processes.now < 10.1


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_ends_early_when_narrow_whatever_the_ratio_says(
    monkeypatch: pytest.MonkeyPatch, ratio: float
) -> None:
    processes = stage(monkeypatch, {"a": 0.02, "b": 0.02 * ratio}, width=0.004)
    looked: list[int] = []

    def seen(ratios: list[Array], seed: int) -> Interval:
        looked.append(sum(map(len, ratios)))
        return Interval(ratio, ratio, ratio)

    monkeypatch.setattr(runner, "interval", seen)
    samples = time_case(case_of("a", "b"), BenchOptions(processes=9, precision=0.005), 60.0)
    assert samples.stopped == "interval"
    assert len(samples.rounds) == 3
    assert samples.pairs >= 30
    assert min(looked) >= 30
    assert processes.now < 60


@pytest.mark.parametrize("width", [0.0051, 0.1, math.inf])
def test_goes_on_while_wide(monkeypatch: pytest.MonkeyPatch, width: float) -> None:
    stage(monkeypatch, AB, width=width)
    samples = time_case(case_of("a", "b"), BenchOptions(processes=5, precision=0.005), 10.0)
    assert (samples.stopped, len(samples.rounds)) == ("time", 5)


def test_one_wide_interval_of_several_is_enough_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    stage(monkeypatch, {**AB, "c": 0.01})
    # The last arm is the reference against itself; it counts as well.
    monkeypatch.setattr(runner, "interval", lambda ratios, seed: float(np.mean(ratios[0])))
    monkeypatch.setattr(runner, "width", lambda found: 1.0 if abs(found) < 1e-9 else 0.0)
    samples = time_case(case_of("a", "b", "c"), BenchOptions(processes=4), 10.0)
    assert (samples.stopped, len(samples.rounds)) == ("time", 4)


@pytest.mark.parametrize(("least", "pairs"), [(1, 30), (200, 200)])
def test_never_ends_early_below_the_least_pairs(
    monkeypatch: pytest.MonkeyPatch, least: int, pairs: int
) -> None:
    # A process times 0.5 s, so about ten pairs.
    stage(monkeypatch, AB, width=0.0)
    samples = time_case(case_of("a", "b"), BenchOptions(processes=100, min_pairs=least), 50.0)
    assert samples.stopped == "interval"
    assert pairs <= samples.pairs <= pairs + 15


def test_never_ends_early_with_few_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    stage(monkeypatch, AB, width=0.0)
    samples = time_case(case_of("a", "b"), BenchOptions(processes=2), 30.0)
    assert (samples.stopped, len(samples.rounds)) == ("time", 2)
    assert samples.pairs > 30


def test_input_sets_go_on_where_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    processes = stage(monkeypatch, AB)
    time_case(case_of("a", "b"), BenchOptions(processes=1), 5.0)
    counts = [count for count, _, _ in processes.asked]
    firsts = [first for _, first, _ in processes.asked]
    assert firsts == [sum(counts[:n]) for n in range(len(counts))]
    assert len(set(processes.seeds)) == len(processes.seeds)


def test_same_seed_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(seed: int) -> tuple[list[list[str]], list[int]]:
        processes = stage(monkeypatch, AB)
        time_case(case_of("a", "b"), BenchOptions(processes=4, seed=seed), 4.0)
        return processes.opened, processes.seeds

    assert run(3) == run(3)
    assert run(3)[1] != run(4)[1]


def test_progress_is_told_for_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    stage(monkeypatch, AB)
    said: list[str] = []
    time_case(case_of("a", "b"), BenchOptions(processes=2, progress=said.append), 1.0)
    assert said == ["timing, process 1 of 2", "timing, process 2 of 2"]


def test_failure_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    processes = stage(monkeypatch, AB)
    with pytest.raises(RuntimeFailure, match="no model"):
        time_case(case_of("a", "broken"), BenchOptions(), 5.0)
    assert processes.alive == 0
