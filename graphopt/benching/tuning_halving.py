"""Successive halving: measure every candidate briefly, the better half of them longer, and so on.

Jamieson & Talwalkar, Non-stochastic Best Arm Identification, 2016. The default is the reference of
every rung, and so stands at 1 in each; no rung can drop it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from graphopt.benching.tuning_candidates import Candidate
from graphopt.contract import Array

NO_TIME = "not measured: the time was over"


class Unfit(Exception):
    """A candidate that must not be proposed; the reason in words."""


class Referee(Protocol):
    """Measures candidates against the default."""

    def begin(self) -> None:
        """Begin a rung: from now on in fresh processes.

        Raises:
            RuntimeFailure: The default does not run.
        """

    def measure(self, candidate: Candidate, seconds: float) -> Array:
        """Measure one, for about so long, loading included.

        Returns:
            float64[pairs]: logarithms of candidate / default.

        Raises:
            Unfit: It does not run, or its outputs are others than the default's.
        """


@dataclass(frozen=True, slots=True)
class Standing:
    """How a candidate did in the last rung that it was in.

    Attributes:
        candidate: Which.
        rung: From 1 on.
        log_ratio: Median against the default.
    """

    candidate: Candidate
    rung: int
    log_ratio: float


@dataclass(slots=True)
class Selection:
    """What is left of all candidates.

    Attributes:
        default: It stays to the end.
        best: The best of the others; None when none is fit.
        measured: How each did that was measured and is fit, by name; the default among them.
        dropped: The others, with the reason.
    """

    default: Candidate
    best: Candidate | None = None
    measured: dict[str, Standing] = field(default_factory=dict)
    dropped: list[tuple[Candidate, str]] = field(default_factory=list)

    @property
    def standings(self) -> list[Standing]:
        """The latest rung first, the best first in each."""
        return sorted(self.measured.values(), key=lambda s: (-s.rung, s.log_ratio))

    @property
    def finalists(self) -> list[Candidate]:
        """Who is in the final: the default always."""
        return [self.default] if self.best is None else [self.default, self.best]


def halve(
    candidates: Sequence[Candidate],
    referee: Referee,
    seconds: float,
    rng: np.random.Generator,
    *,
    least: float = 0.0,
    clock: Callable[[], float] = time.monotonic,
    progress: Callable[[str], None] = lambda what: None,
) -> Selection:
    """Find the candidate with the smallest ratio.

    Args:
        candidates: The default first, then the most promising ones first.
        referee: Measures them.
        seconds: For all rungs. No measurement begins later.
        rng: Draws the order in each rung.
        least: Seconds that one measurement takes at least; of many candidates, only as many as
            there is time for are measured.
        clock: Tells seconds.
        progress: Told about every rung.
    """
    default, *others = candidates
    found = Selection(default)
    over = clock() + seconds
    # Halving n takes fewer than 2 n measurements.
    fitting = len(others) * least <= seconds / 2
    room = len(others) if fitting else max(1, int(seconds / (2 * least)))
    found.dropped = [(candidate, NO_TIME) for candidate in others[room:]]
    left, rung = list(others[:room]), 0
    while left and (rung == 0 or len(left) > 1) and clock() < over:
        rung += 1
        rungs = max(1, math.ceil(math.log2(len(left))))
        progress(f"rung {rung}: {len(left)} against the default")
        until = clock() + (over - clock()) / rungs
        ranked = _rung(left, rung, referee, (until, over), rng, found, clock)
        left = ranked[: max(1, len(ranked) // 2)]
    found.best = left[0] if left and left[0].name in found.measured else None
    found.measured[default.name] = Standing(default, max(rung, 1), 0.0)
    return found


def _rung(
    left: Sequence[Candidate],
    rung: int,
    referee: Referee,
    limits: tuple[float, float],
    rng: np.random.Generator,
    found: Selection,
    clock: Callable[[], float],
) -> list[Candidate]:
    """Measure each once, in random order; give those that are fit, the best first.

    Behind them come those that there was no time for, as the rung before ranked them.
    """
    until, over = limits
    referee.begin()
    now: dict[str, float] = {}
    gone = set()
    order = rng.permutation(len(left)).tolist()
    for done, index in enumerate(order):
        candidate = left[index]
        late = clock() >= over
        if late and rung > 1:
            break
        share = max(until - clock(), 0.0) / (len(order) - done)
        try:
            if late:
                raise Unfit(NO_TIME)
            now[candidate.name] = float(np.median(referee.measure(candidate, share)))
        except Unfit as reason:
            found.dropped.append((candidate, str(reason)))
            found.measured.pop(candidate.name, None)
            gone.add(candidate.name)
            continue
        found.measured[candidate.name] = Standing(candidate, rung, now[candidate.name])
    fit = [candidate for candidate in left if candidate.name not in gone]
    return sorted(fit, key=lambda candidate: now.get(candidate.name, math.inf))
