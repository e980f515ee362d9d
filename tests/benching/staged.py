"""Timing processes and a clock that are made up: how long a comparison takes is then known."""

from __future__ import annotations

import math
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pytest

from graphopt.benching import runner
from graphopt.benching.runner import CaseInput
from graphopt.benching.timing_process import Load, Loaded, Rounds
from graphopt.errors import RuntimeFailure
from graphopt.report.bench import Interval
from graphopt.runtime.settings import CPU, SessionSettings
from tests.benching.placing import rounds_of
from tests.build import Array


class Processes:
    """Stands in for TimingProcess: each call of arm `i` takes `seconds[i]`, on a clock of its own.

    Attributes:
        opened: Paths that each process loaded, in order.
        asked: What `rounds` was called with: (count, first, load).
        alive: Processes that were entered and not left.
    """

    def __init__(self, seconds: dict[str, float], cost: float = 0.0) -> None:
        self.seconds, self.cost = seconds, cost
        self.now = 0.0
        self.opened: list[list[str]] = []
        self.asked: list[tuple[int, int, Load]] = []
        self.seeds: list[int] = []
        self.feeds: list[Any] = []
        self.alive = 0

    def __call__(self, feeds: Any) -> Processes:
        self.feeds.append(feeds)
        return self

    def __enter__(self) -> Processes:
        self.alive += 1
        self.now += self.cost
        self.opened.append([])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.alive -= 1

    def load(self, path: Path, settings: SessionSettings, *, binding: bool) -> Loaded:
        if path.name == "broken":
            raise RuntimeFailure("no model", kind="load", file=path)
        self.opened[-1].append(path.name)
        return Loaded((CPU,), self.seconds[path.name], 0.0, None)

    def _row(self) -> Array:
        return np.array([self.seconds[name] for name in self.opened[-1]])

    def warm(self, runs: int) -> Array:
        return np.tile(self._row(), (runs, 1))

    def answers(self, arm: int) -> dict[str, Any]:
        return {"name": self.opened[-1][arm]}

    def rounds(self, count: int, first: int, load: Load, seed: int) -> Rounds:
        self.asked.append((count, first, load))
        self.seeds.append(seed)
        block = np.repeat(self._row()[:, None], load.block, axis=1)
        self.now += count * float(block.sum())
        return rounds_of(np.tile(block, (count, 1, 1)))


def stage(
    monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float], cost: float = 0.0,
    width: float = math.inf,
) -> Processes:  # fmt: skip
    """Put made-up processes, their clock, and an interval's width in place."""
    processes = Processes(seconds, cost)
    monkeypatch.setattr(runner, "TimingProcess", processes)
    monkeypatch.setattr(time, "monotonic", lambda: processes.now)
    monkeypatch.setattr(runner, "interval", lambda ratios, seed: Interval(1, 1, 1))
    monkeypatch.setattr(runner, "width", lambda interval: width)
    return processes


def case_of(*names: str) -> CaseInput:
    """A case of models of such names, fed nothing."""
    return CaseInput([Path(name) for name in names], [{}], SessionSettings(), False)


AB = {"a": 0.02, "b": 0.01}
