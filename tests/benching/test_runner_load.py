"""How calls are made: blocks, requests, and the rates that are possible."""

from __future__ import annotations

from typing import Any

import pytest

from graphopt.benching.options import BenchOptions
from graphopt.benching.runner import time_case
from graphopt.benching.timing_process import Load
from graphopt.errors import UsageError
from tests.benching.staged import AB, case_of, stage


@pytest.mark.parametrize(
    ("seconds", "options", "load"),
    [
        (0.02, {}, Load(block=1)),
        (0.001, {"concurrency": 4}, Load("closed loop", 800, 4)),
        (1.0, {"concurrency": 32}, Load("closed loop", 32, 32)),
        (0.02, {"rate": 50.0}, Load("open loop", 20, 1, 50.0)),
        (0.02, {"rate": 500.0, "concurrency": 2}, Load("open loop", 100, 2, 500.0)),
    ],
)
def test_load_follows_from_the_length_of_a_call(
    monkeypatch: pytest.MonkeyPatch, seconds: float, options: dict[str, Any], load: Load
) -> None:
    processes = stage(monkeypatch, {"a": seconds, "b": seconds})
    samples = time_case(case_of("a", "b"), BenchOptions(processes=2, **options), 4.0)
    assert samples.load == load
    assert {asked[2] for asked in processes.asked} == {load}
    assert samples.dropped == 0


@pytest.mark.parametrize(("names", "rate"), [("ab", 5.9), ("abc", 7.9), ("a", 3.9), ("ab", 0.01)])
def test_rate_too_low_for_a_single_turn_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, names: str, rate: float
) -> None:
    # Twenty requests to each model, and to the reference once more, within ten seconds.
    processes = stage(monkeypatch, {**AB, "c": 0.01})
    with pytest.raises(UsageError, match=f"--rate {rate:g}") as caught:
        time_case(case_of(*names), BenchOptions(rate=rate), 10.0)
    assert "--seconds" in (caught.value.hint or "")
    assert processes.opened == []


@pytest.mark.parametrize(("names", "rate"), [("ab", 6.1), ("abc", 8.1), ("a", 4.1)])
def test_rate_that_just_fits(monkeypatch: pytest.MonkeyPatch, names: str, rate: float) -> None:
    stage(monkeypatch, {**AB, "c": 0.01})
    samples = time_case(case_of(*names), BenchOptions(rate=rate, processes=1), 10.0)
    assert samples.load == Load("open loop", 20, 1, rate)


def test_short_calls_make_blocks_whose_first_calls_are_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage(monkeypatch, {"a": 0.001, "b": 0.1})  # the reference's length counts
    samples = time_case(case_of("a", "b"), BenchOptions(processes=1), 1.0)
    assert samples.load.block > 1
    assert 0 < samples.dropped < samples.load.block
