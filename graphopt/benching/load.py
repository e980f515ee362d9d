"""Callers at once: in a closed loop, back to back, or in an open one, when their time has come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from graphopt.contract import Array

Call = Callable[[], None]
Clock = Callable[[], float]
Sleep = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Load:
    """What callers at once saw.

    Attributes:
        latency: float64[requests], seconds, in the order in which the requests arrived; in an open
            loop from the scheduled arrival on, so that waiting for a free caller counts. NaN where
            a request was lost.
        elapsed: Seconds from the start, when the callers stood ready, to the last answer.
        busy: Seconds that all callers together were inside calls.
        lost: Requests that were never answered.
    """

    latency: Array
    elapsed: float
    busy: float
    lost: int

    @property
    def completed(self) -> int:
        """Requests that were answered."""
        return len(self.latency) - self.lost


@dataclass(frozen=True, slots=True)
class _Answered:
    """A request: its place in the order of arrival, and when it was due, begun and answered."""

    index: int
    due: float
    begun: float
    ended: float


def closed_loop(
    call: Call,
    concurrency: int,
    seconds: float | None = None,
    requests: int | None = None,
    *,
    clock: Clock = time.perf_counter,
) -> Load:
    """Let callers call back to back until the first limit is reached.

    Args:
        call: One request; it has to be safe to call from several threads.
        concurrency: Callers at once.
        seconds: No request begins later, but the first of each caller.
        requests: How many in all.
        clock: Tells seconds.

    Raises:
        ValueError: No limit, or a number below 1.
        BaseException: What a call raised, after all callers ended.
    """
    if seconds is None and requests is None:
        raise ValueError("a closed loop needs a number of seconds or of requests")
    if requests is not None and requests < 1:
        raise ValueError(f"requests is {requests}, not 1 or more")
    callers = _Callers(call, concurrency, clock)

    def due(index: int) -> float | None:
        now = clock()
        over = seconds is not None and index >= concurrency and now - callers.start >= seconds
        return None if over or index == requests else now

    callers.run(due)
    # A closed loop has no schedule: a request arrives when its caller makes it.
    return callers.load(from_due=False, scheduled=len(callers.answered))


def open_loop(
    call: Call,
    arrivals: Array,
    concurrency: int,
    *,
    clock: Clock = time.perf_counter,
    sleep: Sleep = time.sleep,
) -> Load:
    """Let requests arrive when the schedule says, whether or not a caller is free.

    This is a queue, first come first served, with `concurrency` servers. A caller sleeps until its
    request is due; how late the system wakes it counts as latency, as it does in a server.

    Args:
        call: One request; it has to be safe to call from several threads.
        arrivals: float[requests], seconds after the start, ascending.
        concurrency: Callers at once.
        clock: Tells seconds.
        sleep: Waits so many seconds.

    Raises:
        ValueError: No arrivals, arrivals that are not ascending, or a concurrency below 1.
        BaseException: What a call raised, after all callers ended.
    """
    times = [float(arrival) for arrival in arrivals]
    if not times or any(
        not late >= early for early, late in zip([0.0, *times], times, strict=False)
    ):
        raise ValueError("arrivals have to be times from 0 on, in ascending order")
    callers = _Callers(call, concurrency, clock, sleep)
    callers.run(lambda index: None if index == len(times) else callers.start + times[index])
    return callers.load(from_due=True, scheduled=len(times))


def poisson_arrivals(rate: float, count: int, seed: int) -> Array:
    """Arrivals of requests that know nothing of each other.

    Args:
        rate: Mean requests a second.
        count: How many.
        seed: The same seed gives the same arrivals.

    Returns:
        float64[count], seconds after the start, ascending.
    """
    gaps: Array = np.random.default_rng(seed).exponential(1 / rate, count)
    return np.cumsum(gaps)


@dataclass(slots=True)
class _Callers:
    """Threads that take one request after the other."""

    call: Call
    concurrency: int
    clock: Clock
    sleep: Sleep = time.sleep
    start: float = 0.0
    answered: list[_Answered] = field(default_factory=list)
    _failures: list[BaseException] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _taken: int = 0

    def run(self, due: Callable[[int], float | None]) -> None:
        """Answer requests until `due`, given a request's index, says None for when it is due."""
        if self.concurrency < 1:
            raise ValueError(f"concurrency is {self.concurrency}, not 1 or more")
        gate = threading.Barrier(self.concurrency, self._begin)
        # Daemons: an interrupt must not wait for requests that are due in a minute.
        threads = [
            threading.Thread(target=self._serve, args=(gate, due), daemon=True)
            for _ in range(self.concurrency)
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException:
            self._stop.set()
            gate.abort()
            raise
        if self._failures:
            raise self._failures[0]

    def load(self, *, from_due: bool, scheduled: int) -> Load:
        """Sum up what was answered of `scheduled` requests."""
        latency = np.full(scheduled, np.nan)
        for one in self.answered:
            latency[one.index] = one.ended - (one.due if from_due else one.begun)
        elapsed = max((one.ended for one in self.answered), default=self.start) - self.start
        busy = sum(one.ended - one.begun for one in self.answered)
        return Load(latency, elapsed, busy, int(np.isnan(latency).sum()))

    def _begin(self) -> None:
        self.start = self.clock()

    def _serve(self, gate: threading.Barrier, due: Callable[[int], float | None]) -> None:
        try:
            gate.wait()
        except threading.BrokenBarrierError:  # not all threads could be started
            return
        try:
            while not self._stop.is_set():
                with self._lock:
                    index, when = self._taken, due(self._taken)
                    self._taken += when is not None
                if when is None:
                    return
                self._answer(index, when)
        except BaseException as error:
            self._failures.append(error)
            self._stop.set()

    def _answer(self, index: int, due: float) -> None:
        while (left := due - self.clock()) > 0:
            self.sleep(left)
            if self._stop.is_set():
                return
        begun = self.clock()
        self.call()
        self.answered.append(_Answered(index, due, begun, self.clock()))
