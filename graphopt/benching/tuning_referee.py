"""The referee of a tuning: loads candidates beside the default, compares outputs, times."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from graphopt.benching.statistics import MIN_PAIRS
from graphopt.benching.tuning_arms import Arm, Duel, fight
from graphopt.benching.tuning_candidates import Candidate
from graphopt.benching.tuning_halving import Unfit
from graphopt.benching.tuning_outputs import differing, varying
from graphopt.contract import Array
from graphopt.errors import DataError, ProviderUnavailable, RuntimeFailure
from graphopt.report.tune import Objective
from graphopt.verify.baseline import first_line
from graphopt.verify.inputs import Feeds

MAX_PROCESSES = 5
"""Pairs of processes in the final: as in a benchmark."""

_LEAST_PAIRS = 3
"""Pairs of a measurement that is not made at all without the time for them."""

_RESERVE = 2
"""Pairs may take so many times as long as they seem to at first."""


class ProcessReferee:
    """Measures in processes; use it as a context manager.

    Args:
        path: The .onnx file.
        default: What candidates are measured against.
        feeds: Input sets of a batch; asked once per measurement.
        objective: Time of a call, or of a row.
        rng: Where chance comes from.
    """

    def __init__(
        self,
        path: Path,
        default: Candidate,
        feeds: Callable[[int | None], Sequence[Feeds]],
        objective: Objective,
        rng: np.random.Generator,
    ) -> None:
        self._path, self._default, self._feeds = path, default, feeds
        self._objective, self._rng = objective, rng
        self._answers: dict[int | None, tuple[dict[str, Any], frozenset[str]]] = {}
        self._arm: Arm | None = None

    def __enter__(self) -> ProcessReferee:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def random(self) -> list[str]:
        """Outputs that the default itself gives differently from run to run."""
        return sorted({name for _, names in self._answers.values() for name in names})

    @property
    def least(self) -> float:
        """Seconds that a measurement takes at least, by the default's own pace."""
        arm = self._arm or self._begun()
        return arm.opening + 2 * _LEAST_PAIRS * arm.turn

    def begin(self) -> None:
        """Load the default in a fresh process.

        Raises:
            RuntimeFailure: It does not run.
            ProviderUnavailable: ONNX Runtime left the provider out.
        """
        self.end()
        self._begun()

    def end(self) -> None:
        """End the default's process, if there is one."""
        if self._arm is not None:
            self._arm.close()
            self._arm = None

    def measure(self, candidate: Candidate, seconds: float) -> Array:
        """Measure a candidate in a fresh process, after its outputs were found right.

        Args:
            candidate: What to measure.
            seconds: For about so long, loading included; one pair at least.

        Returns:
            float64[pairs]: logarithms of candidate / default.

        Raises:
            Unfit: It does not run, or gives other outputs than the default.
        """
        started = time.monotonic()
        default = self._arm or self._begun()
        arm = self._opened(candidate)
        try:
            self._check(candidate, arm)
            left = seconds - (time.monotonic() - started)
            return fight((default, arm), left, self._rng).log_ratios
        except RuntimeFailure as error:
            raise Unfit(self._said(error)) from error
        finally:
            arm.close()

    def final(self, candidate: Candidate, seconds: float) -> list[Duel]:
        """Measure a candidate and the default in fresh processes only; one duel a pair of them.

        It takes as many pairs of processes as leave the time for MIN_PAIRS, 2 to 5 of them; no
        second one begins when the time is over.

        Args:
            candidate: What the rungs chose.
            seconds: For all of it.

        Raises:
            Unfit: It does not run, or gives other outputs than the default.
        """
        over = time.monotonic() + seconds
        wanted, duels = MAX_PROCESSES, list[Duel]()
        while len(duels) < wanted and (not duels or time.monotonic() < over):
            with ExitStack() as stack:
                arms = self._both(candidate, stack)
                opening = arms[0].opening + arms[1].opening
                pair = arms[0].turn + arms[1].turn
                room = int((seconds - _RESERVE * MIN_PAIRS * pair) / opening)
                wanted = max(min(room, MAX_PROCESSES), 2, len(duels) + 1)
                self._check(candidate, arms[1])
                ahead = (wanted - len(duels) - 1) * opening
                left = max(over - time.monotonic() - ahead, 0.0) / (wanted - len(duels))
                try:
                    duels.append(fight(arms, left, self._rng))
                except RuntimeFailure as error:
                    raise Unfit(self._said(error)) from error
        return duels

    def _both(self, candidate: Candidate, stack: ExitStack) -> tuple[Arm, Arm]:
        """The default and a candidate, loaded in an order that chance decides."""
        self.end()
        first = bool(self._rng.integers(2))
        if first:
            default = self._loaded(self._default)
            stack.callback(default.close)
        arm = self._opened(candidate)
        stack.callback(arm.close)
        if not first:
            default = self._loaded(self._default)
            stack.callback(default.close)
        return default, arm

    def _begun(self) -> Arm:
        self._arm = self._loaded(self._default)
        return self._arm

    def _loaded(self, candidate: Candidate) -> Arm:
        return Arm(self._path, candidate, self._feeds(candidate.batch), self._objective)

    def _opened(self, candidate: Candidate) -> Arm:
        try:
            return self._loaded(candidate)
        except (RuntimeFailure, ProviderUnavailable, DataError) as error:
            raise Unfit(self._said(error)) from error

    def _check(self, candidate: Candidate, arm: Arm) -> None:
        """Compare a candidate's outputs with those of default settings on the same inputs."""
        try:
            expected, random = self._expected(candidate.batch)
            found = arm.answers()
        except RuntimeFailure as error:
            raise Unfit(self._said(error)) from error
        if wrong := differing(expected, found, random):
            raise Unfit(f"gives other outputs than the default: {wrong}")

    def _expected(self, batch: int | None) -> tuple[dict[str, Any], frozenset[str]]:
        if batch not in self._answers:
            plain = dataclasses.replace(self._default, batch=batch, concurrency=1)
            arm = Arm(self._path, plain, self._feeds(batch), "latency")
            try:
                first, second = arm.answers(), arm.answers()
            finally:
                arm.close()
            self._answers[batch] = first, varying(first, second)
        return self._answers[batch]

    def _said(self, error: RuntimeFailure | ProviderUnavailable | DataError) -> str:
        if isinstance(error, RuntimeFailure):
            return f"does not run: {first_line(error, self._path)}"
        return error.message


def enough(duels: Sequence[Duel]) -> bool:
    """Whether something can be decided: pairs enough, of more than one pair of processes."""
    return len(duels) > 1 and sum(len(duel.reference) for duel in duels) >= MIN_PAIRS
