from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphopt.benching.timing_process import Load, Rounds
from graphopt.benching.tuning_arms import Arm, Duel, fight
from graphopt.benching.tuning_candidates import Candidate
from graphopt.errors import RuntimeFailure
from graphopt.report.tune import Objective
from graphopt.runtime.settings import SessionSettings
from tests.benching.placing import place

RELU = "agraph (float[N] x) => (float[N] y) { y = Relu(x) }"
ROWS = "agraph (float[N,2] x) => (float[N,2] y) { y = Relu(x) }"
X = np.array([-1, 2], np.float32)
QUIET = SessionSettings(threads=1)


def test_arm_times_blocks_and_answers(tmp_path: Path) -> None:
    arm = Arm(place(tmp_path, RELU), Candidate(QUIET), [{"x": X}], "latency")
    try:
        assert arm.block(0, 0) > 0
        assert arm.answers()["y"].tolist() == [0, 2]
        assert arm.opening > 0
        assert arm.turn > 0
    finally:
        arm.close()


class FakeProcess:
    def __init__(self, rounds: Rounds) -> None:
        self.given = rounds
        self.load: Load | None = None

    def rounds(self, count: int, first: int, load: Load, seed: int) -> Rounds:
        self.load = load
        return self.given


@pytest.mark.parametrize(
    ("objective", "calls", "expected"),
    [
        # Two of three callers were busy: 12 seconds of calls took 6; 4 calls of 5 rows each.
        ("throughput", [1.0, 2, 3, 6], 12 / (2 / 3 * 3) / (4 * 5)),
        ("latency", [99.0, 1, 2, 30], 2.0),
    ],
)
def test_figure_of_a_block(
    tmp_path: Path, objective: Objective, calls: list[float], expected: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    x = np.ones((5, 2), np.float32)
    callers = 3 if objective == "throughput" else 1
    candidate = Candidate(QUIET, concurrency=callers)
    arm = Arm(place(tmp_path, ROWS), candidate, [{"x": x}], objective)
    wall = np.array(calls)[None, None]
    found = Rounds(wall, wall, np.array([[2 / 3 if callers == 3 else 1.0]]), 0)
    fake: Any = FakeProcess(found)
    arm.close()
    monkeypatch.setattr(arm, "process", fake)
    monkeypatch.setattr(arm, "_dropped", 1 if objective == "latency" else 0)
    assert arm.block(0, 0) == pytest.approx(expected)
    assert fake.load.mode == ("closed loop" if callers == 3 else "alternating")
    assert fake.load.concurrency == callers
    assert fake.load.block % callers == 0


class FakeArm:
    def __init__(self, name: str, seconds: float, log: list[tuple[str, int, int]]) -> None:
        self.name, self.seconds, self.log = name, seconds, log

    def block(self, number: int, seed: int) -> float:
        self.log.append((self.name, number, seed))
        return self.seconds * (1 + number)


def test_fight_pairs_blocks_in_random_order() -> None:
    log: list[tuple[str, int, int]] = []
    arms: Any = (FakeArm("a", 2, log), FakeArm("b", 1, log))
    duel = fight(arms, 0.02, np.random.default_rng(0))
    assert np.allclose(np.exp(duel.log_ratios), 0.5)
    pairs = [log[n : n + 2] for n in range(0, len(log), 2)]
    assert all({name for name, _, _ in pair} == {"a", "b"} for pair in pairs)
    assert all(pair[0][1:] == pair[1][1:] for pair in pairs)  # same input set, same seed
    assert {pair[0][0] for pair in pairs} == {"a", "b"}


def test_fight_without_time_has_one_pair() -> None:
    arms: Any = (FakeArm("a", 1, []), FakeArm("b", 3, []))
    assert fight(arms, -1, np.random.default_rng(0)).candidate.tolist() == [3]
    assert Duel(np.array([2.0]), np.array([2.0])).log_ratios.tolist() == [0]


def test_model_that_does_not_load_leaves_no_process(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(RuntimeFailure):
        Arm(path, Candidate(QUIET), [{"x": X}], "latency")
