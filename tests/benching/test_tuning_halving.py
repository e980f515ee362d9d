from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.benching.tuning_candidates import Candidate, candidates_for
from graphopt.benching.tuning_halving import NO_TIME, Unfit, halve
from graphopt.contract import Array
from graphopt.runtime.settings import CPU, Provider
from tests.build import few

CANDIDATES = candidates_for("latency", Provider(CPU), 4)


class Fake:
    """A referee whose time passes only while it measures."""

    def __init__(self, ratios: dict[str, float], wrong: set[str] = frozenset(), cost: float = 1.0):  # type: ignore[assignment]
        self.ratios, self.wrong, self.cost = ratios, wrong, cost
        self.now = 0.0
        self.rungs: list[list[str]] = []

    def begin(self) -> None:
        self.rungs.append([])

    def measure(self, candidate: Candidate, seconds: float) -> Array:
        self.now += max(self.cost, seconds)
        if candidate.name in self.wrong:
            raise Unfit("gives other outputs")
        self.rungs[-1].append(candidate.name)
        return np.log([self.ratios.get(candidate.name, 1.5)] * 3)

    def clock(self) -> float:
        return self.now


def test_better_half_stays_and_the_best_wins() -> None:
    fake = Fake({c.name: 1 + i / 10 for i, c in enumerate(CANDIDATES[1:])})
    found = halve(CANDIDATES, fake, 1000, np.random.default_rng(0), clock=fake.clock)
    sizes = [len(rung) for rung in fake.rungs]
    assert sizes[0] == len(CANDIDATES) - 1
    assert all(after == before // 2 for before, after in pairwise(sizes))
    assert found.best == CANDIDATES[1]
    assert found.finalists == [CANDIDATES[0], CANDIDATES[1]]
    assert found.dropped == []
    assert fake.rungs[0] != [c.name for c in CANDIDATES[1:]]  # in random order
    assert found.measured["default"].rung == len(sizes)


@few
@given(
    st.dictionaries(st.sampled_from([c.name for c in CANDIDATES[1:]]), st.floats(0.1, 10)),
    st.sets(st.sampled_from([c.name for c in CANDIDATES[1:]])),
    st.floats(0.5, 200),
    st.floats(0, 3),
)
def test_default_stays_wrong_ones_go_and_time_is_kept(
    ratios: dict[str, float], wrong: set[str], seconds: float, least: float
) -> None:
    fake = Fake(ratios, wrong)
    found = halve(
        CANDIDATES, fake, seconds, np.random.default_rng(1), least=least, clock=fake.clock
    )
    assert found.finalists[0] == CANDIDATES[0]
    assert found.measured["default"].log_ratio == 0
    assert fake.now <= seconds + fake.cost + 1e-6
    assert found.best is None or found.best.name not in wrong
    assert not wrong & set(found.measured)
    # Everyone is accounted for, once.
    told = [*found.measured, *(candidate.name for candidate, _ in found.dropped)]
    assert sorted(told) == sorted(c.name for c in CANDIDATES)
    reasons = {reason for candidate, reason in found.dropped if candidate.name not in wrong}
    assert reasons <= {NO_TIME}


def test_only_as_many_as_there_is_time_for() -> None:
    fake = Fake({})
    found = halve(CANDIDATES, fake, 8, np.random.default_rng(0), least=1.0, clock=fake.clock)
    assert sorted(fake.rungs[0]) == sorted(c.name for c in CANDIDATES[1:5])
    assert {candidate.name for candidate, _ in found.dropped} >= {c.name for c in CANDIDATES[5:]}


def test_nobody_but_the_default() -> None:
    found = halve(CANDIDATES[:1], Fake({}), 10, np.random.default_rng(0))
    assert found.finalists == [CANDIDATES[0]]


def test_all_others_are_wrong() -> None:
    fake = Fake({}, {c.name for c in CANDIDATES[1:]})
    found = halve(CANDIDATES, fake, 100, np.random.default_rng(0), clock=fake.clock)
    assert found.finalists == [CANDIDATES[0]]
    assert len(found.dropped) == len(CANDIDATES) - 1


def test_latest_rung_comes_first() -> None:
    fake = Fake({"IO binding": 0.5, "1 thread": 0.8})
    found = halve(CANDIDATES, fake, 1000, np.random.default_rng(0), clock=fake.clock)
    rows = [(one.rung, one.log_ratio) for one in found.standings]
    assert rows == sorted(rows, key=lambda row: (-row[0], row[1]))
    assert rows[0][1] == pytest.approx(math.log(0.5))
