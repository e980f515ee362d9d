"""Finding the session settings that run a model best here; the model itself stays as it is.

ONNX Runtime's defaults are the reference of everything, and a candidate to the end. Candidates are
chosen by successive halving. The best of many noisy figures looks better than it is (selection
bias, or the winner's curse), so what is reported comes from a final: the chosen candidate against
the default, in fresh processes that took no part in choosing. Its interval is as trustworthy as
that of any comparison of two. Only when the whole of it is below 1 is the candidate proposed.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from graphopt.benching.comparison import feeds_for
from graphopt.benching.environment import describe_environment, usable_cores
from graphopt.benching.feeds import batch_axis
from graphopt.benching.memory import measure_memory
from graphopt.benching.options import BenchOptions
from graphopt.benching.statistics import interval
from graphopt.benching.subject import Subject, subjects_of
from graphopt.benching.tuning_arms import Duel
from graphopt.benching.tuning_candidates import Candidate, candidates_for
from graphopt.benching.tuning_halving import Selection, Unfit, halve
from graphopt.benching.tuning_memory import lightest, lightest_fit
from graphopt.benching.tuning_referee import ProcessReferee, enough
from graphopt.benching.tuning_snippet import snippet
from graphopt.errors import RuntimeFailure, UsageError
from graphopt.model import Model
from graphopt.report.bench import Environment, Interval
from graphopt.report.tune import (
    TUNE_SCHEMA_VERSION,
    Objective,
    TuneCandidate,
    TuneDropped,
    TuneFinal,
    TuneReport,
)
from graphopt.runtime.availability import check_available
from graphopt.runtime.settings import Provider, SessionSettings
from graphopt.verify.baseline import first_line
from graphopt.verify.inputs import Feeds

_CHOOSING = 0.6
"""Share of the time for choosing; the rest is the final's."""

_BATCHES = (4, 16)
"""Tried for throughput where the batch is open and none is asked for."""


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """How to tune.

    Attributes:
        provider: Where to run.
        objective: Time of one call, time of one row of the batch, or peak bytes.
        seconds: For the whole of it; what is under way then still ends.
        batches: Sizes of the open batch dimension, the default's first; several for throughput
            only. None: the data's own or 1, and for throughput a few larger ones.
        concurrencies: Callers at once, the default's first; for throughput only. None: 1, and for
            throughput as many as there are cores.
        shapes: Shapes of generated inputs.
        data: Input sets (arrays by name), run in turn; a generated one when None.
        max_threads: No candidate asks for more threads inside an operator; None: the cores.
        seed: Seed of everything random.
        progress: Called with a few words whenever something new is begun.
    """

    provider: Provider = field(default_factory=lambda: SessionSettings().provider)
    objective: Objective = "latency"
    seconds: float = 30.0
    batches: Sequence[int] | None = None
    concurrencies: Sequence[int] | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    data: Sequence[Feeds] | None = None
    max_threads: int | None = None
    seed: int = 0
    progress: Callable[[str], None] = lambda what: None


@dataclass(slots=True)
class _Run:
    """A tuning under way, and what came of it.

    Attributes:
        subject: The model.
        options: As asked for.
        candidates: The default first.
        feeds: Input sets by batch.
        referee: Measures candidates.
        over: When the time is, on the monotonic clock.
        selection: Who is left.
        final: How the final went.
        best: What is proposed; None for the default.
        notes: What a reader should know.
    """

    subject: Subject
    options: TuneOptions
    candidates: list[Candidate]
    feeds: Callable[[int | None], Sequence[Feeds]]
    referee: ProcessReferee
    over: float
    selection: Selection
    final: TuneFinal | None = None
    best: Candidate | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return max(self.over - time.monotonic(), 0.0)

    def decide(self, ratio: Interval, latency: Interval | None, duels: Sequence[Duel]) -> None:
        """Propose the finalist when the whole of its interval is better than the default."""
        finalist = self.selection.best
        assert finalist is not None
        pairs = sum(len(duel.reference) for duel in duels)
        self.final = TuneFinal(finalist.name, ratio, latency, pairs, len(duels))
        if not enough(duels):
            self.notes.append("too few pairs to decide on: the default stays; give more --seconds")
        elif ratio.high < 1:
            self.best = finalist

    def lose(self, candidate: Candidate, reason: str) -> None:
        """Take a candidate out that turned out to be unfit."""
        self.selection.dropped.append((candidate, reason))
        self.selection.measured.pop(candidate.name, None)


