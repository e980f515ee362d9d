"""The timing worker's own side, spoken to over pipes as TimingProcess does."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphopt.benching import worker
from graphopt.benching.load import poisson_arrivals
from graphopt.errors import RuntimeFailure
from graphopt.runtime import IsolatedRuntime, Session
from graphopt.runtime.settings import SessionSettings
from tests.benching.placing import place

RELU = "agraph (float[N] x) => (float[N] y) { y = Relu(x) }"
X = np.array([-1, 2], np.float32)
ROUNDS: dict[str, Any] = {
    "action": "rounds", "rounds": 3, "first": 0, "sets": 1, "seed": 0, "mode": "alternating",
    "block": 2, "concurrency": 1, "rate": None,
}  # fmt: skip


@pytest.fixture
def runtime() -> Iterator[IsolatedRuntime]:
    found = IsolatedRuntime(timeout=60, worker="graphopt.benching.worker")
    yield found
    found.close()


def load(runtime: IsolatedRuntime, path: Path, **sets: Any) -> dict[str, Any]:
    header = {
        "action": "load", "path": str(path), "settings": SessionSettings().to_header(),
        "sets": 1, "binding": False,
    }  # fmt: skip
    return runtime.ask(header, {"0/x": X, **sets}, "load")[0]


def test_models_are_numbered_as_they_come(runtime: IsolatedRuntime, tmp_path: Path) -> None:
    load(runtime, place(tmp_path, RELU))
    load(runtime, place(tmp_path, RELU.replace("Relu", "Neg"), "neg"))
    for arm, expected in enumerate(([0, 2], [1, -2])):
        header = {"action": "answers", "arm": arm, "set": 0}
        assert np.array_equal(runtime.ask(header, {}, "run")[1]["y"], expected)
    with pytest.raises(RuntimeFailure, match="IndexError"):
        runtime.ask({"action": "answers", "arm": 2, "set": 0}, {}, "run")


def test_it_serves_what_the_runtime_serves(runtime: IsolatedRuntime, tmp_path: Path) -> None:
    path = place(tmp_path, RELU)
    load(runtime, path)
    assert runtime.open(Session(path)).run({"x": X})["y"].tolist() == [0, 2]
    assert np.shape(runtime.ask(ROUNDS, {}, "run")[1]["wall"]) == (3, 1, 2)


def test_failed_rounds_leave_it_serving(runtime: IsolatedRuntime, tmp_path: Path) -> None:
    load(runtime, place(tmp_path, RELU))
    with pytest.raises(RuntimeFailure):
        runtime.ask({**ROUNDS, "sets": 2}, {}, "run")  # a set that was never sent
    answer, arrays = runtime.ask(ROUNDS, {}, "run")
    assert answer == {"lost": 0}
    assert sorted(arrays) == ["busy", "cpu", "wall"]


def holding(models: list[Any]) -> worker._Arms:
    """Arms of models that stand in for loaded ones."""
    arms = worker._Arms()
    arms._models = models
    return arms


class Recorded:
    """Calls that tell who was called, on which input set."""

    def __init__(self, names: str) -> None:
        self.said: list[tuple[str, int]] = []
        self.calls = [self._call(name) for name in names]

    def _call(self, name: str) -> Any:
        return lambda number: self.said.append((name, number))


def recorded_rounds(names: str, **given: Any) -> tuple[list[tuple[str, int]], dict[str, Any]]:
    """Time rounds of calls that only tell; here, so that it shows what the child does."""
    arms, recorded = holding(list(names)), Recorded(names)
    arms._calls = recorded.calls
    arms._callers = {n: [call] * 9 for n, call in enumerate(recorded.calls)}
    return recorded.said, arms.rounds({**ROUNDS, **given}, {})[1]


def test_each_round_has_one_block_of_every_model() -> None:
    said, found = recorded_rounds("abc", rounds=40, block=4, sets=3, first=2)
    assert found["wall"].shape == (40, 3, 4)
    orders = set()
    for index in range(40):
        part = said[12 * index : 12 * (index + 1)]
        blocks = [part[0:4], part[4:8], part[8:12]]
        # All models of a round run on the same input set; sets take turns over rounds.
        assert {number for _, number in part} == {(2 + index) % 3}
        assert all(len({name for name, _ in block}) == 1 for block in blocks)
        order = "".join(block[0][0] for block in blocks)
        assert sorted(order) == list("abc")
        orders.add(order)
    assert len(orders) == 6  # of six that there are


def test_order_follows_from_the_seed() -> None:
    first, again, other = (recorded_rounds("abcd", rounds=9, seed=s)[0] for s in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize(("mode", "rate"), [("closed loop", None), ("open loop", 1e5)])
def test_load_calls_as_often_as_a_block_has_requests(mode: str, rate: float | None) -> None:
    said, found = recorded_rounds(
        "ab", rounds=4, block=7, mode=mode, concurrency=3, rate=rate, sets=2
    )
    assert len(said) == 4 * 2 * 7
    assert found["wall"].shape == (4, 2, 7)
    for index in range(4):
        part = said[14 * index : 14 * (index + 1)]
        assert {number for _, number in part} == {index % 2}
        assert len({name for name, _ in part[:7]}) == len({name for name, _ in part[7:]}) == 1


def test_models_of_a_round_have_the_same_arrivals(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def arrivals(rate: float, count: int, seed: int) -> Any:
        drawn.append(seed)
        return poisson_arrivals(rate, count, seed)

    monkeypatch.setattr(worker, "poisson_arrivals", arrivals)
    recorded_rounds("abc", rounds=5, mode="open loop", rate=1e5, concurrency=2)
    assert len(drawn) == len(set(drawn)) == 5  # one schedule a round, not one a model


def test_nothing_is_collected_while_the_clock_runs_and_later_again() -> None:
    during: list[bool] = []
    arms = holding(["a"])
    arms._calls = [lambda number: during.append(gc.isenabled())]
    arms.rounds(ROUNDS, {})
    assert during
    assert not any(during)
    assert gc.isenabled()

    def fail(number: int) -> None:
        raise ValueError

    arms._calls = [fail]
    with pytest.raises(ValueError):
        arms.rounds(ROUNDS, {})
    assert gc.isenabled()


def test_answers_too_large_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Large:
        def answers(self, number: int) -> dict[str, Any]:
            return {"y": np.zeros(3, np.uint8), "s": [np.zeros(9, np.uint8)]}

    arms = holding([Large()])
    header = {"arm": 0, "set": 0}
    assert np.shape(arms.answers(header, {})[1]["y"]) == (3,)
    monkeypatch.setattr("graphopt.runtime.worker.MAX_RESULT_BYTES", 2)
    with pytest.raises(ValueError, match="too large"):
        arms.answers(header, {})
