from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.benching.load import Load, closed_loop, open_loop, poisson_arrivals
from tests.build import Array, few

PATIENCE = 60.0
"""Seconds after which a barrier that should have opened fails a test."""

Loop = Callable[[Callable[[], None], int, int], Load]


def closed(call: Callable[[], None], concurrency: int, requests: int) -> Load:
    return closed_loop(call, concurrency, requests=requests)


def opened(call: Callable[[], None], concurrency: int, requests: int) -> Load:
    return open_loop(call, np.zeros(requests), concurrency)


both = pytest.mark.parametrize("loop", [closed, opened])


@dataclass
class Simulation:
    """One server under a clock that only it moves; times are exact in binary."""

    services: Sequence[float]
    now: float = 1000.0
    begun: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds

    def call(self) -> None:
        self.begun.append(self.now)
        self.now += self.services[len(self.begun) - 1]

    def run(self, arrivals: Array) -> Load:
        return open_loop(self.call, arrivals, 1, clock=self.clock, sleep=self.sleep)


@dataclass
class Counter:
    """A call that counts how many of it run at once."""

    inside: int = 0
    most: int = 0
    done: int = 0
    services: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self) -> None:
        begun = time.perf_counter()
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        time.sleep(0)
        with self.lock:
            self.inside -= 1
            self.done += 1
            self.services.append(time.perf_counter() - begun)


def meet(others: threading.Barrier) -> Callable[[], None]:
    """A call that ends when so many are inside."""

    def wait() -> None:
        others.wait(PATIENCE)

    return wait


def lindley(arrivals: Array, services: Sequence[float]) -> list[float]:
    """Latencies of a queue with one server, first come first served."""
    free, latencies = 0.0, []
    for arrival, service in zip(arrivals, services, strict=True):
        free = max(float(arrival), free) + service
        latencies.append(free - float(arrival))
    return latencies


ticks = st.integers(0, 640).map(lambda n: n / 64)


@few
@given(st.lists(st.tuples(ticks, ticks), min_size=1, max_size=30))
def test_one_server_is_lindleys_queue(requests: list[tuple[float, float]]) -> None:
    arrivals = np.cumsum([gap for gap, _ in requests])
    services = [service for _, service in requests]
    simulation = Simulation(services)
    load = simulation.run(arrivals)
    expected = lindley(arrivals, services)
    assert load.latency.tolist() == expected
    assert load.elapsed == arrivals[-1] + expected[-1]
    assert load.busy == sum(services)
    assert (load.lost, load.completed) == (0, len(requests))
    assert all(b >= 1000 + a for b, a in zip(simulation.begun, arrivals, strict=True))


def test_thousand_requests_at_80_percent_wait_in_the_queue() -> None:
    service = 1 / 64
    arrivals = np.round(poisson_arrivals(0.8 / service, 1000, 7) * 4096) / 4096
    simulation = Simulation([service] * 1000)
    load = simulation.run(arrivals)
    assert load.lost == 0
    assert load.latency.tolist() == lindley(arrivals, [service] * 1000)
    assert load.latency.min() == service
    # The queue with Poisson arrivals and a constant service waits .8 / (2 * .2) = 2 services.
    assert 1.5 * service < load.latency.mean() < 6 * service
    assert load.busy / load.elapsed == pytest.approx(0.8, abs=0.1)


@both
@pytest.mark.parametrize("concurrency", [1, 4])
def test_each_request_runs_once_and_no_more_than_so_many_at_once(
    loop: Loop, concurrency: int
) -> None:
    call = Counter()
    load = loop(call, concurrency, 1000)
    assert call.done == load.completed == len(load.latency) == 1000
    assert load.lost == 0
    assert 1 <= call.most <= concurrency
    # Every latency is above its own service, so they are so in the order of their length too.
    assert np.all(np.sort(load.latency) >= np.sort(call.services))
    assert load.busy >= sum(call.services)
    assert load.elapsed * concurrency >= load.busy * (1 - 1e-9)


@both
def test_all_callers_are_inside_at_once(loop: Loop) -> None:
    together = threading.Barrier(3)
    load = loop(meet(together), 3, 9)
    assert load.completed == 9