def tune_model(model: Model, options: TuneOptions) -> TuneReport:
    """Find the session settings that run a model best here.

    Args:
        model: Read from a file, which sessions load.
        options: How.

    Raises:
        UsageError: Options that exclude each other, or a batch that the model does not take.
        ProviderUnavailable: The provider is not to be had.
        DataError: The model does not run on the inputs.
        RuntimeFailure: It does not load or run with default settings.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    if not 0 < options.seconds < math.inf:
        raise UsageError(f"--seconds {options.seconds:g} is not a number above 0")
    environment = describe_environment()
    check_available(options.provider)
    (subject,) = subjects_of([model])
    candidates = _candidates(subject, options)
    asked = BenchOptions(shapes=options.shapes, data=options.data, seed=options.seed)
    feeds = functools.cache(lambda batch: feeds_for([subject], batch, asked))
    for batch in [candidates[0].batch, *(options.batches or ())]:
        feeds(batch)  # those that are asked for must be there
    rng = np.random.default_rng(options.seed)
    timed: Objective = "throughput" if options.objective == "throughput" else "latency"
    with ProcessReferee(subject.path, candidates[0], feeds, timed, rng) as referee:
        run = _Run(
            subject, options, candidates, feeds, referee, clock + options.seconds,
            Selection(candidates[0]),
        )  # fmt: skip
        if options.objective == "memory":
            _tune_memory(run)
        else:
            _tune_time(run, rng)
    if referee.random:
        run.notes.append(f"not compared, as they are random: {', '.join(referee.random)}")
    return _report(run, environment, started, time.monotonic() - clock)


def _report(
    run: _Run, environment: Environment, started: datetime, seconds: float
) -> TuneReport:  # fmt: skip
    default, options = run.candidates[0], run.options
    best = run.best or default
    (first, *_) = run.feeds(default.batch)

    def name(candidate: Candidate) -> str:
        return "default" if candidate is default else candidate.name

    return TuneReport(
        schema=TUNE_SCHEMA_VERSION,
        started=started.isoformat(timespec="seconds"),
        seconds=seconds,
        limit_seconds=options.seconds,
        seed=options.seed,
        objective=options.objective,
        model=run.subject.described,
        provider=options.provider.name,
        provider_options=dict(options.provider.options),
        shapes={key: list(v.shape) for key, v in first.items() if hasattr(v, "shape")},
        default=default.described,
        best=best.described,
        best_name=name(best),
        ratio=Interval(1.0, 1.0, 1.0) if run.best is None or run.final is None
        else run.final.ratio,
        final=run.final,
        candidates=[
            TuneCandidate(name(one.candidate), one.candidate.described, one.rung,
                          math.exp(one.log_ratio))
            for one in run.selection.standings
        ],
        dropped=[TuneDropped(one.name, reason) for one, reason in run.selection.dropped],
        notes=run.notes,
        environment=environment,
        snippet=snippet(run.subject.path, best),
    )  # fmt: skip


def _candidates(subject: Subject, options: TuneOptions) -> list[Candidate]:
    cores = usable_cores() if options.max_threads is None else options.max_threads
    wide = options.objective == "throughput"
    batches: list[int | None] = list(options.batches) if options.batches else [None]
    opened = any(batch_axis(spec) is not None for spec in subject.inputs)
    if wide and opened and not options.batches and not options.shapes:
        batches += _BATCHES
    callers = options.concurrencies or ((1, max(cores, 1)) if wide else (1,))
    return candidates_for(
        options.objective, options.provider, cores, batches, tuple(dict.fromkeys(callers))
    )


def _tune_time(run: _Run, rng: np.random.Generator) -> None:
    """The objectives latency and throughput."""
    progress, least = run.options.progress, run.referee.least
    run.selection = halve(
        run.candidates, run.referee, _CHOOSING * run.left, rng, least=least, progress=progress
    )
    best = run.selection.best
    if best is None:
        run.notes.append("no candidate could be measured; give more --seconds")
        return
    progress(f"final: {best.name} against the default")
    try:
        duels = run.referee.final(best, run.left)
    except Unfit as reason:
        run.lose(best, str(reason))
        return
    run.decide(interval([duel.log_ratios for duel in duels], run.options.seed), None, duels)


def _tune_memory(run: _Run) -> None:
    """The objective memory."""
    path = run.subject.path

    def weigh(candidate: Candidate) -> int:
        return _peak(path, candidate, run.feeds(candidate.batch)[0])

    progress = run.options.progress
    try:
        run.selection = lightest(run.candidates, weigh, _CHOOSING * run.left, progress=progress)
    except Unfit as reason:
        raise RuntimeFailure(str(reason), kind="run", file=path) from reason
    progress("final: the lightest against the default")
    found = lightest_fit(run.selection, weigh, run.referee.final, run.left, run.options.seed)
    if found is not None:
        run.decide(Interval(found.ratio, found.ratio, found.ratio), found.latency, found.duels)


def _peak(path: Path, candidate: Candidate, feeds: Feeds) -> int:
    """Peak bytes of loading and running, on the device where it has memory of its own."""
    try:
        memory = measure_memory(path, candidate.settings, feeds)
    except RuntimeFailure as error:
        raise Unfit(f"does not run: {first_line(error, path)}") from error
    peaks = (memory.device_peak_bytes, memory.run_peak_bytes)
    told = next((peak for peak in peaks if peak is not None), None)
    if told is None:
        raise Unfit("this system does not tell how much memory a process takes")
    return told
