"""Timing candidates of a tuning: each in a process of its own, two of them taking turns.

The threads of a session that spins keep a processor busy for a while after their work is done
(35 ms, measured with ONNX Runtime 1.31 and two threads). Two such sessions in one process, or in
two that take turns at once, would time each other's idling. So each candidate has a process of its
own, and after each block of one whose threads spin nothing runs until they have come to rest. The
first calls of a block, which wake them again, do not count, as everywhere.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graphopt.benching.feeds import batch_of
from graphopt.benching.statistics import block_size
from graphopt.benching.timing_process import Load, TimingProcess
from graphopt.benching.tuning_candidates import Candidate
from graphopt.contract import Array
from graphopt.errors import ProviderUnavailable
from graphopt.report.tune import Objective
from graphopt.verify.inputs import Feeds

REST_SECONDS = 0.05
"""Spinning threads are asleep so long after the last call."""

_WARMUP = 2
_REQUESTS_A_CALLER = 4


class Arm:
    """A candidate, loaded and warm in a fresh process; `close` ends it.

    Args:
        path: The .onnx file.
        candidate: How to run it.
        feeds: Input sets.
        objective: Whether a block's figure is the time of a call, or of a row.

    Attributes:
        opening: Seconds from the start to the end of the warm-up.
        turn: About how many seconds a block and the rest after it take.

    Raises:
        RuntimeFailure: It does not load or run, crashes, or takes too long.
        ProviderUnavailable: ONNX Runtime left the provider out.
    """

    def __init__(
        self, path: Path, candidate: Candidate, feeds: Sequence[Feeds], objective: Objective
    ) -> None:
        started = time.monotonic()
        self._candidate = candidate
        self._rows = (batch_of(feeds[0]) or 1) if objective == "throughput" else 1
        settings = candidate.settings
        with ExitStack() as stack:
            self.process = stack.enter_context(TimingProcess(feeds))
            loaded = self.process.load(path, settings, binding=candidate.binding)
            if settings.provider.name not in loaded.providers:
                raise ProviderUnavailable(f"{settings.provider.name} cannot open a session here")
            call = float(np.median(self.process.warm(_WARMUP)))
            self._stack = stack.pop_all()
        calls, self._dropped = block_size(call)
        self._load = Load(block=calls)
        if objective == "throughput":
            # Nothing is dropped: callers at once have no common first call.
            callers = candidate.concurrency
            block = callers * max(_REQUESTS_A_CALLER, -(-calls // callers))
            self._load, self._dropped = Load("closed loop", block, callers), 0
        self._pause = REST_SECONDS if settings.spins and settings.threads != 1 else 0.0
        time.sleep(self._pause)
        self.opening = time.monotonic() - started
        self.turn = self._load.block * call + self._pause

    def block(self, number: int, seed: int) -> float:
        """Time one block; seconds of a call (its median), or of a row.

        Args:
            number: Input sets take turns by it.
            seed: Of what is random in a load.
        """
        found = self.process.rounds(1, number, self._load, seed)
        time.sleep(self._pause)
        calls: Array = found.wall[0, 0]
        if self._load.mode == "alternating":
            return float(np.median(calls[self._dropped :]))
        elapsed = float(calls.sum()) / (float(found.busy[0, 0]) * self._load.concurrency)
        return elapsed / (len(calls) * self._rows)

    def answers(self) -> dict[str, Any]:
        """The outputs on the first input set."""
        return self.process.answers(0)

    def close(self) -> None:
        """End the process."""
        self._stack.close()


@dataclass(frozen=True, slots=True)
class Duel:
    """Two arms, block by block.

    Attributes:
        reference: float64[pairs], seconds of the first.
        candidate: float64[pairs], of the second.
    """

    reference: Array
    candidate: Array

    @property
    def log_ratios(self) -> Array:
        """float64[pairs]: logarithm of candidate / reference."""
        return np.asarray(np.log(self.candidate / self.reference))


def fight(arms: tuple[Arm, Arm], seconds: float, rng: np.random.Generator) -> Duel:
    """Let two arms take turns, in an order drawn for each pair; one pair at least.

    Args:
        arms: The reference, and the candidate.
        seconds: For about so long.
        rng: Where chance comes from.
    """
    over = time.monotonic() + seconds
    found: tuple[list[float], list[float]] = ([], [])
    while not found[0] or time.monotonic() < over:
        number, seed = len(found[0]), int(rng.integers(2**31))
        for index in rng.permutation(2).tolist():
            found[index].append(arms[index].block(number, seed))
    return Duel(np.array(found[0]), np.array(found[1]))
