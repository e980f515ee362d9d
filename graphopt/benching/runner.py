"""Timing the models of one case: fresh processes, rounds in random order, and when to stop."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from graphopt.benching.options import BenchOptions
from graphopt.benching.statistics import MIN_PAIRS, block_size, interval, width
from graphopt.benching.timing_process import Load, Loaded, Rounds, TimingProcess
from graphopt.contract import Array
from graphopt.errors import UsageError
from graphopt.runtime.settings import SessionSettings
from graphopt.verify.inputs import Feeds

_CHUNK_SECONDS = 0.25
"""Rounds are asked for so many seconds at a time, and the clock is looked at between."""
_MIN_PROCESSES = 3
"""No comparison ends early before so many processes."""
_PATIENCE = 2.0
"""How many times `seconds` a comparison may take to come to MIN_PAIRS pairs."""
_REQUESTS, _SLICE_SECONDS = 20, 0.2
"""A slice of a load has at least so many requests, and lasts about so long."""


@dataclass(frozen=True, slots=True)
class CaseInput:
    """What one case times.

    Attributes:
        paths: The models, the reference first.
        feeds: Input sets, the same for all.
        settings: How sessions are made.
        binding: Inputs and outputs are bound before the clock starts.
    """

    paths: Sequence[Path]
    feeds: Sequence[Feeds]
    settings: SessionSettings
    binding: bool


@dataclass(slots=True)
class Samples:
    """What was measured. Models are in the order of `paths`, then the reference once more.

    Attributes:
        load: How calls were made.
        dropped: The first so many calls of a block are not used for ratios.
        rounds: One entry a process.
        loaded: What loading told, in the first process.
        answers: The models' outputs on the first input set.
        stopped: Why it ended.
    """

    load: Load = field(default_factory=Load)
    dropped: int = 0
    rounds: list[Rounds] = field(default_factory=list)
    loaded: list[Loaded] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    stopped: Literal["interval", "time"] = "time"

    @property
    def pairs(self) -> int:
        """Pairs of blocks, over all processes."""
        return sum(len(part.wall) for part in self.rounds)

    @property
    def has_processor_time(self) -> bool:
        """False where the processor's clock is too coarse to see a block."""
        return all(
            (np.median(part.cpu[:, :, self.dropped :], axis=2) > 0).all() for part in self.rounds
        )

    def log_ratios(self, arm: int, clock: Literal["wall", "cpu"] = "wall") -> list[Array]:
        """Per process: log of a model's time by the reference's, of each round."""
        found = []
        for part in self.rounds:
            blocks = np.median(getattr(part, clock)[:, :, self.dropped :], axis=2)
            found.append(np.log(blocks[:, arm] / blocks[:, 0]))
        return found

    def calls(self, arm: int, clock: Literal["wall", "cpu"] = "wall") -> list[Array]:
        """Per process: the seconds of every call of a model."""
        return [getattr(part, clock)[:, arm].reshape(-1) for part in self.rounds]


def time_case(case: CaseInput, options: BenchOptions, seconds: float) -> Samples:
    """Time the models of a case side by side.

    Args:
        case: What to time.
        options: How; `processes`, `warmup`, `min_pairs`, `precision` and the load.
        seconds: For all processes together, loading included. Where they do not suffice for
            MIN_PAIRS pairs, it takes up to twice as long; each process times one round at least.

    Raises:
        UsageError: The requests of an open loop come too seldom for so little time.
        RuntimeFailure: A model does not load or run, crashes its process, or takes too long.
    """
    started = time.monotonic()
    _check_rate(options.rate, len(case.paths) + 1, seconds)
    rng = np.random.default_rng(options.seed)
    samples = Samples()
    cost = 0.0
    for number in range(options.processes):
        spent = time.monotonic() - started
        left = (seconds if samples.pairs >= MIN_PAIRS else _PATIENCE * seconds) - spent
        if number and left < cost:
            break
        options.progress(f"timing, process {number + 1} of {options.processes}")
        share = max(seconds - spent, 0.0) / (options.processes - number)
        cost = _time_process(case, options, samples, (share, left), rng)
        if number + 1 >= _MIN_PROCESSES and _is_narrow(samples, options):
            samples.stopped = "interval"
            break
    return samples


def _time_process(
    case: CaseInput, options: BenchOptions, samples: Samples, limits: tuple[float, float],
    rng: np.random.Generator,
) -> float:  # fmt: skip
    """Time rounds in one fresh process; give the seconds that the shortest such takes.

    It ends when the first of its limits is over and it has its part of MIN_PAIRS rounds, or when
    the second is over.
    """
    share, last = limits
    least = -(-MIN_PAIRS // options.processes)
    started = time.monotonic()
    arms = [*case.paths, case.paths[0]]
    order = rng.permutation(len(arms))
    place = np.argsort(order)
    with TimingProcess(case.feeds) as process:
        loaded = [process.load(arms[i], case.settings, binding=case.binding) for i in order]
        warm = process.warm(options.warmup)[:, place]
        if not samples.loaded:
            samples.loaded = [loaded[i] for i in place]
            samples.answers = [process.answers(int(place[i])) for i in range(len(case.paths))]
            samples.load, samples.dropped = _load_of(options, float(np.median(warm[:, 0])))
        begun = time.monotonic()
        parts: list[Rounds] = []
        done, chunk = 0, 1
        while _goes_on(done, least, time.monotonic() - started, share, last):
            before = time.monotonic()
            found = process.rounds(chunk, done, samples.load, int(rng.integers(2**31)))
            parts.append(found.ordered(place))
            done += chunk
            took = (time.monotonic() - before) / chunk
            left = share - (time.monotonic() - started)
            chunk = max(1, int(min(_CHUNK_SECONDS, left) / took) if took else 1)
    samples.rounds.append(Rounds.joined(parts))
    return begun - started + took


def _check_rate(rate: float | None, arms: int, seconds: float) -> None:
    turn = 0.0 if rate is None else arms * _REQUESTS / rate
    if turn > seconds:
        raise UsageError(
            f"--rate {rate:g}: one turn of {arms - 1} models and the reference again, "
            f"{_REQUESTS} requests each, takes {turn:.3g} s of the {seconds:.3g} s for this case",
            hint="raise --seconds, or the rate",
        )


def _goes_on(done: int, least: int, spent: float, share: float, last: float) -> bool:
    """Whether to time one more round, after `done` of them and `spent` seconds."""
    if not done:
        return True
    return spent < last if done < least else spent < share


def _load_of(options: BenchOptions, seconds: float) -> tuple[Load, int]:
    """How calls are made, and how many of a block are dropped, from the length of a call."""
    if options.mode == "alternating":
        block, dropped = block_size(seconds)
        return Load(block=block), dropped
    rate = options.rate or options.concurrency / seconds
    block = max(_REQUESTS, options.concurrency, round(rate * _SLICE_SECONDS))
    return Load(options.mode, block, options.concurrency, options.rate), 0


def _is_narrow(samples: Samples, options: BenchOptions) -> bool:
    """Whether every interval is narrow enough; what they say is not looked at."""
    if samples.pairs < max(MIN_PAIRS, options.min_pairs):
        return False
    arms = samples.rounds[0].wall.shape[1]
    return all(
        width(interval(samples.log_ratios(arm), options.seed)) <= options.precision
        for arm in range(1, arms)
    )