@both
def test_more_callers_than_requests(loop: Loop) -> None:
    call = Counter()
    assert loop(call, 8, 2).completed == call.done == 2


def test_requests_are_numbered_in_the_order_of_arrival() -> None:
    arrivals = np.array([0.0, 8.0, 8.0, 9.0])
    load = Simulation([1.0, 4.0, 1.0, 2.0]).run(arrivals)
    assert load.latency.tolist() == [1.0, 4.0, 5.0, 6.0]


@both
@pytest.mark.parametrize("error", [ValueError("broken"), SystemExit("gone")])
def test_what_a_call_raises_is_raised_when_all_have_ended(loop: Loop, error: BaseException) -> None:
    call = Counter()

    def fail() -> None:
        call()
        if call.done == 5:
            raise error

    with pytest.raises(type(error)) as caught:
        loop(fail, 3, 1000)
    assert caught.value is error
    assert call.inside == 0
    assert call.done < 1000


def test_broken_barrier_of_a_call_is_its_own_failure() -> None:
    broken = threading.Barrier(2)
    broken.abort()
    with pytest.raises(threading.BrokenBarrierError):
        open_loop(meet(broken), np.zeros(2), 2)


def test_system_that_starts_no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[threading.Thread] = []
    start = threading.Thread.start

    def refuse_the_third(thread: threading.Thread) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse_the_third)
    call = Counter()
    with pytest.raises(RuntimeError, match="can't start"):
        closed_loop(call, 3, requests=5)
    for thread in started:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert call.done == 0


def test_callers_that_wait_for_their_time_end_when_another_failed() -> None:
    failed = threading.Event()
    calls: list[None] = []

    def fail() -> None:
        calls.append(None)
        failed.set()
        raise ValueError("broken")

    def sleep(seconds: float) -> None:
        failed.wait(PATIENCE)

    with pytest.raises(ValueError, match="broken"):
        open_loop(fail, np.array([0.0, 5.0, 5.0]), 3, clock=lambda: 0.0, sleep=sleep)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("seconds", "requests", "expected"),
    [(1.0, None, 4), (1.0, 3, 3), (1.0, 9, 4), (0.0, None, 1), (None, 6, 6), (1.01, None, 5)],
)
def test_closed_loop_ends_at_its_first_limit(
    seconds: float | None, requests: int | None, expected: int
) -> None:
    server = Simulation([0.25] * 10)
    load = closed_loop(server.call, 1, seconds, requests, clock=server.clock)
    assert load.latency.tolist() == [0.25] * expected
    assert load.elapsed == load.busy == 0.25 * expected
    assert load.lost == 0


def test_every_caller_of_a_closed_loop_has_a_request() -> None:
    together = threading.Barrier(4)
    load = closed_loop(meet(together), 4, seconds=0.0)
    assert load.completed == 4


def test_poisson_arrivals() -> None:
    arrivals = poisson_arrivals(50.0, 10_000, 3)
    assert np.array_equal(arrivals, poisson_arrivals(50.0, 10_000, 3))
    assert not np.array_equal(arrivals, poisson_arrivals(50.0, 10_000, 4))
    gaps = np.diff(arrivals, prepend=0.0)
    assert gaps.min() >= 0
    # Gaps of a Poisson process have one mean and standard deviation: 1 / rate.
    assert gaps.mean() == pytest.approx(0.02, rel=0.05)
    assert gaps.std() == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("arrivals", [[], [1.0, 0.5], [-1.0, 0.5], [float("nan")]])
def test_arrivals_that_are_no_schedule(arrivals: list[float]) -> None:
    with pytest.raises(ValueError, match="ascending"):
        open_loop(Counter(), np.array(arrivals), 1)


def test_numbers_below_one() -> None:
    with pytest.raises(ValueError, match="concurrency is 0"):
        open_loop(Counter(), np.zeros(1), 0)
    with pytest.raises(ValueError, match="concurrency is 0"):
        closed_loop(Counter(), 0, requests=1)
    with pytest.raises(ValueError, match="requests is 0"):
        closed_loop(Counter(), 1, requests=0)
    with pytest.raises(ValueError, match="seconds or of requests"):
        closed_loop(Counter(), 1)
