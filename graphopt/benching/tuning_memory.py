"""The candidate of a tuning that takes the least memory, and is about as fast as the default."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from graphopt.benching.statistics import interval
from graphopt.benching.tuning_arms import Duel
from graphopt.benching.tuning_candidates import Candidate
from graphopt.benching.tuning_halving import NO_TIME, Selection, Standing, Unfit
from graphopt.report.bench import Interval

SLOWER = 1.1
"""How much longer than the default's upper bound a call may take."""

Weigh = Callable[[Candidate], int]
"""Peak bytes of a candidate in a fresh process; raises Unfit when it does not run."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """How the lightest candidate that is fast enough did in the final.

    Attributes:
        ratio: Its peak bytes against the default's, both weighed anew.
        latency: Time of a call against the default's.
        duels: What that comes from.
    """

    ratio: float
    latency: Interval
    duels: list[Duel]


def lightest(
    candidates: Sequence[Candidate],
    weigh: Weigh,
    seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    progress: Callable[[str], None] = lambda what: None,
) -> Selection:
    """Weigh every candidate once: bytes vary too little for several rungs.

    Args:
        candidates: The default first, then the most promising first.
        weigh: Tells their bytes.
        seconds: No candidate but the default is weighed later.
        clock: Tells seconds.
        progress: Told about every candidate.

    Raises:
        Unfit: The default does not run, or its memory cannot be told here.
    """
    default, *others = candidates
    over = clock() + seconds
    found = Selection(default)
    reference = weigh(default)
    found.measured[default.name] = Standing(default, 1, 0.0)
    for candidate in others:
        if clock() >= over:
            found.dropped.append((candidate, NO_TIME))
            continue
        progress(f"memory of: {candidate.name}")
        try:
            ratio = math.log(max(weigh(candidate), 1) / max(reference, 1))
        except Unfit as reason:
            found.dropped.append((candidate, str(reason)))
            continue
        found.measured[candidate.name] = Standing(candidate, 1, ratio)
    return found


def lightest_fit(
    found: Selection,
    weigh: Weigh,
    duel: Callable[[Candidate, float], list[Duel]],
    seconds: float,
    seed: int,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Weighed | None:
    """Take the lightest that is fast enough and gives the default's outputs.

    It becomes `best`; candidates that are not are moved to `dropped`. Its bytes are weighed anew,
    as the smallest of several figures is smaller than it should be.

    Args:
        found: What `lightest` found.
        weigh: Tells bytes.
        duel: Times a candidate and the default; raises Unfit when outputs differ.
        seconds: No candidate but the first is tried later.
        seed: Of the intervals.
        clock: Tells seconds.

    Returns:
        None when no lighter candidate is fit.
    """
    over = clock() + seconds
    default, found.best = found.default, None
    for number, candidate in enumerate([s.candidate for s in found.standings if s.log_ratio < 0]):
        if number and clock() >= over:
            break
        try:
            # The next one needs time, too, in case that this one is too slow.
            duels = duel(candidate, max(over - clock(), 0.0) / 2)
            ratio = weigh(candidate) / max(weigh(default), 1)
            latency = interval([one.log_ratios for one in duels], seed)
            if latency.value > allowed(duels, seed):
                raise Unfit(f"a call takes {latency.value:.2f} of the default's time")
        except Unfit as reason:
            found.dropped.append((candidate, str(reason)))
            del found.measured[candidate.name]
            continue
        found.best = candidate
        return Weighed(ratio, latency, duels)
    return None


def allowed(duels: Sequence[Duel], seed: int) -> float:
    """The largest ratio of latencies: SLOWER times the upper bound of the default's own median."""
    middle = float(np.median(np.concatenate([duel.reference for duel in duels])))
    return SLOWER * interval([np.log(duel.reference / middle) for duel in duels], seed).high
